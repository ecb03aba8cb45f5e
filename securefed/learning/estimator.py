"""What every federated estimator shares: parameters, running its tasks, reading their states.

An estimator is a recipe of tasks and what to do with their final states. ``fit`` runs them over
real nodes in this process, ``add_to`` and ``load`` put the same tasks into a deployed run, and
``fit_plain`` runs them over plain sums, which with one part gives the pooled model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parties.coordinator.progress import RoundRecord
from protocols.errors import InputError, MisuseError
from securefed.data.schema import MAX_COLUMNS, Schema
from securefed.data.table import Data, require_columns
from securefed.federation import Federation
from securefed.learning.incomplete import numeric
from securefed.learning.parameters import Parameters
from securefed.learning.person import require_plain
from securefed.learning.reference import fit as run_plain
from securefed.learning.registry import build_task
from securefed.learning.state import State
from securefed.privacy_spent import PrivacySpent

_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of an estimator's recipe.

    Attributes:
        suffix: of the task's name; empty for an estimator's only task.
        kind: a registered kind.
        rounds: most rounds.
        parameters: of the kind.
        privacy: what ``Federation.add_task`` is told about noise.
    """

    suffix: str
    kind: str
    rounds: int
    parameters: dict[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, Any] | None = None


@runtime_checkable
class Checking(Protocol):
    """A task that can tell beforehand what it would refuse."""

    def check(self, data: Data) -> None:
        """Raise InputError for data that the task refuses."""
        ...


