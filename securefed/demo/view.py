"""What a person sees of a running demonstration: a live table, or lines without a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from securefed.demo.processes import Line

STAGE_BEGINS: Final = "stage-begins"
"""Event that the demonstration itself shows before it starts a stage's processes."""

_STEPS = {
    "connected": "connected",
    "round-opened": "began the round",
    "shared": "dealt shares",
    "training": "training",
    "submitted": "sent its update",
    "confirmed": "confirmed survivors",
    "decrypted": "opened its part",
    "unmasked": "released shares",
    "round-completed": "round done",
    "round-aborted": "round aborted",
    "disconnected": "disconnected",
    "exit": "ended",
}


class View:
    """Shows events; ``quiet`` shows none. A context manager that puts the terminal back."""

    def __init__(
        self, console: Console, parties: Sequence[str], rounds: Mapping[str, int], *, quiet: bool
    ) -> None:
        """Args: where to print; names of all but the coordinator; most rounds by task."""
        self._console, self._quiet = console, quiet
        self._state = dict.fromkeys(parties, "starting")
        self._bytes = dict.fromkeys(parties, 0)
        self._killed: set[str] = set()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fact]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks = {
            name: self._bars.add_task(name, total=most, fact="", start=False)
            for name, most in rounds.items()
        }
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(self._render(), console=self._console, refresh_per_second=8)
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.update(self._render())
            self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """Print one line above the live part."""
        if not self._quiet:
            self._console.print(text)

    def killed(self, party: str) -> None:
        """Mark a party that was killed on purpose."""
        self._killed.add(party)
        self._state[party] = "killed on purpose"
        self.say(f"[bold]{party} is killed in the middle of the round, on purpose")

    def show(self, line: Line) -> None:
        """Take one event of a node into account."""
        if line.node in self._state:
            if line.node not in self._killed:
                self._state[line.node] = _STEPS.get(line.name, self._state[line.node])
                self._bytes[line.node] += int(line.event.get("bytes", 0) or 0)
        else:
            self._show_coordinator(line.name, line.event)
        if self._live is not None:
            self._live.update(self._render())

    def _show_coordinator(self, name: str, event: Mapping[str, Any]) -> None:
        task = str(event.get("task", ""))
        if name == STAGE_BEGINS:
            self._begin_stage()
        elif name == "round-opened" and task in self._tasks:
            self._bars.start_task(self._tasks[task])
        elif name == "round-completed" and task in self._tasks:
            done = event["round_in_task"]
            total = done if event["task_done"] else None
            fact = _fact(event)
            self._bars.update(self._tasks[task], completed=done, fact=fact, total=total)
            if event["task_done"]:
                self._bars.stop_task(self._tasks[task])
            if self._live is None:
                lost = f", lost {', '.join(event['lost'])}" if event["lost"] else ""
                self.say(f"  {task} {done}: {len(event['survivors'])} in the sum{lost}, {fact}")
        elif name == "round-aborted":
            self.say(f"[yellow]  {task}: a round was aborted: {escape(str(event['reason']))}")

    def _begin_stage(self) -> None:
        """New processes under the old names."""
        self._killed.clear()
        self._state = dict.fromkeys(self._state, "starting")

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("party", min_width=12)
        table.add_column("now", min_width=22)
        table.add_column("bytes up", justify="right")
        for name, state in self._state.items():
            style = "red" if name in self._killed else ""
            table.add_row(name, state, f"{self._bytes[name]:,}", style=style)
        return Group(self._bars, table)


def _fact(event: Mapping[str, Any]) -> str:
    """Return the one thing worth watching: epsilon where there is noise, else the first metric."""
    if "epsilon" in event:
        return f"epsilon {event['epsilon']:.3f}, noise x{event['noise_meter']:.2f}"
    metrics = [f"{key} {value:.4g}" for key, value in event["metrics"].items() if key != "rows"]
    return metrics[0] if metrics else ""
