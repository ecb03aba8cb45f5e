"""Real vectors as vectors over Z_{2^b}.

A value is scaled, rounded to the integer grid and kept modulo 2^b, negatives as two's complement.
Sums of parties' words are then sums of their integers, exactly, as long as the true sum lies in
the centred interval of Z_{2^b}; :class:`FixedPoint` refuses parameters under which it might not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from protocols.errors import EncodingOverflowError, InputError, MisuseError
from protocols.packing import check_bits, pack, packed_size, unpack, unpack_add, word_bits_for
from protocols.prg import SEED_BYTES, RandomBytes, Words, expand, word_type

__all__ = ["FixedPoint", "pack", "packed_size", "unpack", "unpack_add", "word_bits_for"]

MAX_GRID_UNITS: Final = 2**52
"""Integers up to here, and the halves between them, are exact in float64."""

_CHUNK: Final = 32 * 1024
"""Values handled at a time: temporaries stay in the level 2 cache."""
_FRACTION_BITS: Final = 53


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """The agreed map between reals and Z_{2^modulus_bits}.

    Attributes:
        modulus_bits: 2..64. Words are held in the smallest of 16, 32 and 64 bits; masks are added
            modulo 2 to that width, and the low ``modulus_bits`` travel.
        scale: grid units per model unit, > 0.
        bound: the largest absolute value of any party, model units, > 0.
        parties: terms in the sum, >= 1.

    Raises:
        MisuseError: an attribute outside these ranges.
        EncodingOverflowError: the sum could wrap, or a value exceeds 2^52 grid units.
    """

    modulus_bits: int
    scale: float
    bound: float
    parties: int

    def __post_init__(self) -> None:
        check_bits(self.modulus_bits)
        if self.parties < 1:
            raise MisuseError(f"a sum of {self.parties} parties has no terms")
        if not (0 < self.scale < math.inf and 0 < self.bound < math.inf):
            raise MisuseError("scale and bound are positive and finite")
        product = self.bound * self.scale
        if not product < MAX_GRID_UNITS:
            raise EncodingOverflowError(
                "bound times scale is 2^52 or more, which float64 does not hold exactly; "
                "choose a smaller scale"
            )
        # Either rounding moves a value by less than one grid unit.
        largest_sum = self.parties * (math.floor(product) + 1)
        if largest_sum >= 2 ** (self.modulus_bits - 1):
            raise EncodingOverflowError(
                f"{self.parties} parties with bound {self.bound:g} and scale {self.scale:g} can "
                f"sum to {largest_sum} grid units, which needs modulus_bits of at least "
                f"{largest_sum.bit_length() + 1}, not {self.modulus_bits}; "
                "raise modulus_bits or choose a smaller scale or bound"
            )

    @property
    def word_bits(self) -> int:
        """Width of the words that hold an encoded vector: 16, 32 or 64."""
        return word_bits_for(self.modulus_bits)

    def encode(
        self,
        values: NDArray[np.float64],
        *,
        rounding: Literal["nearest", "stochastic"],
        random: RandomBytes,
    ) -> Words:
        """Map model values onto the grid, modulo 2^modulus_bits.

        Nearest rounding errs by at most half a grid unit, ties to even. Stochastic rounding goes up
        with the probability of the fraction, so that its expectation is the scaled value, up to
        2^-53 of a grid unit; a value on the grid, zero above all, stays as it is.

        Args:
            values: shape (d,), float64, model units, absolute values at most ``bound``.
            rounding: ``"nearest"`` or ``"stochastic"``.
            random: asked for one 32-byte seed when rounding stochastically, else not at all, and
                only after the values have been accepted.

        Returns:
            Words in ``[0, 2^modulus_bits)``, shape (d,).

        Raises:
            InputError: another shape or dtype, or a NaN or Inf.
            EncodingOverflowError: an absolute value above ``bound``.
            MisuseError: an unknown rounding.
        """
        if rounding not in ("nearest", "stochastic"):
            raise MisuseError(f"rounding is nearest or stochastic, not {rounding!r}")
        self._check(values)
        seed = random(SEED_BYTES) if rounding == "stochastic" else None
        words = np.empty(values.size, word_type(self.word_bits))
        low_bits = np.uint64(2**self.modulus_bits - 1)
        for low in range(0, values.size, _CHUNK):
            scaled = values[low : low + _CHUNK] * self.scale
            if seed is None:
                grid = np.rint(scaled)
            else:
                grid = _round_stochastically(scaled, expand(seed, scaled.size, 64, low))
            words[low : low + _CHUNK] = grid.astype(np.int64).view(np.uint64) & low_bits
        return words

    def decode(self, total: Words) -> NDArray[np.float64]:
        """Map a sum of encoded vectors back to model units.

        Only the low ``modulus_bits`` of each word count. The integer sum is exact; as a float it is
        the nearest one.

        Args:
            total: words of ``word_bits`` bits, shape (d,).

        Returns:
            Centred representatives over ``scale``, shape (d,), model units.

        Raises:
            MisuseError: words of another width.
        """
        if total.dtype != word_type(self.word_bits):
            raise MisuseError(f"an encoded sum has words of {self.word_bits} bits")
        return decode_centred(total, self.modulus_bits, self.scale)

    def _check(self, values: NDArray[np.float64]) -> None:
        if values.dtype != np.float64 or values.ndim != 1:
            raise InputError(
                f"an update is a flat float64 array, not {values.dtype} of {values.ndim} dimensions"
            )
        if values.size == 0:
            return
        # min and max propagate NaN, and need no second array.
        lowest, highest = float(values.min()), float(values.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise InputError(
                "the update holds NaN or Inf; check the data and the learning rate. Nothing left "
                "this party"
            )
        if max(-lowest, highest) > self.bound:
            raise EncodingOverflowError(
                f"the update holds a value outside the agreed bound of {self.bound:g}; clip it. "
                "Nothing left this party"
            )


def decode_centred(total: Words, bits: int, scale: float) -> NDArray[np.float64]:
    """Return centred representatives over ``scale``, and hold nothing else of that length.

    Args:
        total: a sum in the ring, shape (d,), of the width of :func:`word_bits_for`; only the low
            ``bits`` of each word count.
        bits: of the ring, 2..64.
        scale: grid units per model unit.
    """
    # The sign bit of the ring moves to the sign bit of the word and back.
    width = word_bits_for(bits)
    spare = width - bits
    decoded = np.empty(total.size)
    for low in range(0, total.size, _CHUNK):
        signed = np.left_shift(total[low : low + _CHUNK], spare).view(f"<i{width // 8}")
        np.right_shift(signed, spare, out=signed)
        np.divide(signed, scale, out=decoded[low : low + _CHUNK], dtype=np.float64)
    return decoded


def _round_stochastically(scaled: NDArray[np.float64], coins: Words) -> NDArray[np.float64]:
    """Round each value away from zero with the probability of its fraction, else towards zero."""
    grid = np.trunc(scaled)
    # Exact in float64, unlike the distance to the floor of a small negative value.
    fraction = np.abs(scaled - grid)
    uniform = np.ldexp(
        (coins >> np.uint64(64 - _FRACTION_BITS)).astype(np.float64), -_FRACTION_BITS
    )
    grid += np.copysign(uniform < fraction, scaled)
    return grid
