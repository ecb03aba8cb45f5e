"""``securefed keygen``: a node's keys, and what the others need of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parties.keys import certificate_path, create_keys
from securefed.agreement_text import toml_value
from securefed.cli.options import JsonOption, PassphraseOption, passphrase
from securefed.cli.output import print_json


def keygen(
    name: Annotated[str, typer.Argument(help="Name in the agreement: a-z, 0-9, inner hyphens.")],
    out: Annotated[Path, typer.Option("--out", help="Directory for all keys of this machine.")],
    coordinator: Annotated[
        bool, typer.Option("--coordinator", help="Print the table of the coordinator.")
    ] = False,
    passphrase_file: PassphraseOption = None,
    json: JsonOption = False,
) -> None:
    """Make an identity and a TLS certificate; private keys are encrypted under a passphrase."""
    ring = create_keys(out, name, passphrase(passphrase_file, confirm=True))
    certificate = certificate_path(out, name)
    public = {
        "name": name,
        "public_key": ring.identity.public.raw.hex(),
        "tls_fingerprint": ring.tls.fingerprint,
    }
    if json:
        print_json({**public, "certificate": str(certificate), "keys": str(out / name)})
        return
    # The table alone goes to standard output, ready for a pipe.
    typer.echo("[coordinator]" if coordinator else "[[parties]]")
    for key, value in public.items():
        typer.echo(f"{key} = {toml_value(value)}")
    typer.echo(
        f"\nPaste this table into the agreement, or give it to securefed init as\n"
        f"  {':'.join(public.values())}\n"
        f"Send {certificate} to the others, who save it in certificates/.\n"
        f"Everything else in {out / name} stays here. Without the passphrase it is useless; "
        "there is no way to recover it.",
        err=True,
    )
