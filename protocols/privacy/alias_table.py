"""The discrete Gaussian as a table: exact integer weights, drawn from in constant time.

The weights of D_Z(0, v), proportional to exp(-x^2 / 2v), are computed in 256-bit fixed point, cut
where the two tails hold at most 2^-108, and rounded down to multiples of 2^-128; what rounding took
goes to zero, so that they sum to exactly 2^128 and stay symmetric. Walker's alias method (Walker
1977; Vose 1991) then lays them out in 2^k columns of equal weight, in exact integers.

Statistical distance of one draw from D_Z(0, v): at most 2^-108 for the tails and 2^-128 for each of
at most 2^16 values, together below 2^-107. ``docs/theory/lattice-lemma.md`` counts it in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import PrivacyParameterError

WEIGHT_BITS: Final = 128
TAIL_BITS: Final = 108
PREFIX_BITS: Final = 16
"""Bits of a threshold that the first look at a draw compares."""

MIN_VARIANCE: Final = Fraction(1, 16)
MAX_TABLE_VARIANCE: Final = Fraction(2**22)
"""12.1 standard deviations on each side still fit 2^16 columns."""

_WORK_BITS: Final = 256
_ONE: Final = 1 << _WORK_BITS


@dataclass(frozen=True, slots=True, eq=False)
class AliasTable:
    """A distribution over ``-half_width..half_width`` in 2^column_bits columns of equal weight.

    Column j yields the value of index j when a uniform integer below 2^(128 - column_bits) is below
    ``thresholds[j]``, else that of index ``aliases[j]``. Index i stands for ``i - half_width``.

    Attributes:
        column_bits: k, 1..16.
        half_width: largest absolute value.
        thresholds: 2^k integers in [0, 2^(128 - k)].
        aliases: 2^k indices.
        entries: threshold prefix (high 16 bits) and alias (low 16 bits) of each column, one 32-bit
            word, so that a draw touches one cache line; shape (2^k,).
    """

    column_bits: int
    half_width: int
    thresholds: tuple[int, ...]
    aliases: tuple[int, ...]
    entries: NDArray[np.uint32]

    def settle(self, column: int, more: int) -> int:
        """Decide a draw whose first 16 bits equal the prefix of the threshold of its column.

        Args:
            column: its column.
            more: a uniform integer below 2^128; its high bits go on where the prefix ended.

        Returns:
            The index drawn.
        """
        rest = WEIGHT_BITS - self.column_bits - PREFIX_BITS
        threshold = self.thresholds[column]
        below = (more >> (WEIGHT_BITS - rest)) < (threshold & ((1 << rest) - 1))
        return column if below else self.aliases[column]


def discrete_gaussian_weights(variance: Fraction) -> list[int]:
    """Return the weights of 0, 1, .., M of D_Z(0, variance); -x weighs what x does.

    Args:
        variance: squared standard deviation, 1/16..2^22.

    Returns:
        M + 1 integers; the first plus twice the others is exactly 2^128.

    Raises:
        PrivacyParameterError: the variance is outside this range.
    """
    if not MIN_VARIANCE <= variance <= MAX_TABLE_VARIANCE:
        raise PrivacyParameterError(
            "variance", f"one table holds variances of 1/16 to 2^22, not {float(variance):g}"
        )
    masses, total = _masses(variance)
    weights = [(mass << WEIGHT_BITS) // total for mass in masses]
    weights[0] += (1 << WEIGHT_BITS) - weights[0] - 2 * sum(weights[1:])
    return weights


def build_table(weights: list[int]) -> AliasTable:
    """Lay symmetric weights out in columns, exactly.

    Args:
        weights: of 0, 1, .., M, as from :func:`discrete_gaussian_weights`; M < 2^15.

    Returns:
        The table. What its columns give to each value sums to that value's weight.
    """
    half_width = len(weights) - 1
    left = [*reversed(weights[1:]), *weights]
    used = len(left)
    column_bits = (used - 1).bit_length()
    columns = 1 << column_bits
    full = 1 << (WEIGHT_BITS - column_bits)
    left += [0] * (columns - used)
    thresholds, aliases = [full] * columns, list(range(columns))
    small = [index for index, weight in enumerate(left) if weight < full]
    large = [index for index, weight in enumerate(left) if weight > full]
    # The total is columns * full: while one column lacks weight, another has too much.
    while small:
        poor, rich = small.pop(), large[-1]
        thresholds[poor], aliases[poor] = left[poor], rich
        left[rich] -= full - left[poor]
        if left[rich] <= full:
            large.pop()
            if left[rich] < full:
                small.append(rich)
    rest = WEIGHT_BITS - column_bits - PREFIX_BITS
    # A full column is its own alias: whichever side a draw falls on, it yields the column.
    prefixes = np.array([min(each >> rest, 2**PREFIX_BITS - 1) for each in thresholds], np.uint32)
    entries = (prefixes << np.uint32(PREFIX_BITS)) | np.array(aliases, np.uint32)
    return AliasTable(
        column_bits,
        half_width,
        tuple(thresholds),
        tuple(aliases),
        entries.astype("<u4"),
    )


def _masses(variance: Fraction) -> tuple[list[int], int]:
    """Compute exp(-x^2 / 2v) * 2^256 for x = 0..M, and their two-sided sum.

    Each mass is the last times exp(-(2x + 1) / 2v), itself a running product. Every factor is below
    one and every product is rounded down once, so the absolute error of mass x is below
    x^2 * 2^(25 - 256): for x < 2^15 less than 2^-201, nothing beside the 2^-128 of a weight.
    """
    half = _exp_of_minus(Fraction(1, 2) / variance)
    whole = (half * half) >> _WORK_BITS
    masses, total = [_ONE], _ONE
    mass, step = half, half
    while True:
        # Beyond x the ratio of neighbours only falls: a geometric series bounds the tail.
        step = (step * whole) >> _WORK_BITS
        if (2 * mass << (_WORK_BITS + TAIL_BITS)) <= total * (_ONE - step):
            return masses, total
        masses.append(mass)
        total += 2 * mass
        mass = (mass * step) >> _WORK_BITS


def _exp_of_minus(x: Fraction) -> int:
    """Compute exp(-x) * 2^256 for 0 < x <= 8 by its series, to within 2^22 units."""
    term, total, n = _ONE, _ONE, 1
    while term:
        term = term * x.numerator // (x.denominator * n)
        total += -term if n % 2 else term
        n += 1
    return total
