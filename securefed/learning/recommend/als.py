"""A factor model of all companies' users, whose own factors never leave them: iALS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from securefed.learning.recommend.als_task import AlsParameters, AlternatingLeastSquares
from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.factor_models import LeastSquaresFactors
from securefed.learning.recommend.plans import (
    SPARE_ROUNDS,
    TaskPlan,
    require_shapes,
    state_of,
)
from securefed.learning.recommend.popularity import Popularity
from securefed.learning.recommend.supported import CountingRecommender
from securefed.learning.state import State


class Ials(LeastSquaresFactors, CountingRecommender):
    """Matrix factorisation for implicit feedback, equal to pooled up to the ring's grid.

    A user's factors follow from its items and the public item factors, so a new user, or all users
    of a company that took no part in training, need no further round.
    """

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
        return TaskPlan("ials", "ials", parameters.rounds + SPARE_ROUNDS, self.told(AlsParameters))

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the items' factors; see :meth:`Recommender.load`."""
        state, task = state_of(models, name or "ials"), AlternatingLeastSquares(self._parameters())
        require_shapes(state, task.initial_state())
        places, self._side = task.user_side(state)
        self._spread(self.chosen_[places], state["counts"][places], self._side.factors)
        return self

    def _parameters(self) -> AlsParameters:
        return AlsParameters.model_validate(self.told(AlsParameters))
