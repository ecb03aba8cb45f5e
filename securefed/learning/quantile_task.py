"""The ``column-quantiles`` task: order statistics of columns by counting alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from pydantic import Field

from protocols.errors import NoResultError
from securefed.data.table import Data, require_columns, require_rows
from securefed.learning.exact_sum import ExactSum, Summand
from securefed.learning.layout import Arrays, Layout
from securefed.learning.moments_task import ColumnParameters
from securefed.learning.quantile_search import QuantileSearch, floors
from securefed.learning.state import State, require_like
from securefed.learning.task import Contribution, Numbers, Step

BITS: Final = 44
"""Sign, exponent and 32 bits of the fraction: a relative error of 2.4e-10 at most."""


class QuantilesParameters(ColumnParameters):
    """Agreement parameters of ``column-quantiles``.

    Attributes:
        quantiles: each from 0 to 1.
        probes: probes per quantile and round; 15 take 12 rounds.
    """

    quantiles: Annotated[
        tuple[Annotated[float, Field(strict=True, ge=0, le=1)], ...],
        Field(strict=False, min_length=1, max_length=10_000),
    ] = (0.25, 0.5, 0.75)
    probes: Annotated[int, Field(ge=1, le=1023)] = 15


@dataclass(frozen=True, slots=True)
class QuantilesTask:
    """The ``column-quantiles`` task; missing values are left out."""

    parameters: QuantilesParameters
    kind: ClassVar[str] = "column-quantiles"

    def initial_state(self) -> State:
        """Every quantile lies between the smallest and the largest number."""
        low, high = self.search().start(self.parameters.features)
        zeros = np.zeros(self.parameters.features)
        return {"low": low, "high": high, "count": zeros, "quantiles": np.zeros_like(low)}

    def layout(self) -> Layout:
        """Values present in a column, and rows at or below each probe."""
        return self._sums().layout()

    def numbers(self) -> Numbers:
        """Return the ring that holds the counts."""
        return self._sums().numbers()

    def check(self, data: Data) -> None:
        """Refuse data that the agreement does not describe; raises InputError."""
        require_columns(data.features, self.parameters.features)
        require_rows(data, self.parameters.max_rows)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Count the rows at or below each probe."""
        del round_in_task, rng  # the brackets lie in the state, and counting draws nothing
        require_like(state, self.initial_state())
        self.check(data)
        low, high = (state[name].astype(np.float64) for name in ("low", "high"))
        present = (~np.isnan(data.features)).sum(axis=0)
        counts = self.search().counts(data.features, low, high)
        return self._sums().encode({"present": present, "counts": counts})

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Narrow the bracket of every quantile."""
        del round_in_task
        sums = self._sums().decode(total)
        present, least = sums["present"], self.parameters.min_support
        if present.max() < 1:
            raise NoResultError("no party has a value in any column; check the data of the parties")
        low, high = (state[name].astype(np.float64) for name in ("low", "high"))
        search = self.search()
        low, high = search.narrow(low, high, sums["counts"], search.ranks(present))
        # A column without support stays where it began: its brackets would show single rows.
        enough = (present >= 2 * least - 1)[:, np.newaxis]
        first = search.start(self.parameters.features)
        low, high = np.where(enough, low, first[0]), np.where(enough, high, first[1])
        narrow = (high - low <= 1) | ~enough
        after: State = {
            "low": low,
            "high": high,
            "count": np.where(enough[:, 0], present, 0.0),
            "quantiles": np.where(enough & narrow, floors(high, BITS), 0.0),
        }
        open_ones = float((~narrow).sum())
        return Step(state | after, open_ones == 0, {"open": open_ones})

    def search(self) -> QuantileSearch:
        """Return how the search goes."""
        told = self.parameters
        return QuantileSearch(told.quantiles, told.probes, BITS, told.min_support)

    def _sums(self) -> ExactSum:
        told, rows = self.parameters, float(self.parameters.max_rows)
        shape = (told.features, len(told.quantiles), told.probes)
        return ExactSum.of(
            {"present": Summand((told.features,), rows), "counts": Summand(shape, rows)}
        )
