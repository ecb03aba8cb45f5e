"""Half of a decryption, and the check that comes before one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import NoReturn

from protocols.errors import InputError
from protocols.paillier.integers import gcd, invert, mpz, powmod_base_list, unlocked


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Half:
    """Decryption modulo one prime (Paillier 1999, section 7).

    Attributes:
        prime: p or q.
        other: q or p.
    """

    prime: mpz
    other: InitVar[mpz]
    square: mpz = field(init=False)
    scale: mpz = field(init=False)

    def __post_init__(self, other: mpz) -> None:
        prime = self.prime
        object.__setattr__(self, "square", prime * prime)
        # (1 + n)^(p - 1) = 1 + (p - 1) n = 1 - n modulo p^2, which L maps to -q.
        object.__setattr__(self, "scale", invert(-other % prime, prime))

    def __reduce__(self) -> NoReturn:
        raise TypeError("half of a PrivateKey is never serialised")

    def decrypt(self, ciphertexts: Sequence[mpz]) -> list[mpz]:
        """Return the plaintexts modulo the prime."""
        prime, square, scale = self.prime, self.square, self.scale
        with unlocked():
            reduced = [ciphertext % square for ciphertext in ciphertexts]
            powers = powmod_base_list(reduced, prime - 1, square)
            return [(power - 1) // prime * scale % prime for power in powers]


def check_units(values: Sequence[mpz], n: int) -> None:
    """Refuse values of which any is not in Z*_{n^2}, with one gcd for all of them.

    Args:
        values: ciphertexts, hostile; size was bounded when they were read.
        n: modulus of the key.

    Raises:
        InputError: a value not in ``[1, n^2)``, or one that shares a factor with n.
    """
    modulus = mpz(n)
    square = modulus * modulus
    if any(not 0 < value < square for value in values):
        raise InputError("a ciphertext lies outside of 1 to n^2 - 1")
    total = mpz(1)
    with unlocked():
        for value in values:
            total = total * value % modulus
    if gcd(total, modulus) != 1:
        raise InputError("a ciphertext shares a factor with the modulus")
