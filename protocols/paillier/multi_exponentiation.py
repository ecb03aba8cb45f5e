"""Many powers at once: one exponent for many bases, and one product of many powers.

The first is what decrypting costs, and GMP does it in one call without the interpreter lock, so
that threads help. The second is what checking costs: a random combination of thousands of elements
with short exponents. It follows Pippenger ("On the evaluation of powers and monomials", SIAM J.
Comput. 9(2), 1980) in the bucket form of Bernstein et al. ("Faster batch forgery identification",
INDOCRYPT 2012, section 4): no exponentiation per base, but a multiplication per base and window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final, TypeAlias

from protocols.errors import MisuseError
from protocols.paillier.integers import mpz, powmod, powmod_base_list

Powers: TypeAlias = Callable[[Sequence[mpz]], list[mpz]]
Map: TypeAlias = Callable[[Powers, Iterable[Sequence[mpz]]], Iterable[list[mpz]]]
"""Applies a function to each item and yields the results in order, as ``map`` and
``concurrent.futures.Executor.map`` do."""

SLICES_PER_WORKER: Final = 4
"""More slices than workers, so that a worker which was held up does not hold up all others."""
MAX_WINDOW: Final = 16


@dataclass(frozen=True, slots=True)
class Spread:
    """Where long lists of powers are computed.

    Attributes:
        map: ``map``, or the ``map`` of a pool of threads: GMP leaves the interpreter lock.
        workers: threads behind it.
    """

    map: Map = map
    workers: int = 1

    def slices(self, count: int) -> list[slice]:
        """Cut ``range(count)`` into consecutive slices of nearly equal length."""
        wanted = 1 if self.workers < 2 else self.workers * SLICES_PER_WORKER
        pieces = max(1, min(count, wanted))
        ends = [count * piece // pieces for piece in range(pieces + 1)]
        return [slice(low, high) for low, high in pairwise(ends)]


ONE_THREAD: Final = Spread()


def powers(
    bases: Sequence[mpz], exponent: mpz, modulus: mpz, spread: Spread = ONE_THREAD
) -> list[mpz]:
    """Return ``base ** exponent mod modulus`` for each base, in order; ``exponent`` >= 0.

    GMP's sliding window depends on the exponent alone and is not constant-time.
    """

    def some(part: Sequence[mpz]) -> list[mpz]:
        computed: list[mpz] = powmod_base_list(list(part), exponent, modulus)
        return computed

    parts = spread.map(some, [bases[piece] for piece in spread.slices(len(bases))])
    return list(chain.from_iterable(parts))


def product_of_powers(bases: Sequence[mpz], exponents: Sequence[int], modulus: mpz) -> mpz:
    """Return the product of ``base ** exponent`` over all pairs, modulo ``modulus``.

    Args:
        bases: any number of residues.
        exponents: one for each base, >= 0; short ones are what this is good at.
        modulus: > 1.

    Raises:
        MisuseError: not one exponent per base, or a negative one.
    """
    if len(bases) != len(exponents) or any(exponent < 0 for exponent in exponents):
        raise MisuseError("a product of powers takes one exponent, not negative, for each base")
    bits = max((exponent.bit_length() for exponent in exponents), default=0)
    width = _window(len(bases), bits)
    mask = (1 << width) - 1
    result = mpz(1)
    for shift in range((bits - 1) // width * width, -1, -width) if bits else ():
        # 2^width by squaring; the first time the result is 1.
        result = powmod(result, 1 << width, modulus)
        digits = [exponent >> shift & mask for exponent in exponents]
        result = result * _window_product(bases, digits, width, modulus) % modulus
    return result


def _window(count: int, bits: int) -> int:
    # A window of w bits costs a multiplication per base and two per bucket.
    return min(range(1, MAX_WINDOW + 1), key=lambda w: -(-bits // w) * (count + 2 ** (w + 1)))


def _window_product(bases: Sequence[mpz], digits: Sequence[int], width: int, modulus: mpz) -> mpz:
    """Return the product of ``base ** digit`` for digits below ``2 ** width``."""
    buckets: list[mpz | None] = [None] * (1 << width)
    for base, digit in zip(bases, digits, strict=True):
        if digit:
            held = buckets[digit]
            buckets[digit] = base if held is None else held * base % modulus
    # Sum over digits of digit * bucket, as running products from the highest digit down.
    running, total = mpz(1), mpz(1)
    for held in reversed(buckets[1:]):
        if held is not None:
            running = running * held % modulus
        total = total * running % modulus
    return total
