"""What recommenders have in common that describe users and items by a few numbers each."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError
from securefed.data.table import checked
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.recommender import Recommender
from securefed.learning.recommend.user_factors import UserSide


class FactorRecommender(Recommender):
    """Scores are products of a user's factors, which stay at home, and an item's.

    Attributes:
        factors_: after fitting: of all items, shape (items, d); zero for unknown ones.
        known_: which items have factors, shape (items,).
    """

    factors_: NDArray[np.float64]
    known_: NDArray[np.bool_]
    _trained: NDArray[np.int64]

    def _spread(
        self, trained: NDArray[np.int64], counts: NDArray[Any], factors: NDArray[Any]
    ) -> None:
        """Put what was learnt of some items, by their numbers, into its place among all."""
        self._trained = trained
        self.popularity_ = np.zeros(len(self.catalogue))
        self.popularity_[trained] = counts
        self.known_ = self.popularity_ > 0
        self.factors_ = np.zeros((len(self.catalogue), factors.shape[1]))
        self.factors_[trained] = factors

    def user_factors(self, histories: Histories) -> NDArray[np.float64]:
        """Return factors of users, shape (people, d); they belong to the users' company."""
        raise NotImplementedError

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return the products of users' and items' factors."""
        return np.where(self.known_, self.user_factors(histories) @ self.factors_.T, -np.inf)

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Return the cosines of the items' factors."""
        length = np.linalg.norm(self.factors_, axis=1)
        cosine = self.factors_ @ self.factors_[item] / np.maximum(length * length[item], 1e-30)
        return np.where(self.known_ & self.known_[item], cosine, -np.inf)


class LeastSquaresFactors(FactorRecommender):
    """Factor models of squared errors: a user's factors solve a small linear system."""

    _side: UserSide

    def user_factors(self, histories: Histories) -> NDArray[np.float64]:
        """Return factors of users, shape (people, d); they belong to the users' company."""
        return self._side.solve(histories.restricted(self._trained))

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return the addends of the score, one for each item (Hu, Koren and Volinsky 2008, 5)."""
        number = np.full(len(self.catalogue), -1)
        number[self._trained] = np.arange(len(self._trained))
        known = number[history] >= 0
        system, sides = self._side.system(number[history[known]], self._side.shared())
        parts = np.zeros(len(history))
        parts[known] = sides @ np.linalg.solve(system, self.factors_[item])
        return parts

    def with_cold_items(self, features: ArrayLike, *, ridge: float = 10.0) -> Self:
        """Return a copy that also knows items that nobody had in training.

        Their factors are predicted from public features by a ridge regression on the known items'
        factors, weighted by popularity (Gantner et al. 2010). No round is needed.

        Args:
            features: of all items, shape (items, columns), finite.
            ridge: penalty of the regression, above 0.

        Raises:
            InputError: not one row of finite numbers an item.
        """
        self._require_fitted()
        table = checked("features", features, ndim=2)
        if len(table) != len(self.catalogue) or not ridge > 0:
            raise InputError("give one row of features an item, and a ridge above 0")
        known, weight = self.known_, self.popularity_[self.known_, np.newaxis]
        system = table[known].T @ (table[known] * weight) + ridge * np.eye(table.shape[1])
        map_ = np.linalg.solve(system, table[known].T @ (self.factors_[known] * weight))
        other = copy.copy(self)
        other.factors_ = np.where(known[:, np.newaxis], self.factors_, table @ map_)
        other.known_ = known | table.any(axis=1)
        return other
