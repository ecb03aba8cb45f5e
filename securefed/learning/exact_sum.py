"""Exact sums of named arrays, each with its own bound and resolution: the one primitive.

Every value is a whole number of resolutions, written in balanced words of up to 40 bits. A ring of
at most 53 bits holds every word's sum over up to 1000 parties, so that nothing is rounded but what
a party itself rounds: the sum is the same in whatever order, and however rows lie at the parties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from securefed.learning.layout import Arrays, Layout
from securefed.learning.task import Numbers

WORD_BITS: Final = 40
_MOST_PARTIES: Final = 1000
"""That an agreement may name."""
_MIN_SCALE: Final = 2.0
"""Above 1, so that the agreed scale has to be a power of two: whole numbers are exact then."""
_SPARE_BITS: Final = 2 + 1
"""For the sign, for rounding upwards, and for the least scale."""
_MAX_WORDS: Final = 8


@dataclass(frozen=True, slots=True)
class Summand:
    """One named array of a sum.

    Attributes:
        shape: of the array.
        bound: largest absolute value of an entry of one party.
        resolution: what a party rounds to; lowered to a power of two. 1 for counts.
        word_bits: of a word; the longest word in a sum decides on the ring of all.
    """

    shape: tuple[int, ...]
    bound: float
    resolution: float = 1.0
    word_bits: int = WORD_BITS

    def __post_init__(self) -> None:
        if not (0 < self.bound < math.inf and 0 < self.resolution < math.inf):
            raise MisuseError("bound and resolution of a summand are above 0 and finite")
        if self.words > _MAX_WORDS:
            raise MisuseError(
                f"a bound of {self.bound:g} at a resolution of {self.resolution:g} takes more than "
                f"{_MAX_WORDS * WORD_BITS} bits; choose a larger resolution"
            )

    @property
    def step(self) -> float:
        """The power of two that values are rounded to."""
        return math.ldexp(1.0, math.floor(math.log2(self.resolution)))

    @property
    def words(self) -> int:
        """Words of an entry."""
        return max(1, math.ceil((math.log2(self.bound) - math.log2(self.step)) / self.word_bits))

    @property
    def units(self) -> NDArray[np.float64]:
        """Value of the last bit of each word, highest word first."""
        exponents = np.arange(self.words - 1, -1, -1, dtype=np.float64)
        return np.asarray(self.step * 2.0 ** (self.word_bits * exponents), dtype=np.float64)

    @property
    def largest_word(self) -> float:
        """Largest absolute value of a word of one party."""
        top = float(math.ceil(self.bound / self.units[0]))
        return top if self.words == 1 else max(top, 2.0 ** (self.word_bits - 1))


@dataclass(frozen=True, slots=True)
class ExactSum:
    """Named arrays whose sums over the parties are exact.

    ``ExactSum.of({"rows": Summand((), bound=1e6)})``
    """

    summands: tuple[tuple[str, Summand], ...]
    parties: int = _MOST_PARTIES

    @classmethod
    def of(cls, summands: Mapping[str, Summand], parties: int = _MOST_PARTIES) -> ExactSum:
        """Build a sum over at most so many parties from an ordered mapping of names."""
        return cls(tuple(summands.items()), parties)

    def layout(self) -> Layout:
        """Return names and shapes of what is summed: words first, then the array's own shape."""
        return Layout.of({name: (one.words, *one.shape) for name, one in self.summands})

    def numbers(self) -> Numbers:
        """Return the smallest ring that the parties cannot wrap."""
        bound = max(one.largest_word for _, one in self.summands)
        bits = math.ceil(math.log2(bound)) + math.ceil(math.log2(self.parties)) + _SPARE_BITS
        return Numbers(bound=bound, modulus_bits=min(64, bits), min_scale=_MIN_SCALE)

    def zeros(self) -> Arrays:
        """Return an array of zeros for every name, to be filled in by a task."""
        return {name: np.zeros(one.shape) for name, one in self.summands}

    def encode(self, values: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return one party's words.

        Raises:
            InputError: a missing or unknown name, a wrong shape, NaN, Inf, or a value above the
                array's bound; names the array.
        """
        if set(values) != {name for name, _ in self.summands}:
            raise InputError(
                f"the party sums {sorted(values)}, the agreement says "
                f"{sorted(name for name, _ in self.summands)}"
            )
        return {name: _split(name, one, values[name]) for name, one in self.summands}

    def decode(self, total: Arrays) -> Arrays:
        """Return the sums of the parties' arrays: the nearest float64 of an exact number."""
        return {name: _join(one, total[name]) for name, one in self.summands}


def _split(name: str, summand: Summand, values: NDArray[Any]) -> NDArray[np.float64]:
    rest = np.asarray(values, dtype=np.float64)
    if rest.shape != summand.shape:
        raise InputError(f"{name} has shape {rest.shape}, the agreement says {summand.shape}")
    if not np.isfinite(rest).all():
        raise InputError(f"{name} holds NaN or Inf; fill or drop those rows first")
    if rest.size and np.abs(rest).max() > summand.bound:
        raise InputError(
            f"{name} exceeds its agreed bound of {summand.bound:g}; "
            "agree on a larger bound or bring fewer rows"
        )
    words = np.empty((summand.words, *summand.shape))
    for index, unit in enumerate(summand.units):
        words[index] = np.rint(rest / unit)
        rest = rest - words[index] * unit
    return words


def _join(summand: Summand, words: NDArray[np.float64]) -> NDArray[np.float64]:
    digits, unit = np.array(words, dtype=np.float64), 2.0**summand.word_bits
    # Carries are whole numbers below 2^53; balanced digits then add up without cancelling.
    for index in range(summand.words - 1, 0, -1):
        carry = np.rint(digits[index] / unit)
        digits[index] -= carry * unit
        digits[index - 1] += carry
    total = np.zeros(summand.shape)
    for index in range(summand.words - 1, -1, -1):
        total = total + digits[index] * summand.units[index]
    return np.asarray(total, dtype=np.float64)
