"""Proof that a modulus is a Paillier-Blum modulus, which anybody can check.

n = pq with two different primes, both 3 modulo 4, and gcd(n, (p - 1)(q - 1)) = 1. Source: Canetti,
Gennaro, Goldfeder, Makriyannis and Peled, CCS 2020 (ePrint 2021/060), figure 16, made
non-interactive by Fiat and Shamir. Each of the 128 challenges halves a cheater's chance.

The n-th roots of the figure are asked for eight challenges only: the key has no factor below 2^20
(``key_checks.py``), so that each of them convicts with a probability of 1 - 2^-20 (Goldberg,
Reyzin, Sagga and Baldimtsi, ASIACRYPT 2019). ``docs/paillier.md`` has the argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Annotated, Final

import msgspec

from protocols.errors import ProofError
from protocols.paillier.integers import gcd, hash_to_integer, invert, jacobi, mpz, powmod
from protocols.paillier.key_checks import MAX_BITS
from protocols.paillier.keys import PrivateKey, PublicKey
from protocols.prg import RandomBytes, uniform_below

CHALLENGES: Final = 128
ROOTS: Final = 8

_LABEL: Final = b"securefed modulus proof v1"
_MAX_BYTES: Final = MAX_BITS // 8


class ModulusProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the owner of a modulus answers to challenges hashed from it.

    Integers are big-endian and as long as the modulus.

    Attributes:
        w: an element with Jacobi symbol -1.
        roots: n-th roots of the first eight challenges, joined.
        fourth_roots: x_i with x_i^4 = (-1)^a w^b y_i for the 128 challenges y_i, joined.
        choices: a + 2b for each.
    """

    w: Annotated[bytes, msgspec.Meta(max_length=_MAX_BYTES)]
    roots: Annotated[bytes, msgspec.Meta(max_length=ROOTS * _MAX_BYTES)]
    fourth_roots: Annotated[bytes, msgspec.Meta(max_length=CHALLENGES * _MAX_BYTES)]
    choices: Annotated[bytes, msgspec.Meta(min_length=CHALLENGES, max_length=CHALLENGES)]

    def __repr__(self) -> str:
        return f"ModulusProof({len(self.fourth_roots)} bytes of roots)"


def prove_modulus(
    key: PrivateKey, *, agreement: bytes, prover: str, random: RandomBytes
) -> ModulusProof:
    """Prove that the modulus is well formed. About 0.3 s at 2048 bits and 1 s at 3072.

    Args:
        key: of the prover.
        agreement: digest of the agreement, 32 bytes.
        prover: name in the agreement.
        random: for w, the only choice of the prover.
    """
    public, p, q = key.public, mpz(key.p), mpz(key.q)
    n = mpz(public.n)
    w = mpz(0)
    while jacobi(w, n) != -1:
        w = mpz(uniform_below(public.n, random))
    size = public.bits // 8
    inverse = invert(n, (p - 1) * (q - 1))
    coefficient = invert(p, q)
    roots, fourth_roots, choices = [], [], []
    for index, y in enumerate(challenges(public, w, agreement, prover)):
        if index < ROOTS:
            roots.append(powmod(y, inverse, n).to_bytes(size, "big"))
        # -1 is no square modulo either prime, w is one modulo exactly one of them.
        flip = jacobi(y, p) != jacobi(y, q)
        square = y * w % n if flip else y
        negate = jacobi(square, p) == -1
        square = -square % n if negate else square
        low, high = _fourth_root(square, p), _fourth_root(square, q)
        fourth_roots.append((low + p * ((high - low) * coefficient % q)).to_bytes(size, "big"))
        choices.append(negate + 2 * flip)
    return ModulusProof(
        w.to_bytes(size, "big"), b"".join(roots), b"".join(fourth_roots), bytes(choices)
    )


def check_modulus(
    key: PublicKey, proof: ModulusProof, *, agreement: bytes, prover: str, step: str
) -> None:
    """Check a proof. About 25 ms at 2048 bits and 80 ms at 3072.

    That n is odd, composite and without a small factor was checked when ``key`` came to be.

    Args:
        key: of which the proof speaks.
        proof: hostile.
        agreement: digest of the agreement, 32 bytes.
        prover: whose proof it has to be; named when it is refused.
        step: protocol step for the same purpose.

    Raises:
        ProofError: the proof does not hold for this key, agreement and prover.
    """

    def refuse(reason: str) -> ProofError:
        return ProofError(prover, step, f"its Paillier modulus is not proved well formed: {reason}")

    n, size = mpz(key.n), key.bits // 8
    lengths = (len(proof.w), len(proof.roots), len(proof.fourth_roots), len(proof.choices))
    if lengths != (size, ROOTS * size, CHALLENGES * size, CHALLENGES):
        raise refuse("another length")
    [w] = _split(proof.w, size)
    roots, fourth_roots = _split(proof.roots, size), _split(proof.fourth_roots, size)
    if any(not 0 < value < n for value in (w, *roots, *fourth_roots)) or max(proof.choices) > 3:
        raise refuse("a number is out of range")
    if jacobi(w, n) != -1:
        raise refuse("w has not the Jacobi symbol -1")
    for index, y in enumerate(challenges(key, w, agreement, prover)):
        if index < ROOTS and powmod(roots[index], n, n) != y:
            raise refuse("a root is wrong")
        choice = proof.choices[index]
        square = y * w % n if choice & 2 else y
        square = -square % n if choice & 1 else square
        if powmod(fourth_roots[index], 4, n) != square:
            raise refuse("a fourth root is wrong")


def challenges(key: PublicKey, w: mpz, agreement: bytes, prover: str) -> Iterator[mpz]:
    """Yield the challenges: units modulo n, hashed from all that the proof is about."""
    n, size = mpz(key.n), key.bits // 8
    about = (agreement, prover.encode(), key.to_bytes(), w.to_bytes(size, "big"))
    for index in range(CHALLENGES):
        for attempt in count():
            place = index.to_bytes(2, "big") + attempt.to_bytes(4, "big")
            y = hash_to_integer(n, _LABEL, *about, place)
            if gcd(y, n) == 1:
                yield y
                break


def _fourth_root(square: mpz, prime: mpz) -> mpz:
    """Return the fourth root that is a square, of a square modulo a prime that is 3 modulo 4."""
    exponent = (prime + 1) // 4
    return powmod(square, exponent * exponent % ((prime - 1) // 2), prime)


def _split(joined: bytes, size: int) -> list[mpz]:
    return [mpz.from_bytes(joined[low : low + size], "big") for low in range(0, len(joined), size)]
