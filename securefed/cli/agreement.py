"""``securefed validate``, ``inspect`` and ``schema``: an agreement before it is signed."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path

import typer

from protocols.agreement import Agreement, validate
from securefed.cli.options import AgreementFile, BandwidthOption, JsonOption, SignaturesOption
from securefed.cli.output import console, print_json
from securefed.cli.summary_view import show_summary, show_warnings
from securefed.deployment import SIGNATURES, read_agreement
from securefed.forecast import DEFAULT_MBIT, forecast
from securefed.signing import signing_status
from securefed.summary import Summary, summarise
from securefed.task_check import check_tasks

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def validate_agreement(agreement: AgreementFile, json: JsonOption = False) -> None:
    """Check an agreement without looking at any key, data or network."""
    loaded = read_agreement(agreement)
    warnings = (*validate(loaded), *check_tasks(loaded).notes)
    digest = loaded.digest().hex()
    if json:
        print_json({"valid": True, "digest": digest, "warnings": list(warnings)})
        return
    screen = console()
    screen.print(f"valid: {agreement}\ndigest {digest}", soft_wrap=True, markup=False)
    show_warnings(screen, warnings)


def inspect_agreement(
    agreement: AgreementFile,
    signatures: SignaturesOption = None,
    mbit: BandwidthOption = DEFAULT_MBIT,
    json: JsonOption = False,
) -> None:
    """Show who sees what, what it withstands, what it costs, and who has signed."""
    loaded = read_agreement(agreement)
    summary = summary_of(loaded, signatures or agreement.parent / SIGNATURES, mbit)
    if json:
        print_json({**summary.to_plain(), "agreement": loaded.to_plain()})
        return
    show_summary(console(), summary)


def summary_of(agreement: Agreement, signatures: Path, mbit: float) -> Summary:
    """Summarise an agreement with the signatures in a directory.

    Raises:
        AgreementError: unsafe, or a task of it is not what it says.
        KeyFileError: a signature file cannot be read.
    """
    tasks = check_tasks(agreement)
    cost = forecast(agreement, mbit_per_second=mbit, model_bytes=tasks.model_bytes)
    return summarise(agreement, cost, signing_status(agreement, signatures), tasks.notes)


def schema(json: JsonOption = False) -> None:
    """Print the JSON Schema of the agreement, for editors and for programs that write one."""
    text = {"$schema": SCHEMA_DIALECT, **Agreement.model_json_schema()}
    typer.echo(jsonlib.dumps(text, indent=None if json else 2))
