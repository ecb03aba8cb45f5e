"""What the numbers of an audit mean, in words for people who are no cryptographers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from protocols.ledger.facts import AuditResult, Finding

MAX_TEXT: Final = 1000
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999
_SURE: Final = 0.9995

HEADLINES: Final = {"verified": "VERIFIED", "incomplete": "INCOMPLETE", "failed": "FAILED"}


def verdict_sentence(result: AuditResult) -> str:
    """Return what a verdict means, in one sentence."""
    if result.verdict == "failed":
        return (
            "The record does not hold: something in it is missing, changed or not as agreed. "
            "Rely on nothing that comes after the fault."
        )
    if result.verdict == "incomplete":
        return (
            "Everything recorded so far is as agreed, but the run was not closed: later rounds "
            "may exist that this copy of the record does not show."
        )
    condition = "" if result.anchored else ", if the agreement in the file is the right one"
    return (
        "The record is whole: every round from the first to the last is there, was signed by "
        f"those who took part, and kept to what all companies had agreed{condition}."
    )


def best_guess(epsilon: float, delta: float) -> float:
    """Return how often anybody can at most be right about one person, where a coin is right half.

    An attacker with even odds between two neighbouring data sets is right with probability at most
    ``(e^epsilon + delta) / (1 + e^epsilon)``.

    Source: Kairouz, Oh and Viswanath 2015.
    """
    return min(1.0, 1 / (1 + math.exp(-epsilon)) + delta / (1 + math.exp(min(epsilon, 700.0))))


def percent(share: float) -> str:
    """Return a share of one as a percentage that is never rounded down to less than it is."""
    if share > _SURE:
        return "practically 100%"
    return f"{math.ceil(share * 1000) / 10:.1f}%"


def meaning(epsilon: float, delta: float, unit: str) -> str:
    """Return what epsilon and delta promise, in one sentence without symbols."""
    return (
        f"Whoever sees every result and guesses whether a given {unit} was in the data is right at "
        f"most {percent(best_guess(epsilon, delta))} of the time (a coin: 50%)."
    )


def strength(epsilon: float) -> str:
    """Return where an epsilon stands on a common scale (Ponomareva et al. 2023)."""
    if epsilon <= 1:
        return "strong (epsilon at most 1)"
    if epsilon <= 10:
        return "moderate (epsilon between 1 and 10)"
    return "weak (epsilon above 10)"


def chance(probability: float) -> str:
    """Return a small probability as one in so many."""
    return f"1 in {1 / probability:,.0f}" if probability < 0.5 else f"{probability:g}"


def clean(text: str) -> str:
    """Return text as one line without control characters, not too long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def place(finding: Finding) -> str:
    """Return where a finding belongs: leaf, round and party as far as they are known."""
    parts = [] if finding.leaf is None else [f"leaf {finding.leaf}"]
    parts += [f"round {finding.round}"] if finding.round else []
    parts += [clean(finding.party)] if finding.party else []
    return ", ".join(parts)


def ranges(numbers: Iterable[int]) -> str:
    """Return rising numbers as ranges, such as ``3, 7-9``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def instant(seconds: int) -> str:
    """Return Unix seconds as a date and time, UTC; as they are where no calendar has them."""
    if not 0 <= seconds <= _LAST_SECOND:
        return f"{seconds} s"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


def finite(value: float | None) -> float | None:
    """Return a number as JSON may hold it: ``None`` in place of infinity."""
    return value if value is not None and math.isfinite(value) else None
