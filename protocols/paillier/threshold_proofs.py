"""Proof that a trustee raised every ciphertext of a list to its own share, in one short message.

Source: Chaum and Pedersen (CRYPTO 1992) in a group of unknown order as Shoup has it (EUROCRYPT
2000, section 2.2): equal discrete logarithms of x_j^4 -> c_j^2 and v -> v_i, made non-interactive
by Fiat and Shamir. Many ciphertexts are folded into one by coefficients of 128 bits that are hashed
from everything (small exponents test of Bellare, Garay and Rabin, EUROCRYPT 1998).

Folding is sound where no element but 1 has a small order: an error of order 2 would survive with
probability 1/2. So statements are about squares, and partial decryptions are only ever used squared
(the 2 in the exponents of ``threshold.py``). The squares modulo a product of safe primes form a
cyclic group of order p'q', so that soundness rests on no assumption but the random oracle: a false
statement passes with probability about 2^-127 a try.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from protocols.errors import MisuseError, ShareError
from protocols.paillier.integers import absorb, hash_to_bytes, invert, mpz, powmod
from protocols.paillier.messages import CHALLENGE_BYTES
from protocols.paillier.multi_exponentiation import product_of_powers
from protocols.paillier.threshold import STEP, Partial, are_units, check_units
from protocols.paillier.threshold_key import (
    SLACK_BITS,
    KeyShare,
    ThresholdKey,
    join_residues,
    residue_to_bytes,
)
from protocols.prg import RandomBytes

_LABEL_STATEMENT: Final = b"securefed threshold statement v1"
_LABEL_COEFFICIENTS: Final = b"securefed threshold coefficients v1"
_LABEL_CHALLENGE: Final = b"securefed threshold challenge v1"


@dataclass(frozen=True, slots=True)
class PartialProof:
    """Challenge and response.

    Attributes:
        challenge: 16 bytes, the hash of the first message.
        response: big-endian, exactly :func:`response_bytes` long.
    """

    challenge: bytes
    response: bytes = field(repr=False)


def response_bytes(key: ThresholdKey) -> int:
    """Return the length of a response under this key."""
    return (_nonce_bits(key) + 1 + 7) // 8


def prove(
    key: ThresholdKey,
    share: KeyShare,
    ciphertexts: Sequence[mpz],
    partial: Partial,
    *,
    binding: bytes,
    random: RandomBytes,
) -> PartialProof:
    """Prove that ``partial`` is this trustee's, for all ciphertexts together.

    Args:
        key: the key.
        share: of the trustee who proves.
        ciphertexts: what was decrypted.
        partial: what :func:`~protocols.paillier.threshold.partial_decryption` gave for them.
        binding: digest of where this belongs: agreement, round, request.
        random: asked once; the proof would give the share away if it were predictable.

    Raises:
        MisuseError: a partial of another trustee, or not one value per ciphertext.
    """
    if partial.index != share.index or len(partial.values) != len(ciphertexts):
        raise MisuseError("a trustee proves its own partial decryption of these ciphertexts")
    n, bits = key.n, _nonce_bits(key)
    statement = _statement(key, ciphertexts, partial, binding)
    folded, _ = _fold(key, ciphertexts, partial, statement)
    nonce = mpz(int.from_bytes(random((bits + 7) // 8), "big")) >> (-bits % 8)
    first = powmod(folded, 4 * nonce, n), powmod(key.base, nonce, n)
    challenge = _challenge(key, statement, *first)
    response = nonce + int.from_bytes(challenge, "big") * key.delta * share.value
    return PartialProof(challenge, int(response).to_bytes(response_bytes(key), "big"))


def check_proof(
    key: ThresholdKey,
    ciphertexts: Sequence[mpz],
    partial: Partial,
    proof: PartialProof,
    *,
    binding: bytes,
    name: str,
) -> None:
    """Check a partial decryption of a list of ciphertexts.

    Sizes are looked at before any arithmetic.

    Args:
        key: the key.
        ciphertexts: what should have been decrypted; units of the right range.
        partial: from the wire.
        proof: from the wire.
        binding: as in :func:`prove`.
        name: who is named when it is refused.

    Raises:
        UnknownPartyError: there is no such trustee.
        ShareError: the partial decryption is wrong, or its proof is; ``name`` made it.
        MisuseError: ``ciphertexts`` are none.
    """
    committed = key.verification_of(partial.index, name, STEP)
    if len(proof.challenge) != CHALLENGE_BYTES or len(proof.response) != response_bytes(key):
        raise ShareError(name, STEP, "its proof has another length")
    if len(partial.values) != len(ciphertexts):
        reason = f"{len(partial.values)} partial decryptions for {len(ciphertexts)} ciphertexts"
        raise ShareError(name, STEP, reason)
    n = key.n
    if not are_units(partial.values, n, n):
        raise ShareError(name, STEP, "a partial decryption is no unit modulo n")
    check_units(key, ciphertexts)
    statement = _statement(key, ciphertexts, partial, binding)
    folded, answer = _fold(key, ciphertexts, partial, statement)
    challenge = mpz(int.from_bytes(proof.challenge, "big"))
    response = mpz(int.from_bytes(proof.response, "big"))
    first = (
        powmod(folded, 4 * response, n) * invert(powmod(answer, 2 * challenge, n), n) % n,
        powmod(key.base, response, n) * invert(powmod(committed, challenge, n), n) % n,
    )
    if not hmac.compare_digest(_challenge(key, statement, *first), proof.challenge):
        raise ShareError(name, STEP, "its partial decryption is not that of its share")


def _nonce_bits(key: ThresholdKey) -> int:
    # The nonce exceeds challenge times exponent by the slack.
    exponent = key.share_bits + int(key.delta.bit_length())
    return exponent + 8 * CHALLENGE_BYTES + SLACK_BITS


def _statement(
    key: ThresholdKey, ciphertexts: Sequence[mpz], partial: Partial, binding: bytes
) -> bytes:
    """Hash everything that the proof is about; the key's digest covers v's seed and every v_i."""
    return absorb(
        _LABEL_STATEMENT,
        binding,
        key.digest(),
        residue_to_bytes(key, key.base),
        partial.index.to_bytes(4, "big"),
        residue_to_bytes(key, key.verification[partial.index - 1]),
        join_residues(ciphertexts, key.ciphertext_bytes),
        join_residues(partial.values, key.residue_bytes),
    ).digest()


def _fold(
    key: ThresholdKey, ciphertexts: Sequence[mpz], partial: Partial, statement: bytes
) -> tuple[mpz, mpz]:
    size = CHALLENGE_BYTES
    stream = hash_to_bytes(size * len(ciphertexts), _LABEL_COEFFICIENTS, statement)
    coefficients = [
        int.from_bytes(stream[start : start + size], "big") for start in range(0, len(stream), size)
    ]
    n = key.n
    reduced = [ciphertext % n for ciphertext in ciphertexts]
    return (
        product_of_powers(reduced, coefficients, n),
        product_of_powers(partial.values, coefficients, n),
    )


def _challenge(key: ThresholdKey, statement: bytes, first: mpz, second: mpz) -> bytes:
    state = absorb(
        _LABEL_CHALLENGE, statement, residue_to_bytes(key, first), residue_to_bytes(key, second)
    )
    return state.digest()[:CHALLENGE_BYTES]
