"""Candidates for a factor without small primes, and the test that a modulus has two primes.

Boneh and Franklin, "Efficient generation of shared RSA keys" (J. ACM 48(4), 2001): factors are sums
of private summands; the sieve is in the spirit of its section 5, the test is that of section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from math import ceil
from typing import Final

from protocols.paillier.generation_sharing import GenerationContext
from protocols.paillier.integers import (
    gcd,
    hash_to_integer,
    invert,
    is_prime,
    isqrt,
    jacobi,
    mpz,
    powmod,
    primorial,
)
from protocols.paillier.key_checks import SMALL_FACTOR_BOUND
from protocols.prg import RandomBytes, uniform_below

FIXED: Final = 12
"""Every factor is 11 modulo 12: 3 modulo 4 for the test, and prime to 3 without a sieve."""
TRIALS: Final = 64
"""A modulus that is not of two primes passes each with probability at most 1/2, most far less; as
candidates are random, hardly any of the worst kind is ever met (Boneh and Franklin, section 3)."""

_LABEL_BASE: Final = b"securefed biprimality base v1"
_FREE_BITS: Final = 40
"""Bits of a summand above the sieve's modulus, so that rounding costs no more than one."""


@dataclass(frozen=True, slots=True)
class Sieve:
    """Small primes modulo which candidates are made units.

    Attributes:
        primes: from 5 up, above the number of parties.
        modulus: their product.
        units: 1 modulo the prime at the same place and 0 modulo all others.
    """

    primes: tuple[int, ...]
    modulus: mpz
    units: tuple[mpz, ...]


@lru_cache(4)
def sieve_for(half: int, parties: int) -> Sieve:
    """Return the sieve for factors of ``half`` bits: as many primes as a summand has room for."""
    room = max(half - 2 - parties.bit_length() - FIXED.bit_length() - _FREE_BITS, 8)
    primes: list[int] = []
    modulus = mpz(1)
    for candidate in count(5, 2):
        if candidate <= parties or not is_prime(candidate):
            continue
        if (modulus * candidate).bit_length() > room and primes:
            break
        primes.append(candidate)
        modulus *= candidate
    units = tuple(modulus // prime * invert(modulus // prime, prime) % modulus for prime in primes)
    return Sieve(tuple(primes), modulus, units)


def tries_for(sieve: Sieve, wanted: int) -> int:
    """Return how many tries leave ``wanted`` residues for the smallest prime, nearly always."""
    least = sieve.primes[0]
    # Neither 0 nor 1, and two random residues that are not 0.
    share = (least - 2) * (least - 1) ** 2 / least**3
    return ceil(wanted / share) + 4 * int(isqrt(wanted)) + 8


def residues(
    sieve: Sieve, own: Sequence[mpz], opened: Sequence[mpz], less_one: Sequence[mpz]
) -> list[mpz]:
    """Put together our summands, modulo the sieve's modulus, of sums that are not 0 or 1.

    Args:
        sieve: the sieve.
        own: our summand of each try.
        opened: each try's sum times a random residue; a unit only if the sum is one.
        less_one: the same of the sum minus one.

    Returns:
        As many as every small prime has tries left for.
    """
    columns = [
        [
            one % prime
            for one, z, w in zip(own, opened, less_one, strict=True)
            if z % prime and w % prime
        ]
        for prime in sieve.primes
    ]
    return [
        sum(map(mpz.__mul__, sieve.units, chosen), mpz(0)) % sieve.modulus
        for chosen in zip(*columns, strict=False)
    ]


def summand(
    context: GenerationContext, sieve: Sieve, index: int, residue: mpz, random: RandomBytes
) -> mpz:
    """Draw our summand of a factor: uniform among those of our range that have this residue.

    The first party's range has the factor's two highest bits, and the others' are short enough that
    no sum carries into them.
    """
    length = (mpz(1) << (context.half - 2)) // context.parties
    start = mpz(3) << (context.half - 2) if index == 1 else mpz(0)
    modulus = FIXED * sieve.modulus
    wanted = FIXED - 1 if index == 1 else 0
    # Chinese remainders: the sieve's modulus has no factor 2 or 3.
    lifted = residue + sieve.modulus * ((wanted - residue) * invert(sieve.modulus, FIXED) % FIXED)
    first = start + (lifted - start) % modulus
    steps = max((start + length - first) // modulus, 1)
    return first + modulus * uniform_below(int(steps), random)


def may_be_modulus(context: GenerationContext, n: mpz) -> bool:
    """Tell whether anything speaks against a candidate that everybody can see."""
    return bool(
        n.bit_length() == context.bits
        and gcd(n, _small_primes()) == 1
        and not n.is_power()
        and not is_prime(n)
    )


@lru_cache(1)
def _small_primes() -> mpz:
    return primorial(SMALL_FACTOR_BOUND)


def biprimality_powers(
    context: GenerationContext, n: mpz, index: int, sums: mpz, trials: range
) -> list[mpz]:
    """Return our powers for the test of n.

    Args:
        context: the generation.
        n: the candidate.
        index: ours.
        sums: our summands of both factors, added.
        trials: numbers of the bases.
    """
    exponent = (n + 1 - sums) // 4 if index == 1 else sums // 4
    return [powmod(_base(context, n, trial), exponent, n) for trial in trials]


def passes(n: mpz, powers: Sequence[mpz]) -> bool:
    """Tell whether the first party's power is plus or minus the product of the others'."""
    total = mpz(1)
    for power in powers[1:]:
        total = total * power % n
    return powers[0] in {total, n - total}


def _base(context: GenerationContext, n: mpz, trial: int) -> mpz:
    """Return a base with Jacobi symbol 1 that nobody chose."""
    encoded = int(n).to_bytes(context.bits // 8, "big")
    attempt, base = 0, mpz(0)
    while jacobi(base, n) != 1:
        place = trial.to_bytes(4, "big") + attempt.to_bytes(4, "big")
        base = hash_to_integer(n, _LABEL_BASE, context.session, encoded, place)
        attempt += 1
    return base
