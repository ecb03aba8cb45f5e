"""What all recommenders share: learning in a federation, lists, similar items and reasons.

The conventions are those of :class:`securefed.learning.estimator.FederatedEstimator`, but a party
brings interactions over an agreed catalogue instead of a table of features.

A recommender is learnt in one or two runs. Where it has to know first which items enough users
have, an ``item-support`` run comes first, and its public result is part of the second agreement.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import Data
from securefed.learning.person import require_plain
from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.interactions import Interactions
from securefed.learning.recommend.plans import Recommendation, TaskPlan, add_plan, item_numbers
from securefed.learning.recommend.ranking import top, without
from securefed.learning.recommend.rerank import Calibration, discount_popularity
from securefed.learning.reference import fit
from securefed.learning.registry import build_task
from securefed.learning.state import State

if TYPE_CHECKING:
    from securefed.federation import Federation
    from securefed.simulation import SimulationResult


class Recommender:
    """Base of all recommenders; a subclass stores its parameters in ``__init__`` and no more.

    Attributes:
        catalogue: the agreed items.
        popularity_: after fitting: users who have each item, shape (items,); 0 below the support.
        runs_: after :meth:`fit`: every simulated run, by the name of its task.
    """

    catalogue: Catalogue
    popularity_: NDArray[np.float64]
    runs_: dict[str, SimulationResult]

    # Parameters, as in scikit-learn

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return what the recommender was built with."""
        del deep  # no parameter has parameters of its own that could be set
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters; fit again afterwards.

        Raises:
            MisuseError: no such parameter.
        """
        known = self.get_params()
        for name, value in parameters.items():
            if name not in known:
                raise MisuseError(f"{type(self).__name__} has no {name}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        known = inspect.signature(type(self)).parameters
        told = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not known[name].default and name != "catalogue"
        ]
        return f"{type(self).__name__}({', '.join([repr(self.catalogue), *told])})"

    # Learning

    def plan(self, parties: int) -> TaskPlan:
        """Return the task of the main run, for so many parties."""
        raise NotImplementedError

    def prepare(self, popularity: NDArray[np.float64] | None) -> None:
        """Take the counts of the first run; ``None`` if there is none."""

    def support_plan(self, parties: int) -> TaskPlan | None:
        """Return the task of the first run; ``None`` where the recommender needs none."""
        del parties
        return None

    def load(self, models: Mapping[str, State]) -> Self:
        """Take the final state of a run's task.

        Raises:
            MisuseError: the task is not among the models.
        """
        raise NotImplementedError

    def add_to(self, federation: Federation, name: str | None = None) -> Federation:
        """Add the main task to a federation: for deployed runs.

        Args:
            federation: to be signed by the companies.
            name: of the task; the kind unless given.
        """
        return self._add(federation, self.plan(len(federation.parties)), name)

    def fit(
        self,
        federation: Federation,
        data: Mapping[str, Interactions],
        *,
        seed: int | None = None,
    ) -> Self:
        """Learn in one process, over real nodes with every key, mask and signature.

        Args:
            federation: without tasks; it is not changed.
            data: the rows of every party, by name.
            seed: of what parties draw.

        Raises:
            MisuseError: the federation has tasks already, or a party has no data.
            SecureFedError: as a deployed run would.
        """
        if federation.tasks:
            raise MisuseError("give a federation without tasks; a recommender adds its own")
        rows = {name: self.rows_of(self._own(part)) for name, part in data.items()}
        self.runs_ = {}

        def run(plan: TaskPlan) -> Mapping[str, State]:
            result = self._add(copy.deepcopy(federation), plan, None).simulate(rows, seed=seed)
            self.runs_[plan.name] = result
            return result.models

        first = self.support_plan(len(federation.parties))
        self.prepare(None if first is None else self._counts(first, run(first)))
        return self.load(run(self.plan(len(federation.parties))))

    def fit_plain(self, parts: Sequence[Interactions], *, seed: int = 0) -> Self:
        """Learn by the same tasks over plain sums; with one part: the pooled model."""
        rows = [self.rows_of(self._own(part)) for part in parts]

        def run(plan: TaskPlan) -> Mapping[str, State]:
            task = require_plain(build_task(plan.kind, plan.parameters, name=plan.name))
            return {plan.name: fit(task, rows, rounds=plan.rounds, seed=seed).state}

        first = self.support_plan(len(parts))
        self.prepare(None if first is None else self._counts(first, run(first)))
        return self.load(run(self.plan(len(parts))))

    def rows_of(self, part: Interactions) -> Data:
        """Return a company's rows as its node carries them."""
        return part.to_data()

    def _add(self, federation: Federation, plan: TaskPlan, name: str | None) -> Federation:
        try:
            return add_plan(federation, plan, name)
        except MisuseError as error:
            goal, form = "with", "has no private form; DpPopularity and DpEase have one"
            if plan.privacy:
                goal, form = "without", "adds noise by what the goal says"
            raise MisuseError(
                f"{type(self).__name__} does not suit a federation {goal} a privacy goal: "
                f"it {form} ({error})"
            ) from error

    def _own(self, part: Interactions) -> Interactions:
        if part.catalogue.digest != self.catalogue.digest:
            raise InputError("a party read its interactions with another catalogue than this one")
        return part

    def _counts(self, plan: TaskPlan, models: Mapping[str, State]) -> NDArray[np.float64]:
        return np.asarray(models[plan.name]["users"], dtype=np.float64)

    # Use

    def score_items(self, histories: Histories) -> NDArray[np.float64]:
        """Return scores of all items for each user, shape (people, items); -inf is unknown."""
        raise NotImplementedError

    def scores(self, histories: Histories | Interactions) -> NDArray[np.float64]:
        """Return scores of all items for users, shape (people, items).

        Users need not have been there in training: their items say everything (fold-in). Who has
        no item that the model knows gets the popular ones, scored by popularity in [0, 1].

        Raises:
            MisuseError: not fitted.
            InputError: histories of another catalogue.
        """
        self._require_fitted()
        if isinstance(histories, Interactions):
            histories = Histories.from_interactions(self._own(histories))
        if histories.count != len(self.catalogue):
            raise InputError(f"the histories are over {histories.count} items, not the catalogue's")
        scores = self.score_items(histories)
        strange = np.ones(histories.people, dtype=np.bool_)
        strange[histories.users[self.trained_on()[histories.items]]] = False
        if strange.any():
            share = self.popularity_ / max(float(self.popularity_.max()), 1.0)
            scores[strange] = np.where(share > 0, share, -np.inf)
        return scores

    def trained_on(self) -> NDArray[np.bool_]:
        """Return which items of a user say anything to the model, shape (items,)."""
        return self.popularity_ > 0

    def recommend(
        self,
        history: ArrayLike,
        k: int = 10,
        *,
        window: int | None = None,
        with_known: bool = False,
        popularity_discount: float = 0.0,
        calibration: Calibration | None = None,
    ) -> list[Recommendation]:
        """Return the best items for a user, best first; computed where the user's items are.

        Args:
            history: numbers of the user's items, the latest last; may be empty.
            k: length of the list; shorter where the model knows fewer items.
            window: how many of the latest items to go by; all unless given. Ten served the users
                of our benchmark better than all.
            with_known: recommend the user's own items too.
            popularity_discount: beta of :func:`discount_popularity`.
            calibration: keeps the user's mix of kinds.

        Raises:
            InputError: an item outside of the catalogue, or one twice.
        """
        known = item_numbers(history)
        Histories.of([known], len(self.catalogue))
        recent = known if window is None else known[max(0, len(known) - window) :]
        scores = self.scores(Histories.of([recent], len(self.catalogue)))[0]
        scores = discount_popularity(scores, self.popularity_, popularity_discount)
        race = scores if with_known else without(scores, known)
        chosen = top(race, k) if calibration is None else calibration.choose(race, known, k)
        return self._listed(chosen, scores)

    def similarity(self, item: int) -> NDArray[np.float64]:
        """Return how alike all items are to one, shape (items,); -inf is unknown."""
        raise NotImplementedError

    def similar(self, item: int, k: int = 10) -> list[Recommendation]:
        """Return the items most like one, without itself.

        Raises:
            InputError: an item outside of the catalogue.
        """
        self._require_fitted()
        self._require_item(item)
        scores = self.similarity(item)
        return self._listed(top(without(scores, np.array([item])), k), scores)

    def contributions(self, history: NDArray[np.int64], item: int) -> NDArray[np.float64]:
        """Return what each item of the history adds to the score of ``item``."""
        raise NotImplementedError

    def explain(self, history: ArrayLike, item: int) -> list[Recommendation]:
        """Return the user's items by what each adds to the score of ``item``, most first.

        The contributions sum to the score.

        Raises:
            InputError: an item outside of the catalogue, or one twice.
        """
        self._require_fitted()
        self._require_item(item)
        known = item_numbers(history)
        Histories.of([known], len(self.catalogue))
        parts = np.full(len(self.catalogue), np.nan)
        parts[known] = self.contributions(known, item)
        order = known[np.argsort(-parts[known], kind="stable")]
        return self._listed(order, parts)

    def _listed(
        self, items: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> list[Recommendation]:
        return [
            Recommendation(int(item), self.catalogue.keys[item], float(scores[item]))
            for item in items
        ]

    def _require_fitted(self) -> None:
        if not hasattr(self, "popularity_"):
            raise MisuseError(f"this {type(self).__name__} is not fitted; call fit or load first")

    def _require_item(self, item: int) -> None:
        if not 0 <= item < len(self.catalogue):
            raise InputError(f"item {item} is outside of 0 to {len(self.catalogue) - 1}")
