"""Options that several commands share, and where a passphrase comes from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from parties.keys import read_passphrase

AgreementFile = Annotated[
    Path, typer.Argument(help="The agreement, a TOML file.", exists=True, dir_okay=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File with the passphrase of the keys, mode 0600."),
]
SignaturesOption = Annotated[
    Path | None,
    typer.Option("--signatures", help="Directory of .sig files (default: beside the agreement)."),
]
KeyRecordOption = Annotated[
    Path | None,
    typer.Option(
        "--key-record",
        help="Record of the Paillier key, where vectors are encrypted (default: paillier.key "
        "beside the agreement).",
    ),
]
BandwidthOption = Annotated[
    float, typer.Option("--mbit", min=0.001, help="Bandwidth of every node, 10^6 bits per second.")
]


def passphrase(file: Path | None, *, confirm: bool = False) -> bytes:
    """Return the passphrase from the file, the environment, or the terminal.

    Args:
        file: value of ``--passphrase-file``.
        confirm: ask twice, for new keys.

    Raises:
        KeyFileError: no source, or unusable.
    """

    def prompt() -> str:
        return str(
            typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        )

    return read_passphrase(
        file=file, environ=os.environ, prompt=prompt if sys.stdin.isatty() else None
    )
