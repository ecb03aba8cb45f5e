"""What an auditor has to look at although the record is sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.agreement import Agreement
from protocols.ledger.facts import Finding, RoundFacts
from protocols.ledger.verify import LedgerVerifier
from protocols.privacy.noise_meter import judge_ratio

_SHOWN: Final = 8
_ALARMS: Final = {"too little": "noise-too-little", "too much": "noise-too-much"}


def observations(verifier: LedgerVerifier, agreement: Agreement) -> Iterator[Finding]:
    """Return the warnings that a verified log gives rise to.

    Args:
        verifier: that took the whole log.
        agreement: the one in its leaf 0.
    """
    names = tuple(party.name for party in agreement.parties)
    yield from _ending(verifier)
    for facts in verifier.rounds:
        yield from _of_round(facts, agreement.quorum)
    for late in verifier.late_commits:
        yield Finding(
            "late-commit-elsewhere" if late.elsewhere else "late-commit",
            f"the commit of {names[late.party]} to round {late.round} was recorded late"
            + (", and names another roster: it or the coordinator lies" if late.elsewhere else ""),
            late.leaf,
            late.round,
            names[late.party],
        )
    yield from _software(verifier)
    yield from _clocks(verifier, names)


def alarms(verifier: LedgerVerifier) -> tuple[int, ...]:
    """Return the rounds whose noise meter is outside its bounds."""
    return tuple(facts.round for facts in verifier.rounds if _alarm(facts))


def _alarm(facts: RoundFacts) -> str | None:
    return None if facts.noise_meter is None else _ALARMS.get(judge_ratio(facts.noise_meter))


def _of_round(facts: RoundFacts, quorum: int) -> Iterator[Finding]:
    if facts.outcome == "aborted":
        reason = f"it ended at {facts.step or 'no step'}: {facts.reason or 'no reason given'}"
        if len(facts.confirmations) >= quorum:
            reason += "; a quorum had confirmed it, so the coordinator may know the sum"
        yield Finding("round-aborted", reason, facts.leaf, facts.round)
    alarm = _alarm(facts)
    if alarm is not None:
        yield Finding(
            alarm,
            f"the sum held {facts.noise_meter:.4g} times the promised variance, as the "
            "coordinator states",
            facts.leaf,
            facts.round,
        )


def _ending(verifier: LedgerVerifier) -> Iterator[Finding]:
    if not verifier.closed:
        open_round = verifier.open_round
        what = f"round {open_round} is in progress" if open_round else "more rounds may follow"
        yield Finding("not-closed", f"{len(verifier.rounds)} rounds ended, and {what}")
    if verifier.size and not verifier.at_checkpoint:
        last = verifier.checkpoints[-1].leaf if verifier.checkpoints else -1
        yield Finding(
            "tail-unwitnessed",
            f"{verifier.size - last - 1} leaves follow the last checkpoint",
            last + 1,
        )


def _software(verifier: LedgerVerifier) -> Iterator[Finding]:
    used = sorted({one for facts in verifier.rounds for one in facts.software})
    if len(used) > 1:
        more = f" and {len(used) - _SHOWN} more" if len(used) > _SHOWN else ""
        yield Finding("software-differs", f"{', '.join(used[:_SHOWN])}{more}")


def _clocks(verifier: LedgerVerifier, names: tuple[str, ...]) -> Iterator[Finding]:
    latest: dict[int, int] = {}
    told: set[int] = set()
    for checkpoint in verifier.checkpoints:
        for number, when in zip(checkpoint.witnesses, checkpoint.times, strict=True):
            before = latest.get(number, when)
            if when < before and number not in told:
                told.add(number)
                yield Finding(
                    "witness-clock",
                    f"{names[number]} signed at {when}, and at {before} before that",
                    checkpoint.leaf,
                    party=names[number],
                )
            latest[number] = max(before, when)
