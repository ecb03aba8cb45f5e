"""``securefed demo``: the whole thing on one machine, on real data, with one party killed."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.table import Table

from protocols.errors import MisuseError
from securefed.cli.output import console, print_json
from securefed.demo.run import COMPANIES, TASKS, DemoResult, demo_data, run_demo
from securefed.demo.view import View
from securefed.learning.evaluation import Score


def demo(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Keep keys, agreement, logs and models in this new directory."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the split.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the result only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train two models across five companies, in six processes over real TLS, and kill one."""
    # Ended from outside, the demonstration still ends its children.
    signal.signal(signal.SIGTERM, _interrupt)
    if out is not None:
        if out.exists() and any(out.iterdir()):
            raise MisuseError(f"{out} is not empty; give --out a new directory")
        out.mkdir(parents=True, exist_ok=True)
        _run(out.resolve(), seed, quiet=quiet, as_json=json)
        return
    with tempfile.TemporaryDirectory(prefix="securefed-demo-") as home:
        _run(Path(home), seed, quiet=quiet, as_json=json)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(home: Path, seed: int, *, quiet: bool, as_json: bool) -> None:
    screen = console()
    rounds = {task.name: task.rounds for task in TASKS}
    with View(screen, COMPANIES, rounds, quiet=quiet or as_json) as view:
        result = run_demo(home, demo_data(seed), view.show, view.killed, view.say)
    if as_json:
        print_json(result.to_plain())
        return
    screen.print(_table(result))
    screen.print(
        f"{result.parties} companies, {result.rounds} rounds, "
        f"{result.dropouts_survived} dropout survived, {result.seconds:.1f} s\n"
        f"largest difference of a federated from a pooled coefficient: "
        f"{result.glm_max_abs_diff_vs_pooled:.1e}\n"
        "[yellow]Differential privacy is off here: masks hide who contributed what, "
        "not what the sum itself reveals."
    )


def _table(result: DemoResult) -> Table:
    table = Table(title="Held-out rows of all companies", title_justify="left")
    for heading in ("task", "trained on"):
        table.add_column(heading)
    for heading in ("AUC", "accuracy", "kB up per company"):
        table.add_column(heading, justify="right")
    up = f"{max(result.bytes_up.values()) / 1000:,.0f}"
    for name, comparison in result.comparisons.items():
        for label, score, sent in (
            ("own rows only (mean)", comparison.local, "0"),
            ("federated, masked sums", comparison.federated, up),
            ("pooled rows", comparison.pooled, "every row"),
        ):
            table.add_row(name, label, *_numbers(score), sent, end_section=label == "pooled rows")
    return table


def _numbers(score: Score) -> tuple[str, str]:
    area = "-" if score.auc is None else f"{score.auc:.4f}"
    return area, f"{score.accuracy:.4f}"
