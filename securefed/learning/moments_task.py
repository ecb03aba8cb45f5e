"""The ``column-moments`` task: counts, means and variances of columns, in two rounds.

The second round sums squares of deviations from the mean that the first one found. Subtracting the
squared mean from the mean square would cancel where a column lies far from zero.
Source: the two-pass algorithm, Chan, Golub and LeVeque 1983.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from protocols.errors import NoResultError
from securefed.data.table import Data, require_columns, require_rows
from securefed.learning.exact_sum import WORD_BITS, ExactSum, Summand
from securefed.learning.incomplete import require_bounded
from securefed.learning.layout import Arrays, Layout
from securefed.learning.state import State, require_like
from securefed.learning.task import Contribution, Numbers, Step, scalar

_MEANS, _SQUARES = 0.0, 1.0
_WORDS: Final = 4
_NEGLIGIBLE: Final = 1e-14
"""A deviation this small beside the mean is what rounding leaves of a constant column."""


class ColumnParameters(BaseModel):
    """Agreement parameters that every statistic of columns shares.

    Attributes:
        features: number of feature columns.
        max_rows: most rows that any party may bring.
        min_support: a column with fewer values than this, of all parties together, gives nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    features: Annotated[int, Field(ge=1, le=2**20)]
    max_rows: Annotated[int, Field(ge=1, le=10**9)] = 2**20
    min_support: Annotated[int, Field(ge=1, le=10**9)] = 1


class MomentsParameters(ColumnParameters):
    """Agreement parameters of ``column-moments``.

    Attributes:
        feature_bound: largest absolute value of a feature; costs no precision.
    """

    feature_bound: Annotated[float, Field(gt=0, le=1e12)] = 1e6


@dataclass(frozen=True, slots=True)
class MomentsTask:
    """The ``column-moments`` task; missing values are left out."""

    parameters: MomentsParameters
    kind: ClassVar[str] = "column-moments"

    def initial_state(self) -> State:
        """Nothing is known yet."""
        zeros = np.zeros(self.parameters.features)
        return {
            "phase": np.array(_MEANS),
            "rows": np.array(0.0),
            "count": zeros,
            "mean": zeros,
            "variance": zeros,
        }

    def layout(self) -> Layout:
        """Rows, values present, and sums of either round, in words."""
        return self._sums().layout()

    def numbers(self) -> Numbers:
        """Return the ring that holds the words."""
        return self._sums().numbers()

    def check(self, data: Data) -> None:
        """Refuse data that the agreement does not describe; raises InputError."""
        require_columns(data.features, self.parameters.features)
        require_rows(data, self.parameters.max_rows)
        require_bounded(data.features, self.parameters.feature_bound)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Return sums, then sums of squared deviations from the mean."""
        del round_in_task, rng  # the phase lies in the state, and an exact sum draws nothing
        require_like(state, self.initial_state())
        self.check(data)
        known = ~np.isnan(data.features)
        values = np.where(known, data.features, 0.0)
        if scalar(state, "phase") == _SQUARES:
            bound = self.parameters.feature_bound
            center = np.clip(state["mean"].astype(np.float64), -bound, bound)
            values = np.where(known, data.features - center, 0.0) ** 2
        sums = {
            "rows": np.array(float(len(data))),
            "count": known.sum(axis=0),
            "values": values.sum(axis=0),
        }
        return self._sums().encode(sums)

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Return the means, then the variances."""
        del round_in_task
        sums = self._sums().decode(total)
        if sums["rows"] < 1:
            raise NoResultError("no party counted a row; check the data of the parties")
        enough = sums["count"] >= self.parameters.min_support
        average = np.where(enough, sums["values"] / np.maximum(sums["count"], 1), 0.0)
        metrics = {"rows": float(sums["rows"])}
        if scalar(state, "phase") == _MEANS:
            found: State = {"phase": np.array(_SQUARES), "mean": average}
            return Step(state | found, False, metrics)
        mean = state["mean"].astype(np.float64)
        spread = average > (_NEGLIGIBLE * mean) ** 2
        final: State = {
            "rows": np.asarray(sums["rows"]),
            "count": np.where(enough, sums["count"], 0.0),
            "mean": np.where(enough, mean, 0.0),
            "variance": np.where(spread, average, 0.0),
        }
        return Step(state | final, True, metrics)

    def _sums(self) -> ExactSum:
        size, rows = self.parameters.features, float(self.parameters.max_rows)
        # Of values, at most the bound; of squared deviations, at most twice the bound, squared.
        largest = self.parameters.feature_bound
        bound = rows * max(largest, 4 * largest**2)
        return ExactSum.of(
            {
                "rows": Summand((), rows),
                "count": Summand((size,), rows),
                "values": Summand((size,), bound, bound * 2.0 ** -(_WORDS * WORD_BITS - 1)),
            }
        )
