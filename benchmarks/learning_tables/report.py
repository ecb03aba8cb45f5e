"""Tables of means and deviations over seeds, and their places in a page."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be measured.

    Attributes:
        data: folder of the public data sets.
        seeds: splits, from 0.
        quick: fewest rounds and trees, to see that everything runs; its figures mean nothing.
    """

    data: Path
    seeds: int
    quick: bool


@dataclass(slots=True)
class Table:
    """Rows by name, each with one set of figures a seed.

    Attributes:
        title: heading of the first column.
        digits: digits of each figure, in the order of the columns.
    """

    title: str
    digits: Mapping[str, int]
    rows: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)

    def add(self, found: Iterable[tuple[str, Mapping[str, float]]]) -> None:
        """Take the rows of one seed."""
        for name, figures in found:
            self.rows.setdefault(name, []).append(figures)

    def __str__(self) -> str:
        """Return Markdown; a figure that a row lacks is left empty, one seed has no deviation."""
        lines = [grid(self.title, *self.digits), grid(*["---"] * (1 + len(self.digits)))]
        for name, seeds in self.rows.items():
            lines.append(grid(name, *[self._cell(seeds, key) for key in self.digits]))
        return "\n".join(lines)

    def _cell(self, seeds: Sequence[Mapping[str, float]], key: str) -> str:
        values = [figures[key] for figures in seeds if key in figures]
        if not values:
            return ""
        digits = self.digits[key]
        spread = f" ± {np.std(values):.{digits}f}" if len(values) > 1 else ""
        return f"{np.mean(values):.{digits}f}{spread}"


def grid(*cells: str) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def printed(work: Callable[..., None], *arguments: object) -> str:
    """Return what a function prints: tables of benchmarks that print them, without remarks."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        work(*arguments)
    lines = text.getvalue().splitlines()
    return "\n".join(line for line in lines if not line.startswith("<!--")).strip()


def marks(name: str) -> tuple[str, str]:
    """Return the comments around one table of a page."""
    return f"<!-- learning: {name} -->", f"<!-- end of learning: {name} -->"


END = "<!-- end of learning -->"


def replace_table(page: str, name: str, table: str) -> str:
    """Return the page with another table between its marks; nothing else changes.

    A table without marks is put, with some, before the mark that ends the section.

    Raises:
        SystemExit: the page has no such section.
    """
    first, last = marks(name)
    block = f"{first}\n{table.strip()}\n{last}"
    before, opened, rest = page.partition(first)
    _, closed, after = rest.partition(last)
    if opened and closed:
        return f"{before}{block}{after}"
    before, closed, after = page.partition(END)
    if not closed:
        raise SystemExit(f"the page has no section of learning: add the line {END}")
    return f"{before}**{name.capitalize()}.**\n\n{block}\n\n{END}{after}"
