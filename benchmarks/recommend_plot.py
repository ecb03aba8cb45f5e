"""Curves as SVG, for the recommenders' benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDE, _HIGH, _EDGE = 640, 400, 60
_COLOURS = ("#1b6ca8", "#c8553d", "#588b3a", "#7b4ea3", "#8a6d1f", "#555555")

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """One direction of a plot.

    Attributes:
        title: what is on it.
        low: its first value.
        high: its last one.
        ticks: values and how they are written.
        logarithmic: whether decades are as long as one another.
    """

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def quarters(title: str, high: float, digits: int) -> Axis:
    """Return an axis from 0 with four ticks."""
    steps = [high * step / 4 for step in range(1, 5)]
    return Axis(title, 0.0, high, [(value, f"{value:.{digits}f}") for value in steps])


def drawing(
    label: str,
    curves: dict[str, Curve],
    across: Axis,
    upwards: Axis,
    *,
    dashed: Sequence[str] = (),
    legend: tuple[int, int] = (75, 260),
) -> str:
    """Return an SVG of curves.

    Args:
        label: what the picture shows, for those who do not see it.
        curves: points by name.
        across: horizontal axis.
        upwards: vertical axis.
        dashed: names of curves to draw with dashes, without points.
        legend: where the names begin.
    """

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = _EDGE + across.share(point[0]) * (_WIDE - 2 * _EDGE)
        return x, _HIGH - _EDGE - upwards.share(point[1]) * (_HIGH - 2 * _EDGE)

    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" role="img" '
            f'aria-label="{label}" font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="white"/>',
        f'<path d="M{_EDGE} {_EDGE}V{_HIGH - _EDGE}H{_WIDE - _EDGE}" fill="none" stroke="#444"/>',
        (f'<text x="{_WIDE / 2:.0f}" y="{_HIGH - 15}" text-anchor="middle">{across.title}</text>'),
        f'<text x="15" y="{_EDGE - 20}">{upwards.title}</text>',
    ]
    for value, text in across.ticks:
        x, _ = place((value, upwards.low))
        lines.append(
            f'<text x="{x:.0f}" y="{_HIGH - _EDGE + 16}" text-anchor="middle">{text}</text>'
        )
    for value, text in upwards.ticks:
        _, y = place((across.low, value))
        lines.append(f'<text x="{_EDGE - 6}" y="{y + 4:.0f}" text-anchor="end">{text}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [place(point) for point in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = ' stroke-dasharray="5 4"' if name in dashed else ""
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{style}/>'
        )
        if not style:
            lines += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points
            ]
        lines.append(
            f'<text x="{legend[0]}" y="{legend[1] + 18 * number}" fill="{colour}">{name}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])
