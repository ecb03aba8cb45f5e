"""Recommenders from one summed Gram matrix: EASE and item-item cosine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from securefed.learning.recommend.catalogue import Catalogue, items_to_texts
from securefed.learning.recommend.gram import (
    cosine_weights,
    ease_weights,
    full_gram,
    triangle_size,
)
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.plans import SPARE_ROUNDS, TaskPlan, state_of
from securefed.learning.recommend.popularity import Popularity
from securefed.learning.recommend.support import count_bits
from securefed.learning.recommend.supported import SupportedRecommender
from securefed.learning.state import State

_FEW_USERS = 8
"""Up to here the few rows of the users' items are added, instead of a product of matrices."""


class GramRecommender(SupportedRecommender):
    """Scores are sums over the user's items of one row each of an items-by-items matrix.

    Attributes:
        gram_: how many users have both items, shape (chosen, chosen).
        weights_: the rows that are summed, shape (chosen, chosen).
    """

    gram_: NDArray[np.float64]
    weights_: NDArray[np.float64]

    def weights(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the matrix of weights that a Gram matrix gives."""
        raise NotImplementedError

    def plan(self, parties: int) -> TaskPlan:
        """Return the sum of pairs over the chosen items.

        Raises:
            MisuseError: nobody counted the users of the items before.
        """
        parameters: dict[str, Any] = {
            "items": len(self.catalogue),
            "catalogue": self.catalogue.tag,
            "chosen": list(items_to_texts(self._items(), len(self.catalogue))),
            "min_support": self.min_support,
            "max_users": self.max_users,
            "modulus_bits": count_bits(self.max_users, parties),
        }
        return TaskPlan("ease", "ease", 1 + SPARE_ROUNDS, parameters)

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the summed triangle; see :meth:`Recommender.load`."""
        triangle, size = state_of(models, name or "ease")["gram"], len(self._items())
        if triangle.shape != (triangle_size(size),):
            raise MisuseError("the sum of pairs is over other items than the chosen ones")
        self.gram_ = full_gram(triangle, size)
        self.popularity_ = np.zeros(len(self.catalogue))
        self.popularity_[self.chosen_] = np.diagonal(self.gram_)
        self.weights_ = self.weights(self.gram_)
        return self

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Add up the rows of each user's items."""
        known = histories.restricted(self.chosen_)
        if known.people <= _FEW_USERS:
            return self._spread(known.sum_over_items(self.weights_))
        return self._spread(np.asarray(known.dense() @ self.weights_))

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Return the weights from one item to all others."""
        place = np.flatnonzero(self.chosen_ == item)
        if not place.size:
            return np.full(len(self.catalogue), -np.inf)
        return np.asarray(self._spread(self.weights_[place])[0])

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return the weights from the user's items to ``item``; 0 for unknown ones."""
        number = self.numbers_of_chosen()
        if number[item] < 0:
            return np.zeros(len(history))
        row = self.weights_[number[history], number[item]]
        return np.asarray(np.where(number[history] >= 0, row, 0.0), dtype=np.float64)

    def _spread(self, inner: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = np.full((len(inner), len(self.catalogue)), -np.inf)
        scores[:, self.chosen_] = np.where(self.supported(), inner, -np.inf)
        return scores

    def supported(self) -> NDArray[np.bool_]:
        """Return which of the chosen items the sum of pairs covers, shape (chosen,)."""
        return np.asarray(np.diagonal(self.gram_) > 0, dtype=np.bool_)


class Ease(GramRecommender):
    """EASE (Steck 2019): one secure sum of pairs, then the pooled model bit for bit."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        regularization: float = 200.0,
        min_support: int = 5,
        max_users: int = 10_000,
        support: Popularity | None = None,
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            regularization: on the diagonal of the Gram matrix; may be chosen after the sum, on a
                validation set, without another round: see :meth:`reweight`.
            min_support: fewest users of all companies together that an item needs.
            max_users: most users of any company.
            support: a fitted :class:`Popularity`, instead of a first run of its own.
        """
        self.catalogue, self.regularization = catalogue, regularization
        self.min_support, self.max_users, self.support = min_support, max_users, support

    def weights(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for the weights.

        Raises:
            MisuseError: a regularisation that is not positive.
        """
        if not self.regularization > 0:
            raise MisuseError("regularization is above 0")
        return ease_weights(gram, self.regularization)

    def reweight(self, regularization: float) -> Self:
        """Solve again with another regularisation: no round, as the Gram matrix stays."""
        self.regularization = regularization
        self.weights_ = self.weights(self.gram_)
        return self


class ItemCosine(GramRecommender):
    """Item-item cosine from the same sum of pairs as EASE: cheaper to compute, less accurate."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        shrinkage: float = 10.0,
        min_support: int = 5,
        max_users: int = 10_000,
        support: Popularity | None = None,
    ) -> None:
        """Store the parameters; those besides ``shrinkage`` as in :class:`Ease`.

        Args:
            catalogue: the agreed items.
            shrinkage: common users at which a cosine counts half.
            min_support: fewest users of all companies together that an item needs.
            max_users: most users of any company.
            support: a fitted :class:`Popularity`, instead of a first run of its own.
        """
        self.catalogue, self.shrinkage = catalogue, shrinkage
        self.min_support, self.max_users, self.support = min_support, max_users, support

    def weights(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shrunk cosines.

        Raises:
            MisuseError: a negative shrinkage.
        """
        if self.shrinkage < 0:
            raise MisuseError("shrinkage is at least 0")
        return cosine_weights(gram, self.shrinkage)
