"""Matrix factorisation from noised sums: a factor model for people who are promised privacy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.factor_models import LeastSquaresFactors
from securefed.learning.recommend.plans import TaskPlan, require_shapes, state_of
from securefed.learning.recommend.private import NoisedRecommender, above_noise
from securefed.learning.recommend.private_als_task import PERSON_NORM
from securefed.learning.recommend.user_factors import UserSide
from securefed.learning.registry import build_task
from securefed.learning.state import State


class DpIals(NoisedRecommender, LeastSquaresFactors):
    """Private iALS: one noised sum that counts, and one for every sweep; all are charged.

    The noise of a value does not grow with the number of items, so that all of a catalogue may take
    part. A user's own factors are solved at home, exactly, from the noised item factors.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        people: int,
        most: int = 20,
        factors: int = 8,
        regularization: float = 0.03,
        unobserved: float = 0.1,
        sweeps: int = 3,
        item_products: bool = False,
        min_support: int = 5,
        chosen: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            people: of all companies together, at most; public.
            most: items of a person that count, the latest ones.
            factors: numbers that describe an item; few, as each is noised.
            regularization: scaled by frequency.
            unobserved: weight of every pair; an observed one has 1 in addition.
            sweeps: noised sums beyond the counts.
            item_products: sum products of people's factors for every item too, as Chien et al. do;
                worth its noise from 30 000 to 300 000 people on, as epsilon is 8 or 1.
            min_support: as in :class:`DpPopularity`.
            chosen: numbers of the items that take part, from public knowledge or from a run of
                :class:`DpPopularity`; all unless given.
            seed: of the first item factors.
        """
        self.catalogue, self.people, self.most = catalogue, people, most
        self.factors, self.regularization, self.unobserved = factors, regularization, unobserved
        self.sweeps, self.item_products, self.min_support = sweeps, item_products, min_support
        self.chosen, self.seed = chosen, seed

    def chosen_items(self) -> NDArray[np.int64]:
        """Return the items that take part, ascending."""
        if self.chosen is None:
            return np.arange(len(self.catalogue), dtype=np.int64)
        return np.unique(np.asarray(self.chosen, dtype=np.int64))

    def plan(self, parties: int) -> TaskPlan:
        """Return the one task there is."""
        del parties
        told = {
            name: getattr(self, name)
            for name in (
                "factors", "regularization", "unobserved", "sweeps", "item_products", "seed",
            )
        }  # fmt: skip
        return self._plan("dp-ials", PERSON_NORM, rounds=1 + self.sweeps, told=told)

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the noised counts and the items' factors; see :meth:`Recommender.load`.

        Raises:
            NoResultError: no count rises above its noise.
        """
        state, plan = state_of(models, name or "dp-ials"), self.plan(1)
        require_shapes(state, build_task(plan.kind, plan.parameters).initial_state())
        self.noise_ = float(state["noise"])
        chosen = self.chosen_items()
        counts = np.asarray(state["counts"], dtype=np.float64)
        kept = np.flatnonzero(above_noise(counts, self.noise_, self.min_support))
        self._spread(chosen[kept], counts[kept], state["factors"][kept])
        self._side = UserSide(
            self.factors_[self._trained],
            np.ones(len(kept)),
            self.unobserved,
            self.regularization,
        )
        return self
