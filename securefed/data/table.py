"""One party's rows, checked once when they are built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError

MAX_ROWS: Final = 2**31
MAX_FEATURES: Final = 2**20
MAX_COLUMN_NAME: Final = 128
"""Longest name of a column, in characters."""
PARTY_COLUMN: Final = "(party)"
"""Name of the column with the party's number that an estimator adds; no agreed column has it."""
ADDED: Final = frozenset({PARTY_COLUMN})


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Data:
    """Rows that never leave their owner.

    Attributes:
        features: shape (rows, features), float64, finite.
        labels: shape (rows,), float64, finite: a class index, a count or a target.
        columns: names of the feature columns, in order, all different; ``None`` where they have
            none. Where the agreement names columns, they have to be these.
    """

    features: NDArray[np.float64]
    labels: NDArray[np.float64]
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", checked("features", self.features, ndim=2))
        object.__setattr__(self, "labels", checked("labels", self.labels, ndim=1))
        if len(self.features) != len(self.labels):
            raise InputError(
                f"features has {len(self.features)} rows and labels {len(self.labels)}; "
                "give every row one label"
            )
        if not 1 <= len(self.labels) <= MAX_ROWS or not 1 <= self.features.shape[1] <= MAX_FEATURES:
            raise InputError(
                f"features has shape {self.features.shape}; give at least one row and one feature"
            )
        if self.columns is not None:
            named = checked_columns(self.columns, self.features.shape[1])
            object.__setattr__(self, "columns", named)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Data({len(self)} rows, {self.features.shape[1]} features)"

    def take(self, rows: NDArray[np.int64]) -> Data:
        """Return the given rows, in that order."""
        return Data(self.features[rows], self.labels[rows], self.columns)


def concatenate(parts: Sequence[Data]) -> Data:
    """Return the rows of all parts: the pooled data that a federation never holds.

    Raises:
        InputError: no part, or parts with different numbers or names of features.
    """
    columns = shared_columns(parts)
    return Data(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
        columns,
    )


def shared_columns(parts: Sequence[Data]) -> tuple[str, ...] | None:
    """Return the names of the columns of all parts; ``None`` unless all have names.

    Raises:
        InputError: no part, or parts with different numbers or names of features.
    """
    if len({part.features.shape[1] for part in parts}) != 1:
        raise InputError("the parts have different numbers of features, or there is none")
    names = {part.columns for part in parts}
    if len(names - {None}) > 1:
        raise InputError("the parts have different columns; bring them into one order first")
    return None if None in names else parts[0].columns


def checked_columns(names: Sequence[Any], count: int) -> tuple[str, ...]:
    """Return names of columns.

    Raises:
        InputError: not ``count`` different, short, printable texts.
    """
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_COLUMN_NAME:
            raise InputError(f"a column's name is a text of 1 to {MAX_COLUMN_NAME} characters")
        if not name.isprintable():
            raise InputError("a column's name holds control characters; rename the column")
    if len(found) != count:
        raise InputError(f"there are {len(found)} names for {count} columns; name every one")
    if len(set(found)) != count:
        twice = next(name for name in found if found.count(name) > 1)
        raise InputError(f"two columns are named {twice!r}; rename one of them")
    return found


def checked(name: str, values: ArrayLike, *, ndim: int) -> NDArray[np.float64]:
    """Return an array as contiguous float64.

    Raises:
        InputError: not numeric, another number of dimensions, NaN or Inf; names the array.
    """
    array: NDArray[Any] = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {array.dtype}; convert it to float64 or integers")
    if array.ndim != ndim:
        raise InputError(f"{name} has {array.ndim} dimensions, {ndim} expected; reshape it")
    result = np.ascontiguousarray(array, dtype=np.float64)
    # min and max carry NaN and Inf through without a temporary of the array's size.
    if result.size and not (np.isfinite(result.min()) and np.isfinite(result.max())):
        kind = "NaN" if np.isnan(result).any() else "Inf"
        raise InputError(f"{name} holds {kind}; fill or drop those rows first")
    return result


def require_columns(features: NDArray[np.float64], count: int) -> None:
    """Raise InputError unless features, shape (rows, columns), has ``count`` columns."""
    if features.shape[1] != count:
        raise InputError(
            f"features has {features.shape[1]} columns and the agreement says {count}; "
            "load the columns of the agreed schema, in its order"
        )


def require_rows(data: Data, limit: int) -> None:
    """Raise InputError when the data has more rows than the agreement allows."""
    if len(data) > limit:
        raise InputError(
            f"features has {len(data)} rows and the agreement allows max_rows = {limit}; "
            "use fewer rows or agree on a larger max_rows"
        )


def require_classes(data: Data, classes: int) -> None:
    """Raise InputError unless every label is one of 0, ..., classes - 1."""
    labels = data.labels
    if labels.min() < 0 or labels.max() > classes - 1 or np.any(labels != np.floor(labels)):
        allowed = "{0, 1}" if classes == 2 else f"0 to {classes - 1}"
        raise InputError(f"labels holds values outside {allowed}; recode the classes")
