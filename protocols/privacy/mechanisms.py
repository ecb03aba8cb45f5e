"""Discrete Gaussian noise: exact, from cryptographic randomness, faster than a rounded normal.

Wide distributions are sums of narrow ones, X = X_1 + k X_2, each drawn from its own alias table;
the convolution is D_Z(0, s_1^2 + k^2 s_2^2) up to a relative 2^-168 when s_1 s_2 / sigma is at
least the square root of 6 (``docs/theory/lattice-lemma.md``, section 4). With what the tables cost,
a value is within statistical distance 2^-100 of the discrete Gaussian, and a release of d
values within d * 2^-100.

Side channels: the time does not depend on the values drawn, except that one draw in 2^16 is
settled by a second look, and that table look-ups leave traces in the caches of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError, PrivacyParameterError
from protocols.prg import SEED_BYTES, RandomBytes, Ranges, expand
from protocols.privacy.alias_table import (
    MAX_TABLE_VARIANCE,
    MIN_VARIANCE,
    PREFIX_BITS,
    AliasTable,
    build_table,
    discrete_gaussian_weights,
)

MAX_VARIANCE: Final = Fraction(2**80)
SMOOTHING: Final = 6
"""Least s_1^2 s_2^2 / sigma^2 of a convolution; the lemma's s^2."""

DISTANCE_BITS: Final = 100
"""A value is within statistical distance 2^-100 of its distribution; proved with room to spare."""

_CHUNK: Final = 32 * 1024
"""Values drawn at a time: keystream, look-ups and output stay in the level 2 cache."""

_LEVEL_BLOCKS: Final = 2**64
_TIE_BLOCKS: Final = 2**96
_WORDS_PER_BLOCK: Final = 4


@dataclass(frozen=True, slots=True)
class DiscreteGaussian:
    """D_Z(0, variance): integer x with probability proportional to exp(-x^2 / 2 variance).

    Attributes:
        variance: squared parameter, in squared grid units, 1/16..2^80. The variance of the values
            themselves equals it up to a relative 2^-160 from 6 grid units on.

    Raises:
        PrivacyParameterError: the variance is outside this range.
    """

    variance: Fraction

    def __post_init__(self) -> None:
        if not MIN_VARIANCE <= self.variance <= MAX_VARIANCE:
            raise PrivacyParameterError(
                "variance",
                f"{float(self.variance):g} squared grid units are not within 1/16 to 2^80; "
                "choose another scale",
            )

    @classmethod
    def of_deviation(cls, sigma: float) -> DiscreteGaussian:
        """Return the distribution with parameter ``sigma``, in grid units; the float is exact.

        Raises:
            PrivacyParameterError: sigma is not finite, or not within 1/4 to 2^40.
        """
        if not (math.isfinite(sigma) and sigma > 0):
            raise PrivacyParameterError("sigma", f"{sigma} is no standard deviation")
        return cls(Fraction(sigma) ** 2)

    def sample(
        self, count: int, random: RandomBytes, *, ranges: Ranges | None = None
    ) -> NDArray[np.int64]:
        """Draw ``count`` independent values.

        Args:
            count: number of values, >= 0.
            random: asked once, for the 32-byte key of the keystream. Whoever knows the key knows
                the noise.
            ranges: how to partition the work, at once here unless given; the values do not depend
                on it.

        Returns:
            Integers, shape (count,), grid units.

        Raises:
            MisuseError: ``count`` is negative.
        """
        if count < 0:
            raise MisuseError(f"cannot draw {count} values")
        key = random(SEED_BYTES)
        levels = _levels(self.variance)
        out = np.empty(count, np.int64)

        def work(start: int, stop: int) -> None:
            for low in range(start, stop, _CHUNK):
                _fill(out[low : min(low + _CHUNK, stop)], levels, key, low)

        if ranges is None:
            work(0, count)
        else:
            ranges(work, count)
        return out


