"""Which rounds a party lets begin: the agreement's plan, in order, each round once.

The coordinator proposes; the party counts for itself, so that a coordinator that lies about round
numbers, repeats a round or swaps the model gets a refusal (threats T5 to T7). Rounds run without
gaps over the whole plan, so the distance between two round numbers says how many rounds a party
missed, and the two places in the plan must lie that far apart.

What one party alone cannot notice: that a round which it is told it missed never took place. A
coordinator can give it any model after such a gap; the survivors then still check that all of them
trained on one and the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from protocols.agreement import Agreement, Task
from protocols.errors import (
    DuplicateError,
    EquivocationError,
    ModelMismatchError,
    PolicyError,
    ReplayError,
    UnexpectedMessageError,
)
from protocols.identity import Digest
from protocols.rounds import RoundOpen

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Ending = Literal["unknown", "aborted", "published"]


class Progress(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a party has come; made durable before it answers anything of a round.

    Attributes:
        round: number of the last round that was admitted, 0 before the first.
        task: position of its task in the agreement.
        round_in_task: its number within the task.
        ended: how that round ended, as far as we heard.
        over: how many tasks, from the first, the coordinator declared finished.
        opened: digest of the model that the last round started from.
        model: digest of the model that the next round must start from; ``None`` if unknown.
    """

    round: Count = 0
    task: Count = 0
    round_in_task: Count = 0
    ended: Ending = "unknown"
    over: Count = 0
    opened: Digest | None = None
    model: Digest | None = None

    def aborted(self, coordinator: str) -> Progress:
        """The round ended without a sum: the next one starts from the same model.

        Raises:
            UnexpectedMessageError: no round has begun.
            DuplicateError: we were told before.
            EquivocationError: the round has a result already.
        """
        self._require_round(coordinator, "abort")
        if self.ended == "aborted":
            raise DuplicateError(coordinator, "abort", f"round {self.round} was aborted before")
        if self.ended == "published":
            raise EquivocationError(coordinator, "abort", f"round {self.round} has a result")
        return msgspec.structs.replace(self, ended="aborted", model=self.opened)

    def published(self, coordinator: str, model: bytes, *, done: bool) -> Progress:
        """The round has a result: the next one starts from it.

        Raises:
            UnexpectedMessageError: no round has begun.
            DuplicateError: we were told before.
            EquivocationError: the round was aborted, or has another result.
        """
        self._require_round(coordinator, "result")
        over = max(self.over, self.task + 1) if done else self.over
        if self.ended == "published" and (self.model, self.over) == (model, over):
            raise DuplicateError(coordinator, "result", f"round {self.round} is known already")
        if self.ended != "unknown":
            raise EquivocationError(
                coordinator, "result", f"round {self.round} ended in another way before"
            )
        return msgspec.structs.replace(self, ended="published", model=model, over=over)

    def finished(self, position: int) -> Progress:
        """The task at this position, and every one before it, is over."""
        return msgspec.structs.replace(self, over=max(self.over, position + 1))

    def _require_round(self, coordinator: str, step: str) -> None:
        if self.round == 0:
            raise UnexpectedMessageError(coordinator, step, "no round has begun here")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A round that may begin."""

    progress: Progress
    task: Task


def find_task(agreement: Agreement, name: str) -> int:
    """Return the position of a task.

    Raises:
        PolicyError: the agreement has no such task.
    """
    for position, task in enumerate(agreement.tasks):
        if task.name == name:
            return position
    raise PolicyError(f"the agreement that we signed has no task {name!r}; we do not answer it")


def admit(
    progress: Progress, agreement: Agreement, round_: int, opened: RoundOpen, initial: bytes | None
) -> Admitted:
    """Decide whether a round may begin.

    Args:
        progress: what we admitted before.
        agreement: the one in force.
        round_: number of the proposed round.
        opened: the coordinator's proposal, its signature checked.
        initial: digest of the task's initial model, computed by ourselves; ``None`` for a kind
            whose initial model is not fixed by the agreement.

    Raises:
        DuplicateError: the very opening that was admitted last.
        EquivocationError: another opening of the round that was admitted last.
        ReplayError: the round number is not above every earlier one.
        PolicyError: beyond the agreed rounds, a task out of order or over, or a place in the plan
            that cannot belong to this round number.
        ModelMismatchError: not the model that the last result announced, or not the initial one.
    """
    coordinator = agreement.coordinator.name
    position = find_task(agreement, opened.task)
    if round_ == progress.round > 0:
        if (position, opened.round_in_task, opened.model) == (
            progress.task,
            progress.round_in_task,
            progress.opened,
        ):
            raise DuplicateError(coordinator, "open", f"round {round_} is open already")
        raise EquivocationError(coordinator, "open", f"round {round_} was opened in another way")
    if round_ <= progress.round:
        raise ReplayError(coordinator, "open", f"round {round_} is past; {progress.round} was last")
    if round_ > agreement.max_rounds:
        raise PolicyError(
            f"round {round_} is beyond the {agreement.max_rounds} rounds of the agreement that we "
            "signed; sign a new agreement to go on"
        )
    _check_place(progress, agreement, round_, position, opened.round_in_task)
    _check_model(progress, round_, position, opened, initial, coordinator)
    return Admitted(
        Progress(
            round_,
            position,
            opened.round_in_task,
            over=max(progress.over, position),
            opened=opened.model,
        ),
        agreement.tasks[position],
    )


def _check_place(
    progress: Progress, agreement: Agreement, round_: int, position: int, round_in_task: int
) -> None:
    task = agreement.tasks[position]
    if position < max(progress.over, progress.task):
        raise PolicyError(f"task {task.name} is over; its data are not touched again")
    gap = round_ - progress.round
    if position == progress.task:
        fewest = most = -progress.round_in_task
    else:
        fewest, most = _rounds_between(progress, agreement, position)
    if round_in_task > task.rounds or not fewest <= gap - round_in_task <= most:
        raise PolicyError(
            f"round {round_} cannot be round {round_in_task} of task {task.name}, which may take "
            f"{task.rounds}: the last round was {progress.round}"
        )


def _rounds_between(progress: Progress, agreement: Agreement, position: int) -> tuple[int, int]:
    """Return the fewest and most rounds after our last one and before the task at ``position``."""
    tasks, last = agreement.tasks, progress.task
    left = tasks[last].rounds - progress.round_in_task
    # A task takes one round at least, and goes on after a round that did not finish it.
    unfinished = progress.over <= last and progress.ended != "unknown" and left > 0
    fewest = int(unfinished or progress.round == 0) + position - last - 1
    return fewest, left + sum(task.rounds for task in tasks[last + 1 : position])


def _check_model(
    progress: Progress,
    round_: int,
    position: int,
    opened: RoundOpen,
    initial: bytes | None,
    coordinator: str,
) -> None:
    if opened.round_in_task == 1 and initial is not None and opened.model != initial:
        raise ModelMismatchError(
            coordinator, "open", f"task {opened.task} does not start from its agreed initial model"
        )
    follows = round_ == progress.round + 1 and position == progress.task
    if follows and progress.model is not None and opened.model != progress.model:
        raise ModelMismatchError(
            coordinator, "open", "the model is not the one that the last round announced"
        )
