"""From the factors' summands to shares of the root exponent 1 / n, over the integers.

With beta uniform and theta = beta phi mod n opened, D = (1 + zeta beta phi) / n for zeta =
-1 / theta mod n is an integer with D n = 1 modulo phi (after Boneh and Franklin, J. ACM 48(4),
2001, section 6, where the exponent is public and short). Each party gets a summand of D and shares
it by a polynomial over the integers (Rabin, CRYPTO 1998) with constant Delta times the summand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import factorial

from protocols.paillier.generation_sharing import (
    GenerationContext,
    Points,
    draw,
    next_prime,
    weights_at_zero,
)
from protocols.paillier.integers import invert, mpz
from protocols.paillier.threshold_key import SLACK_BITS, generated_share_bits
from protocols.prg import RandomBytes

TOP_BITS = 64
"""Of a summand modulo the field's prime: enough to count how often the sum has wrapped."""


@dataclass(frozen=True, slots=True)
class RootRing:
    """Bounds for one modulus n.

    Attributes:
        n: the modulus.
        blind: bound on what multiplies n to hide the integer beta phi: 2^128 times k^2 n.
        prime: of the field in which beta phi + n rho does not wrap, by so far that the tops of
            random summands of beta phi tell nothing of it.
    """

    n: mpz
    blind: mpz
    prime: mpz

    @classmethod
    def of(cls, context: GenerationContext, n: mpz) -> RootRing:
        """Return the bounds for n."""
        blind = n * context.parties**2 << SLACK_BITS
        return cls(n, blind, next_prime(4 * context.parties * n * blind << TOP_BITS))


@dataclass(frozen=True, slots=True)
class Summand:
    """Our summand of zeta beta phi / n, rounded down, and what the rounding lost.

    Attributes:
        quotient: kept.
        remainder: told; what it tells is theta.
        top: highest bits of our summand of beta phi; told.
    """

    quotient: mpz = field(repr=False)
    remainder: mpz
    top: mpz


def own_phi(n: mpz, index: int, sums: mpz) -> mpz:
    """Return our summand of phi = n + 1 - p - q; negative for all but the first."""
    return n + 1 - sums if index == 1 else -sums


def split_summand(
    context: GenerationContext, ring: RootRing, index: int, point: mpz, theta: mpz
) -> Summand:
    """Turn our point of beta phi into a summand of the root exponent.

    Args:
        context: the generation.
        ring: its bounds.
        index: ours.
        point: of a polynomial of degree 2 tau with beta phi at 0, made random.
        theta: beta phi mod n, invertible.
    """
    weight = weights_at_zero(context.parties, ring.prime)[index - 1]
    ours = weight * point % ring.prime
    quotient, remainder = divmod(-invert(theta, ring.n) % ring.n * ours, ring.n)
    return Summand(quotient, remainder, (ours << TOP_BITS) // ring.prime)


def correction(ring: RootRing, theta: mpz, remainders: Sequence[mpz], tops: Sequence[mpz]) -> mpz:
    """Return what everybody knows to be missing from the sum of quotients to make it D.

    beta phi is far below the prime, so that the tops sum to nearly a whole number of wraps.
    """
    half = mpz(1) << (TOP_BITS - 1)
    wraps = (sum(tops, mpz(0)) + half) >> TOP_BITS
    zeta = -invert(theta, ring.n) % ring.n
    return (1 + sum(remainders, mpz(0)) - zeta * wraps * ring.prime) // ring.n


def deal_summand(
    context: GenerationContext, ring: RootRing, summand: mpz, random: RandomBytes
) -> dict[int, list[mpz]]:
    """Share a summand of D over the integers: Delta times it at 0, every coefficient far longer."""
    delta = mpz(factorial(context.parties))
    bound = ring.prime * delta**2 << SLACK_BITS
    coefficients = draw(context.threshold - 1, bound, random)
    dealt = {}
    for index in range(1, context.parties + 1):
        point = mpz(0)
        for coefficient in coefficients:
            point = (point + coefficient) * index
        dealt[index] = [point + delta * summand]
    return dealt


def share_bound(context: GenerationContext) -> mpz:
    """Return what no share and no part of one reaches."""
    return mpz(1) << generated_share_bits(context.bits, context.parties)


def combined_share(received: Points) -> mpz:
    """Add what all parties dealt us."""
    return sum((values[0] for values in received.values()), mpz(0))
