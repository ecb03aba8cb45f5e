"""Checks of an agreement that need its tasks: parameters, dimension, size of the global model."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.agreement import Agreement
from protocols.errors import AgreementError, MisuseError
from securefed.clip_state import pack_state
from securefed.forecast import opening_bytes
from securefed.runtime import build_agreed


@dataclass(frozen=True, slots=True)
class CheckedTasks:
    """What was found about the tasks of an agreement.

    Attributes:
        model_bytes: size of the global model by task, where the task could be built.
        notes: tasks that could not be checked here, and why.
    """

    model_bytes: dict[str, int]
    notes: tuple[str, ...]


def check_tasks(agreement: Agreement) -> CheckedTasks:
    """Check every task of a validated agreement by building it.

    A task whose optional dependency is not installed is noted, not refused: who signs need not be
    able to run it on this machine.

    Raises:
        AgreementError: unknown kind, wrong parameters, dimension or bound, or a model that is
            longer than a message may be; says the right value.
    """
    sizes: dict[str, int] = {}
    notes: list[str] = []
    for agreed in agreement.tasks:
        try:
            task = build_agreed(agreement, agreed)
        except MisuseError as error:
            notes.append(f"task {agreed.name} was not checked here: {error}")
            continue
        sizes[agreed.name] = len(pack_state(agreed, task.initial_state()))
        need = opening_bytes(agreement, agreed, sizes[agreed.name])
        if need > agreement.aggregation.max_message_bytes:
            raise AgreementError(
                "aggregation.max_message_bytes",
                f"is {agreement.aggregation.max_message_bytes}, but a round of task {agreed.name} "
                f"opens with a message of {need} bytes, the global model",
                f"set it to at least {need}",
            )
    return CheckedTasks(sizes, tuple(notes))
