"""How recommenders are learnt: their parameters, and the one or two runs that they take.

The conventions are those of :class:`securefed.learning.estimator.FederatedEstimator`, but a party
brings interactions over an agreed catalogue instead of a table of features. Where a recommender has
to know first which items enough users have, an ``item-support`` run comes first, and its public
result is part of the second agreement.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import Data
from securefed.learning.estimator import Checking
from securefed.learning.person import require_plain
from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.interactions import Interactions
from securefed.learning.recommend.plans import TaskPlan, add_plan
from securefed.learning.reference import fit
from securefed.learning.registry import build_task
from securefed.learning.state import State

if TYPE_CHECKING:
    from securefed.federation import Federation
    from securefed.simulation import SimulationResult


class Recipe:
    """Base of what is learnt from interactions.

    Attributes:
        catalogue: the agreed items.
        runs_: after :meth:`fit`: every simulated run, by the name of its task.
        n_rounds_: after fitting: rounds of all runs.
        bytes_up_: after :meth:`fit`: bytes that each party sent, by name.
    """

    catalogue: Catalogue
    runs_: dict[str, SimulationResult]
    n_rounds_: int
    bytes_up_: dict[str, int]

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

    def prepare(self, popularity: NDArray[np.float64]) -> None:
        """Take the counts of the first run, shape (items,)."""

    def support_plan(self, parties: int) -> TaskPlan | None:
        """Return the task of the first run; ``None`` where the recommender needs none."""
        del parties
        return None

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Take the final state of a run's task.

        Args:
            models: may hold other tasks as well.
            name: as given to :meth:`add_to`.

        Raises:
            MisuseError: the task is not among the models, or was over other items.
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
            InputError: a party's rows cannot be used; names the party, before anything is sent.
            MisuseError: the federation has tasks already, or a party has no data.
            SecureFedError: as a deployed run would.
        """
        if federation.tasks:
            raise MisuseError("give a federation without tasks; a recommender adds its own")
        missing = [name for name in federation.parties if name not in data]
        if missing:
            raise MisuseError(f"no data of {', '.join(missing[:8])}; give rows for every party")
        rows = self._rows({name: data[name] for name in federation.parties})
        self.runs_ = {}

        def run(plan: TaskPlan) -> Mapping[str, State]:
            lead = self._add(copy.deepcopy(federation), plan, None)
            _check(plan, rows)
            result = lead.simulate(rows, seed=seed)
            self.runs_[plan.name] = result
            return result.models

        self._learn(run, len(federation.parties))
        runs = self.runs_.values()
        self.n_rounds_ = sum(len(result.records) for result in runs)
        self.bytes_up_ = {name: sum(each.bytes_up[name] for each in runs) for name in rows}
        return self

    def fit_plain(self, parts: Sequence[Interactions], *, seed: int = 0) -> Self:
        """Learn by the same tasks over plain sums; with one part: the pooled model.

        Raises:
            InputError: a part's rows cannot be used; names the part.
            AgreementError: the tasks add noise, which has no plain form.
        """
        rows = self._rows({f"part {number}": part for number, part in enumerate(parts)})
        self.runs_, self.n_rounds_, self.bytes_up_ = {}, 0, {}

        def run(plan: TaskPlan) -> Mapping[str, State]:
            task = require_plain(build_task(plan.kind, plan.parameters, name=plan.name))
            _check(plan, rows)
            done = fit(task, list(rows.values()), rounds=plan.rounds, seed=seed)
            self.n_rounds_ += done.rounds
            return {plan.name: done.state}

        self._learn(run, len(parts))
        return self

    def _learn(self, run: Callable[[TaskPlan], Mapping[str, State]], parties: int) -> None:
        first = self.support_plan(parties)
        if first is not None:
            self.prepare(np.asarray(run(first)[first.name]["users"], dtype=np.float64))
        self.load(run(self.plan(parties)))

    def _rows(self, data: Mapping[str, Interactions]) -> dict[str, Data]:
        for party, part in data.items():
            if part.catalogue.digest != self.catalogue.digest:
                raise InputError(
                    f"{party} read its interactions with another catalogue than this recommender's"
                )
        return {party: self.rows_of(part) for party, part in data.items()}

    def rows_of(self, part: Interactions) -> Data:
        """Return a company's rows as its node carries them."""
        return part.to_data()

    def _add(self, federation: Federation, plan: TaskPlan, name: str | None) -> Federation:
        try:
            return add_plan(federation, plan, name)
        except MisuseError as error:
            goal, form = "with", "has no private form; DpPopularity, DpEase and DpIals have one"
            if plan.privacy:
                goal, form = "without", "adds noise by what the goal says"
            raise MisuseError(
                f"{type(self).__name__} does not suit a federation {goal} a privacy goal: "
                f"it {form} ({error})"
            ) from error


def _check(plan: TaskPlan, rows: Mapping[str, Data]) -> None:
    task = build_task(plan.kind, plan.parameters, name=plan.name)
    if not isinstance(task, Checking):
        return
    for party, data in rows.items():
        try:
            task.check(data)
        except InputError as error:
            raise InputError(f"{party}: {error}") from error
