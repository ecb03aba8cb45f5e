"""Elements of Z*_{n^2} as pairs (a, c) for a (1 + c n), whose products need half the work.

The product of several is prod a_i (1 + n sum c_i) modulo n^2: factors of half the length, and sums.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocols.errors import InputError
from protocols.paillier.integers import gcd, invert, mpz
from protocols.paillier.multi_exponentiation import product_of_powers


def split(values: Sequence[mpz], n: mpz) -> tuple[list[mpz], list[mpz]]:
    """Return all a and all c, with one inversion for all values (Montgomery's trick).

    Args:
        values: residues modulo n^2.
        n: the modulus.

    Raises:
        InputError: a value that shares a factor with n.
    """
    quotients, residues = zip(*(divmod(value, n) for value in values), strict=True)
    before = [mpz(1)]
    for residue in residues:
        before.append(before[-1] * residue % n)
    if gcd(before[-1], n) != 1:
        raise InputError("a ciphertext shares a factor with the modulus")
    inverse = invert(before.pop(), n)
    scales = []
    for residue, quotient, prefix in zip(
        reversed(residues), reversed(quotients), reversed(before), strict=True
    ):
        scales.append(inverse * prefix % n * quotient % n)
        inverse = inverse * residue % n
    scales.reverse()
    return list(residues), scales


def fold(values: Sequence[mpz], powers: Sequence[mpz], n: mpz) -> mpz:
    """Return the product of the values to the powers, modulo n^2.

    Args:
        values: units modulo n^2, at least one.
        powers: one for each, >= 0, short.
        n: the modulus.

    Raises:
        InputError: a value that shares a factor with n.
    """
    residues, scales = split(values, n)
    square = n * n
    scale = sum(map(mpz.__mul__, scales, powers), mpz(0)) % n
    return product_of_powers(residues, powers, square) * (1 + scale * n) % square
