"""Learning curves: what the metrics of a task were, round by round, as lists and as a picture.

Metrics follow from the sums that the run released: a curve tells nothing that the run did not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from parties.coordinator.progress import RoundRecord
from protocols.errors import MisuseError
from securefed.audit.charts import Chart, Line, Point, Scale
from securefed.signing import write_text

_TOGETHER: Final[Sequence[str]] = ("loss", "validation_loss")
"""Metrics that share a chart, since they are to be compared."""
_STYLES: Final = ("first", "second")


@dataclass(frozen=True, slots=True)
class History:
    """The metrics of one task.

    Attributes:
        task: its name.
        rounds: numbers, within the task, of the rounds that have a sum.
        metrics: by name, one value for each of these rounds; ``None`` where a round has none, such
            as a round of moments.
    """

    task: str
    rounds: list[int]
    metrics: dict[str, list[float | None]]

    def to_plain(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the same as JSON text."""
        return f"{json.dumps(self.to_plain(), indent=2, allow_nan=False)}\n"

    def points(self, metric: str) -> list[Point]:
        """Return rounds and values of a metric, where it has one.

        Raises:
            MisuseError: no such metric.
        """
        if metric not in self.metrics:
            known = ", ".join(self.metrics) or "none"
            raise MisuseError(f"task {self.task} has no metric {metric!r}; there are: {known}")
        pairs = zip(self.rounds, self.metrics[metric], strict=True)
        return [(number, value) for number, value in pairs if value is not None]

    def svg(self) -> str:
        """Return the curves of all metrics as an SVG picture.

        Raises:
            MisuseError: the task tells no metric.
        """
        if not self.metrics:
            raise MisuseError(f"task {self.task} tells no metric, so there is nothing to draw")
        from securefed.audit.html import render_charts  # noqa: PLC0415 - templates load slowly

        shared = [name for name in _TOGETHER if name in self.metrics]
        groups = [shared] if shared else []
        groups += [[name] for name in self.metrics if name not in shared]
        return render_charts(f"Task {self.task}", [self._chart(names) for names in groups])

    def write_svg(self, path: Path) -> None:
        """Write the picture to a file.

        Raises:
            MisuseError: the task tells no metric.
            KeyFileError: the disk refuses.
        """
        write_text(path, self.svg())

    def _chart(self, names: list[str]) -> Chart:
        lines = {name: self.points(name) for name in names}
        values = [value for points in lines.values() for _, value in points]
        low, high = min(values), max(values)
        margin = 0.08 * (high - low) or 0.5 * abs(high) or 1.0
        scale = Scale(self.rounds[0], self.rounds[-1], low - margin, high + margin)
        return Chart(
            names[0],
            names[0] if len(names) == 1 else "losses",
            " ".join(_told(name, points) for name, points in lines.items()),
            "",
            scale.x_marks(),
            scale.y_marks(),
            (),
            tuple(
                Line(style, scale.path(points))
                for style, points in zip(_STYLES, lines.values(), strict=False)
            ),
            # A line through one point is none.
            tuple(
                (scale.x(points[0][0]), scale.y(points[0][1]))
                for points in lines.values()
                if len(points) == 1
            ),
            () if len(names) == 1 else tuple(zip(_STYLES, names, strict=False)),
        )


def histories(records: Iterable[RoundRecord]) -> dict[str, History]:
    """Return the history of every task, by name, in the order in which they ran.

    Args:
        records: of ``SimulationResult.records``, ``RunReport.records`` or ``records_`` of an
            estimator; rounds without a sum are left out.
    """
    tasks: dict[str, list[RoundRecord]] = {}
    for record in records:
        rounds = tasks.setdefault(record.task, [])
        if record.outcome == "completed":
            rounds.append(record)
    return {task: _history(task, rounds) for task, rounds in tasks.items()}


def history(records: Iterable[RoundRecord], task: str) -> History:
    """Return the history of one task.

    Raises:
        MisuseError: no round of such a task.
    """
    found = histories(records)
    if task not in found:
        raise MisuseError(f"no round of a task {task!r}; there are: {', '.join(found) or 'none'}")
    return found[task]


def _history(task: str, rounds: list[RoundRecord]) -> History:
    names = dict.fromkeys(name for record in rounds for name in record.metrics)
    return History(
        task,
        [record.round_in_task for record in rounds],
        {name: [record.metrics.get(name) for record in rounds] for name in names},
    )


def _told(name: str, points: list[Point]) -> str:
    (first, start), (last, end) = points[0], points[-1]
    lowest, least = min(points, key=lambda point: point[1])[0], min(value for _, value in points)
    return (
        f"{name}: {start:.4g} in round {first:g}, {end:.4g} in round {last:g}, lowest {least:.4g} "
        f"in round {lowest:g}."
    )
