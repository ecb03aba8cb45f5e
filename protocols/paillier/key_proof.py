"""A public key with the proofs that have to hold before anybody encrypts under it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from protocols.paillier.factor_proof import FactorProof, check_factors, prove_factors
from protocols.paillier.key_checks import MAX_BITS
from protocols.paillier.keys import SEED_BYTES, PrivateKey, PublicKey
from protocols.paillier.modulus_proof import ModulusProof, check_modulus, prove_modulus
from protocols.prg import RandomBytes

MAX_PROVED_KEY_BYTES: Final = 2**17
"""Longest encoding of a :class:`ProvedKey`; one of 4096 bits takes 76 kB."""


class ProvedKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the owner of a key publishes. Decode it with :func:`protocols.wire.decode`.

    Attributes:
        key: encoding of the public key.
        modulus: proof that n is a Paillier-Blum modulus.
        factors: proof that no factor of it is small.
    """

    key: Annotated[bytes, msgspec.Meta(max_length=SEED_BYTES + MAX_BITS // 8)]
    modulus: ModulusProof
    factors: FactorProof


def prove_key(key: PrivateKey, *, agreement: bytes, prover: str, random: RandomBytes) -> ProvedKey:
    """Return the public key with its proofs, bound to one agreement and one owner.

    Args:
        key: of the prover.
        agreement: digest of the agreement, 32 bytes.
        prover: name in the agreement.
        random: for the secrets of the proofs.
    """
    return ProvedKey(
        key.public.to_bytes(),
        prove_modulus(key, agreement=agreement, prover=prover, random=random),
        prove_factors(key, agreement=agreement, prover=prover, random=random),
    )


def open_key(proved: ProvedKey, *, agreement: bytes, prover: str, step: str) -> PublicKey:
    """Return the key after all its checks and proofs.

    Args:
        proved: from the wire, hostile.
        agreement: digest of the agreement in force, 32 bytes.
        prover: whose key it has to be; named when it is refused.
        step: protocol step for the same purpose.

    Raises:
        WireError: bytes that are no key.
        ProofError: a proof does not hold.
    """
    key = PublicKey.from_bytes(proved.key, party=prover, step=step)
    check_modulus(key, proved.modulus, agreement=agreement, prover=prover, step=step)
    check_factors(key, proved.factors, agreement=agreement, prover=prover, step=step)
    return key
