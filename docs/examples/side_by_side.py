"""A table and a picture of the same figures: local-only, federated, pooled."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

_WIDE, _LEFT, _RIGHT, _TOP, _STEP = 640, 190, 30, 70, 26
_COLOURS: Final = ("#c8553d", "#1b6ca8", "#222222", "#588b3a")
_SIZES: Final = (5.0, 7.0, 3.0, 5.0)
"""A pooled figure lies on the federated one: a small dot on a large one shows both."""


@dataclass(frozen=True)
class Comparison:
    """Figures of several models, row by row.

    Attributes:
        what: the figure, such as "AUC".
        models: names of the columns.
        rows: names of the rows, such as companies.
        values: shape (splits, rows, models).
    """

    what: str
    models: tuple[str, ...]
    rows: tuple[str, ...]
    values: np.ndarray

    def mean(self, row: str, model: str) -> float:
        """Return the mean over the splits."""
        return float(self.values[:, self.rows.index(row), self.models.index(model)].mean())

    def deviation(self, row: str, model: str) -> float:
        """Return the standard deviation over the splits."""
        return float(self.values[:, self.rows.index(row), self.models.index(model)].std())

    def table(self) -> str:
        """Return a Markdown table of means and deviations."""
        lines = [("", *self.models), ("---",) * (1 + len(self.models))]
        lines += [
            (
                row,
                *[
                    f"{self.mean(row, one):.3f} ± {self.deviation(row, one):.3f}"
                    for one in self.models
                ],
            )
            for row in self.rows
        ]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def chart(self) -> str:
        """Return an SVG with one line a row and one dot a model."""
        means = self.values.mean(axis=0)
        low, high = float(np.floor(means.min() * 20) / 20), float(np.ceil(means.max() * 20) / 20)
        width, high_y = _WIDE - _LEFT - _RIGHT, _TOP + _STEP * len(self.rows)

        def across(value: float) -> float:
            return _LEFT + (value - low) / (high - low) * width

        lines = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high_y + 40}" '
                f'role="img" aria-label="{self.what} by company and model" '
                'font-family="sans-serif" font-size="13">'
            ),
            f'<rect width="{_WIDE}" height="{high_y + 40}" fill="white"/>',
            f'<text x="{_LEFT}" y="24">{self.what}, mean of {len(self.values)} splits</text>',
        ]
        for number, model in enumerate(self.models):
            x = _LEFT + 110 * number
            lines += [
                f'<circle cx="{x + 5}" cy="43" r="{_SIZES[number]}" fill="{_COLOURS[number]}"/>',
                f'<text x="{x + 17}" y="47">{model}</text>',
            ]
        for place, row in enumerate(self.rows):
            y = _TOP + _STEP * (place + 0.5)
            lines += [
                f'<text x="{_LEFT - 12}" y="{y + 4:.0f}" text-anchor="end">{row}</text>',
                f'<path d="M{_LEFT} {y:.0f}h{width}" stroke="#ddd"/>',
            ]
            lines += [
                f'<circle cx="{across(float(value)):.1f}" cy="{y:.0f}" r="{_SIZES[number]}" '
                f'fill="{_COLOURS[number]}"/>'
                for number, value in enumerate(means[place])
            ]
        for value in np.linspace(low, high, 5):
            lines.append(
                f'<text x="{across(float(value)):.0f}" y="{high_y + 22}" text-anchor="middle" '
                f'fill="#666">{value:.3f}</text>'
            )
        return "\n".join([*lines, "</svg>", ""])


def main(description: str, run: Callable[[], Comparison], notes: Sequence[str] = ()) -> None:
    """Print the table of an example and, with ``--svg FILE``, draw it."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--svg", type=Path)
    told = parser.parse_args()
    found = run()
    print(found.table())
    for note in notes:
        print(note)
    if told.svg is not None:
        told.svg.write_text(found.chart(), encoding="utf-8")
