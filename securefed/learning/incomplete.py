"""Rows with gaps: NaN is a missing feature value, for tasks that say what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError
from securefed.data.table import Data, checked, shared_columns


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class IncompleteData(Data):
    """Rows whose features may be NaN, which means missing; labels are finite.

    A task that knows nothing of gaps refuses them at the party.
    """

    def __post_init__(self) -> None:
        features = numeric("features", self.features)
        complete = Data(np.where(np.isnan(features), 0.0, features), self.labels, self.columns)
        object.__setattr__(self, "features", np.ascontiguousarray(features))
        object.__setattr__(self, "labels", complete.labels)
        object.__setattr__(self, "columns", complete.columns)

    def __repr__(self) -> str:
        return f"IncompleteData({len(self)} rows, {self.features.shape[1]} features)"

    def take(self, rows: NDArray[np.int64]) -> Data:
        """Return the given rows, in that order."""
        return IncompleteData(self.features[rows], self.labels[rows], self.columns)


def with_features(data: Data, features: NDArray[np.float64]) -> Data:
    """Return the same labels with other features; NaN stays a gap.

    Names of columns are kept where there are as many columns as before.
    """
    columns = data.columns if features.shape == data.features.shape else None
    kind = IncompleteData if np.isnan(features).any() else Data
    return kind(features, data.labels, columns)


def pool(parts: Sequence[Data]) -> Data:
    """Return the rows of all parts, gaps included.

    Raises:
        InputError: no part, or parts with different numbers or names of features.
    """
    columns = shared_columns(parts)
    return IncompleteData(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
        columns,
    )


def require_no_gaps(data: Data) -> None:
    """Raise InputError where a feature is missing; names the column."""
    gaps = np.isnan(data.features).any(axis=0)
    if gaps.any():
        raise InputError(
            f"features column {int(np.argmax(gaps))} has missing values; "
            "impute them first, for instance with FederatedImputer"
        )


def require_bounded(features: NDArray[np.float64], bound: float) -> None:
    """Raise InputError where a feature exceeds the agreed bound; names the column."""
    over = (np.abs(features) > bound).any(axis=0)
    if over.any():
        raise InputError(
            f"features column {int(np.argmax(over))} exceeds feature_bound = {bound:g}; "
            "change its unit or agree on a larger feature_bound"
        )


def numeric(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return a table of numbers in which NaN is a gap, shape (rows, columns).

    Raises:
        InputError: not numeric, another number of dimensions, or Inf; names the array.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return checked(name, array, ndim=2)
    gaps = np.isnan(array)
    return np.where(gaps, np.nan, checked(name, np.where(gaps, 0, array), ndim=2))
