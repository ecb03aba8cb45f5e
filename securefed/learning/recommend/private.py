"""Recommenders whose sums hide every person: noised popularity, and EASE from noised pairs.

Matrix factorisation has its private form in :mod:`securefed.learning.recommend.private_als`. The
others have none: item-item models would publish exact counts, and a party's averaged update for
pairwise ranking has no bounded share of a person.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError, NoResultError
from securefed.data.table import Data
from securefed.learning.person import PersonPrivacy
from securefed.learning.private_fit import PrivateFit, fit_private
from securefed.learning.recommend.catalogue import Catalogue, items_to_texts
from securefed.learning.recommend.ease import GramRecommender
from securefed.learning.recommend.gram import ease_weights, full_gram, triangle_size
from securefed.learning.recommend.interactions import Interactions
from securefed.learning.recommend.plans import TaskPlan, state_of
from securefed.learning.recommend.popularity import Popularity
from securefed.learning.recommend.private_gram import count_norm, pair_norm, people_of
from securefed.learning.recommend.recommender import Recommender
from securefed.learning.registry import build_task
from securefed.learning.state import State


class NoisedRecommender(Recommender):
    """What private recommenders share.

    Attributes:
        noise_: after fitting: standard deviation of the noise of each value of the sum.
        private_fit_: after :meth:`fit_noised`.
    """

    people: int
    most: int
    noise_: float
    private_fit_: PrivateFit

    def chosen_items(self) -> NDArray[np.int64]:
        """Return the items that take part."""
        raise NotImplementedError

    def rows_of(self, part: Interactions) -> Data:
        """Return one row a person."""
        return people_of(part, self.chosen_items(), self.most)

    def fit_noised(
        self, parts: Sequence[Interactions], privacy: PersonPrivacy, *, seed: int = 0
    ) -> Self:
        """Learn in one process by the same noised sums, seeded: an experiment that hides nobody.

        Args:
            parts: one part a company.
            privacy: clip norm, noise and honest parties.
            seed: of the noise.
        """
        rows = list(
            self._rows({f"part {number}": part for number, part in enumerate(parts)}).values()
        )
        plan = self.plan(len(parts))
        task = build_task(plan.kind, plan.parameters, name=plan.name)
        self.private_fit_ = fit_private(
            task, rows, privacy, rounds=plan.rounds, seed=seed, people=self.people
        )
        return self.load({plan.name: self.private_fit_.fit.state})

    def _plan(
        self,
        kind: str,
        clip_norm: float,
        *,
        rounds: int = 1,
        told: Mapping[str, Any] | None = None,
    ) -> TaskPlan:
        parameters: dict[str, Any] = {
            "items": len(self.catalogue),
            "catalogue": self.catalogue.tag,
            "chosen": list(items_to_texts(self.chosen_items(), len(self.catalogue))),
            "most": self.most,
            **(told or {}),
        }
        privacy = {"clip_norm": clip_norm, "people": self.people}
        # Every round is charged, also one that aborts, so that there is no spare one.
        return TaskPlan(kind, kind, rounds, parameters, privacy)


def above_noise(counts: NDArray[np.float64], noise: float, min_support: float) -> NDArray[np.bool_]:
    """Return which noised counts reach the support and what noise alone reaches.

    The largest of n normal deviates is about sqrt(2 log n).

    Raises:
        NoResultError: none does.
    """
    chance = math.sqrt(2 * math.log(max(2, len(counts)))) * noise
    kept = counts >= max(float(min_support), chance)
    if not kept.any():
        raise NoResultError(
            "no count rises above its noise: this needs more people, a larger epsilon, or a "
            "smaller catalogue"
        )
    return np.asarray(kept, dtype=np.bool_)


class DpPopularity(NoisedRecommender, Popularity):
    """Noised popularity: the floor that is left where privacy is strict or people are few."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        people: int,
        most: int = 20,
        min_support: int = 5,
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            people: of all companies together, at most; public.
            most: items of a person that count, the latest ones.
            min_support: least noised count of an item that is recommended; in any case no less
                than what noise alone reaches, sqrt(2 log(items)) of its deviations.
        """
        self.catalogue, self.people, self.most = catalogue, people, most
        self.min_support = min_support

    def chosen_items(self) -> NDArray[np.int64]:
        """Return all items: the noise of a count does not grow with their number."""
        return np.arange(len(self.catalogue), dtype=np.int64)

    def plan(self, parties: int) -> TaskPlan:
        """Return the one task there is."""
        del parties
        return self._plan("dp-item-counts", count_norm(self.most))

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the noised counts; see :meth:`Recommender.load`.

        Raises:
            NoResultError: no count rises above its noise.
        """
        state = state_of(models, name or "dp-item-counts")
        if state["sum"].shape != (len(self.catalogue),):
            raise MisuseError("the counts are of another catalogue")
        self.noise_ = float(state["noise"])
        counts = np.asarray(state["sum"], dtype=np.float64)
        kept = above_noise(counts, self.noise_, self.min_support)
        self.popularity_ = np.where(kept, counts, 0.0)
        self.supported_ = np.flatnonzero(self.popularity_).astype(np.int64)
        return self


class DpEase(NoisedRecommender, GramRecommender):
    """EASE from noised pairs; needs many people, see the benchmarks.

    What lies within the noise is cut off the Gram matrix: eigenvalues below twice the largest that
    noise alone is expected to have.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        chosen: Sequence[int],
        people: int,
        most: int = 20,
        regularization: float = 50.0,
    ) -> None:
        """Store the parameters.

        Args:
            catalogue: the agreed items.
            chosen: numbers of the items that take part, from public knowledge or from a run of
                :class:`DpPopularity`, whose epsilon adds up with this one's.
            people: of all companies together, at most; public.
            most: items of a person that count, the latest ones.
            regularization: as in :class:`Ease`; raised where the noise asks for it.
        """
        self.catalogue, self.chosen, self.people = catalogue, chosen, people
        self.most, self.regularization = most, regularization

    def chosen_items(self) -> NDArray[np.int64]:
        """Return the chosen items, ascending."""
        return np.unique(np.asarray(self.chosen, dtype=np.int64))

    def support_plan(self, parties: int) -> TaskPlan | None:
        """No first run: exact counts are no private choice of items."""
        del parties
        return None

    def plan(self, parties: int) -> TaskPlan:
        """Return the one task there is."""
        del parties
        return self._plan("dp-ease", pair_norm(self.most))

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the noised triangle; see :meth:`Recommender.load`."""
        state = state_of(models, name or "dp-ease")
        self.chosen_ = self.chosen_items()
        size = len(self.chosen_)
        if state["sum"].shape != (triangle_size(size),):
            raise MisuseError("the sum of pairs is over other items than the chosen ones")
        self.noise_ = float(state["noise"])
        self.gram_ = full_gram(state["sum"], size)
        self.popularity_ = np.zeros(len(self.catalogue))
        self.popularity_[self.chosen_] = np.maximum(np.diagonal(self.gram_), 1.0)
        self.weights_ = self.weights(self.gram_)
        return self

    def weights(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for the weights on what rises above the noise."""
        floor = 2 * self.noise_ * np.sqrt(len(gram))
        values, vectors = np.linalg.eigh(gram)
        kept = values > floor
        clean = (vectors[:, kept] * values[kept]) @ vectors[:, kept].T
        # A smaller ridge than what was cut off would trust the directions that are left too much.
        return ease_weights(clean, max(self.regularization, floor))

    def supported(self) -> NDArray[np.bool_]:
        """Return that every chosen item may be recommended."""
        return np.ones(len(self.chosen_), dtype=np.bool_)
