"""What frames a round: its opening, its end, and leaving it. Signed like every other message."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from protocols.agreement import Agreement, Task
from protocols.agreement.ciphertexts import encrypted_bytes
from protocols.agreement.noise import summed_values
from protocols.identity import NO_ROUND, Digest, Envelope, Identity, Name
from protocols.intent import Terms
from protocols.masking.context import RoundContext
from protocols.masking.messages import Parties
from protocols.wire import encode

MAX_REASON_LENGTH: Final = 500
MAX_STEP_LENGTH: Final = 32
# A reason ends in somebody's terminal and log: no control characters, no second line.
Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON_LENGTH, pattern=r"^[ -~…]*\Z")]
StepName = Annotated[str, msgspec.Meta(max_length=MAX_STEP_LENGTH, pattern=r"^[a-z0-9-]*\Z")]
RoundInTask = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
LeafCount = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
Epsilon = Annotated[float, msgspec.Meta(ge=0, le=1e300)]


class RoundOpen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party: a round begins. The global model is attached. This is the *intent*.

    Attributes:
        task: name of the task in the agreement.
        round_in_task: 1 for the task's first round; aborted rounds count.
        model: SHA-256 digest of the attached model, 32 bytes.
        tree_size: leaves in the ledger before this intent.
        tree_root: root over them, 32 bytes: it binds everything that was.
        invited: parties that are asked to take part, by number, in order.
        terms: under which every party computes; ``None`` where no noise is agreed.
        outputs: names of everything that the round opens.
        epsilon_before: spent by every person before, by the Renyi accountant; ``None`` without
            noise.
        epsilon_after: the same with this round, which is charged whether it completes or not.
    """

    task: Name
    round_in_task: RoundInTask
    model: Digest
    tree_size: LeafCount
    tree_root: Digest
    invited: Annotated[Parties, msgspec.Meta(min_length=1)]
    terms: Terms | None
    outputs: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=8)]
    epsilon_before: Epsilon | None
    epsilon_after: Epsilon | None


class RoundAborted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party: the round ended without a sum; the model is unchanged."""

    step: StepName
    reason: Reason


class RoundResult(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party: the round has a sum.

    Attributes:
        model: digest of the next global model, 32 bytes.
        aggregate: SHA-256 of a secret salt of 32 bytes and the opened sum, little-endian words.
        survivors: parties in the sum, by number, in order.
        dropouts: parties that dealt shares and are not in the sum, by number, in order.
        noise_meter: measured over promised variance of the noise; ``None`` without noise.
        done: whether the task is finished; then :class:`FinalModel` follows.
    """

    model: Digest
    aggregate: Digest
    survivors: Annotated[Parties, msgspec.Meta(min_length=1)]
    dropouts: Parties
    noise_meter: Annotated[float, msgspec.Meta(ge=0, le=1e300)] | None
    done: bool


class Withdrawal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Party to coordinator: we leave this round; do not wait for us."""

    step: StepName
    reason: Reason


class FinalModel(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party, outside any round: a task is over, and its model is attached.

    Sent to everybody connected, and to a party that comes back and may have missed it.

    Attributes:
        task: name of the task in the agreement; those before it are over as well.
        model: SHA-256 digest of the attached model, 32 bytes.
    """

    task: Name
    model: Digest


class RunEnded(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party, outside any round: nothing more will come."""

    outcome: Literal["completed", "failed"]
    reason: Reason


STEPS: Final[dict[type[msgspec.Struct], str]] = {
    RoundOpen: "open",
    RoundAborted: "abort",
    RoundResult: "result",
    Withdrawal: "withdraw",
    FinalModel: "final",
    RunEnded: "end",
}
_OUTSIDE: Final = (FinalModel, RunEnded)


def seal(identity: Identity, agreement: bytes, round_: int, message: msgspec.Struct) -> Envelope:
    """Sign one of the messages of this module; the last two of :data:`STEPS` have no round."""
    return identity.seal(
        agreement=agreement,
        round_=NO_ROUND if isinstance(message, _OUTSIDE) else round_,
        step=STEPS[type(message)],
        payload=encode(message),
    )


def shorten(reason: str) -> str:
    """Return a reason as a message may carry it: one line of printable ASCII, not too long."""
    line = re.sub(r"[^ -~…]", "?", reason)
    if len(line) <= MAX_REASON_LENGTH:
        return line
    return line[: MAX_REASON_LENGTH - 1].rstrip() + "…"


def step_name(step: str) -> str:
    """Return the name of a step as a message may carry it."""
    return re.sub(r"[^a-z0-9-]", "-", step)[:MAX_STEP_LENGTH]


def round_context(
    agreement: Agreement,
    digest: bytes,
    round_: int,
    task: Task,
    round_in_task: int,
    intent: bytes = b"",
) -> RoundContext:
    """Return the public facts of one round.

    Everything is from the agreement but the two numbers and the intent. The task, its round and the
    intent, which binds the ledger so far, go into every digest of the round, so that parties who
    were told different ones never confirm one set.

    Args:
        agreement: in force.
        digest: its digest, 32 bytes.
        round_: number of the round, from 1.
        task: one of the agreement's tasks.
        round_in_task: number of the round within the task, from 1.
        intent: digest of the message that opened the round, 32 bytes; empty to look at the numbers
            of a round that nobody opens.
    """
    rules = agreement.aggregation
    noised = agreement.privacy.mechanism != "none"
    # Fewer parties than that would hold less noise than was promised.
    enough = len(agreement.parties) - rules.max_dropouts if noised else 0
    return RoundContext(
        agreement=digest,
        round=round_,
        coordinator=agreement.coordinator.verify_key(),
        parties=tuple(party.verify_key() for party in agreement.parties),
        threshold=rules.threshold,
        quorum=agreement.quorum,
        min_cohort=max(rules.min_cohort, enough),
        max_dropouts=rules.max_dropouts,
        degree=None if rules.neighbours == "complete" else rules.neighbours,
        modulus_bits=task.modulus_bits,
        count=summed_values(agreement, task),
        max_message_bytes=rules.max_message_bytes,
        purpose=msgspec.msgpack.encode((task.name, round_in_task, intent)),
        masked=rules.mode != "paillier",
        encrypted_bytes=encrypted_bytes(agreement, task),
    )
