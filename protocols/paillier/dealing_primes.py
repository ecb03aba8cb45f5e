"""Safe primes for threshold keys: p = 2p' + 1 with p' prime.

Both are 3 modulo 4, and gcd(p - 1, q - 1) = 2, which the short-exponent base of a Paillier key
needs. The squares modulo n = pq form a cyclic group of order p'q' without any small factor, which
the proofs of partial decryptions need.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from protocols.paillier.integers import is_prime, mpz, powmod
from protocols.paillier.primes import PRIMALITY_ROUNDS
from protocols.prg import RandomBytes

SIEVE_BOUND: Final = 2**16
WINDOW: Final = 2**15
"""Candidates sieved at once, p' = start + 2k."""
MIN_PRIME_BITS: Final = 64
_MIN_DISTANCE_BITS: Final = 100
"""|p - q| > 2^(|p| - 100), against Fermat's factoring (FIPS 186-5 section A.1.3)."""


def safe_primes(bits: int, random: RandomBytes) -> tuple[mpz, mpz]:
    """Draw two safe primes whose product has exactly ``bits`` bits. Seconds at 2048, more above.

    Args:
        bits: length of the product, a multiple of 16.
        random: asked for ``bits / 16`` bytes for each window that is searched.

    Raises:
        MisuseError: another length.
    """
    half = bits // 2
    if bits % 16 or half < MIN_PRIME_BITS:
        raise MisuseError(f"no safe primes for a modulus of {bits} bits")
    first = safe_prime(half, random)
    distance = mpz(1) << max(half - _MIN_DISTANCE_BITS, 1)
    while True:
        second = safe_prime(half, random)
        if abs(first - second) > distance:
            return first, second


def safe_prime(bits: int, random: RandomBytes) -> mpz:
    """Draw a safe prime of ``bits`` bits whose two highest bits are set.

    A window of candidates after a random start is sieved for p' and 2p' + 1 at once, then searched
    upwards. That favours primes after a gap, which costs a few bits of entropy out of hundreds and
    helps nobody to factor (Brandt and Damgard, CRYPTO 1992).
    """
    while True:
        start = mpz(int.from_bytes(random(bits // 8), "big")) >> 1
        start |= (mpz(3) << (bits - 3)) | 1
        for offset in np.flatnonzero(_survivors(start)).tolist():
            half = start + 2 * offset
            prime = 2 * half + 1
            if prime.bit_length() > bits:
                break
            if _is_safe(half, prime):
                return prime


def _is_safe(half: mpz, prime: mpz) -> bool:
    # One power weeds out nearly all; both numbers then pass the full test.
    return bool(
        powmod(2, prime - 1, prime) == 1
        and is_prime(half, PRIMALITY_ROUNDS)
        and is_prime(prime, PRIMALITY_ROUNDS)
    )


def _survivors(start: mpz) -> NDArray[np.bool_]:
    """Tell which k leave neither start + 2k nor its double plus one with a small factor."""
    primes = _small_primes()
    alive = np.ones(WINDOW, dtype=np.bool_)
    residues = np.array([int(start % prime) for prime in primes.tolist()], dtype=np.int64)
    halves = (primes + 1) // 2  # the inverse of 2
    # start + 2k = 0, and start + 2k = -1/2.
    for target in (np.zeros_like(primes), primes - halves):
        first = (target - residues) % primes * halves % primes
        for prime, position in zip(primes.tolist(), first.tolist(), strict=True):
            alive[position::prime] = False
    return alive


@lru_cache(1)
def _small_primes() -> NDArray[np.int64]:
    """Return the odd primes below the bound."""
    sieve = np.ones(SIEVE_BOUND, dtype=np.bool_)
    sieve[:2] = False
    for one in range(2, int(SIEVE_BOUND**0.5) + 1):
        if sieve[one]:
            sieve[one * one :: one] = False
    return np.flatnonzero(sieve)[1:].astype(np.int64)
