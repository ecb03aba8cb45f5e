"""Federated preprocessing: what is learnt are sums, what is applied stays at the party."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import AgreementError, InputError, NoResultError
from securefed.data.table import Data
from securefed.learning.estimator import FederatedEstimator, TaskPlan
from securefed.learning.incomplete import with_features
from securefed.learning.moments_task import MomentsTask
from securefed.learning.quantile_search import QuantileSearch
from securefed.learning.quantile_task import BITS, QuantilesTask
from securefed.learning.state import State
from securefed.learning.sum_task import SumTask

_PROBES = 15


class FederatedTransformer(FederatedEstimator):
    """Base of what changes feature tables."""

    def transform(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the changed table, one row for each row given.

        Raises:
            MisuseError: not fitted yet.
            InputError: not a table of as many columns as were fitted.
        """
        raise NotImplementedError

    def transform_data(self, data: Data) -> Data:
        """Return a party's rows with changed features and the same labels."""
        return with_features(data, self.transform(data.features))


class FederatedStandardizer(FederatedTransformer):
    """Subtracts the mean of all parties' rows and divides by their standard deviation.

    Scaling at each company by its own rows would erase what distinguishes the companies. A constant
    column becomes 0; missing values are left out of the sums and stay missing.

    Attributes:
        mean_, var_, scale_: shape (features,); ``scale_`` is 1 for constant columns.
        n_samples_seen_: rows of all parties.
    """

    default_name = "standardizer"
    mean_: NDArray[np.float64]
    var_: NDArray[np.float64]
    scale_: NDArray[np.float64]
    n_samples_seen_: int

    def __init__(
        self, *, feature_bound: float = 1e6, min_support: int = 5, max_rows: int = 2**20
    ) -> None:
        """Describe a scaling.

        Args:
            feature_bound: largest absolute value of a feature; costs no precision.
            min_support: fewest values of a column over all parties; at least 1.
            max_rows: most rows of a party.
        """
        self.feature_bound, self.min_support = feature_bound, min_support
        self.max_rows = max_rows

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task of two rounds."""
        del parties
        return (_moments(features, self.max_rows, self.min_support, self.feature_bound),)

    def read(self, states: Mapping[str, State]) -> None:
        """Set means and scales."""
        state = states[""]
        _require_support(state["count"], self.min_support)
        self.n_features_in_ = len(state["mean"])
        self.n_samples_seen_ = round(float(state["rows"]))
        self.mean_ = state["mean"].astype(np.float64)
        self.var_ = state["variance"].astype(np.float64)
        self.scale_ = np.where(self.var_ > 0, np.sqrt(self.var_), 1.0)

    def transform(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the standardised table, same shape."""
        table = self._table(features)
        return np.asarray((table - self.mean_) / self.scale_, dtype=np.float64)

    def inverse_transform(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return a standardised table in raw units again, same shape."""
        return np.asarray(self._table(features) * self.scale_ + self.mean_, dtype=np.float64)


class FederatedImputer(FederatedTransformer):
    """Fills missing values (NaN) with a statistic of all parties' rows.

    Attributes:
        statistics_: what each column is filled with, shape (features,).
    """

    default_name = "imputer"
    statistics_: NDArray[np.float64]

    def __init__(
        self,
        strategy: Literal["mean", "median", "most_frequent"] = "mean",
        *,
        codes: int = 256,
        feature_bound: float = 1e6,
        min_support: int = 5,
        max_rows: int = 2**20,
    ) -> None:
        """Choose what to fill with.

        Args:
            strategy: ``mean``, ``median`` or ``most_frequent``; the last takes columns of whole
                numbers from 0 to ``codes - 1`` and picks the smallest of equally frequent ones.
            codes: possible categories of a column.
            feature_bound: largest absolute value of a feature, for ``mean``.
            min_support: fewest values of a column (or of its most frequent category); at least 1.
            max_rows: most rows of a party.
        """
        self.strategy, self.codes, self.feature_bound = strategy, codes, feature_bound
        self.min_support, self.max_rows = min_support, max_rows

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task.

        Raises:
            AgreementError: no such strategy.
        """
        del parties
        if self.strategy == "mean":
            return (_moments(features, self.max_rows, self.min_support, self.feature_bound),)
        if self.strategy == "most_frequent":
            return (_codes(features, range(features), self.codes, self.max_rows, self.min_support),)
        if self.strategy != "median":
            raise AgreementError(
                "strategy", f"no strategy {self.strategy!r}", "use mean, median or most_frequent"
            )
        parameters = {
            "features": features,
            "quantiles": [0.5],
            "probes": _PROBES,
            "max_rows": self.max_rows,
            "min_support": self.min_support,
        }
        rounds = QuantileSearch((0.5,), _PROBES, BITS).rounds()
        return (TaskPlan("", QuantilesTask.kind, rounds, parameters),)

    def read(self, states: Mapping[str, State]) -> None:
        """Set what is filled in."""
        state = states[""]
        if "quantiles" in state:
            _require_support(state["count"], self.min_support)
            self.statistics_ = state["quantiles"][:, 0].astype(np.float64)
        elif "mean" in state:
            _require_support(state["count"], self.min_support)
            self.statistics_ = state["mean"].astype(np.float64)
        else:
            columns = range(len(state["present"]))
            counts = np.stack([state[f"codes-{column}"] for column in columns])
            _require_support(counts.max(axis=1), self.min_support)
            self.statistics_ = np.argmax(counts, axis=1).astype(np.float64)
        self.n_features_in_ = len(self.statistics_)

    def transform(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the table without gaps, same shape."""
        table = self._table(features)
        return np.where(np.isnan(table), self.statistics_, table)


class FederatedOneHot(FederatedTransformer):
    """Turns columns of category codes into columns of zeros and ones.

    The categories are those that have ``min_support`` rows over all parties. The other columns come
    first, in their order; then one column for each category of each given column. A missing value
    has zeros everywhere, and so has a category that is rare or was never seen, unless
    ``unknown="error"``.

    Attributes:
        categories_: the codes of each given column, ascending.
    """

    default_name = "one-hot"
    categories_: tuple[NDArray[np.int64], ...]
    _UNKNOWN: ClassVar[tuple[str, ...]] = ("ignore", "error")

    def __init__(
        self,
        columns: Sequence[int],
        *,
        codes: int = 256,
        unknown: Literal["ignore", "error"] = "ignore",
        min_support: int = 5,
        max_rows: int = 2**20,
    ) -> None:
        """Choose columns.

        Args:
            columns: from 0; their values are whole numbers from 0 to ``codes - 1``, or NaN.
            codes: possible categories of a column.
            unknown: what becomes of a category without an own column.
            min_support: fewest rows of a category over all parties; at least 1.
            max_rows: most rows of a party.
        """
        self.columns, self.codes, self.unknown = columns, codes, unknown
        self.min_support, self.max_rows = min_support, max_rows

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task of one round.

        Raises:
            AgreementError: no such way with unknown categories.
        """
        del parties
        if self.unknown not in self._UNKNOWN:
            raise AgreementError("unknown", f"{self.unknown!r} is unknown", "use ignore or error")
        return (_codes(features, self.columns, self.codes, self.max_rows, self.min_support),)

    def read(self, states: Mapping[str, State]) -> None:
        """Set the categories."""
        state = states[""]
        self.n_features_in_ = len(state["present"])
        self.categories_ = tuple(
            np.flatnonzero(state[f"codes-{column}"]).astype(np.int64) for column in self.columns
        )

    def transform(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the table with indicator columns, shape (rows, other columns + categories).

        Raises:
            InputError: a category without an own column, where ``unknown="error"``.
        """
        table = self._table(features)
        blocks = [np.delete(table, list(self.columns), axis=1)]
        for column, categories in zip(self.columns, self.categories_, strict=True):
            values = table[:, [column]]
            found = (values == categories).astype(np.float64)
            known = found.any(axis=1) | np.isnan(values[:, 0])
            if self.unknown == "error" and not known.all():
                raise InputError(
                    f"features column {column} holds a category that is rare or was never seen; "
                    'recode it, or use unknown="ignore"'
                )
            blocks.append(found)
        return np.concatenate(blocks, axis=1)


def _moments(features: int, max_rows: int, min_support: int, bound: float) -> TaskPlan:
    parameters = {
        "features": features,
        "max_rows": max_rows,
        "min_support": min_support,
        "feature_bound": float(bound),
    }
    return TaskPlan("", MomentsTask.kind, 2, parameters)


def _codes(
    features: int, columns: Sequence[int], codes: int, max_rows: int, min_support: int
) -> TaskPlan:
    parameters: dict[str, Any] = {
        "features": features,
        # The values present in each column also tell a later reader how many columns there are.
        "names": [*(f"codes-{column}" for column in columns), "present"],
        "sources": [
            *(f"codes:{column}/{codes}" for column in columns),
            "present:" + ",".join(map(str, range(features))),
        ],
        "bounds": [float(max_rows)] * (len(columns) + 1),
        "resolutions": [1.0] * (len(columns) + 1),
        "max_rows": max_rows,
        "min_support": min_support,
    }
    return TaskPlan("", SumTask.kind, 1, parameters)


def _require_support(counts: NDArray[Any], least: int) -> None:
    few = np.flatnonzero(counts < least)
    if len(few):
        raise NoResultError(
            f"features column {few[0]} has fewer than min_support = {least} values in all; "
            "leave the column out or agree on a smaller min_support"
        )
