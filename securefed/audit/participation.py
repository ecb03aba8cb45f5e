"""Who was in which round, as a verified ledger says it: one letter a round for each party."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from protocols.ledger.facts import RoundFacts
from securefed.audit.words import clean, ranges

IN_SUM: Final = "s"
LEFT_OUT: Final = "c"
LATE: Final = "l"
SILENT: Final = "i"
NOT_INVITED: Final = "-"
LEGEND: Final = {
    IN_SUM: "in the sum",
    LEFT_OUT: "committed, but not in any sum",
    LATE: "committed, recorded only after the round",
    SILENT: "invited, but sent nothing",
    NOT_INVITED: "not invited",
}


def participation(rounds: Sequence[RoundFacts], parties: Sequence[str]) -> dict[str, Any]:
    """Return the matrix of parties and rounds, and what it says of each party.

    Args:
        rounds: in order.
        parties: names, in the order of the agreement.
    """
    columns = [_column(one, len(parties)) for one in rounds]
    numbers = [one.round for one in rounds]
    rows = {
        name: "".join(column[number] for column in columns) for number, name in enumerate(parties)
    }
    outcomes = "".join("s" if one.outcome == "completed" else "a" for one in rounds)
    return {
        "legend": dict(LEGEND),
        "rounds": numbers,
        "outcomes": outcomes,
        "matrix": rows,
        "parties": [_row(name, row, numbers, outcomes) for name, row in rows.items()],
        "aborted": [_aborted(one) for one in rounds if one.outcome == "aborted"],
        "rounds_with_dropouts": sum(
            one.outcome == "completed" and bool(one.dropouts) for one in rounds
        ),
    }


def _column(one: RoundFacts, parties: int) -> list[str]:
    """Return one letter for each party; the strongest that is true."""
    column = [NOT_INVITED] * parties
    for numbers, letter in (
        (one.invited, SILENT),
        (one.late, LATE),
        (one.committed, LEFT_OUT),
        (one.survivors, IN_SUM),
    ):
        for number in numbers:
            column[number] = letter
    return column


def _row(name: str, row: str, numbers: Sequence[int], outcomes: str) -> dict[str, Any]:
    counts = {letter: row.count(letter) for letter in LEGEND}
    cells = list(zip(numbers, row, outcomes, strict=True))
    return {
        "party": name,
        "in_sum": counts[IN_SUM],
        "left_out": counts[LEFT_OUT] + counts[LATE],
        "late": counts[LATE],
        "silent": counts[SILENT],
        "not_invited": counts[NOT_INVITED],
        "silent_in": ranges(n for n, letter, _ in cells if letter == SILENT),
        "left_out_in": ranges(
            n for n, letter, end in cells if letter in (LEFT_OUT, LATE) and end == "s"
        ),
    }


def _aborted(one: RoundFacts) -> dict[str, Any]:
    return {
        "round": one.round,
        "leaf": one.leaf,
        "task": one.task,
        "step": one.step,
        "reason": clean(one.reason),
        "invited": len(one.invited),
        "committed": len(one.committed) + len(one.late),
    }
