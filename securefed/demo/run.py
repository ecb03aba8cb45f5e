"""Runs the demonstration: starts six processes, kills one party, compares what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from protocols.errors import InputError, NoResultError, TransportError
from securefed.data.demo import breast_cancer_companies
from securefed.data.partition import Split
from securefed.demo.processes import Line, Nodes
from securefed.demo.workspace import COORDINATOR, Workspace, prepare
from securefed.learning.demo import NEURAL_NETWORK, RISK_SCORE, DemoTask
from securefed.learning.evaluation import Comparison, compare
from securefed.learning.glm import coefficients
from securefed.learning.reference import fit_pooled
from securefed.learning.state import State, state_from_bytes

COMPANIES: Final = ("north", "east", "south", "west", "centre")
VICTIM: Final = "south"
KILL_IN_ROUND: Final = 5
"""Round of the network's training in which the victim dies, after it dealt its shares."""
TASKS: Final = (RISK_SCORE, NEURAL_NETWORK)
MAX_DIFFERENCE: Final = 1e-6
_SILENCE_SECONDS: Final = 60.0

Show = Callable[[Line], None]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demonstration showed.

    Attributes:
        parties: number of companies.
        rounds: rounds with a sum, over both tasks.
        dropouts_survived: parties that began a round, fell out, and the round had its sum anyway.
        comparisons: local-only, federated and pooled quality of each task.
        glm_max_abs_diff_vs_pooled: largest difference of a federated coefficient from the pooled.
        bytes_up: bytes that each company sent.
        seconds: from the first process started to the last one ended.
    """

    parties: int
    rounds: int
    dropouts_survived: int
    comparisons: Mapping[str, Comparison] = field(repr=False)
    glm_max_abs_diff_vs_pooled: float
    bytes_up: Mapping[str, int]
    seconds: float

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON object that ``securefed demo --json`` prints."""
        main = self.comparisons[NEURAL_NETWORK.name]
        return {
            "parties": self.parties,
            "rounds": self.rounds,
            "dropouts_survived": self.dropouts_survived,
            "auc_local_mean": main.local.auc,
            "auc_federated": main.federated.auc,
            "auc_pooled": main.pooled.auc,
            "glm_max_abs_diff_vs_pooled": self.glm_max_abs_diff_vs_pooled,
            "bytes_up_per_party": max(self.bytes_up.values()),
            "bytes_up": dict(self.bytes_up),
            "seconds": round(self.seconds, 2),
            "tasks": {
                name: {
                    "local": asdict(comparison.local),
                    "federated": asdict(comparison.federated),
                    "pooled": asdict(comparison.pooled),
                }
                for name, comparison in self.comparisons.items()
            },
        }


class Watch:
    """Follows the nodes' events, kills the victim at its hour, and knows when all is over."""

    def __init__(self, nodes: Nodes, show: Show, killed: Callable[[str], None]) -> None:
        """Args: the processes; who is shown each event; who is told of the kill."""
        self._nodes, self._show, self._killed = nodes, show, killed
        self._round: dict[str, tuple[str, int]] = {}
        self._errors: dict[str, str] = {}
        self._victim_dead = False
        self.report: Mapping[str, Any] | None = None

    def follow(self, names: set[str]) -> None:
        """Take events until every node in ``names`` has ended.

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

    def _follow_victim(self, line: Line) -> None:
        if line.name == "round-opened":
            self._round[VICTIM] = (line.event["task"], line.event["round_in_task"])
        due = self._round.get(VICTIM) == (NEURAL_NETWORK.name, KILL_IN_ROUND)
        # Shares are dealt and the update is not sent yet: its masks are in everybody's vector.
        if due and line.name == "training" and not self._victim_dead:
            self._nodes.kill(VICTIM)
            self._victim_dead = True
            self._killed(VICTIM)

    def _check_exit(self, line: Line) -> None:
        code = line.event["code"]
        if code == 0 or (line.node == VICTIM and self._victim_dead):
            return
        reason = self._errors.get(line.node) or self._nodes.log(line.node).strip()
        raise NoResultError(f"{line.node} ended with exit code {code}: {reason}")


def run_demo(
    home: Path,
    split: Split,
    show: Show,
    killed: Callable[[str], None],
    say: Callable[[str], None],
) -> DemoResult:
    """Run the demonstration in an empty directory.

    Args:
        home: where keys, agreement, state and models go.
        split: data of the five companies, and the held-out rows.
        show: told every event of every node.
        killed: told when the victim is killed.
        say: told, in words, what goes on.

    Raises:
        NoResultError: a node failed, no dropout was survived, or a result is not what it must be.
        SecureFedError: as any node.
    """
    started = time.monotonic()
    say("making keys and TLS certificates, writing the agreement, signing it five times")
    data = dict(zip(COMPANIES, split.parts, strict=True))
    workspace = prepare(home, data, TASKS, federation="breast-cancer")
    with Nodes(home / "logs", {"SECUREFED_PASSPHRASE": workspace.passphrase}) as nodes:
        say("starting six processes: the coordinator and five companies")
        nodes.start(COORDINATOR, ["coordinator", "run", *workspace.node_options(COORDINATOR)])
        for name in COMPANIES:
            own = ["--name", name, "--data", str(workspace.data_file(name))]
            nodes.start(name, ["party", "run", *workspace.node_options(name), *own])
        watch = Watch(nodes, show, killed)
        watch.follow({COORDINATOR, *COMPANIES})
    seconds = time.monotonic() - started
    if watch.report is None:
        raise NoResultError("the coordinator ended without a report")
    say("comparing with models that each company trains alone, and with pooled data")
    return _conclude(workspace, split, watch.report, seconds)


def _conclude(
    workspace: Workspace, split: Split, report: Mapping[str, Any], seconds: float
) -> DemoResult:
    models = {task.name: _agreed_model(workspace, task) for task in TASKS}
    pooled = fit_pooled(
        RISK_SCORE.kind, RISK_SCORE.parameters, split.parts, rounds=RISK_SCORE.rounds
    )
    difference = float(
        np.abs(coefficients(models[RISK_SCORE.name]) - coefficients(pooled.state)).max()
    )
    result = DemoResult(
        parties=len(COMPANIES),
        rounds=int(report["rounds"]),
        dropouts_survived=int(report["dropouts_survived"]),
        comparisons={
            task.name: compare(
                task.kind,
                task.parameters,
                split.parts,
                split.test,
                rounds=task.rounds,
                federated=models[task.name],
            )
            for task in TASKS
        },
        glm_max_abs_diff_vs_pooled=difference,
        bytes_up=report["bytes_up"],
        seconds=seconds,
    )
    if not difference < MAX_DIFFERENCE:
        raise NoResultError(f"a federated coefficient is {difference:g} away from the pooled one")
    if result.dropouts_survived < 1:
        raise NoResultError(f"{VICTIM} was killed, but no round survived its loss")
    return result


def _agreed_model(workspace: Workspace, task: DemoTask) -> State:
    """Read a final model and check that every company that lived holds the same bytes."""
    file = f"{task.name}.safetensors"
    model = (workspace.models(COORDINATOR) / file).read_bytes()
    for name in COMPANIES:
        own = workspace.models(name) / file
        if name != VICTIM and own.read_bytes() != model:
            raise InputError(f"{name} holds another {task.name} model than the coordinator")
    return state_from_bytes(model)


def demo_data(seed: int) -> Split:
    """Return scikit-learn's breast cancer data, label-skewed over the five companies."""
    return breast_cancer_companies(companies=len(COMPANIES), seed=seed)