class FederatedEstimator(Parameters):
    """Base of the estimators; parameters are what ``__init__`` takes and nothing else.

    Attributes:
        n_features_in_: feature columns.
        n_rounds_: rounds that were run.
        bytes_up_: bytes that each party sent, by name; empty after ``fit_plain`` and ``load``.
        privacy_: what the run cost every person; ``None`` without noise.
        complaints_: the first thing that went wrong at each party.
        records_: every round, for :func:`securefed.learning.histories`; a pipeline's steps have
            their own.
    """

    default_name: str = "estimator"
    n_features_in_: int
    n_rounds_: int
    bytes_up_: dict[str, int]
    privacy_: PrivacySpent | None
    complaints_: tuple[str, ...]
    records_: tuple[RoundRecord, ...]

    # What an estimator says about itself

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return the tasks that fit this estimator to so many columns and parties."""
        raise NotImplementedError

    def read(self, states: Mapping[str, State]) -> None:
        """Set the fitted attributes from the final states, by suffix."""
        raise NotImplementedError

    def party_data(self, data: Data, party: int) -> Data:
        """Return the rows as the task of this party takes them; what a deployed party is given.

        Args:
            data: rows of one party.
            party: number of the party in the federation, from 0.
        """
        del party
        return data

    # Running

    def add_to(
        self,
        federation: Federation,
        name: str | None = None,
        *,
        features: int | None = None,
        schema: Schema | None = None,
    ) -> Federation:
        """Add this estimator's tasks to a federation, for a deployed run.

        Args:
            federation: it gets one or more tasks.
            name: of the task, or beginning of the tasks' names.
            features: feature columns of every party; needed unless fitted before.
            schema: names, types and ranges of the columns; part of the agreement, and every party
                checks its own rows by it before it takes part.

        Raises:
            AgreementError: a parameter is out of range.
            MisuseError: the number of features is unknown, or the federation promises privacy and
                this estimator has no private form.
        """
        named = None if schema is None else len(schema.columns)
        count = features or named or getattr(self, "n_features_in_", None)
        if count is None:
            raise MisuseError("say how many columns there are: add_to(federation, features=...)")
        more = {} if schema is None else schema.parameters()
        for plan in self.plan(count, len(federation.parties)):
            each = replace(plan, parameters=plan.parameters | more)
            self._add(federation, each, _full_name(name or self.default_name, each.suffix))
        return federation

    def _add(self, federation: Federation, plan: TaskPlan, name: str) -> None:
        try:
            federation.add_task(
                name, plan.kind, rounds=plan.rounds, privacy=plan.privacy, **plan.parameters
            )
        except MisuseError as error:
            raise MisuseError(
                f"{type(self).__name__} with these parameters does not suit the federation's "
                f"privacy: {self._private_form()} ({error})"
            ) from error

    def _private_form(self) -> str:
        return (
            "it has no differentially private form yet, and its exact sums would tell about people;"
            " it needs a federation with privacy=None"
        )

    def fit(
        self,
        federation: Federation,
        data: Mapping[str, Data],
        *,
        schema: Schema | None = None,
        seed: int | None = None,
    ) -> Self:
        """Fit over real nodes, keys and masks in this process.

        Args:
            federation: one without tasks; it is copied, not changed.
            data: rows of each party, by name.
            schema: agreed columns; unless given, the names of the first party whose rows have any.
            seed: makes the parties' own draws reproducible.

        Raises:
            InputError: a party's data cannot be used; names the party, before anything is sent.
            MisuseError: the federation has tasks already, or a party has no data.
            NoResultError: the sums admit no model.
        """
        if federation.tasks:
            raise MisuseError("fit takes a federation without tasks; use add_to and load instead")
        missing = [name for name in federation.parties if name not in data]
        if missing:
            raise MisuseError(f"no data of {', '.join(missing[:8])}; give rows for every party")
        lead = copy.deepcopy(federation)
        features = data[lead.parties[0]].features.shape[1]
        agreed = schema or named_columns([data[name] for name in lead.parties])
        prepared = self._prepared(features, {name: data[name] for name in lead.parties}, agreed)
        self.add_to(lead, features=features, schema=agreed)
        result = lead.simulate(prepared, seed=seed)
        self._reset(features)
        self.n_rounds_, self.bytes_up_ = len(result.records), dict(result.bytes_up)
        self.privacy_, self.complaints_ = result.privacy, result.complaints
        self.records_ = result.records
        return self.load(result.models)

    def fit_plain(self, parts: Sequence[Data], *, schema: Schema | None = None) -> Self:
        """Run the same tasks over plain sums; with one part, the result is the pooled model.

        Raises:
            InputError: a part cannot be used; names it.
            MisuseError: no part, or tasks with noise, which have no plain form.
        """
        if not parts:
            raise MisuseError("a fit needs at least one part")
        features = parts[0].features.shape[1]
        told = {f"part {number}": part for number, part in enumerate(parts)}
        prepared = list(self._prepared(features, told, schema or named_columns(parts)).values())
        states, records = {}, list[RoundRecord]()
        for each in self.plan(features, len(parts)):
            task = require_plain(build_task(each.kind, each.parameters), name=self.default_name)
            done = run_plain(task, prepared, rounds=each.rounds, seed=_SEED)
            name = _full_name(self.default_name, each.suffix)
            states[name] = done.state
            records += done.records(name, after=len(records))
        self._reset(features)
        self.n_rounds_, self.records_ = len(records), tuple(records)
        return self.load(states)

    def load(self, models: Mapping[str, State], name: str | None = None) -> Self:
        """Read the final states of a deployed run, by task name.

        Args:
            models: may hold other tasks as well.
            name: as given to ``add_to``.

        Raises:
            MisuseError: no state of such a task.
        """
        beginning = name or self.default_name
        found = {
            task[len(beginning) :].removeprefix("-"): state
            for task, state in models.items()
            if task == beginning or task.startswith(f"{beginning}-")
        }
        if not found:
            raise MisuseError(f"no state of task {beginning!r}; there are {', '.join(models)}")
        try:
            self.read(found)
        except KeyError as error:
            raise MisuseError(
                f"the states of task {beginning!r} are none of {type(self).__name__}: "
                f"{error} is missing"
            ) from error
        return self

    def _reset(self, features: int) -> None:
        for name in [name for name in vars(self) if name.endswith("_") and name[0] != "_"]:
            delattr(self, name)
        self.n_features_in_, self.n_rounds_ = features, 0
        self.bytes_up_, self.privacy_, self.complaints_, self.records_ = {}, None, (), ()

    def _prepared(
        self, features: int, data: Mapping[str, Data], schema: Schema | None
    ) -> dict[str, Data]:
        """Check every party's rows and return them as its tasks take them."""
        plans = self.plan(features, len(data))
        tasks = [build_task(each.kind, each.parameters) for each in plans]
        prepared = {}
        for number, (party, rows) in enumerate(data.items()):
            try:
                if schema is not None:
                    schema.check(rows)
                require_columns(rows.features, features)
                prepared[party] = self.party_data(rows, number)
                for task in tasks:
                    if isinstance(task, Checking):
                        task.check(prepared[party])
            except InputError as error:
                raise InputError(f"{party}: {error}") from error
        return prepared

    def _table(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return a table to predict on or transform, NaN being a gap.

        Raises:
            MisuseError: not fitted yet.
            InputError: not a table of as many columns as were fitted.
        """
        self._require_fitted()
        table = numeric("features", features)
        if table.shape[1] != self.n_features_in_:
            raise InputError(
                f"features has {table.shape[1]} columns, but {type(self).__name__} was fitted on "
                f"{self.n_features_in_}"
            )
        return table

    def _require_fitted(self) -> None:
        if not hasattr(self, "n_features_in_"):
            raise MisuseError(f"this {type(self).__name__} is not fitted yet; call fit first")


def named_columns(parts: Sequence[Data]) -> Schema | None:
    """Return the columns of the first part that names its columns; ``None`` where none does."""
    names = next((part.columns for part in parts if part.columns is not None), None)
    return None if names is None or len(names) > MAX_COLUMNS else Schema.of(names)


def _full_name(beginning: str, suffix: str) -> str:
    return f"{beginning}-{suffix}" if suffix else beginning
