"""``securefed export``: a final model as safetensors or ONNX, with its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefed.cli.options import JsonOption
from securefed.cli.output import console, print_json
from securefed.deployment import read_agreement, read_bytes
from securefed.learning.state import MAX_STATE_BYTES


def export(
    model: Annotated[
        Path,
        typer.Argument(help="TASK.safetensors that a node wrote.", exists=True, dir_okay=False),
    ],
    agreement: Annotated[
        Path,
        typer.Option("--agreement", help="The agreement of the run.", exists=True, dir_okay=False),
    ],
    to: Annotated[Path, typer.Option("--to", help="File to write: .safetensors or .onnx.")],
    task: Annotated[
        str | None, typer.Option("--task", help="Its task (default: the model's file name).")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            "--ledger",
            help="Exported ledger of the run: the card then says what was spent.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    own: Annotated[
        Path | None,
        typer.Option(
            "--own",
            help="Our rows: where each company has a head of its own, ours goes into the file.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a final model with a model card that carries its epsilon."""
    from securefed.data import load_party_data  # noqa: PLC0415 - numpy loads slowly
    from securefed.learning.export import (  # noqa: PLC0415 - tasks load slowly; --help must not
        export_model,
        rounds_of_ledger,
    )

    agreed, name = read_agreement(agreement), task or model.stem
    data = read_bytes(model, MAX_STATE_BYTES)
    records = None if ledger is None else rounds_of_ledger(ledger, agreed, name, data)
    rows = None if own is None else load_party_data(own, classes=None)
    card = export_model(data, agreed, name, to, records=records, own=rows)
    if json:
        print_json(card.to_plain())
        return
    console().print(f"wrote {to} with {to.name}.card.md and .card.json", markup=False)
    console().print(card.privacy_line(), markup=False)
