"""Line charts as geometry: numbers and short labels, which the page's template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

WIDTH: Final = 520
HEIGHT: Final = 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 26, 40
MOST_POINTS: Final = 1200
_MANTISSAS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A label at a place along an axis, in the chart's units."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """A path through points; ``kind`` is its style in the page."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Band:
    """A filled rectangle, in the chart's units, with an optional label at its top left."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything of one chart but its colours.

    Attributes:
        key: short and unique on the page.
        title: what it shows.
        text: what can be read off it, for those who cannot see it.
        y_title: what the vertical axis counts.
        legend: style and meaning of each line.
    """

    key: str
    title: str
    text: str
    y_title: str
    x_marks: tuple[Mark, ...]
    y_marks: tuple[Mark, ...]
    bands: tuple[Band, ...]
    lines: tuple[Line, ...]
    dots: tuple[Point, ...]
    legend: tuple[tuple[str, str], ...]

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


class Scale:
    """From rounds and values to places in a chart; values outside are drawn at the edge."""

    def __init__(self, first: int, last: int, low: float, high: float) -> None:
        """Args: first and last round; least and largest value, of which the second is larger."""
        self.first, self.last, self.low, self.high = first, max(last, first + 1), low, high

    def x(self, round_: float) -> float:
        """Return how far to the right a round is."""
        share = (round_ - self.first) / (self.last - self.first)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return how far down a value is."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def path(self, points: Sequence[Point]) -> str:
        """Return points as the path of an SVG line."""
        places = [f"{self.x(x):g} {self.y(y):g}" for x, y in thinned(points)]
        return "M" + "L".join(places)

    def x_marks(self) -> tuple[Mark, ...]:
        """Return labels of rounds."""
        step = max(1, round(_nice((self.last - self.first) / 5)))
        inner = range(-(-self.first // step) * step, self.last + 1, step)
        rounds = sorted({self.first, *(r for r in inner if r - self.first >= step / 2)})
        return tuple(Mark(self.x(r), f"{r}") for r in rounds)

    def y_marks(self) -> tuple[Mark, ...]:
        """Return labels of values."""
        step = _nice((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(Mark(self.y(n * step), f"{n * step:.10g}") for n in range(first, last + 1))


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Return few enough points for a page: of each stretch its lowest and highest."""
    if len(points) <= MOST_POINTS:
        return points
    size = -(-len(points) * 2 // MOST_POINTS)
    kept: list[Point] = [points[0]]
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        low, high = min(stretch, key=_height), max(stretch, key=_height)
        kept += sorted({low, high})
    return [*kept, points[-1]]


def epsilon_chart(report: dict[str, Any]) -> Chart | None:
    """Return epsilon over rounds with the budget; ``None`` without noise or rounds."""
    spent, rounds = report["privacy"], report["rounds"]
    stated = [(r["round"], r["epsilon_after"]) for r in rounds if r["epsilon_after"] is not None]
    if not spent["noise"] or not stated:
        return None
    budget, tight = spent["budget"]["epsilon"], [(0, 0.0), *map(tuple, spent["curve"])]
    first = rounds[0]["round"] - 1
    looser = [(first, rounds[0]["epsilon_before"] or 0.0), *stated]
    highest = max(y for _, y in looser)
    far = budget > 4 * highest > 0  # the curve would lie flat below it
    most = (highest if far else max(budget, min(highest, 4 * budget))) * 1.18
    scale = Scale(first, rounds[-1]["round"], 0.0, most)
    at_budget = scale.path([(first, budget), (rounds[-1]["round"], budget)])
    return Chart(
        "epsilon",
        "Epsilon over rounds",
        f"After round {rounds[-1]['round']} epsilon is {_told(spent['epsilon_pld'])} of at most "
        f"{budget:g}; by Renyi divergences {_told(spent['epsilon_rdp'])}.",
        f"epsilon at delta {spent['delta']:g}",
        scale.x_marks(),
        scale.y_marks(),
        _tasks(rounds, scale),
        (
            *(() if far else (Line("budget", at_budget),)),
            Line("second", scale.path(looser)),
            Line("first", scale.path(tight)),
        ),
        (),
        (
            ("first", "tight bound"),
            ("second", "Renyi bound, in the record"),
            ("budget", f"budget {budget:g}, for the tight bound{', far above' if far else ''}"),
        ),
    )


def meter_chart(report: dict[str, Any]) -> Chart | None:
    """Return the noise meter over rounds within its bounds; ``None`` where nothing was read."""
    rounds = report["rounds"]
    read = [(r["round"], r["noise_meter"]) for r in rounds if r["noise_meter"] is not None]
    if not report["privacy"]["noise"] or not read:
        return None
    low, high = report["privacy"]["meter"]["bounds"]
    alarms = set(report["privacy"]["meter"]["alarms"])
    margin = (high - low) / 2
    least = max(0.0, min(low - margin, min(y for _, y in read) - 0.05))
    most = max(high + margin, min(max(y for _, y in read) + 0.05, 3.0))
    scale = Scale(rounds[0]["round"], rounds[-1]["round"], least, most)
    top, floor = scale.y(high), scale.y(low)
    outside = [(x, y) for x, y in read if x in alarms]
    return Chart(
        "meter",
        "Noise measured in the sums",
        f"Measured over promised variance in {len(read)} sums; {len(outside)} outside the bounds "
        f"{low:.3f} to {high:.3f}.",
        "measured / promised",
        scale.x_marks(),
        scale.y_marks(),
        (Band("within", LEFT, top, WIDTH - LEFT - RIGHT, round(floor - top, 1)),),
        (Line("first", scale.path(read)),),
        tuple((scale.x(x), scale.y(y)) for x, y in outside[:MOST_POINTS]),
        (("first", "a sum"), ("within", "as promised"), ("alarm", "outside: an alarm")),
    )


def clip_chart(report: dict[str, Any]) -> Chart | None:
    """Return clip norms over rounds; ``None`` where no task adapts its own."""
    rounds, spent = report["rounds"], report["privacy"]
    if not spent["noise"]:
        return None
    moving = {task["task"] for task in spent["tasks"] if task["adaptive"]}
    used = [
        (r["task"], r["round"], r["terms"]["clip_norm"])
        for r in rounds
        if r["terms"] and r["task"] in moving
    ]
    if not used:
        return None
    norms = [norm for _, _, norm in used]
    scale = Scale(rounds[0]["round"], rounds[-1]["round"], 0.0, max(norms) * 1.18)
    return Chart(
        "clip",
        "Clip norm over rounds",
        f"Between {min(norms):.4g} and {max(norms):.4g}, model units; it follows a quantile of the "
        "people's norms as agreed.",
        "clip norm, model units",
        scale.x_marks(),
        scale.y_marks(),
        _tasks(rounds, scale),
        tuple(
            Line("first", scale.path([(x, y) for _, x, y in part]))
            for _, part in groupby(used, key=lambda one: one[0])
        ),
        (),
        (("first", "clip norm"),),
    )


def _tasks(rounds: Sequence[dict[str, Any]], scale: Scale) -> tuple[Band, ...]:
    """Return one band for each task, every other one shaded, with its name."""
    bands = []
    for number, (task, part) in enumerate(groupby(rounds, key=lambda one: str(one["task"]))):
        numbers = [one["round"] for one in part]
        start = max(scale.x(numbers[0] - 1), LEFT)
        width = round(scale.x(numbers[-1]) - start, 1)
        label = task if width > 7 * min(len(task), 24) else ""
        kind = "task-odd" if number % 2 else "task-even"
        bands.append(Band(kind, start, TOP, width, HEIGHT - TOP - BOTTOM, label[:24]))
    return tuple(bands)


def _nice(step: float) -> float:
    exponent = math.floor(math.log10(step)) if step > 0 else 0
    return next(m for m in _MANTISSAS if m * 10.0**exponent >= step * 0.999) * 10.0**exponent


def _height(point: Point) -> float:
    return point[1]


def _told(value: float | None) -> str:
    return "without bound" if value is None else f"{value:.3f}"
