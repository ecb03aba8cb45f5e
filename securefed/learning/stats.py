"""Sums and statistics of all parties' rows, of which nobody learns more than the sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securefed.data.table import Data
from securefed.federation import Federation
from securefed.learning.estimator import FederatedEstimator, TaskPlan
from securefed.learning.moments_task import MomentsTask
from securefed.learning.quantile_search import QuantileSearch
from securefed.learning.quantile_task import BITS, QuantilesTask
from securefed.learning.state import State
from securefed.learning.sum_task import SumTask

_PROBES = 15


@dataclass(frozen=True, slots=True)
class SumOf:
    """One array to be summed.

    Attributes:
        source: ``labels``, ``columns:0,2``, ``squares:0``, ``products:0,2``, ``present:0``,
            ``codes:3/10``, ``histogram:3/-5/5/20`` or ``function:NAME``.
        bound: largest absolute value of an entry of one party.
        resolution: what each party rounds its array to; 1 for counts.
        shape: of an array that a function returns.
    """

    source: str
    bound: float
    resolution: float = 1.0
    shape: tuple[int, ...] = ()


class SecureSum(FederatedEstimator):
    """Any named arrays in, their exact sums out, in one round.

    Attributes:
        total_: the sums by name, and ``rows``.
    """

    default_name = "sum"
    total_: dict[str, NDArray[np.float64]]

    def __init__(
        self, arrays: Mapping[str, SumOf], *, max_rows: int = 2**20, min_support: int = 1
    ) -> None:
        """Describe a sum.

        Args:
            arrays: by name.
            max_rows: most rows of a party.
            min_support: cells of ``codes`` and ``histogram`` with fewer rows come back as 0; at
                least 1.
        """
        self.arrays, self.max_rows, self.min_support = arrays, max_rows, min_support

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task of one round."""
        del parties
        arrays = self.arrays.values()
        parameters: dict[str, Any] = {
            "features": features,
            "names": list(self.arrays),
            "sources": [each.source for each in arrays],
            "bounds": [float(each.bound) for each in arrays],
            "resolutions": [float(each.resolution) for each in arrays],
            "shapes": ["x".join(map(str, each.shape)) for each in arrays],
            "max_rows": self.max_rows,
            "min_support": self.min_support,
        }
        return (TaskPlan("", SumTask.kind, 1, parameters),)

    def read(self, states: Mapping[str, State]) -> None:
        """Set ``total_``."""
        self.total_ = {name: array.astype(np.float64) for name, array in states[""].items()}


