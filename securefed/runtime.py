"""The learning layer as the nodes see it: tasks from the agreement, states as bytes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parties.coordinator.strategy import Published
from protocols.agreement import Agreement
from protocols.agreement import Task as AgreedTask
from protocols.agreement.noise import NoisePlan, clip_schedule, noise_plan
from protocols.errors import InputError, MisuseError
from securefed.clip_state import pack_state, unpack_state
from securefed.data.table import Data
from securefed.learning.person import (
    AnyTask,
    is_private,
    require_people,
    require_plain,
    require_private,
)
from securefed.learning.registry import build_task, check_task, task_schema
from securefed.learning.sampled import sampled_vectors
from securefed.learning.state import State, require_like

KeepModel = Callable[[str, bytes], None]
"""Told the name of a finished task and its final model in safetensors bytes."""


def build_agreed(agreement: Agreement, agreed: AgreedTask) -> AnyTask:
    """Build one task, checked against what the agreement says of it and of privacy.

    Raises:
        AgreementError: kind, parameters, dimension, bound, scale or privacy do not fit together.
        MisuseError: the kind needs an extra that is not installed.
    """
    task = build_task(agreed.kind, agreed.parameters, name=agreed.name)
    if agreement.privacy.mechanism != "none" and agreement.privacy.unit == "person":
        require_private(task, name=agreed.name)
    else:
        require_plain(task, name=agreed.name)
    check_task(agreed)
    return task


def build_tasks(agreement: Agreement) -> dict[str, AnyTask]:
    """Build every task of an agreement, by name; raises as :func:`build_agreed`."""
    return {agreed.name: build_agreed(agreement, agreed) for agreed in agreement.tasks}


class LearningTrainer:
    """Computes a party's updates; implements :class:`parties.party.trainer.Trainer`."""

    def __init__(
        self,
        agreement: Agreement,
        data: Mapping[str, Data] | Data,
        *,
        keep: KeepModel,
        seed: int | None = None,
    ) -> None:
        """Prepare a trainer.

        Args:
            agreement: the one in force.
            data: rows for all tasks, or by task name.
            keep: told every final model.
            seed: for reproducible experiments; production draws from the operating system.

        Raises:
            AgreementError: see :func:`build_tasks`.
            InputError: a task has no data, other columns than agreed, or more people: told now and
                to us alone, since a party that left a round for it would tell everybody.
        """
        self._tasks = build_tasks(agreement)
        self._data = dict.fromkeys(self._tasks, data) if isinstance(data, Data) else dict(data)
        for agreed in agreement.tasks:
            if agreed.name not in self._data:
                raise InputError(f"task {agreed.name} has no data; give rows for every task")
            schema = task_schema(agreed.kind, agreed.parameters)
            if schema is not None:
                schema.check(self._data[agreed.name])
            if agreed.privacy is not None and agreement.privacy.unit == "person":
                require_people(len(self._data[agreed.name]), agreed.privacy.people)
        self._keep = keep
        entropy = secrets.randbits(128) if seed is None else seed
        self._rng = np.random.default_rng(entropy)

    def initial_model(self, task: AgreedTask) -> bytes:
        """Return the agreed initial state as bytes."""
        return pack_state(task, self._tasks[task.name].initial_state())

    def clip_norm(self, task: AgreedTask, model: bytes) -> float | None:
        """Return the clip norm that a model carries; ``None`` where the agreement fixes it.

        Raises:
            WireError: it carries none although it should.
        """
        return unpack_state(task, model)[1]

    def update(self, task: AgreedTask, model: bytes, round_in_task: int) -> NDArray[np.float64]:
        """Compute the vector that is summed, shape ``(task.dimension,)``.

        Raises:
            InputError: the data cannot be used.
            WireError: the model is no state of this task.
        """
        learner = require_plain(self._tasks[task.name], name=task.name)
        state = read_state(learner, task, model)
        contribution = learner.contribute(state, self._data[task.name], round_in_task, self._rng)
        return learner.layout().flatten(contribution)

    def people(self, task: AgreedTask) -> int:
        """Return how many people this party has: a record is a person with one row."""
        return len(self._data[task.name])

    def person_vectors(
        self, task: AgreedTask, model: bytes, round_in_task: int, chosen: NDArray[np.int64]
    ) -> Iterator[NDArray[np.floating[Any]]]:
        """Compute the chosen people's vectors, in blocks of shape (people, ``task.dimension``).

        Raises:
            AgreementError: the task has no per-person form.
            WireError: the model is no state of this task.
            Exception: whatever the task raises.
        """
        learner = require_private(self._tasks[task.name], name=task.name)
        state = read_state(learner, task, model)
        data = self._data[task.name]
        yield from sampled_vectors(learner, state, data, chosen, round_in_task, self._rng)

    def finished(self, task: AgreedTask, model: bytes) -> None:
        """Keep a final model, once it has been read as a state of its task.

        Raises:
            WireError: the model is no state of this task.
        """
        read_state(self._tasks[task.name], task, model)
        self._keep(task.name, model)


