"""Where a run stands in the agreed plan, and what its rounds cost so far."""

from __future__ import annotations

import math
from typing import Final

from protocols.agreement import Agreement, Task, TaskPrivacy
from protocols.agreement.noise import composed_releases
from protocols.errors import LedgerError, PolicyError, PrivacyParameterError
from protocols.intent import Terms, outputs_of, terms_of
from protocols.privacy.accounting import epsilon
from protocols.rounds import RoundOpen, RunEnded

TOLERANCE: Final = 1e-6
"""Relative, of recomputed numbers: other processors round other ways."""


class Schedule:
    """Which round comes next, from which model, under which terms, and at what cost.

    Attributes:
        charged: rounds by task name; every intent counts.
        invitations: for each party, by number: rounds that it was asked to join, by task name.
    """

    def __init__(self, agreement: Agreement) -> None:
        """Args: the agreement in force."""
        self.charged: dict[str, int] = {}
        self.invitations: list[dict[str, int]] = [{} for _ in agreement.parties]
        self._agreement = agreement
        self._names = frozenset(task.name for task in agreement.tasks)
        self._position = 0
        self._used = 0
        self._model: bytes | None = None
        self._clip_norm: float | None = None
        self._outputs = {task.name: outputs_of(agreement, task) for task in agreement.tasks}
        # What was computed last is what is asked for next: terms by task, epsilon by counts.
        self._terms: dict[str, tuple[float | None, Terms | None]] = {}
        self._costs: dict[tuple[int, ...], float] = {}

    @property
    def task(self) -> Task | None:
        """The task that is at work; ``None`` when all are over."""
        tasks = self._agreement.tasks
        return tasks[self._position] if self._position < len(tasks) else None

    def check_end(self, message: RunEnded, name: str) -> None:
        """Check that a run may end now, as ``name`` says.

        Raises:
            LedgerError: ``end-invalid`` or ``end-too-early``.
        """
        if message.outcome != "completed":
            raise LedgerError("end-invalid", f"the end of a run that {message.outcome}", party=name)
        task = self.task
        if task is not None:
            raise LedgerError("end-too-early", f"task {task.name} is not over", party=name)

    # Intents

    def check(self, intent: RoundOpen) -> tuple[Task, float | None, float | None]:
        """Check that a round may begin; return its task, and epsilon before and with it.

        Raises:
            LedgerError: ``task-unknown``, ``rounds-exceeded``, ``plan-violated``,
                ``model-chain-broken``, ``clip-norm-refused``, ``terms-altered``,
                ``outputs-altered`` or ``epsilon-altered``.
        """
        task = self._check_place(intent)
        if intent.model != (self._model or intent.model):
            raise self._refusal(
                "model-chain-broken", "it starts from another model than the last round left"
            )
        self._check_terms(task, intent)
        if intent.outputs != self._outputs[task.name]:
            raise self._refusal(
                "outputs-altered", f"it opens {', '.join(intent.outputs)}, which is not agreed"
            )
        return task, *self._check_costs(task, intent)

    def _check_place(self, intent: RoundOpen) -> Task:
        if intent.task not in self._names:
            raise self._refusal("task-unknown", f"no task {intent.task!r} is agreed")
        task = self.task
        if task is None:
            raise self._refusal("rounds-exceeded", "every task is over")
        agreed = next(one.rounds for one in self._agreement.tasks if one.name == intent.task)
        if intent.round_in_task > agreed:
            raise self._refusal(
                "rounds-exceeded", f"{agreed} rounds of task {intent.task} are agreed"
            )
        if (intent.task, intent.round_in_task) != (task.name, self._used + 1):
            raise self._refusal(
                "plan-violated",
                f"round {intent.round_in_task} of task {intent.task} cannot follow; round "
                f"{self._used + 1} of task {task.name} is next",
            )
        return task

    def _check_terms(self, task: Task, intent: RoundOpen) -> None:
        stated = None if intent.terms is None else intent.terms.clip_norm
        privacy = task.privacy
        if stated is not None and privacy is not None:
            self._check_move(task.name, privacy, stated)
        known = self._terms.get(task.name)
        if known is None or known[0] != stated:
            known = self._terms[task.name] = (stated, self._expected(task, stated))
        if intent.terms != known[1]:
            raise self._refusal(
                "terms-altered", "its noise, clip norm or sampling rate is not the agreed one"
            )

    def _check_move(self, task: str, privacy: TaskPrivacy, stated: float) -> None:
        """Check a clip norm against the one before it; :func:`terms_of` knows its range."""
        if self._clip_norm is None:
            if stated != privacy.clip_norm:
                raise self._refusal(
                    "clip-norm-refused", f"task {task} does not begin at the agreed clip norm"
                )
        elif privacy.adaptive is not None:
            # Not of the quotient, which a hostile number makes zero.
            moved = abs(math.log(stated) - math.log(self._clip_norm))
            if moved > privacy.adaptive.rate + TOLERANCE:
                raise self._refusal(
                    "clip-norm-refused",
                    f"the clip norm of task {task} moves from {self._clip_norm:g} to {stated:g}, "
                    f"and its logarithm by at most {privacy.adaptive.rate:g} as agreed",
                )

    def _expected(self, task: Task, clip_norm: float | None) -> Terms | None:
        try:
            return terms_of(self._agreement, task, clip_norm)
        except PolicyError as error:
            raise self._refusal("clip-norm-refused", str(error)) from error
        except PrivacyParameterError as error:
            raise self._refusal("terms-altered", str(error)) from error

    def _check_costs(self, task: Task, intent: RoundOpen) -> tuple[float | None, float | None]:
        stated = (intent.epsilon_before, intent.epsilon_after)
        before, after = self.costs_of(task)
        if before is None or after is None:
            if stated != (None, None):
                raise self._refusal("epsilon-altered", "it states an epsilon, but adds no noise")
            return None, None
        for one, other in zip(stated, (before, after), strict=True):
            if one is None or not math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-12):
                raise self._refusal(
                    "epsilon-altered",
                    f"it states epsilon {_shown(stated[0])} before and {_shown(stated[1])} with "
                    f"it; the rounds so far give {before:.6g} and {after:.6g}",
                )
        return before, after

    def costs_of(self, task: Task) -> tuple[float, float] | tuple[None, None]:
        """Return epsilon before and with one more round of a task; nothing without noise.

        Raises:
            LedgerError: ``epsilon-altered``: so many rounds have no cost that could be stated.
        """
        if self._agreement.privacy.mechanism == "none":
            return None, None
        before = dict(self.charged)
        after = {**before, task.name: before.get(task.name, 0) + 1}
        return self._cost(before), self._cost(after)

    def _cost(self, counts: dict[str, int]) -> float:
        key = tuple(counts.get(task.name, 0) for task in self._agreement.tasks)
        known = self._costs.get(key)
        if known is not None:
            return known
        try:
            releases = composed_releases(self._agreement, counts)
            cost = epsilon(releases, self._agreement.privacy.delta, accountant="rdp")
        except PrivacyParameterError as error:
            raise self._refusal("epsilon-altered", str(error)) from error
        while len(self._costs) > 1:
            del self._costs[next(iter(self._costs))]
        self._costs[key] = cost
        return cost

    def _refusal(self, finding: str, reason: str) -> LedgerError:
        return LedgerError(finding, reason, party=self._agreement.coordinator.name)

    # What was accepted

    def begin(self, intent: RoundOpen) -> None:
        """A round has begun: it is charged, whatever becomes of it."""
        self._used += 1
        self._model = intent.model
        self._clip_norm = None if intent.terms is None else intent.terms.clip_norm
        for counts in (self.charged, *(self.invitations[number] for number in intent.invited)):
            counts[intent.task] = counts.get(intent.task, 0) + 1

    def end(self, model: bytes | None, *, done: bool) -> None:
        """The round has ended: with another model, or aborted, and so with the same."""
        task = self.task
        if model is not None:
            self._model = model
        if task is not None and (done or self._used == task.rounds):
            self._position, self._used = self._position + 1, 0
            self._model = self._clip_norm = None


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
