"""What a round is made under: stated by the coordinator before it, restated by every party in it.

The coordinator's opening message is the *intent*; what a party states beside its masked vector is
its *commit*. Both are kept in the ledger, so that whoever reads it later sees which noise, clip
norm and sampling rate every signer used, and recomputes what the round cost.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Final

import msgspec

from protocols.agreement.model import Agreement, Task
from protocols.agreement.noise import noise_plan
from protocols.identity import Digest
from protocols.masking.messages import MAX_STATEMENT_BYTES
from protocols.version import __version__
from protocols.wire import decode, encode

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e300)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1)]
Software = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")]

OUTPUT_SUM: Final = "sum"
OUTPUT_METER: Final = "noise-meter"
OUTPUT_INDICATOR: Final = "clip-indicator"


class Terms(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The noise of one round. All but the clip norm is fixed by the agreement.

    Attributes:
        clip_norm: largest norm of one unit's vector, model units.
        noise_multiplier: standard deviation of the promised noise over the norm on the grid.
        sampling_rate: probability that a unit takes part.
        share_deviation: standard deviation of the noise that each party adds, grid units.
    """

    clip_norm: Positive
    noise_multiplier: Positive
    sampling_rate: Rate
    share_deviation: Positive


class Commit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a party signs with its masked vector, before the vector leaves it.

    Attributes:
        intent: digest of the intent that it answers, 32 bytes; see :func:`intent_digest`.
        terms: under which its vector was made; ``None`` where no noise is agreed.
        software: what computed it.
    """

    intent: Digest
    terms: Terms | None
    software: Software


SOFTWARE: Final = f"securefed/{__version__}"


def terms_of(agreement: Agreement, task: Task, clip_norm: float | None = None) -> Terms | None:
    """Return the terms of a round; ``None`` where the agreement adds no noise.

    Args:
        agreement: in force.
        task: one of its tasks.
        clip_norm: of this round, where it adapts; the first one unless given.

    Raises:
        PolicyError: a clip norm that the agreement does not allow.
        PrivacyParameterError: as :func:`protocols.agreement.noise.noise_plan`.
    """
    plan = noise_plan(agreement, task, clip_norm=clip_norm)
    if plan is None or task.privacy is None:
        return None
    return Terms(
        plan.clip.clip_norm,
        task.privacy.noise_multiplier,
        plan.sampling_rate,
        math.sqrt(plan.noise.share_variance),
    )


def outputs_of(agreement: Agreement, task: Task) -> tuple[str, ...]:
    """Return the names of everything that a round of a task opens, in order."""
    if agreement.privacy.mechanism == "none":
        return (OUTPUT_SUM,)
    adapts = task.privacy is not None and task.privacy.adaptive is not None
    return (OUTPUT_SUM, OUTPUT_METER, *((OUTPUT_INDICATOR,) if adapts else ()))


def intent_digest(payload: bytes) -> bytes:
    """Return what an intent is known by: SHA-256 of the payload of the opening message."""
    return hashlib.sha256(payload).digest()


def statement(intent: bytes, terms: Terms | None) -> bytes:
    """Return our commit to an intent as the bytes that a submission carries."""
    return encode(Commit(intent, terms, SOFTWARE))


def read_statement(data: bytes, *, party: str) -> Commit:
    """Parse the statement of a submission.

    Raises:
        WireError: it is no commit.
    """
    return decode(Commit, data, party=party, step="submit", max_bytes=MAX_STATEMENT_BYTES)
