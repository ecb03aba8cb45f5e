"""What is publicly known of items, as numbers: kinds, texts, measures.

Item features are no company's secret, so nothing here needs a secure sum.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError
from securefed.data.table import checked

_WORD: Final = re.compile(r"\w+")
MAX_COLUMNS: Final = 100_000
"""Most columns that one block of features may have."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemFeatures:
    """A table of numbers about all items.

    Attributes:
        matrix: shape (items, columns), finite.
        names: of the columns.
    """

    matrix: NDArray[np.float64] = field(repr=False)
    names: tuple[str, ...]

    @classmethod
    def of_kinds(cls, kinds: Sequence[Iterable[str]]) -> Self:
        """One column a kind: 1 where an item is of it. An item may be of several or none."""
        listed = [set(one) for one in kinds]
        names = tuple(sorted(set().union(*listed)))
        place = {name: column for column, name in enumerate(names)}
        return cls._filled(len(listed), names, [{place[one]: 1.0 for one in row} for row in listed])

    @classmethod
    def of_texts(cls, texts: Sequence[str], *, terms: int = 1000, min_items: int = 2) -> Self:
        """Words by TF-IDF, rows of length 1: (1 + log tf) * (log((1 + n) / (1 + df)) + 1).

        Args:
            texts: one an item; may be empty.
            terms: keep the words of most items, at most so many.
            min_items: drop words of fewer items.
        """
        counted = [Counter(_WORD.findall(text.lower())) for text in texts]
        spread = Counter(word for row in counted for word in row)
        common = sorted(spread, key=lambda word: (-spread[word], word))[:terms]
        names = tuple(word for word in common if spread[word] >= min_items)
        place = {name: column for column, name in enumerate(names)}
        rarity = {name: math.log((1 + len(texts)) / (1 + spread[name])) + 1 for name in names}
        rows = [
            {
                place[word]: (1 + math.log(count)) * rarity[word]
                for word, count in row.items()
                if word in place
            }
            for row in counted
        ]
        made = cls._filled(len(texts), names, rows)
        return cls(unit_length(made.matrix), made.names)

    @classmethod
    def of_numbers(cls, table: ArrayLike, names: Sequence[str]) -> Self:
        """Columns of numbers, each with mean 0 and deviation 1; a constant column becomes 0.

        Raises:
            InputError: NaN, Inf, or another number of names than of columns.
        """
        values = checked("item features", table, ndim=2)
        if values.shape[1] != len(names):
            raise InputError(f"{values.shape[1]} columns of item features and {len(names)} names")
        spread = values.std(axis=0)
        scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return cls(scaled, tuple(names))

    @classmethod
    def beside(cls, blocks: Sequence[Self], weights: Sequence[float] | None = None) -> Self:
        """Put blocks side by side, each item's row of a block scaled to length ``weight``.

        Raises:
            InputError: no block, or blocks of different numbers of items or weights.
        """
        sizes = [1.0] * len(blocks) if weights is None else list(weights)
        if len({len(block.matrix) for block in blocks}) != 1 or len(sizes) != len(blocks):
            raise InputError("give blocks over the same items, and one weight a block")
        parts = [
            unit_length(block.matrix) * size for block, size in zip(blocks, sizes, strict=True)
        ]
        names = tuple(name for block in blocks for name in block.names)
        return cls(np.concatenate(parts, axis=1), names)

    @classmethod
    def _filled(cls, items: int, names: tuple[str, ...], rows: Sequence[dict[int, float]]) -> Self:
        if not 1 <= len(names) <= MAX_COLUMNS:
            raise InputError(f"the item features have {len(names)} columns, 1 to {MAX_COLUMNS} do")
        matrix = np.zeros((items, len(names)))
        for item, row in enumerate(rows):
            matrix[item, list(row)] = list(row.values())
        return cls(matrix, names)


def unit_length(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of length 1, shape (items, columns); zero rows stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))
