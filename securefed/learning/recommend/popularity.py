"""The floor that every recommender has to beat: what most users have, counted by one secure sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.plans import SPARE_ROUNDS, TaskPlan, state_of
from securefed.learning.recommend.recommender import Recommender
from securefed.learning.recommend.support import count_bits
from securefed.learning.state import State


def support_plan(
    catalogue: Catalogue, parties: int, *, min_support: int, max_users: int
) -> TaskPlan:
    """Return the plan of an ``item-support`` task over a whole catalogue."""
    parameters: dict[str, Any] = {
        "items": len(catalogue),
        "catalogue": catalogue.tag,
        "min_support": min_support,
        "max_users": max_users,
        "modulus_bits": count_bits(max_users, parties),
    }
    return TaskPlan("item-support", "item-support", 1 + SPARE_ROUNDS, parameters)


class Popularity(Recommender):
    """Recommends what most users of all companies have; nothing about the user but what it has.

    Attributes:
        supported_: after fitting: numbers of the items that enough users have.
    """

    supported_: NDArray[np.int64]

    def __init__(
        self, catalogue: Catalogue, *, min_support: int = 5, max_users: int = 10_000
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            min_support: fewest users of all companies together that an item needs.
            max_users: most users of any company.
        """
        self.catalogue, self.min_support, self.max_users = catalogue, min_support, max_users

    def plan(self, parties: int) -> TaskPlan:
        """Return the one task there is."""
        return support_plan(
            self.catalogue, parties, min_support=self.min_support, max_users=self.max_users
        )

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the counts; see :meth:`Recommender.load`."""
        counts = np.array(state_of(models, name or "item-support")["users"], dtype=np.float64)
        if counts.shape != (len(self.catalogue),):
            raise MisuseError("the counts are of another catalogue")
        self.popularity_, self.supported_ = counts, np.flatnonzero(counts).astype(np.int64)
        return self

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return the counts for everybody; -inf for items below the support."""
        row = np.where(self.popularity_ > 0, self.popularity_, -np.inf)
        return np.tile(row, (histories.people, 1))

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Refused: counts know no likeness."""
        del item
        raise MisuseError("a count of users does not say which items are alike; use ItemCosine")

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Nothing that the user has matters here."""
        del item
        return np.zeros(len(history))
