"""Which rounds a party lets begin: the agreement's plan, in order, each round once.

The coordinator proposes; the party counts for itself, so that a coordinator that lies about round
numbers, repeats a round or swaps the model gets a refusal (threats T5 to T7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from protocols.agreement import Agreement, Task
from protocols.errors import ModelMismatchError, PolicyError, ReplayError
from protocols.identity import Digest
from protocols.rounds import RoundOpen

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Progress(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a party has come; made durable before it answers anything of a round.

    Attributes:
        round: number of the last round that was admitted, 0 before the first.
        task: position of its task in the agreement.
        round_in_task: its number within the task.
        task_done: whether the coordinator declared that task finished.
        opened: digest of the model that the last round started from.
        model: digest of the model that the next round must start from; ``None`` if unknown, as
            after a result that we did not hear.
    """

    round: Count = 0
    task: Count = 0
    round_in_task: Count = 0
    task_done: bool = False
    opened: Digest | None = None
    model: Digest | None = None

    def aborted(self) -> Progress:
        """The round ended without a sum: the next one starts from the same model."""
        return msgspec.structs.replace(self, model=self.opened)

    def published(self, model: bytes, *, done: bool) -> Progress:
        """The round has a result: the next one starts from it."""
        return msgspec.structs.replace(self, model=None if done else model, task_done=done)


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
        ReplayError: the round number is not above every earlier one.
        PolicyError: beyond the agreed rounds, a task out of order or already finished.
        ModelMismatchError: not the model that the last result announced, or not the initial one.
    """
    coordinator = agreement.coordinator.name
    if round_ <= progress.round:
        raise ReplayError(coordinator, "open", f"round {round_} is past; {progress.round} was last")
    if round_ > agreement.max_rounds:
        raise PolicyError(
            f"round {round_} is beyond the {agreement.max_rounds} rounds of the agreement that we "
            "signed; sign a new agreement to go on"
        )
    position = find_task(agreement, opened.task)
    task = agreement.tasks[position]
    same = position == progress.task and progress.round > 0
    if position < progress.task or (same and progress.task_done):
        raise PolicyError(f"task {task.name} is over; its data are not touched again")
    before = progress.round_in_task if same else 0
    if not before < opened.round_in_task <= task.rounds:
        raise PolicyError(
            f"round {opened.round_in_task} of task {task.name}: the next may be {before + 1} to "
            f"{task.rounds}"
        )
    follows = same and round_ == progress.round + 1
    _check_model(progress, opened, initial, coordinator, follows=follows)
    return Admitted(
        Progress(round_, position, opened.round_in_task, task_done=False, opened=opened.model), task
    )


def _check_model(
    progress: Progress, opened: RoundOpen, initial: bytes | None, coordinator: str, *, follows: bool
) -> None:
    if opened.round_in_task == 1 and initial is not None and opened.model != initial:
        raise ModelMismatchError(
            coordinator, "open", f"task {opened.task} does not start from its agreed initial model"
        )
    if follows and progress.model is not None and opened.model != progress.model:
        raise ModelMismatchError(
            coordinator, "open", "the model is not the one that the last round announced"
        )
