"""Recommenders that train on the items with enough users, and on no others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from securefed.learning.recommend.catalogue import items_to_texts
from securefed.learning.recommend.plans import TaskPlan
from securefed.learning.recommend.popularity import Popularity, support_plan
from securefed.learning.recommend.recommender import Recommender
from securefed.learning.recommend.support import InteractionParameters


class SupportedRecommender(Recommender):
    """Base of recommenders whose first run counts the users of the items.

    Attributes:
        chosen_: after fitting: numbers of the items with enough users, ascending.
    """

    min_support: int
    max_users: int
    support: Popularity | None
    chosen_: NDArray[np.int64]

    def support_plan(self, parties: int) -> TaskPlan | None:
        """Return the first run, unless its result was given."""
        if self.support is not None:
            return None
        return support_plan(
            self.catalogue, parties, min_support=self.min_support, max_users=self.max_users
        )

    def prepare(self, popularity: NDArray[np.float64]) -> None:
        """Choose the items with enough users."""
        self.chosen_ = np.flatnonzero(popularity).astype(np.int64)

    def _items(self) -> NDArray[np.int64]:
        if self.support is not None:
            self.chosen_ = self.support.supported_
        if not hasattr(self, "chosen_"):
            raise MisuseError(
                "run Popularity first and give it as support=...: only items that enough users "
                "have may enter the sum of pairs"
            )
        return self.chosen_

    def numbers_of_chosen(self) -> NDArray[np.int64]:
        """Return each item's place among the chosen ones, -1 for the others, shape (items,)."""
        number = np.full(len(self.catalogue), -1)
        number[self.chosen_] = np.arange(len(self.chosen_))
        return number


class CountingRecommender(SupportedRecommender):
    """Base of recommenders whose task counts users itself and trains on no item below the support.

    Without a first run such a task is over the whole catalogue.
    """

    def told(self, model: type[InteractionParameters]) -> dict[str, Any]:
        """Return the task's parameters, which carry the names of the recommender's own."""
        own = {
            name: getattr(self, name)
            for name in model.model_fields
            if name not in ("items", "catalogue", "chosen")
        }
        chosen = list(items_to_texts(self._items(), len(self.catalogue)))
        return own | {
            "items": len(self.catalogue),
            "catalogue": self.catalogue.tag,
            "chosen": chosen,
        }

    def _items(self) -> NDArray[np.int64]:
        if self.support is None and not hasattr(self, "chosen_"):
            self.chosen_ = np.arange(len(self.catalogue), dtype=np.int64)
        return super()._items()
