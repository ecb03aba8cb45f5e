"""What a round is about, what comes of it, and what it needs of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from protocols.agreement import Task
from protocols.identity import Envelope
from protocols.masking.coordinator_states import Aggregate


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What a round is about.

    Attributes:
        round: its number.
        task: the task it belongs to.
        round_in_task: its number within the task.
        model: global model that is handed out.
    """

    round: int
    task: Task
    round_in_task: int
    model: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class RoundSum:
    """A round that succeeded.

    Attributes:
        aggregate: the sum and who is in it.
        lost: names of parties that began the round and did not finish it.
    """

    aggregate: Aggregate
    lost: tuple[str, ...]


class RoundLog(Protocol):
    """What a round writes into the ledger, and the words of parties that concern it alone."""

    def begin(self, plan: RoundPlan, model: bytes, invited: Sequence[int]) -> Envelope:
        """Use up the round's number and record its intent, together; return the opening."""
        ...

    def bring_up_to_date(self, names: Sequence[str]) -> None:
        """Send these parties the leaves that they lack."""
        ...

    async def take(self, peer: str, body: memoryview) -> bool:
        """Take a message on the ledger; return whether it was one."""
        ...

    def check_statement(self, envelope: Envelope) -> None:
        """Raise PeerError if a submission commits to anything but the intent."""
        ...

    def hold(self, envelope: Envelope) -> None:
        """Keep a message that was taken until it is recorded."""
        ...

    def flush(self, step: str) -> None:
        """Record what was taken at a step."""
        ...
