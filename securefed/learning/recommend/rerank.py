"""Re-ranking at the user's side: less of what is popular, and the mix of kinds that a user likes.

Both need public numbers only (how many users have an item, which kinds it is of); nothing about
the user leaves the company.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from securefed.learning.recommend.ranking import top

_SMOOTHING: Final = 0.01
"""Share of the user's own mix in the list's, so that a kind not yet listed costs a finite amount.
Steck 2018, section 3."""


def discount_popularity(
    scores: NDArray[np.float64], popularity: NDArray[np.float64], beta: float
) -> NDArray[np.float64]:
    """Return ``scores / popularity^beta``, shape (..., items).

    Args:
        scores: of a model whose good scores are positive, such as EASE or iALS.
        popularity: users who have each item, shape (items,); less than 1 counts as 1.
        beta: 0 changes nothing; 0.5 halved the popularity of what is recommended in our tests.

    Raises:
        MisuseError: a negative ``beta``.
    """
    if beta < 0:
        raise MisuseError(f"a popularity discount of {beta} would favour what is popular")
    return np.asarray(scores / np.maximum(popularity, 1.0) ** beta, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Keep a list's mix of kinds close to that of the user's own items (Steck 2018, RecSys).

    Attributes:
        kinds: membership of items in kinds such as genres, shape (items, kinds), not negative;
            an item may be of several.
        weight: 0 is the model's own order, 1 is the mix alone.
        pool: how many of the model's first items to choose from.
    """

    kinds: NDArray[np.float64] = field(repr=False)
    weight: float = 0.5
    pool: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1 or self.pool < 1:
            raise MisuseError("a calibration's weight is 0 to 1 and its pool at least 1")
        if self.kinds.ndim != 2 or not (self.kinds >= 0).all():
            raise MisuseError("kinds are a matrix of items by kinds, none negative")

    def mix(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mix of kinds of some items, shape (kinds,), sum 1 (or 0 without any)."""
        rows = self.kinds[items]
        rows = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)
        mixed: NDArray[np.float64] = rows.sum(axis=0)
        return mixed / max(float(mixed.sum()), 1e-12)

    def divergence(self, wanted: NDArray[np.float64], listed: NDArray[np.float64]) -> float:
        """Return KL(wanted | listed) in nats, the listed mix smoothed by the wanted one."""
        smoothed = (1 - _SMOOTHING) * listed + _SMOOTHING * wanted
        some = wanted > 0
        return float(wanted[some] @ np.log(wanted[some] / smoothed[some]))

    def choose(
        self, scores: NDArray[np.float64], history: NDArray[np.int64], k: int
    ) -> NDArray[np.int64]:
        """Return ``k`` items, greedily: the best of score and mix at every place.

        Args:
            scores: of one user, shape (items,); -inf and NaN are out of the race.
            history: the user's items.
            k: length of the list.
        """
        pool = top(scores, max(self.pool, k))
        if not pool.size or not len(history):
            return pool[:k]
        values = scores[pool]
        spread = float(values.max() - values.min())
        values = (values - values.min()) / (spread or 1.0)
        wanted = self.mix(history)
        rows = self.kinds[pool]
        rows = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)
        listed, free = np.zeros_like(wanted), np.ones(len(pool), dtype=np.bool_)
        chosen: list[int] = []
        while len(chosen) < min(k, len(pool)):
            mixes = listed + rows
            mixes /= np.maximum(mixes.sum(axis=1, keepdims=True), 1e-12)
            costs = np.array([self.divergence(wanted, mix) for mix in mixes])
            merit = np.where(free, (1 - self.weight) * values - self.weight * costs, -np.inf)
            best = int(merit.argmax())
            chosen.append(best)
            free[best] = False
            listed = listed + rows[best]
        return pool[np.array(chosen, dtype=np.int64)]
