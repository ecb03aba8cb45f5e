"""Random primes for Paillier keys, from the passed source of randomness alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from protocols.paillier.integers import gcd, is_prime, mpz, primorial
from protocols.prg import RandomBytes

PRIMALITY_ROUNDS: Final = 64
"""Baillie-PSW and then 40 Miller-Rabin rounds in GMP; a random candidate of 1024 bits that is
composite passes with a probability far below 2^-128 (Damgård, Landrock and Pomerance 1993)."""

_SIEVE_BOUND: Final = 2**14
"""Eleven of twelve candidates have a factor below; one gcd finds it."""


def random_blum_prime(bits: int, random: RandomBytes) -> mpz:
    """Draw a prime that is 3 modulo 4, uniform among those whose two highest bits are set.

    Every candidate is drawn anew, as in FIPS 186-5 section A.1.3, so that no prime is favoured for
    the gap before it. The product of two such primes has exactly ``2 * bits`` bits.

    Args:
        bits: length of the prime, a multiple of 8.
        random: asked for ``bits / 8`` bytes a candidate.
    """
    sieve = _sieve()
    while True:
        candidate = mpz(int.from_bytes(random(bits // 8), "big"))
        candidate |= (mpz(3) << (bits - 2)) | 3
        if gcd(candidate, sieve) == 1 and is_prime(candidate, PRIMALITY_ROUNDS):
            return candidate


@lru_cache(1)
def _sieve() -> mpz:
    return primorial(_SIEVE_BOUND)
