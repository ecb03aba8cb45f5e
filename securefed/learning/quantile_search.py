"""Quantiles of columns by counting: a search over the line of floating-point numbers.

No range has to be declared. A float64, read as a sign and a whole number, keeps its order; its
upper bits are a grid that is as fine near zero as far from it. Each round narrows the bracket of
every quantile by counting, over all parties, the rows at or below a few probes. Counts are whole
numbers, so that the result does not depend on how rows lie at the parties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import WireError

_MAGNITUDE: Final = np.int64(2**63 - 1)
_LARGEST: Final = float(np.finfo(np.float64).max)


def keys(values: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """Return the upper ``bits`` bits of values as whole numbers in the same order."""
    raw = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return np.where(raw >= 0, raw, -(raw & _MAGNITUDE)) >> (64 - bits)


def edges(found: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Return the largest value of each key: ``x <= edge`` exactly where ``keys(x) <= key``."""
    shift = 64 - bits
    whole = (found.astype(np.int64) << shift) + (np.int64(1) << shift) - 1
    return _values(whole)


def floors(found: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Return the smallest value of each key: a value of that key, rounded down."""
    return np.clip(_values(found.astype(np.int64) << (64 - bits)), -_LARGEST, _LARGEST)


def _values(whole: NDArray[np.int64]) -> NDArray[np.float64]:
    magnitudes: NDArray[np.float64] = np.abs(whole).view(np.float64)
    return np.where(whole < 0, -magnitudes, magnitudes)


@dataclass(frozen=True, slots=True)
class QuantileSearch:
    """How a search goes; the brackets themselves lie in a task's state.

    Attributes:
        quantiles: shape (targets,), each from 0 to 1.
        probes: probes per quantile and round, at least 1.
        bits: of the grid, 16 to 52; 12 of them are sign and exponent.
        min_support: no quantile is nearer to either end than this many values.
    """

    quantiles: tuple[float, ...]
    probes: int
    bits: int
    min_support: int = 1

    def start(self, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the first brackets (low, high], each of shape (columns, targets)."""
        ends = keys(np.array([-_LARGEST, _LARGEST]), self.bits).astype(np.float64)
        shape = (columns, len(self.quantiles))
        return np.full(shape, ends[0] - 1), np.full(shape, ends[1])

    def rounds(self) -> int:
        """Return how many rounds a search takes at most."""
        return math.ceil(self.bits / math.log2(self.probes + 1)) + 3

    def counts(
        self, features: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return rows at or below every probe, shape (columns, targets, probes); gaps are none.

        Raises:
            WireError: brackets of the coordinator's that are none.
        """
        if not ((low >= -(2.0**52)) & (high <= 2.0**52) & (low < high)).all():
            raise WireError("coordinator", "model", "the brackets of a quantile are out of order")
        return self.at(features, self._probes(low, high))

    def at(self, features: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rows at or below given keys, same shape as ``places``: (columns, ...)."""
        found = np.empty(places.shape)
        for column in range(features.shape[1]):
            values = features[:, column]
            ordered = np.sort(keys(values[~np.isnan(values)], self.bits))
            found[column] = np.searchsorted(ordered, places[column], side="right")
        return found

    def ranks(self, present: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the places of the quantiles, from 1, shape (columns, targets)."""
        return self.inside(
            np.ceil(np.asarray(self.quantiles) * present[:, np.newaxis] - 1e-9), present
        )

    def inside(
        self, ranks: NDArray[np.float64], present: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Move places, shape (columns, targets), away from both ends by the minimum support."""
        least = float(self.min_support)
        most = np.maximum(present[:, np.newaxis] + 1 - least, least)
        return np.clip(ranks, least, most)

    def narrow(
        self,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        counts: NDArray[np.float64],
        ranks: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return narrower brackets of the values at given places, from all parties' counts."""
        probes = self._probes(low, high)
        reached = counts >= ranks[:, :, np.newaxis]
        # Counts grow with the probes: the bracket lies between the last miss and the first hit.
        hits = np.where(reached, probes, high[:, :, np.newaxis])
        misses = np.where(reached, low[:, :, np.newaxis], probes)
        return misses.max(axis=2), hits.min(axis=2)

    def _probes(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = np.arange(1, self.probes + 1) / (self.probes + 1)
        width = (high - low)[:, :, np.newaxis]
        # Never past the bracket, however the product rounds.
        return low[:, :, np.newaxis] + np.minimum(np.floor(width * shares), width - 1)
