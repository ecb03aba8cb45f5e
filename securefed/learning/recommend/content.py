"""Recommendations from what items are, alone or beside what users do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.features import ItemFeatures, unit_length
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.plans import TaskPlan
from securefed.learning.recommend.popularity import Popularity
from securefed.learning.recommend.recommender import Recommender
from securefed.learning.state import State


class ContentBased(Recommender):
    """Items like those that a user has, by public features; the only sum is that of popularity.

    Knows every item that has features, also one that nobody has yet.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        features: ItemFeatures,
        *,
        min_support: int = 5,
        max_users: int = 10_000,
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            features: of all items.
            min_support: fewest users of all companies together for a count to be published.
            max_users: most users of any company.
        """
        self.catalogue, self.features = catalogue, features
        self.min_support, self.max_users = min_support, max_users

    def plan(self, parties: int) -> TaskPlan:
        """Return the task that counts the users of items."""
        return self._counter().plan(parties)

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the counts; see :meth:`Recommender.load`.

        Raises:
            InputError: the features are not one row an item.
        """
        if len(self.features.matrix) != len(self.catalogue):
            raise InputError("give one row of item features for every item of the catalogue")
        self.popularity_ = self._counter().load(models, name).popularity_
        self._directions = unit_length(self.features.matrix)
        return self

    def trained_on(self) -> NDArray[np.bool_]:
        """Return which items have features."""
        return np.asarray(self._directions.any(axis=1), dtype=np.bool_)

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return mean cosines with the user's items."""
        sizes = np.maximum(histories.sizes, 1)[:, np.newaxis]
        profile = histories.sum_over_items(self._directions) / sizes
        return np.where(self.trained_on(), profile @ self._directions.T, -np.inf)

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Return the cosines of the features."""
        return np.where(self.trained_on(), self._directions @ self._directions[item], -np.inf)

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return the cosines over the number of items."""
        return np.asarray(self._directions[history] @ self._directions[item] / max(1, len(history)))

    def _counter(self) -> Popularity:
        return Popularity(self.catalogue, min_support=self.min_support, max_users=self.max_users)


class Hybrid(Recommender):
    """A weighted sum of two fitted recommenders' scores, each in units of a user's largest.

    An item that only one of them knows competes by that one's score.
    """

    def __init__(self, first: Recommender, second: Recommender, *, weight: float = 0.3) -> None:
        """Combine.

        Args:
            first: fitted, such as :class:`Ease`.
            second: fitted, over the same catalogue, such as :class:`ContentBased`.
            weight: of the second, 0 to 1.

        Raises:
            MisuseError: one is not fitted, other catalogues, or a weight outside of 0 to 1.
        """
        if first.catalogue.digest != second.catalogue.digest or not 0 <= weight <= 1:
            raise MisuseError("combine recommenders over one catalogue, with a weight of 0 to 1")
        if not (hasattr(first, "popularity_") and hasattr(second, "popularity_")):
            raise MisuseError("fit both recommenders first; a hybrid is not trained itself")
        self.first, self.second, self.weight = first, second, weight
        self.catalogue = first.catalogue
        self.popularity_ = np.maximum(first.popularity_, second.popularity_)

    def plan(self, parties: int) -> TaskPlan:
        """Refused: there is nothing to learn."""
        del parties
        raise MisuseError("a hybrid is not trained itself; fit the two recommenders in it")

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Refused: there is nothing to learn."""
        del models, name
        raise MisuseError("a hybrid is not trained itself; load the two recommenders in it")

    def trained_on(self) -> NDArray[np.bool_]:
        """Return which items say anything to either of the two."""
        return self.first.trained_on() | self.second.trained_on()

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return the weighted sum."""
        one, other = self.first.scores(histories), self.second.scores(histories)
        total = (1 - self.weight) * _in_units(one) + self.weight * _in_units(other)
        return np.where(np.isfinite(one) | np.isfinite(other), total, -np.inf)

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Return the weighted sum of likenesses."""
        rows = np.stack([self.first.similarity(item), self.second.similarity(item)])
        units = _in_units(rows)
        total = (1 - self.weight) * units[0] + self.weight * units[1]
        return np.where(np.isfinite(rows).any(axis=0), total, -np.inf)

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return the weighted sum of what both say, in the units of the score."""
        whole = Histories.of([history], len(self.catalogue))
        parts = np.zeros(len(history))
        for model, weight in ((self.first, 1 - self.weight), (self.second, self.weight)):
            scores = model.scores(whole)[0]
            if np.isfinite(scores[item]):
                parts += weight * model.contributions(history, item) / _largest(scores)
        return parts


def _largest(scores: NDArray[np.float64]) -> float:
    finite = np.abs(scores[np.isfinite(scores)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def _in_units(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row in units of its largest finite absolute value; 0 where unknown."""
    rows = [np.where(np.isfinite(row), row, 0.0) / _largest(row) for row in scores]
    return np.stack(rows)
