"""A pairwise factor model of all companies' users, whose own factors never leave them: BPR-MF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from securefed.learning.recommend.bpr_task import BprParameters, PairwiseRanking
from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.factor_models import FactorRecommender
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.pairwise import PairwiseSide
from securefed.learning.recommend.plans import (
    SPARE_ROUNDS,
    TaskPlan,
    require_shapes,
    state_of,
)
from securefed.learning.recommend.popularity import Popularity
from securefed.learning.recommend.supported import CountingRecommender
from securefed.learning.state import State


class Bpr(FactorRecommender, CountingRecommender):
    """Bayesian personalised ranking (Rendle et al. 2009), the items averaged over companies.

    Unlike the recommenders from exact sums this one only comes near the pooled model: companies
    take steps by themselves and average. A user's factors follow from its items and the public
    item factors, so a new user, or all users of a new company, need no further round.

    Attributes:
        biases_: after fitting: of all items, shape (items,); part of every score.
    """

    biases_: NDArray[np.float64]
    _side: PairwiseSide

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        factors: int = 32,
        sweeps: int = 10,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
        user_regularization: float = 0.05,
        local_epochs: int = 2,
        batch_size: int = 512,
        opponent_power: float = 0.75,
        server_learning_rate: float = 0.0,
        clip_norm: float = 4.0,
        min_support: int = 5,
        max_users: int = 10_000,
        modulus_bits: int = 40,
        seed: int = 0,
        support: Popularity | None = None,
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            factors: numbers that describe an item.
            sweeps: rounds of training.
            learning_rate: of every comparison.
            regularization: on squared norms, for every comparison.
            user_regularization: the same, where a user's factors are reconstructed.
            local_epochs: passes of a party over its rows in a round.
            batch_size: comparisons that are taken at the same factors.
            opponent_power: items that a user has not are drawn in proportion to users^power.
            server_learning_rate: times the mean update; 1 is plain averaging, 0 is the square root
                of the number of parties.
            clip_norm: longest update of an item at one party.
            min_support: fewest users of all companies together that an item needs.
            max_users: most users of any company.
            modulus_bits: of the ring.
            seed: of the first item factors.
            support: a fitted :class:`Popularity`, instead of a first run of its own.
        """
        self.catalogue, self.factors, self.sweeps = catalogue, factors, sweeps
        self.learning_rate, self.regularization = learning_rate, regularization
        self.user_regularization, self.local_epochs = user_regularization, local_epochs
        self.batch_size, self.opponent_power = batch_size, opponent_power
        self.server_learning_rate, self.clip_norm = server_learning_rate, clip_norm
        self.min_support, self.max_users = min_support, max_users
        self.modulus_bits, self.seed, self.support = modulus_bits, seed, support

    def plan(self, parties: int) -> TaskPlan:
        """Return the task; without a first run it is over the whole catalogue."""
        del parties
        told = self.told(BprParameters)
        return TaskPlan("bpr", "bpr", 1 + self.sweeps + SPARE_ROUNDS, told)

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the items' factors and biases; see :meth:`Recommender.load`."""
        parameters = BprParameters.model_validate(self.told(BprParameters))
        state, task = state_of(models, name or "bpr"), PairwiseRanking(parameters)
        require_shapes(state, task.initial_state())
        places, self._side = task.public_side(state)
        self._spread(self.chosen_[places], state["counts"][places], self._side.factors)
        self.biases_ = np.zeros(len(self.catalogue))
        self.biases_[self._trained] = self._side.biases
        return self

    def user_factors(self, histories: Histories) -> NDArray[np.float64]:
        """Return factors of users, shape (people, d); they belong to the users' company."""
        return self._side.solve(histories.restricted(self._trained))

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return the products of users' and items' factors, plus the items' biases."""
        return super().score_items(histories) + self.biases_

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return the addends of the score, one for each item; known ones share the item's bias."""
        number = np.full(len(self.catalogue), -1)
        number[self._trained] = np.arange(len(self._trained))
        known = number[history] >= 0
        parts = np.zeros(len(history))
        if known.any():
            matrix, sides = self._side.system(number[history[known]])
            parts[known] = sides @ np.linalg.solve(matrix, self.factors_[item])
            parts[known] += self.biases_[item] / known.sum()
        return parts
