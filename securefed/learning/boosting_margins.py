"""What the trees so far say about each row, without following all of them in every round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import WireError
from securefed.learning.boosting_trees import Codes, bin_codes, follow
from securefed.learning.quantile_search import edges
from securefed.learning.state import FloatArray, State

_MOST_TABLES: Final = 64
_LARGEST_KEY: Final = 2.0**31


@dataclass(slots=True)
class _Known:
    features: NDArray[np.float64]
    high: FloatArray
    base: float
    splits: FloatArray
    leaves: FloatArray
    codes: Codes
    margins: NDArray[np.float64]
    trees: int = 0

    def fits(self, state: State, trees: int) -> bool:
        """Tell whether a state begins with the very trees that were followed."""
        done = self.trees
        return (
            done <= trees
            and self.base == float(state["base"])
            and np.array_equal(self.splits[:done], state["splits"][:done])
            and np.array_equal(self.leaves[:done], state["leaves"][:done])
        )


@dataclass(slots=True)
class Margins:
    """Bins and margins of tables of rows, kept from round to round.

    Nothing depends on what is kept: it is compared with the state, and made anew where it differs.
    """

    _known: dict[int, _Known] = field(default_factory=dict)

    def of(
        self, state: State, features: NDArray[np.float64], trees: int, key_bits: int
    ) -> tuple[Codes, NDArray[np.float64]]:
        """Return bins, shape (rows, features), and the margins after the first trees, (rows,).

        Raises:
            WireError: edges or leaves of the coordinator's that no task can have made.
        """
        known = self._known.get(id(features))
        if known is None or not np.array_equal(known.high, state["high"]):
            known = self._begin(state, features, _codes(state, features, key_bits))
        elif not known.fits(state, trees):
            known = self._begin(state, features, known.codes)
        bins, depth = state["high"].shape[1] + 2, state["leaves"].shape[1].bit_length() - 1
        for tree in range(known.trees, trees):
            splits = state["splits"][tree].astype(np.float64)
            known.margins = known.margins + state["leaves"][tree][
                follow(known.codes, splits, depth, bins)
            ].astype(np.float64)
        known.trees, known.splits, known.leaves = trees, state["splits"], state["leaves"]
        return known.codes, known.margins

    def _begin(self, state: State, features: NDArray[np.float64], codes: Codes) -> _Known:
        base = float(state["base"])
        known = _Known(
            features,
            state["high"],
            base,
            state["splits"],
            state["leaves"],
            codes,
            np.full(len(features), base),
        )
        if len(self._known) >= _MOST_TABLES:
            self._known.clear()
        # The table is kept as well, so that its identity stays its own.
        self._known[id(features)] = known
        return known


def _codes(state: State, features: NDArray[np.float64], key_bits: int) -> Codes:
    high = state["high"].astype(np.float64)
    if np.abs(high).max() > _LARGEST_KEY or np.any(np.diff(high, axis=1) < 0):
        raise WireError("coordinator", "model", "the edges of the bins are out of order")
    return bin_codes(features, edges(high, key_bits))
