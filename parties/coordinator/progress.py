"""How far a run has come: what the coordinator needs to go on after a crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import msgspec

from protocols.identity import Digest, Name

RESTART: Final = "restart"
"""Step of a round that the coordinator's own restart ended: nobody else is to blame."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class RoundRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One round that ended.

    Attributes:
        round: its number.
        task: name of its task.
        round_in_task: its number within the task.
        outcome: whether there is a sum.
        step: where it was aborted.
        reason: why not.
        survivors: parties in the sum.
        lost: parties that began and did not finish.
        metrics: what the task said of the sum.
        seconds: wall-clock duration.
        noise_meter: measured over promised noise, where noise was agreed.
        noise_verdict: ``as promised``, ``too little`` or ``too much``.
    """

    round: Count
    task: Name
    round_in_task: Count
    outcome: Literal["completed", "aborted"]
    step: str = ""
    reason: str = ""
    survivors: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    metrics: dict[str, float] = {}
    seconds: float = 0.0
    noise_meter: float | None = None
    noise_verdict: str = ""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run came to.

    Attributes:
        models: final model of every task, by name.
        records: every round that ended, in order.
        bytes_up: bytes received from each party.
    """

    models: dict[str, bytes] = field(repr=False)
    records: tuple[RoundRecord, ...]
    bytes_up: dict[str, int]


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that is kept although the task went on.

    Attributes:
        task: name of its task.
        round_in_task: the round within the task whose sum gave it.
        model: its digest, 32 bytes.
    """

    task: Name
    round_in_task: Count
    model: Digest


class RunProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State between two rounds.

    Attributes:
        round: number of the last round that began.
        task: position of the current task.
        round_in_task: rounds of it that began.
        open: whether that round has not ended yet; after a crash it is aborted.
        done: whether the current task is finished.
        model: digest of its current model, 32 bytes.
        finals: digest of each finished task's final model, by name.
        bytes_up: bytes received from each party.
        kept: checkpoints, in order; state that was written before there were any has none.
    """

    round: Count = 0
    task: Count = 0
    round_in_task: Count = 0
    open: bool = False
    done: bool = False
    model: Digest | None = None
    finals: dict[str, Digest] = {}
    bytes_up: dict[str, int] = {}
    kept: tuple[Checkpoint, ...] = ()
