"""What an audit checked, one line for each kind of check: what held, and where it stopped."""

from __future__ import annotations

from typing import Final, Literal

from protocols.ledger.facts import AuditResult
from securefed.audit.words import place
from securefed.summary import counted

Anchor = Literal["agreement", "digest", "none"]
"""What was given from outside the bundle to tell that its agreement is the right one."""

_CHECKS: Final = (
    ("agreement", "The agreement is safe, has one byte string, and every company signed it."),
    ("signatures", "Every message was signed by the one that the agreement names for it."),
    ("order", "Leaves stand in the only order there is; round numbers have no gaps, none repeats."),
    ("binding", "Every opening of a round carries size and root of the whole record before it."),
    (
        "terms",
        (
            "Noise, clip norm, sampling rate and outputs of every round are as agreed, and every "
            "company in it signed the same."
        ),
    ),
    (
        "epsilon",
        (
            "What the coordinator stated as spent before and after each round was computed "
            "again and agrees."
        ),
    ),
    ("participation", "Every company in a sum signed its part before it left."),
    (
        "survivors",
        ("A quorum of companies confirmed who is in each sum, and the cohort is large enough."),
    ),
    ("models", "Each round started from the model that the one before it ended with."),
    (
        "checkpoints",
        (
            "Every checkpoint has the root of the leaves before it, the coordinator's "
            "signature and those of a quorum of witnesses."
        ),
    ),
)


_KEY: Final = (
    "The key of the ciphertexts is one that its dealer and every trustee signed under this "
    "agreement; modulus and shares are proved to be well formed."
)


def transcript(result: AuditResult, anchor: Anchor, heads_given: int) -> list[dict[str, str]]:
    """Return each kind of check with ``passed``, ``stopped`` or ``not done``."""
    stopped = result.failure is not None
    where = "" if result.failure is None else place(result.failure)
    outcome = "stopped" if stopped else "passed"
    until = f"held up to the fault ({where or result.failure.name})" if result.failure else ""
    lines = [_line(name, text, outcome, until) for name, text in _CHECKS]
    lines[1]["note"] = until or f"{counted(result.signatures, 'signature', 'signatures')} checked"
    encrypted = result.signed is not None and bool(result.signed.agreement.trustees)
    return [
        _anchor(anchor, outcome, until),
        *lines,
        *([_line("key", _KEY, outcome, until)] if encrypted else []),
        _heads(result, heads_given, outcome, until),
        _closed(result, outcome, until),
    ]


def _anchor(anchor: Anchor, outcome: str, until: str) -> dict[str, str]:
    text = "The agreement in the file is the one that was given from outside."
    if anchor == "none":
        return _line(
            "anchor", text, "not done", "none was given: all public keys come from the file itself"
        )
    given = {"agreement": "compared with the agreement's file", "digest": "compared by digest"}
    return _line("anchor", text, outcome, until or given[anchor])


def _heads(result: AuditResult, given: int, outcome: str, until: str) -> dict[str, str]:
    text = "Heads that were kept elsewhere are heads of this record, so nothing was rolled back."
    if not given:
        return _line("heads", text, "not done", "none was given; ask companies for theirs")
    note = f"{result.heads_checked} of {counted(given, 'head', 'heads')} checked"
    return _line("heads", text, outcome, until or note)


def _closed(result: AuditResult, outcome: str, until: str) -> dict[str, str]:
    text = "The coordinator signed that the run is complete, and a quorum has seen that."
    if result.closed:
        return _line("closed", text, outcome, until)
    return _line("closed", text, "not done", until or "the run was not closed")


def _line(check: str, text: str, outcome: str, note: str) -> dict[str, str]:
    return {"check": check, "text": text, "outcome": outcome, "note": note}
