"""The empirical lower bound beside the proven upper one: what a canary audit measured, from a file.

The file holds the attributes of :class:`securefed.privacy.CanaryAudit` as one JSON object. It is no
part of the ledger: who ran it, and on what, is for the auditor to know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from protocols.errors import InputError

MAX_BYTES: Final = 64 * 1024
_Epsilon = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What :func:`securefed.privacy.audit_canaries` returned.

    Attributes:
        epsilon_lower: no smaller epsilon describes what was released, with ``confidence``.
        epsilon_proven: what the accountant says of the configuration that was attacked.
        delta: of both.
        confidence: of the lower bound.
        canaries: planted.
        guesses: made.
        right: of them.
    """

    epsilon_lower: _Epsilon
    epsilon_proven: _Epsilon
    delta: _Share
    confidence: _Share
    canaries: _Count
    guesses: _Count
    right: _Count

    @property
    def refuted(self) -> bool:
        """Whether the attack did better than the proof allows."""
        return self.epsilon_lower > self.epsilon_proven


def read_canary(path: Path) -> Canary:
    """Read what a canary audit wrote.

    Raises:
        InputError: not such a file.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"{path} is too long for the result of a canary audit")
        return msgspec.json.decode(data, type=Canary)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} does not hold the result of a canary audit as one JSON object: {error}"
        ) from error


def empirical(canary: Canary | None) -> dict[str, Any]:
    """Return what a report says of a canary audit, or of there being none."""
    if canary is None:
        return {
            "measured": False,
            "text": "Not measured. securefed.privacy.audit_canaries attacks the noise with planted "
            "people; give its result to securefed audit --canary.",
        }
    outcome = (
        f"That is MORE than the proven {canary.epsilon_proven:.4g}: the proof or the code is wrong."
        if canary.refuted
        else f"Proven for that configuration: at most {canary.epsilon_proven:.4g}."
    )
    return {
        "measured": True,
        "refuted": canary.refuted,
        **msgspec.structs.asdict(canary),
        "text": f"An attack that knew {canary.canaries:,} planted people needed an epsilon of at "
        f"least {canary.epsilon_lower:.4g} at delta {canary.delta:g} to explain how often it was "
        f"right (confidence {canary.confidence:.0%}). {outcome} Measured apart from this record.",
    }
