"""Proofs about a dealt modulus, made while its factors are known and checked by every trustee."""

from __future__ import annotations

from typing import Final

from protocols.errors import WireError
from protocols.paillier.key_proof import MAX_PROVED_KEY_BYTES, ProvedKey, open_key, prove_key
from protocols.paillier.keys import PrivateKey, PublicKey
from protocols.prg import RandomBytes
from protocols.wire import decode, encode

_STEP: Final = "deal"


def prove_dealt_key(
    private: PrivateKey, ceremony: bytes, dealer: str, random: RandomBytes
) -> bytes:
    """Return the canonical :class:`~protocols.paillier.key_proof.ProvedKey` of a ceremony.

    Args:
        private: the key that is about to be forgotten.
        ceremony: digest of the ceremony, 32 bytes; it covers the agreement.
        dealer: name of the dealer.
        random: for the secrets of the proofs.
    """
    return encode(prove_key(private, agreement=ceremony, prover=dealer, random=random))


def check_dealt_key(public: PublicKey, proofs: bytes, ceremony: bytes, dealer: str) -> None:
    """Check that a dealt modulus is proved well formed.

    Raises:
        WireError: the proofs are not whole, or are of another key.
        ProofError: a proof does not hold. Both name the dealer.
    """
    proved = decode(ProvedKey, proofs, party=dealer, step=_STEP, max_bytes=MAX_PROVED_KEY_BYTES)
    if proved.key != public.to_bytes():
        raise WireError(dealer, _STEP, "the proofs are of another key than the one that is shared")
    open_key(proved, agreement=ceremony, prover=dealer, step=_STEP)
