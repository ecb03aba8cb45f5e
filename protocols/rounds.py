"""What frames a round: its opening, its end, and leaving it. Signed like every other message."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from protocols.agreement import Agreement, Task
from protocols.identity import NO_ROUND, Digest, Envelope, Identity, Name
from protocols.masking.context import RoundContext
from protocols.wire import encode

MAX_REASON_LENGTH: Final = 500
Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON_LENGTH)]
RoundInTask = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class RoundOpen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party: a round begins. The global model is attached.

    Attributes:
        task: name of the task in the agreement.
        round_in_task: 1 for the task's first round; aborted rounds count.
        model: SHA-256 digest of the attached model, 32 bytes.
    """

    task: Name
    round_in_task: RoundInTask
    model: Digest


class RoundAborted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party: the round ended without a sum; the model is unchanged."""

    step: Annotated[str, msgspec.Meta(max_length=32)]
    reason: Reason


class RoundResult(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party: the round has a sum. On the task's last round its model is attached.

    Attributes:
        model: digest of the next global model, 32 bytes.
        survivors: how many parties are in the sum.
        done: whether the task is finished; only then the model is attached.
    """

    model: Digest
    survivors: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    done: bool


class Withdrawal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Party to coordinator: we leave this round; do not wait for us."""

    step: Annotated[str, msgspec.Meta(max_length=32)]
    reason: Reason


class RunEnded(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party, outside any round: nothing more will come."""

    outcome: Literal["completed", "failed"]
    reason: Reason


STEPS: Final[dict[type[msgspec.Struct], str]] = {
    RoundOpen: "open",
    RoundAborted: "abort",
    RoundResult: "result",
    Withdrawal: "withdraw",
    RunEnded: "end",
}


def seal(identity: Identity, agreement: bytes, round_: int, message: msgspec.Struct) -> Envelope:
    """Sign one of the messages of this module; :class:`RunEnded` belongs to no round."""
    return identity.seal(
        agreement=agreement,
        round_=NO_ROUND if isinstance(message, RunEnded) else round_,
        step=STEPS[type(message)],
        payload=encode(message),
    )


def shorten(reason: str) -> str:
    """Cut a reason to what a message may carry."""
    return (
        reason
        if len(reason) <= MAX_REASON_LENGTH
        else reason[: MAX_REASON_LENGTH - 1].rstrip() + "…"
    )


def round_context(agreement: Agreement, digest: bytes, round_: int, task: Task) -> RoundContext:
    """Return the public facts of one round, all from the agreement but its number.

    Args:
        agreement: in force.
        digest: its digest, 32 bytes.
        round_: number of the round, from 1.
        task: one of the agreement's tasks.
    """
    rules = agreement.aggregation
    return RoundContext(
        agreement=digest,
        round=round_,
        coordinator=agreement.verify_key(agreement.coordinator.name),
        parties=tuple(agreement.verify_key(party.name) for party in agreement.parties),
        threshold=rules.threshold,
        quorum=agreement.quorum,
        min_cohort=rules.min_cohort,
        max_dropouts=rules.max_dropouts,
        degree=None if rules.neighbours == "complete" else rules.neighbours,
        modulus_bits=task.modulus_bits,
        count=task.dimension,
        max_message_bytes=rules.max_message_bytes,
    )
