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
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from protocols.errors import MisuseError, PrivacyParameterError
from protocols.prg import BLOCK_BYTES, SEED_BYTES, RandomBytes, Ranges
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

_CHUNK: Final = 64 * 1024
"""Values drawn at a time: long enough to hide the overhead of a call, short enough for caches."""

_ZEROS: Final = memoryview(bytes(4 * _CHUNK))

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
            _fill(out[start:stop], levels, key, start)

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
    reach = sum(level.factor * level.table.half_width for level in levels)
    # Sums of indices times factors, which are not negative; the narrower word is the faster one.
    width = np.uint32 if 2 * reach < 2**32 else np.uint64
    size = min(_CHUNK, out.size)
    sums, products, draws = np.empty(size, width), np.empty(size, width), Draws(size)
    streams = [_keystream(key, _LEVEL_BLOCKS * n, start) for n in range(len(levels))]
    for low in range(0, out.size, _CHUNK):
        piece = out[low : low + _CHUNK]
        total, product = sums[: piece.size], products[: piece.size]
        for number, level in enumerate(levels):
            indices, ties = draws.draw(level.table, streams[number], piece.size)
            for at in ties:
                more = _tie_bits(key, number, start + low + at)
                indices[at] = level.table.settle(int(draws.columns[at]), more)
            if number == 0:
                np.copyto(total, indices)
            else:
                np.multiply(indices, width(level.factor), out=product)
                np.add(total, product, out=total)
        np.subtract(total, reach, out=piece, dtype=np.int64)


class Draws:
    """Draws from one table after the other, in buffers that are used again.

    Attributes:
        columns: those of the last draw.
    """

    __slots__ = ("_entries", "_flags", "_positions", "_words", "columns")

    def __init__(self, size: int) -> None:
        """Make buffers for draws of up to ``size`` values."""
        self._words, self._entries = np.empty(size, "<u4"), np.empty(size, "<u4")
        self._flags, self._positions = np.empty(size, np.bool_), np.empty(size, np.intp)
        self.columns = np.empty(size, np.uint32)

    def draw(
        self, table: AliasTable, stream: CipherContext, count: int
    ) -> tuple[NDArray[np.uint32], list[int]]:
        """Draw indices with the next ``count`` words of a keystream.

        Returns:
            The indices, shape (count,), overwritten by the next draw; and where a tie is left to be
            settled.
        """
        words, entries, flags = self._words[:count], self._entries[:count], self._flags[:count]
        columns, positions = self.columns[:count], self._positions[:count]
        stream.update_into(_ZEROS[: words.nbytes], words.view(np.uint8).data)
        np.right_shift(words, 32 - table.column_bits, out=columns)
        np.copyto(positions, columns)
        table.entries.take(positions, out=entries, mode="wrap")
        np.left_shift(words, PREFIX_BITS, out=words)
        # Below the entry: below its threshold, or a tie, which is settled last.
        np.less(words, entries, out=flags)
        np.bitwise_xor(words, entries, out=words)
        np.bitwise_and(entries, 2**PREFIX_BITS - 1, out=entries)
        np.copyto(entries, columns, where=flags)
        np.less(words, 2**PREFIX_BITS, out=flags)
        ties: list[int] = np.flatnonzero(flags).tolist()
        return entries, ties


def _keystream(key: bytes, first_block: int, word: int) -> CipherContext:
    """Open the keystream of ``key`` at a 32-bit word counted from a block."""
    block, lead = divmod(word, _WORDS_PER_BLOCK)
    counter = modes.CTR((first_block + block).to_bytes(BLOCK_BYTES, "big"))
    stream = Cipher(algorithms.AES256(key), counter).encryptor()
    stream.update(bytes(lead * BLOCK_BYTES // _WORDS_PER_BLOCK))
    return stream


def _tie_bits(key: bytes, number: int, position: int) -> int:
    """Return the 128 bits that are set aside for a tie of this value."""
    stream = _keystream(key, _TIE_BLOCKS + _LEVEL_BLOCKS * number + position, 0)
    return int.from_bytes(stream.update(bytes(BLOCK_BYTES)), "little")


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
