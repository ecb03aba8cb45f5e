"""One evaluation: companies, test rows, and what is publicly known about the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefed.data import Data


@dataclass(frozen=True, slots=True)
class Column:
    """Public knowledge about a column: where its values lie and how far they scatter."""

    name: str
    center: float = 0.0
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows at companies and rows to test on, with the public description of their columns.

    Attributes:
        parts: rows of each company.
        test: rows to test on.
        columns: of both.
        owners: of each test row, the company that it came from; None where it came from none.
    """

    parts: tuple[Data, ...]
    test: Data
    columns: tuple[Column, ...]
    owners: NDArray[np.int64] | None = None

    def public_units(self) -> dict[str, object]:
        """Return the agreement parameters that scale the columns by public knowledge."""
        return {
            "features": len(self.columns),
            "feature_center": [column.center for column in self.columns],
            "feature_unit": [column.unit for column in self.columns],
        }


def one_hot(name: str, categories: Sequence[str]) -> list[Column]:
    """Return a column of zeros and ones for each category."""
    return [Column(f"{name}={category}") for category in categories]