class SecureStats(FederatedEstimator):
    """Counts, means, variances and quantiles of every column; missing values are left out.

    A quantile q of n values is the one at place ceil(q n), counted from 1 and from the smallest,
    rounded down by at most 2.4e-10 of itself. It is never nearer to either end than ``min_support``
    values. Where a column has too few values, the statistics are NaN.

    Attributes:
        rows_: rows of all parties.
        count_: values present, shape (features,).
        mean_, variance_, std_: population values (division by n), shape (features,).
        quantiles_: shape (features, quantiles).
    """

    default_name = "stats"
    rows_: int
    count_: NDArray[np.float64]
    mean_: NDArray[np.float64]
    variance_: NDArray[np.float64]
    std_: NDArray[np.float64]
    quantiles_: NDArray[np.float64]

    def __init__(
        self,
        *,
        quantiles: tuple[float, ...] = (0.25, 0.5, 0.75),
        min_support: int = 5,
        feature_bound: float = 1e6,
        max_rows: int = 2**20,
    ) -> None:
        """Choose statistics; with ``quantiles=()`` moments alone.

        Args:
            quantiles: each from 0 to 1.
            min_support: fewest values of a column, and of what lies beyond a quantile; at least 1.
            feature_bound: largest absolute value of a feature.
            max_rows: most rows of a party.
        """
        self.quantiles, self.min_support = quantiles, min_support
        self.feature_bound, self.max_rows = feature_bound, max_rows

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return a task of two rounds, and one of a dozen where quantiles are asked for."""
        del parties
        common = {
            "features": features,
            "max_rows": self.max_rows,
            "min_support": self.min_support,
        }
        bound = {"feature_bound": float(self.feature_bound)}
        moments = TaskPlan("moments", MomentsTask.kind, 2, common | bound)
        if not self.quantiles:
            return (moments,)
        wanted = [float(each) for each in self.quantiles]
        rounds = QuantileSearch(tuple(wanted), _PROBES, BITS).rounds()
        more = {"quantiles": wanted, "probes": _PROBES}
        return moments, TaskPlan("quantiles", QuantilesTask.kind, rounds, common | more)

    def read(self, states: Mapping[str, State]) -> None:
        """Set the statistics."""
        moments = states["moments"]
        enough = moments["count"] > 0
        self.n_features_in_ = len(enough)
        self.rows_ = round(float(moments["rows"]))
        self.count_ = moments["count"].astype(np.float64)
        self.mean_ = np.where(enough, moments["mean"], np.nan)
        self.variance_ = np.where(enough, moments["variance"], np.nan)
        self.std_ = np.sqrt(self.variance_)
        if "quantiles" in states:
            found = states["quantiles"]
            known = found["count"][:, np.newaxis] > 0
            self.quantiles_ = np.where(known, found["quantiles"], np.nan)


def secure_stats(
    federation: Federation, data: Mapping[str, Data], *, seed: int | None = None, **options: Any
) -> SecureStats:
    """Return the statistics of all parties' rows; options as of :class:`SecureStats`.

    Raises:
        AgreementError: an option is out of range, such as ``min_support`` below 1.
        InputError: a party's rows cannot be used; names the party.
    """
    return SecureStats(**options).fit(federation, data, seed=seed)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows per cell over all parties; cells below the minimum support are 0.

    Attributes:
        edges: of the inner cells, shape (cells + 1,); a value on an edge lies above it.
        counts: below the first edge, in each cell, and from the last edge on: shape (cells + 2,).
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]


def secure_histogram(
    federation: Federation,
    data: Mapping[str, Data],
    column: int,
    *,
    low: float,
    high: float,
    cells: int = 20,
    min_support: int = 5,
    max_rows: int = 2**20,
) -> Histogram:
    """Count the rows of one column in equal cells from ``low`` to ``high``.

    Raises:
        AgreementError: an option is out of range.
        InputError: a party's rows cannot be used; names the party.
    """
    source = f"histogram:{column}/{float(low)!r}/{float(high)!r}/{cells}"
    arrays = {"cells": SumOf(source, bound=max_rows)}
    sums = SecureSum(arrays, max_rows=max_rows, min_support=min_support).fit(federation, data)
    return Histogram(np.linspace(low, high, cells + 1), sums.total_["cells"])


def secure_vocabulary(
    federation: Federation,
    data: Mapping[str, Data],
    column: int,
    *,
    codes: int,
    min_support: int = 5,
    max_rows: int = 2**20,
) -> dict[int, int]:
    """Return the categories of a column that have enough rows, with their counts.

    Args:
        federation: one without tasks.
        data: rows of each party, by name.
        column: its values are whole numbers from 0 to ``codes - 1``.
        codes: possible categories.
        min_support: rarer categories are left out; at least 1.
        max_rows: most rows of a party.

    Raises:
        AgreementError: an option is out of range.
        InputError: a party's rows cannot be used; names the party.
    """
    arrays = {"codes": SumOf(f"codes:{column}/{codes}", bound=max_rows)}
    sums = SecureSum(arrays, max_rows=max_rows, min_support=min_support).fit(federation, data)
    counts = sums.total_["codes"]
    return {int(code): round(float(counts[code])) for code in np.flatnonzero(counts)}
