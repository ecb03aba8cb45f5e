"""A factor model of all companies' users, whose own factors never leave them: iALS."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import checked
from securefed.learning.recommend.als_task import AlsParameters, AlternatingLeastSquares
from securefed.learning.recommend.catalogue import Catalogue, items_to_texts
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.plans import SPARE_ROUNDS, TaskPlan, state_of
from securefed.learning.recommend.popularity import Popularity
from securefed.learning.recommend.supported import SupportedRecommender
from securefed.learning.recommend.user_factors import UserSide
from securefed.learning.state import State


class Ials(SupportedRecommender):
    """Matrix factorisation for implicit feedback, equal to pooled up to the ring's grid.

    A user's factors follow from its items and the public item factors, so a new user, or all users
    of a company that took no part in training, need no further round.

    Attributes:
        factors_: after fitting: of all items, shape (items, d); zero for unknown ones.
        known_: which items have factors, shape (items,).
    """

    factors_: NDArray[np.float64]
    known_: NDArray[np.bool_]
    _side: UserSide
    _trained: NDArray[np.int64]

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        factors: int = 32,
        regularization: float = 0.01,
        unobserved: float = 0.1,
        sweeps: int = 8,
        steps: int = 3,
        propensity: float = 0.0,
        min_support: int = 5,
        max_users: int = 10_000,
        modulus_bits: int = 64,
        seed: int = 0,
        support: Popularity | None = None,
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            factors: numbers that describe an item.
            regularization: scaled by frequency.
            unobserved: weight of every pair; an observed one has 1 in addition.
            sweeps: times that users and items take turns.
            steps: secure sums of a sweep beyond its first.
            propensity: exponent of inverse-propensity weights; 0 is off.
            min_support: fewest users of all companies together that an item needs.
            max_users: most users of any company.
            modulus_bits: of the ring; 40 halve the traffic at no loss that we could measure.
            seed: of the first item factors.
            support: a fitted :class:`Popularity`, instead of a first run of its own.
        """
        self.catalogue, self.factors, self.regularization = catalogue, factors, regularization
        self.unobserved, self.sweeps, self.steps = unobserved, sweeps, steps
        self.propensity, self.min_support, self.max_users = propensity, min_support, max_users
        self.modulus_bits, self.seed, self.support = modulus_bits, seed, support

    def plan(self, parties: int) -> TaskPlan:
        """Return the task; without a first run it is over the whole catalogue."""
        del parties
        parameters = self._parameters()
        told = parameters.model_dump(exclude={"chosen"}) | {"chosen": list(parameters.chosen)}
        return TaskPlan("ials", "ials", parameters.rounds + SPARE_ROUNDS, told)

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the items' factors; see :meth:`Recommender.load`."""
        state, task = state_of(models, name or "ials"), AlternatingLeastSquares(self._parameters())
        wanted = {name: array.shape for name, array in task.initial_state().items()}
        if {name: array.shape for name, array in state.items()} != wanted:
            raise MisuseError("the model is of other items or parameters than this recommender's")
        places, self._side = task.user_side(state)
        self._trained = self.chosen_[places]
        self.popularity_ = np.zeros(len(self.catalogue))
        self.popularity_[self._trained] = state["counts"][places]
        self.known_ = self.popularity_ > 0
        self.factors_ = np.zeros((len(self.catalogue), self.factors))
        self.factors_[self._trained] = self._side.factors
        return self

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

    def user_factors(self, histories: Histories) -> NDArray[np.float64]:
        """Return factors of users, shape (people, d); they belong to the users' company."""
        return self._side.solve(histories.restricted(self._trained))

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return the products of users' and items' factors."""
        return np.where(self.known_, self.user_factors(histories) @ self.factors_.T, -np.inf)

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Return the cosines of the items' factors."""
        length = np.linalg.norm(self.factors_, axis=1)
        cosine = self.factors_ @ self.factors_[item] / np.maximum(length * length[item], 1e-30)
        return np.where(self.known_ & self.known_[item], cosine, -np.inf)

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return the addends of the score, one for each item (Hu, Koren and Volinsky 2008, 5)."""
        number = np.full(len(self.catalogue), -1)
        number[self._trained] = np.arange(len(self._trained))
        known = number[history] >= 0
        system, sides = self._side.system(number[history[known]], self._side.shared())
        parts = np.zeros(len(history))
        parts[known] = sides @ np.linalg.solve(system, self.factors_[item])
        return parts

    def _parameters(self) -> AlsParameters:
        told = {
            name: getattr(self, name)
            for name in AlsParameters.model_fields
            if name not in ("items", "catalogue", "chosen")
        }
        chosen = items_to_texts(self._items(), len(self.catalogue))
        return AlsParameters(
            items=len(self.catalogue), catalogue=self.catalogue.tag, chosen=chosen, **told
        )

    def _items(self) -> NDArray[np.int64]:
        if self.support is None and not hasattr(self, "chosen_"):
            # The task counts the users itself and trains on no item below the support.
            self.chosen_ = np.arange(len(self.catalogue), dtype=np.int64)
        return super()._items()
