"""What an array of a ``sum`` task is computed from, as one short text in the agreement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import AgreementError, InputError
from securefed.data.table import Data

_MAX_CELLS: Final = 10**6


@dataclass(frozen=True, slots=True)
class Source:
    """One parsed source.

    Attributes:
        what: ``labels``, ``columns``, ``squares``, ``products``, ``present``, ``codes``,
            ``histogram`` or ``function``.
        columns: feature columns, from 0.
        shape: of the array.
        low, high: where the inner cells of a histogram begin and end.
        function: name of a registered statistic.
    """

    what: str
    columns: tuple[int, ...]
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 0.0
    function: str | None = None

    @property
    def counts_cells(self) -> bool:
        """Entries count rows of one kind, so that small ones would show single people."""
        return self.what in ("codes", "histogram")

    def compute(self, data: Data) -> NDArray[np.float64]:
        """Return one party's array, shape ``shape``; a missing value adds nothing.

        Raises:
            InputError: a code outside the agreed ones; names the column.
        """
        if self.what == "labels":
            return np.asarray(data.labels.sum())
        table = data.features[:, list(self.columns)]
        known = ~np.isnan(table)
        if self.what == "present":
            return np.asarray(known.sum(axis=0), dtype=np.float64)
        if self.what == "codes":
            return count_codes(table[:, 0], self.shape[0], self.columns[0])
        if self.what == "histogram":
            return self._histogram(table[known[:, 0], 0])
        filled = np.where(known, table, 0.0)
        if self.what == "products":
            return np.asarray(filled.T @ filled, dtype=np.float64)
        values = filled**2 if self.what == "squares" else filled
        return np.asarray(values.sum(axis=0), dtype=np.float64)

    def _histogram(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        inner = np.linspace(self.low, self.high, self.shape[0] - 1)
        cells = np.searchsorted(inner, values, side="right")
        return np.bincount(cells, minlength=self.shape[0]).astype(np.float64)


def count_codes(values: NDArray[np.float64], codes: int, column: int) -> NDArray[np.float64]:
    """Return how many rows have each of the codes 0 to codes - 1; missing values are no code.

    Raises:
        InputError: a value that is no such code; names the column.
    """
    present = values[~np.isnan(values)]
    if np.any((present < 0) | (present > codes - 1) | (present != np.floor(present))):
        raise InputError(
            f"features column {column} holds values that are no whole number from 0 to "
            f"{codes - 1}; recode the categories or agree on more"
        )
    return np.bincount(present.astype(np.int64), minlength=codes).astype(np.float64)


def parse_source(text: str, declared: tuple[int, ...], features: int) -> Source:
    """Read a source.

    ``labels``; ``columns:0,2`` (sums), ``squares:0,2``, ``products:0,2`` (X'X), ``present:0,2``
    (rows with a value); ``codes:3/10`` (rows of each code 0 to 9); ``histogram:3/-5/5/20`` (20
    equal cells, one below and one above); ``function:NAME``.

    Raises:
        AgreementError: it is none of these, or names a column that does not exist.
    """
    what, _, rest = text.partition(":")
    try:
        source = _parse(what, rest, declared)
    except (ValueError, OverflowError) as error:
        problem = f"{text[:60]!r} is no source: {error}"
        raise AgreementError("sources", problem, "see docs/estimators.md") from error
    if any(not 0 <= column < features for column in source.columns):
        raise AgreementError(
            "sources", f"{text[:60]!r} names a column outside 0 to {features - 1}", "correct it"
        )
    return source


def _parse(what: str, rest: str, declared: tuple[int, ...]) -> Source:
    if what == "labels" and not rest:
        return Source(what, (), ())
    if what == "function":
        return Source(what, (), declared, function=rest)
    first, *numbers = rest.split("/")
    columns = tuple(int(column) for column in first.split(","))
    if what in ("columns", "squares", "present", "products") and not numbers:
        size = len(columns)
        return Source(what, columns, (size, size) if what == "products" else (size,))
    if what == "codes" and len(numbers) == 1 and len(columns) == 1:
        return Source(what, columns, (_cells(numbers[0]),))
    if what == "histogram" and len(numbers) == 3 and len(columns) == 1:
        low, high = float(numbers[0]), float(numbers[1])
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError("a histogram begins below its end")
        return Source(what, columns, (_cells(numbers[2]) + 2,), low, high)
    raise ValueError("unknown")


def _cells(text: str) -> int:
    cells = int(text)
    if not 1 <= cells <= _MAX_CELLS:
        raise ValueError(f"1 to {_MAX_CELLS} cells")
    return cells
