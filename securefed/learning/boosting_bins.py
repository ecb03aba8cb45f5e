"""Where columns are cut into bins: quantiles of all parties' rows, with frequent values apart.

A first search finds even quantiles. Where one value fills whole bins, as 0 often does, most of them
coincide. One round therefore weighs the values that were found; those that fill a bin get one of
their own, and a second search spreads the other edges evenly over the other rows.
Source: the greedy binning of LightGBM (Ke et al. 2017), by order statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securefed.learning.quantile_search import QuantileSearch
from securefed.learning.state import State
from securefed.learning.task import scalar

SEARCHING: Final = 0.0
WEIGHING: Final = 1.0
REFINING: Final = 2.0
GROWING: Final = 3.0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Binning:
    """The rounds before the first tree."""

    search: QuantileSearch

    def start(self, columns: int) -> State:
        """Return the first state: brackets of every edge, and the places that are looked for."""
        low, high = self.search.start(columns)
        return {"phase": np.array(SEARCHING), "low": low, "high": high, "ranks": np.zeros_like(low)}

    def rounds(self) -> int:
        """Return how many rounds it takes at most."""
        return 2 * self.search.rounds() + 1

    def counts(self, state: State, features: Array) -> Array:
        """Return one party's counts of this round, flat.

        Raises:
            WireError: brackets of the coordinator's that are none.
        """
        low, high = _brackets(state)
        if scalar(state, "phase") == WEIGHING:
            return self.search.at(features, np.stack([high - 1, high], axis=2)).ravel()
        return self.search.counts(features, low, high).ravel()

    def advance(self, state: State, cells: Array, present: Array) -> tuple[State, int]:
        """Return what changes in the state, and how many edges are still open.

        Args:
            state: the last one.
            cells: counts of all parties, flat; as many as were asked for, then zeros.
            present: values in each column, shape (columns,).
        """
        low, high = _brackets(state)
        phase, search = scalar(state, "phase"), self.search
        if phase == WEIGHING:
            below, upto = np.moveaxis(cells[: 2 * low.size].reshape(*low.shape, 2), 2, 0)
            ranks = np.stack(
                [
                    spread_ranks(low.shape[1], below[column], upto[column], present[column])
                    for column in range(len(low))
                ]
            )
            again = self.start(len(low))
            found: State = {"phase": np.array(REFINING), "ranks": search.inside(ranks, present)}
            return {**again, **found}, low.size
        ranks = search.ranks(present) if phase == SEARCHING else state["ranks"].astype(np.float64)
        counts = cells[: low.size * search.probes].reshape(*low.shape, search.probes)
        low, high = search.narrow(low, high, counts, ranks)
        left = int((high - low > 1).sum())
        following = phase if left else {SEARCHING: WEIGHING, REFINING: GROWING}[phase]
        # A party that left on the way may have moved one edge past the next.
        ordered = high if left else np.maximum.accumulate(high, axis=1)
        return {"phase": np.array(following), "low": low, "high": ordered}, left


def spread_ranks(targets: int, below: Array, upto: Array, present: float) -> Array:
    """Return places of edges in one column, ascending from 1, shape (targets,).

    Args:
        targets: edges to be placed.
        below: rows below each value that the first search found, shape (targets,).
        upto: rows at or below it.
        present: rows with a value.
    """
    heavy = (upto - below) * (targets + 1) >= present
    starts, ends = np.unique(np.stack([below[heavy], upto[heavy]]), axis=1)
    # A frequent value is cut off on both sides; neighbours share a cut.
    cuts = np.setdiff1d(np.concatenate([starts, ends]), [0, present])
    if len(cuts) > targets:
        cuts = np.setdiff1d(ends, [0, present])[:targets]
    spare = targets - len(cuts)
    rest = present - (ends - starts).sum()
    places = np.arange(1, spare + 1) / (spare + 1) * rest
    # Places among the other rows become places among all rows: frequent ones lie in between.
    other_rows_before = starts - np.concatenate([[0.0], np.cumsum(ends - starts)])[:-1]
    skipped = np.concatenate([[0.0], np.cumsum(ends - starts)])
    among_all = np.ceil(places) + skipped[np.searchsorted(other_rows_before, places, side="left")]
    return np.sort(np.concatenate([cuts, among_all]))


def _brackets(state: State) -> tuple[Array, Array]:
    return state["low"].astype(np.float64), state["high"].astype(np.float64)
