"""``securefed demo``: the whole thing on one machine, on real data, with one party killed."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from protocols.errors import MisuseError
from securefed.cli.output import console, print_json
from securefed.demo.audit import BUNDLE
from securefed.demo.result import DemoResult
from securefed.demo.run import demo_data, run_demo
from securefed.demo.stages import BY_DEFAULT, COMPANIES, WITHOUT_PRIVACY, Stage
from securefed.demo.view import View
from securefed.learning.evaluation import Score


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
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the result only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train models across five companies, in six processes over real TLS, and kill one."""
    # Ended from outside, the demonstration still ends its children.
    signal.signal(signal.SIGTERM, _interrupt)
    stages = WITHOUT_PRIVACY if without_privacy else BY_DEFAULT
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
    with View(screen, COMPANIES, rounds, quiet=quiet or as_json) as view:
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
        ("dropouts survived", f"{result.dropouts_survived}"),
        ("sent per company", f"at most {up:,.0f} kB"),
        ("seconds", f"{result.seconds:.1f}"),
        ("exact sums", f"within {result.glm_max_abs_diff_vs_pooled:.0e} of the pooled model"),
    ]
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
            "[bold yellow]Differential privacy was off: masks hide who contributed what, not what "
            "the sum itself reveals."
        )


def _table(result: DemoResult) -> Table:
    table = Table(title="Quality on held-out rows", title_justify="left")
    for heading in ("model", "trained on"):
        table.add_column(heading, no_wrap=True)
    for heading in ("AUC", "accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    noised = {task.name for one in result.stages if one.stage.goal for task in one.stage.tasks}
    for name, comparison in result.comparisons.items():
        sums = "noised and masked sums" if name in noised else "masked sums"
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
