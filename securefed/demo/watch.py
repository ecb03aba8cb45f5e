"""Following the nodes of one stage: who is killed when, and when all is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from protocols.errors import NoResultError, TransportError
from securefed.demo.processes import Line, Nodes
from securefed.demo.stages import KILL_IN_ROUND, VICTIM, Stage
from securefed.demo.workspace import COORDINATOR

_SILENCE_SECONDS: Final = 60.0

Show = Callable[[Line], None]


class Watch:
    """Follows the nodes' events, kills the victim at its hour, and knows when all is over."""

    def __init__(
        self, stage: Stage, nodes: Nodes, show: Show, killed: Callable[[str], None]
    ) -> None:
        """Args: the stage; its processes; who is shown each event; who is told of the kill."""
        self._nodes, self._show, self._killed = nodes, show, killed
        self._last = stage.tasks[-1].name if stage.loses_a_party else None
        self._killed_after = stage.killed_after
        self._round = ("", 0)
        self._errors: dict[str, str] = {}
        self._victim_dead = False
        self.report: Mapping[str, Any] | None = None

    def follow(self, names: set[str]) -> Mapping[str, Any]:
        """Take events until every node in ``names`` has ended; return the coordinator's report.

        Raises:
            TransportError: a node said nothing for a minute.
            NoResultError: a node that should not have died did; its own words are quoted.
        """
        running = set(names)
        while running:
            line = self._nodes.next_line(_SILENCE_SECONDS)
            if line is None:
                raise TransportError(
                    f"{', '.join(sorted(running))} said nothing for {_SILENCE_SECONDS:g} seconds"
                )
            self._show(line)
            if "error" in line.event:
                self._errors[line.node] = str(line.event.get("message", ""))
            if line.name == "exit":
                running.discard(line.node)
                self._check_exit(line)
            elif line.node == COORDINATOR and line.name == "report":
                self.report = line.event
            elif line.node == VICTIM:
                self._follow_victim(line)
        if self.report is None:
            raise NoResultError("the coordinator ended without a report")
        return self.report

    def _follow_victim(self, line: Line) -> None:
        if line.name == "round-opened":
            self._round = (line.event["task"], line.event["round_in_task"])
        due = self._round == (self._last, KILL_IN_ROUND)
        if due and line.name == self._killed_after and not self._victim_dead:
            self._nodes.kill(VICTIM)
            self._victim_dead = True
            self._killed(VICTIM)

    def _check_exit(self, line: Line) -> None:
        code = line.event["code"]
        if code == 0 or (line.node == VICTIM and self._victim_dead):
            return
        reason = self._errors.get(line.node) or self._nodes.log(line.node).strip()
        raise NoResultError(f"{line.node} ended with exit code {code}: {reason}")