@dataclass(frozen=True, slots=True)
class Level:
    """One table of a convolution and the factor of its values."""

    factor: int
    table: AliasTable


def _fill(out: NDArray[np.int64], levels: Sequence[Level], key: bytes, start: int) -> None:
    """Write values ``start``, ``start + 1``, .. of the stream of ``key``.

    Value i reads word i of the region of each level: the high bits choose a column, the low 16 are
    compared with the threshold. The regions lie 2^64 blocks apart, the bits for ties 2^96 further.
    """
    offset = -sum(level.factor * level.table.half_width for level in levels)
    for number, level in enumerate(levels):
        indices = _look_up(level.table, key, number, start, out.size)
        if number == 0:
            np.add(indices, offset, out=out, dtype=np.int64)
        else:
            out += np.multiply(indices, level.factor, dtype=np.int64)


def _look_up(
    table: AliasTable, key: bytes, number: int, start: int, count: int
) -> NDArray[np.uint32]:
    """Draw indices ``start``, ``start + 1``, .. of the table of level ``number``."""
    words = expand(key, count, 32, start + _WORDS_PER_BLOCK * _LEVEL_BLOCKS * number)
    columns = words >> np.uint32(32 - table.column_bits)
    entries = table.entries.take(columns.astype(np.intp), mode="wrap")
    words <<= np.uint32(PREFIX_BITS)
    # Below the entry: below its threshold, or a tie, which is settled last.
    own = words < entries
    words ^= entries
    ties = np.flatnonzero(words < np.uint32(2**PREFIX_BITS)).tolist()
    entries &= np.uint32(2**PREFIX_BITS - 1)
    np.copyto(entries, columns, where=own)
    for at in ties:
        entries[at] = _settle(table, key, number, start + at, int(columns[at]))
    return entries


def _settle(table: AliasTable, key: bytes, number: int, position: int, column: int) -> int:
    """Decide a tie with the 128 bits that are set aside for this value."""
    block = _TIE_BLOCKS + _LEVEL_BLOCKS * number + position
    more = int.from_bytes(expand(key, 2, 64, 2 * block).tobytes(), "little")
    return table.settle(column, more)


@lru_cache(maxsize=16)
def _levels(variance: Fraction) -> tuple[Level, ...]:
    """Split a variance into tables: the first with factor 1, each next one coarser."""
    levels: list[Level] = []
    factor = 1
    while variance > MAX_TABLE_VARIANCE:
        step, fine = split_variance(variance)
        levels.append(Level(factor, build_table(discrete_gaussian_weights(Fraction(fine)))))
        variance = (variance - fine) / step**2
        factor *= step
    levels.append(Level(factor, build_table(discrete_gaussian_weights(variance))))
    return tuple(levels)


def split_variance(variance: Fraction) -> tuple[int, int]:
    """Choose k and s_1^2 with ``variance = s_1^2 + k^2 s_2^2`` and ``s_1 s_2 >= sqrt(6) sigma``.

    The tables are of about equal width where two suffice, and the first one is as wide as a table
    may be where more are needed.

    Returns:
        (k, s_1^2), integers; s_1^2 fits one table.

    Raises:
        PrivacyParameterError: the variance is too small to be split.
    """
    most = math.isqrt(int(MAX_TABLE_VARIANCE) // (SMOOTHING + 1))
    step = min(math.isqrt(math.isqrt(int(variance) // SMOOTHING)), most)
    # s_1^2 (1 - s_1^2 / sigma^2) >= 6 k^2 holds with this margin as long as 6 k^2 < sigma^2 / 5.
    fine = SMOOTHING * step**2
    fine += math.ceil(Fraction(2 * fine**2) / variance)
    if step < 2 or fine * (variance - fine) < SMOOTHING * step**2 * variance:
        raise PrivacyParameterError(
            "variance", f"{float(variance):g} is too small to be split into two tables"
        )
    return step, fine
