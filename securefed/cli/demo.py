"""``securefed demo``: the whole thing on one machine, on real data, with one party killed."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from protocols.errors import MisuseError
from securefed.cli.output import console, print_json
from securefed.cli.sum_options import AggregationMode, ModeName
from securefed.demo.audit import BUNDLE
from securefed.demo.result import DemoResult
from securefed.demo.run import demo_data, run_demo
from securefed.demo.stages import COMPANIES, Stage, stages_of, sums_of
from securefed.demo.view import View
from securefed.learning.evaluation import Score
from securefed.sum_mode import SumMode

_SUMS: Final = {
    "masking": "masked sums",
    "paillier": "encrypted sums",
    "layered": "masked, encrypted sums",
}


def demo(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Keep keys, agreements, logs and models in this new directory."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the split.")] = 0,
    without_privacy: Annotated[
        bool,
        typer.Option(
            "--without-privacy", help="Masked sums only, no noise: people can show in the result."
        ),
    ] = False,
    aggregation: AggregationMode = ModeName.MASKING,
    key_holder: Annotated[
        bool,
        typer.Option(
            "--key-holder",
            help="With layered: one more process holds the Paillier key, not the companies.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the result only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train models across five companies, each a process, over real TLS, and kill one."""
    # Ended from outside, the demonstration still ends its children.
    signal.signal(signal.SIGTERM, _interrupt)
    if key_holder and aggregation is not ModeName.LAYERED:
        raise MisuseError(
            "a key holder sees sums that are still masked: give --aggregation layered as well"
        )
    sums = sums_of(aggregation.value, key_holder=key_holder)
    stages = stages_of(sums, private=not without_privacy)
    if out is not None:
        if out.exists() and any(out.iterdir()):
            raise MisuseError(f"{out} is not empty; give --out a new directory")
        out.mkdir(parents=True, exist_ok=True)
        _run(out.resolve(), out.resolve(), stages, seed, quiet=quiet, as_json=json)
        return
    # Only what an auditor needs is kept: it holds no key and nobody's rows.
    kept = Path(tempfile.mkdtemp(prefix="securefed-audit-"))
    try:
        with tempfile.TemporaryDirectory(prefix="securefed-demo-") as home:
            _run(Path(home), kept, stages, seed, quiet=quiet, as_json=json)
    finally:
        if not any(kept.iterdir()):
            kept.rmdir()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(
    home: Path, kept: Path, stages: tuple[Stage, ...], seed: int, *, quiet: bool, as_json: bool
) -> None:
    screen = console()
    rounds = {task.name: task.rounds for stage in stages for task in stage.tasks}
    with View(screen, stages[0].members, rounds, quiet=quiet or as_json) as view:
        result = run_demo(home, stages, demo_data(seed), view.show, view.killed, view.say)
    report = result.keep_audit(kept)
    if as_json:
        print_json({**result.to_plain(), "audit_report": str(report)})
        return
    if not quiet:
        screen.print()
    screen.print(_table(result))
    _print_facts(screen, result)
    screen.print(
        f"ledger verified, offline and from one file: {report}\n"
        f"check it yourself: securefed audit {kept / BUNDLE} --agreement {kept / 'agreement.toml'}",
        markup=False,
        soft_wrap=True,
    )


def _print_facts(screen: Console, result: DemoResult) -> None:
    up = max(result.bytes_up.values()) / 1000
    facts = [
        ("rounds", f"{result.rounds}, of {len(COMPANIES)} companies"),
        *_mode(result.sums),
        ("dropouts survived", f"{result.dropouts_survived}"),
        ("sent per company", f"at most {up:,.0f} kB"),
        ("seconds", f"{result.seconds:.1f}"),
        ("exact sums", f"within {result.glm_max_abs_diff_vs_pooled:.0e} of the pooled model"),
    ]
    if result.same_as_masked:
        facts.append(("", "the same model from masked sums, bit by bit"))
    spent = result.privacy
    if spent is not None:
        worst = spent["epsilon_worst_case"]
        alone = "no bound" if worst is None else f"epsilon {worst:.1f}"
        facts += [
            ("private sums", f"epsilon {spent['epsilon']:.3f} at delta {spent['delta']:g}"),
            ("", f"{alone} if all other companies collude"),
            ("noise meter", f"{spent['noise_meter']:.3f} of the promise"),
        ]
    grid = Table.grid(padding=(0, 2))
    for name, fact in facts:
        grid.add_row(name, fact)
    screen.print(grid)
    if spent is None:
        screen.print(
            "[bold yellow]Differential privacy was off: sums hide who contributed what, not what "
            "they themselves reveal."
        )


def _mode(sums: SumMode) -> list[tuple[str, str]]:
    if sums.mode == "masking":
        return [("sums", sums.mode)]
    who = "any four companies open a sum" if sums.key_holder is None else "a key holder has it"
    return [("sums", sums.mode), ("Paillier key", f"{sums.key_bits} bits; {who}")]


def _table(result: DemoResult) -> Table:
    table = Table(title="Quality on held-out rows", title_justify="left")
    for heading in ("model", "trained on"):
        table.add_column(heading, no_wrap=True)
    for heading in ("AUC", "accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    kind = _SUMS[result.sums.mode]
    noised = {task.name for one in result.stages if one.stage.goal for task in one.stage.tasks}
    for name, comparison in result.comparisons.items():
        sums = f"noised, {kind}" if name in noised else kind
        for label, score in (
            ("own rows only (mean)", comparison.local),
            (sums, comparison.federated),
            ("pooled rows", comparison.pooled),
        ):
            table.add_row(name, label, *_numbers(score), end_section=label == "pooled rows")
    return table


def _numbers(score: Score) -> tuple[str, str]:
    area = "-" if score.auc is None else f"{score.auc:.4f}"
    return area, f"{score.accuracy:.4f}"
