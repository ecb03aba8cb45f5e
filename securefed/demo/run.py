"""Runs the demonstration: a process for every node, one party killed, results compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from securefed.data.demo import breast_cancer_companies
from securefed.data.partition import Split
from securefed.demo.audit import audit_stage
from securefed.demo.processes import Line, Nodes
from securefed.demo.result import DemoResult, StageResult, conclude, read_models
from securefed.demo.stages import COMPANIES, Stage
from securefed.demo.view import STAGE_BEGINS
from securefed.demo.watch import Show, Watch
from securefed.demo.workspace import COORDINATOR, make_paillier_key, prepare

Say = Callable[[str], None]


def run_demo(
    home: Path,
    stages: tuple[Stage, ...],
    split: Split,
    show: Show,
    killed: Callable[[str], None],
    say: Say,
) -> DemoResult:
    """Run the demonstration in an empty directory.

    Args:
        home: where keys, agreements, state and models go, one directory a stage.
        stages: what runs, one after the other.
        split: data of the five companies, and the held-out rows.
        show: told every event of every node.
        killed: told when the victim is killed.
        say: told, in words, what goes on.

    Raises:
        NoResultError: a node failed, no dropout was survived, or a result is not what it must be.
        SecureFedError: as any node.
    """
    started = time.monotonic()
    results = tuple(
        _run_stage(home / stage.name, stage, split, show, killed, say) for stage in stages
    )
    seconds = time.monotonic() - started
    more = ", and with masked sums" if stages[0].sums.names else ""
    say(f"comparing with models that each company trains alone, with pooled rows{more}")
    return conclude(results, split, seconds)


def _run_stage(
    home: Path, stage: Stage, split: Split, show: Show, killed: Callable[[str], None], say: Say
) -> StageResult:
    say(f"[bold]{stage.name}[/bold]: {stage.about}")
    say("  making keys, writing the agreement, signing it five times")
    data = dict(zip(COMPANIES, split.parts, strict=True))
    home.mkdir()
    workspace = prepare(home, data, stage)
    if stage.sums.names:
        say(f"  making a Paillier key of {stage.sums.key_bits} bits")
        make_paillier_key(workspace)
    holder = stage.sums.key_holder
    with Nodes(home / "logs", {"SECUREFED_PASSPHRASE": workspace.passphrase}) as nodes:
        others = "five companies" if holder is None else "five companies and the key holder"
        say(f"  starting {len(stage.members) + 1} processes: the coordinator, {others}")
        show(Line(COORDINATOR, {"event": STAGE_BEGINS}))
        out = workspace.out_options(COORDINATOR)
        nodes.start(COORDINATOR, ["coordinator", "run", *workspace.node_options(COORDINATOR), *out])
        if holder is not None:
            own = ["--as", holder]
            nodes.start(holder, ["keyholder", "run", *workspace.node_options(holder), *own])
        for name in COMPANIES:
            own = ["--name", name, "--data", str(workspace.data_file(name))]
            own += workspace.out_options(name)
            nodes.start(name, ["party", "run", *workspace.node_options(name), *own])
        report = Watch(stage, nodes, show, killed).follow({COORDINATOR, *stage.members})
    models, survivors = read_models(workspace, stage)
    say("  auditing the ledger, from the exported file alone")
    audited = audit_stage(workspace, survivors)
    return StageResult(stage, models, report, survivors, audited)


def demo_data(seed: int) -> Split:
    """Return scikit-learn's breast cancer data, label-skewed over the five companies."""
    return breast_cancer_companies(companies=len(COMPANIES), seed=seed)
