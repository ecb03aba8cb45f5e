"""What opening a ciphertext needs beside the root: powers and logarithms that hold no secret.

Raising w to n^s modulo n^{s+1} is the dearest part of combining. Anybody may do it for anybody
else: :func:`lifts_hold` checks a whole list for the price of short exponents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocols.paillier.integers import gcd, invert, mpz, powmod, product
from protocols.paillier.multi_exponentiation import (
    ONE_THREAD,
    Spread,
    powers,
    product_of_powers,
)
from protocols.paillier.threshold_key import ThresholdKey
from protocols.prg import RandomBytes

COEFFICIENT_BYTES: Final = 16
"""A false statement among many passes with probability 2^-128."""


def lift(key: ThresholdKey, roots: Sequence[mpz], spread: Spread = ONE_THREAD) -> list[mpz]:
    """Return w^{n^s} mod n^{s+1} for each root w modulo n.

    One factor n at a time: if a = b modulo n^k then a^n = b^n modulo n^{k+1}, so that most of the
    exponent is worked off modulo smaller powers.
    """
    n, lifted = key.n, list(roots)
    for step in range(1, key.degree + 1):
        lifted = powers(lifted, n, n ** (step + 1), spread)
    return lifted


def lifts_hold(
    key: ThresholdKey, roots: Sequence[mpz], lifted: Sequence[mpz], random: RandomBytes
) -> bool:
    """Check that ``lifted`` are the lifts of ``roots``, for two products of short powers.

    A random combination of all pairs is lifted. An error whose square is 1 would pass with
    probability 1/2, so both sides are squared first, and each lift is compared modulo n with the
    root's own power when it is used (:func:`protocols.paillier.threshold.open_with`). What then
    remains has an order that divides a power of n and no small factor (Bellare, Garay and Rabin,
    EUROCRYPT 1998, whose test needs this).

    Args:
        key: the key.
        roots: w.
        lifted: what is said to be w^{n^s} mod n^{s+1}.
        random: 16 bytes for each pair, not known to whoever made the lifts.
    """
    modulus, n = key.cipher_modulus, key.n
    if len(roots) != len(lifted) or not all(0 < one < modulus for one in lifted):
        return False
    if gcd(product(list(lifted), n), n) != 1:
        return False
    drawn = random(COEFFICIENT_BYTES * len(roots))
    coefficients = [
        int.from_bytes(drawn[start : start + COEFFICIENT_BYTES], "big")
        for start in range(0, len(drawn), COEFFICIENT_BYTES)
    ]
    root = product_of_powers(roots, coefficients, n)
    claimed = product_of_powers(lifted, coefficients, modulus)
    [honest] = lift(key, [root])
    return bool(powmod(honest, 2, modulus) == powmod(claimed, 2, modulus))


def logarithm(key: ThresholdKey, power: mpz) -> mpz:
    """Return i in [0, n^s) with (1 + n)^i = ``power`` modulo n^{s+1} (Damgard-Jurik, section 3).

    Args:
        key: the key.
        power: congruent to 1 modulo n.
    """
    n = key.n
    found = mpz(0)
    for j in range(1, key.degree + 1):
        modulus = n**j
        rest = (power % (modulus * n) - 1) // n
        term, index, divisor = found, found, mpz(1)
        for k in range(2, j + 1):
            index -= 1
            divisor *= k
            term = term * index % modulus
            rest = (rest - term * n ** (k - 1) * invert(divisor, modulus)) % modulus
        found = rest % modulus
    return found
