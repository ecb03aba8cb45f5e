"""The participation of each party as a row of coloured runs, however many rounds there were."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from securefed.audit.participation import IN_SUM, LATE, LEFT_OUT, NOT_INVITED, SILENT

MOST_COLUMNS: Final = 1000
STYLES: Final = {
    IN_SUM: "in-sum",
    LEFT_OUT: "left-out",
    LATE: "left-out",
    SILENT: "silent",
    NOT_INVITED: "not-invited",
}
"""Style in the page of each letter; a late commit looks like any other that is in no sum."""
_TELLING: Final = (SILENT, LEFT_OUT, LATE, NOT_INVITED, IN_SUM)
_ABORTED: Final = {"s": "in-sum", "a": "aborted"}


@dataclass(frozen=True, slots=True)
class Row:
    """One party.

    Attributes:
        facts: its counts, from the report.
        text: the row in words.
        paths: style and SVG path of its runs, one unit a column, in a row of height 1.
    """

    facts: dict[str, Any]
    text: str
    paths: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """All parties over all rounds.

    Attributes:
        columns: of each row.
        rounds_a_column: 1, or more where there are too many rounds; then a column shows the most
            telling of its rounds.
        outcomes: style and path of the row that shows aborted rounds.
        rows: in the order of the agreement.
    """

    columns: int
    rounds_a_column: int
    outcomes: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def matrix(report: dict[str, Any]) -> Matrix | None:
    """Return the picture of who took part; ``None`` before the first round ended."""
    took = report["participation"]
    rounds = len(took["rounds"])
    if not rounds:
        return None
    size = -(-rounds // MOST_COLUMNS)
    styles = {letter: STYLES[letter] for letter in STYLES}
    return Matrix(
        -(-rounds // size),
        size,
        _paths(_binned(took["outcomes"], size, "as"), _ABORTED),
        tuple(
            Row(
                facts,
                f"{facts['party']}: in the sum of {facts['in_sum']} of {rounds} rounds",
                _paths(_binned(took["matrix"][facts["party"]], size, "".join(_TELLING)), styles),
            )
            for facts in took["parties"]
        ),
    )


def _binned(row: str, size: int, order: str) -> str:
    if size == 1:
        return row
    stretches = (row[start : start + size] for start in range(0, len(row), size))
    return "".join(next(letter for letter in order if letter in stretch) for stretch in stretches)


def _paths(row: str, styles: dict[str, str]) -> tuple[tuple[str, str], ...]:
    paths: dict[str, list[str]] = {}
    column = 0
    for style, run in groupby(row, key=lambda letter: styles[letter]):
        length = sum(1 for _ in run)
        paths.setdefault(style, []).append(f"M{column} .5h{length}")
        column += length
    return tuple((style, "".join(runs)) for style, runs in sorted(paths.items()))
