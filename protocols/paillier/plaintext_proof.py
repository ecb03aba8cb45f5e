"""Proof that a party knows every plaintext of a vector of ciphertexts, in one short message.

Without it a party could send another's ciphertexts, or multiples of them, as its own. Source: the
protocol of Schnorr in the group that 1 + n and h_s generate (Damgard, Jurik and Nielsen 2010,
section 4), made non-interactive by Fiat and Shamir, on the product of all ciphertexts to powers of
128 bits that are hashed from everything (small exponents test of Bellare, Garay and Rabin,
EUROCRYPT 1998).

Of a prover who answers two challenges and two choices of one power one extracts the plaintext of
that ciphertext modulo n: all differences are below 2^128 and n has no factor as small, so they have
inverses. That needs no assumption on the unknown order; what is not extracted is the exponent of
h_s, and nothing depends on that. ``docs/paillier.md`` has the argument.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from protocols.errors import InputError, MisuseError, ProofError
from protocols.paillier.ciphertexts import ciphertexts_to_bytes
from protocols.paillier.encryption import Encrypted
from protocols.paillier.integers import (
    absorb,
    hash_to_bytes,
    invert,
    mpz,
    powmod,
    product,
    unlocked,
    whole,
)
from protocols.paillier.key_checks import MAX_BITS
from protocols.paillier.keys import PublicKey
from protocols.paillier.pairs import fold
from protocols.prg import RandomBytes, Ranges, uniform_below

CHALLENGE_BYTES: Final = 16
MAX_CIPHERTEXTS: Final = 2**32
PROOF_STEP: Final = "encrypt"

_SLACK_BYTES: Final = 16
"""Responses hide the exponents up to a statistical distance of 2^-128."""
_SUM_BYTES: Final = 4 + 1
"""For the sum over as many ciphertexts, and a carry."""

_LABEL_STATEMENT: Final = b"securefed plaintext statement v1"
_LABEL_POWERS: Final = b"securefed plaintext powers v1"
_LABEL_CHALLENGE: Final = b"securefed plaintext challenge v1"


class PlaintextProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Challenge and responses; below 1 kB whatever the length of the vector.

    Attributes:
        challenge: 16 bytes, the hash of the first message.
        plaintext: response for the plaintexts, modulo n, big-endian.
        exponent: response for the exponents of h_s, an integer, big-endian.
    """

    challenge: Annotated[
        bytes, msgspec.Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)
    ]
    plaintext: Annotated[bytes, msgspec.Meta(max_length=MAX_BITS // 8)]
    exponent: Annotated[bytes, msgspec.Meta(max_length=MAX_BITS // 8)]

    def __repr__(self) -> str:
        return f"PlaintextProof({self.challenge.hex()})"


def prove_plaintexts(
    encrypted: Encrypted, *, agreement: bytes, round_: int, party: str, random: RandomBytes
) -> PlaintextProof:
    """Prove knowledge of what :func:`protocols.paillier.encryption.encrypt` encrypted.

    One exponentiation, and hashing, whatever the length of the vector.

    Args:
        encrypted: by the prover.
        agreement: digest of the agreement, 32 bytes.
        round_: number of the round.
        party: name of the prover.
        random: the proof would give the plaintexts away if it were predictable.

    Raises:
        MisuseError: no ciphertexts, or too many.
    """
    key, count = encrypted.key, len(encrypted.ciphertexts)
    if not 0 < count < MAX_CIPHERTEXTS:
        raise MisuseError(f"a proof speaks of at least one ciphertext, not of {count}")
    statement = _statement(key, encrypted.ciphertexts, agreement, round_, party)
    powers = _powers(statement, count)
    n, square, size = mpz(key.n), mpz(key.n_squared), _exponent_bytes(key)
    plaintext = sum(map(mpz.__mul__, encrypted.plaintexts, powers), mpz(0)) % n
    exponent = sum(map(mpz.__mul__, map(mpz, encrypted.exponents), powers), mpz(0))
    hiding = mpz(uniform_below(key.n, random))
    # One byte below the length of a response, so that the sum fits it.
    blind = mpz(uniform_below(1 << 8 * (size - 1), random))
    message = (1 + hiding * n) * powmod(key.h_s, blind, square) % square
    challenge = _challenge(key, statement, message)
    e = mpz.from_bytes(challenge, "big")
    return PlaintextProof(
        challenge,
        ((hiding + e * plaintext) % n).to_bytes(key.bits // 8, "big"),
        (blind + e * exponent).to_bytes(size, "big"),
    )


def check_plaintexts(
    key: PublicKey,
    ciphertexts: Sequence[mpz],
    proof: PlaintextProof,
    *,
    agreement: bytes,
    round_: int,
    party: str,
    step: str = PROOF_STEP,
    ranges: Ranges | None = None,
) -> None:
    """Check that ``party`` knows what it encrypted, for this round and no other.

    Sound for keys that :func:`protocols.paillier.key_proof.open_key` let pass.

    Args:
        key: under which the vector is encrypted.
        ciphertexts: as :func:`protocols.paillier.ciphertexts.ciphertexts_from_bytes` returns them.
        proof: hostile.
        agreement: digest of the agreement, 32 bytes.
        round_: number of the round.
        party: whose vector it has to be; named when the proof is refused.
        step: protocol step for the same purpose.
        ranges: divides the vector among threads.

    Raises:
        ProofError: the proof does not hold for this vector, key, agreement, round and party.
    """

    def refuse(reason: str) -> ProofError:
        return ProofError(party, step, f"does not prove that it knows what it encrypted: {reason}")

    n, square, count = mpz(key.n), mpz(key.n_squared), len(ciphertexts)
    if not 0 < count < MAX_CIPHERTEXTS:
        raise refuse(f"there are {count} ciphertexts")
    if (len(proof.plaintext), len(proof.exponent)) != (key.bits // 8, _exponent_bytes(key)):
        raise refuse("another length")
    plaintext, exponent, e = (
        mpz.from_bytes(one, "big") for one in (proof.plaintext, proof.exponent, proof.challenge)
    )
    if plaintext >= n:
        raise refuse("a number is out of range")
    statement = _statement(key, ciphertexts, agreement, round_, party)
    try:
        folded = _fold(ciphertexts, _powers(statement, count), n, ranges)
    except InputError as error:
        raise refuse(str(error)) from error
    answer = (1 + plaintext * n) * powmod(key.h_s, exponent, square)
    message = answer * invert(powmod(folded, e, square), square) % square
    if not hmac.compare_digest(_challenge(key, statement, message), proof.challenge):
        raise refuse("the challenge is another")


def _exponent_bytes(key: PublicKey) -> int:
    """Length of the response for exponents of |n|/2 bits: powers, challenge, sum and slack."""
    return key.bits // 16 + 2 * CHALLENGE_BYTES + _SUM_BYTES + _SLACK_BYTES


def _statement(
    key: PublicKey, ciphertexts: Sequence[mpz], agreement: bytes, round_: int, party: str
) -> bytes:
    vector = hashlib.sha256(ciphertexts_to_bytes(key, ciphertexts)).digest()
    facts = len(ciphertexts).to_bytes(8, "big"), round_.to_bytes(8, "big")
    about = (agreement, *facts, party.encode(), key.digest(), vector)
    return absorb(_LABEL_STATEMENT, *about).digest()


def _powers(statement: bytes, count: int) -> list[mpz]:
    joined = hash_to_bytes(CHALLENGE_BYTES * count, _LABEL_POWERS, statement)
    return [
        mpz.from_bytes(joined[low : low + CHALLENGE_BYTES], "big")
        for low in range(0, len(joined), CHALLENGE_BYTES)
    ]


def _fold(ciphertexts: Sequence[mpz], powers: Sequence[mpz], n: mpz, ranges: Ranges | None) -> mpz:
    """Return the product of the ciphertexts to the powers."""
    parts: list[mpz] = []

    def work(start: int, stop: int) -> None:
        with unlocked():
            parts.append(fold(ciphertexts[start:stop], powers[start:stop], n))

    (ranges or whole)(work, len(ciphertexts))
    return product(parts, n * n)


def _challenge(key: PublicKey, statement: bytes, message: mpz) -> bytes:
    encoded = message.to_bytes(key.ciphertext_bytes, "big")
    return hash_to_bytes(CHALLENGE_BYTES, _LABEL_CHALLENGE, statement, encoded)
