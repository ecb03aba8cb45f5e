"""``securefed sign``: read what it means, then put this party's name to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from parties.keys import load_keys
from protocols.agreement import sign_agreement
from protocols.errors import MisuseError
from securefed.cli.agreement import summary_of
from securefed.cli.exit_codes import ExitCode
from securefed.cli.options import (
    AgreementFile,
    BandwidthOption,
    JsonOption,
    PassphraseOption,
    SignaturesOption,
    passphrase,
)
from securefed.cli.output import console, print_json
from securefed.cli.summary_view import show_summary
from securefed.deployment import SIGNATURES, read_agreement
from securefed.forecast import DEFAULT_MBIT
from securefed.signing import SignatureState, signing_status, write_signature


def sign(
    agreement: AgreementFile,
    name: Annotated[str, typer.Option("--name", help="Our name in the agreement.")],
    keys: Annotated[Path, typer.Option("--keys", help="Directory that keygen wrote to.")],
    signatures: SignaturesOption = None,
    passphrase_file: PassphraseOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
    mbit: BandwidthOption = DEFAULT_MBIT,
    json: JsonOption = False,
) -> None:
    """Show what the agreement means, ask, and sign it as one of its parties."""
    if not yes and (json or not sys.stdin.isatty()):
        raise MisuseError(
            "nobody can be asked here; read securefed inspect, then give --yes to sign"
        )
    loaded = read_agreement(agreement)
    loaded.party_index(name)
    directory = signatures or agreement.parent / SIGNATURES
    summary = summary_of(loaded, directory, mbit)
    if not json:
        show_summary(console(), summary)
    if not yes and not typer.confirm(f"Sign this as {name}?", err=True):
        typer.echo("not signed", err=True)
        raise typer.Exit(ExitCode.FAILED)
    ring = load_keys(keys, name, passphrase(passphrase_file))
    path = write_signature(directory, sign_agreement(loaded, ring.identity))
    status = signing_status(loaded, directory)
    missing = [one.name for one in status if one.state is not SignatureState.VALID]
    if json:
        print_json(
            {
                "file": str(path),
                "digest": loaded.digest().hex(),
                "name": name,
                "missing": missing,
                "in_force": not missing,
            }
        )
        return
    waiting = (
        f"still to sign: {', '.join(missing[:20])}" if missing else "in force: all have signed"
    )
    console().print(f"signed: {path}; send it to the others\n{waiting}", markup=False)