class LearningStrategy:
    """Turns sums into models; implements :class:`parties.coordinator.strategy.Strategy`."""

    def __init__(self, agreement: Agreement) -> None:
        """Args: the agreement in force. Raises AgreementError, see :func:`build_tasks`."""
        self._agreement, self._tasks = agreement, build_tasks(agreement)

    def initial_model(self, task: AgreedTask) -> bytes:
        """Return the agreed initial state as bytes."""
        return pack_state(task, self._tasks[task.name].initial_state())

    def clip_norm(self, task: AgreedTask, model: bytes) -> float | None:
        """Return the clip norm that a model carries; ``None`` where the agreement fixes it.

        Raises:
            WireError: it carries none although it should.
        """
        return unpack_state(task, model)[1]

    def combine(
        self,
        task: AgreedTask,
        model: bytes,
        total: NDArray[np.float64],
        round_in_task: int,
        indicator: float | None = None,
        *,
        survivors: int | None = None,
    ) -> Published:
        """Turn the sum over the survivors into the next model.

        Args:
            task: of the agreement.
            model: the last one.
            total: the sum, shape ``(task.dimension,)``, model units.
            round_in_task: 1 for the task's first round.
            indicator: noised sum of the people's indicators, where the clip norm adapts.
            survivors: parties in the sum, each with its share of noise; all of them unless given.

        Raises:
            NoResultError: the sum admits no model.
        """
        learner = self._tasks[task.name]
        state = read_state(learner, task, model)
        sums = learner.layout().unflatten(total)
        plan = noise_plan(self._agreement, task, clip_norm=self.clip_norm(task, model))
        if not is_private(learner):
            step = require_plain(learner).combine(state, sums, round_in_task)
        elif plan is None:
            raise MisuseError(f"task {task.name} was not checked against its agreement")
        else:
            step = learner.combine(
                state,
                sums,
                plan.expected_people,
                plan.clip.clip_norm,
                plan.deviation_of(plan.parties if survivors is None else survivors),
                round_in_task,
            )
        following = None if plan is None else _next_clip(task, plan, indicator)
        metrics = step.metrics if following is None else {**step.metrics, "clip_norm": following}
        return Published(pack_state(task, step.state, following), step.done, metrics)


def _next_clip(task: AgreedTask, plan: NoisePlan, indicator: float | None) -> float | None:
    schedule = clip_schedule(task)
    if schedule is None or indicator is None:
        return None
    return schedule.next_norm(
        plan.clip.clip_norm,
        indicator_sum=indicator,
        indicator=plan.clip.indicator,
        expected_people=plan.expected_people,
    )


def read_state(task: AnyTask, agreed: AgreedTask, model: bytes) -> State:
    """Parse a state and check that it has the arrays of this task.

    Raises:
        WireError: it does not.
    """
    state, _ = unpack_state(agreed, model)
    require_like(state, task.initial_state())
    return state
