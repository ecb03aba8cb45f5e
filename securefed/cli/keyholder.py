"""``securefed keyholder``: the node that holds the Paillier key alone, and its key."""

from __future__ import annotations

import typer

from parties.keys import load_keys
from securefed.cli.ceremony import NameOption, OutOption, open_ceremony, searching, show_key
from securefed.cli.nodes import KeysOption
from securefed.cli.options import (
    AgreementFile,
    JsonOption,
    PassphraseOption,
    SignaturesOption,
    passphrase,
)

keyholder_app = typer.Typer(
    help="The key holder: opens sums that are still masked, and has no data.",
    no_args_is_help=True,
)


@keyholder_app.command("keygen")
def keygen(
    agreement: AgreementFile,
    name: NameOption,
    keys: KeysOption,
    out: OutOption,
    signatures: SignaturesOption = None,
    passphrase_file: PassphraseOption = None,
    json: JsonOption = False,
) -> None:
    """Make the Paillier key of an agreement: its record for all, its secret for us alone."""
    ceremony = open_ceremony(agreement, signatures)
    words = passphrase(passphrase_file)
    ring = load_keys(keys, name, words)
    with searching(shown=not json) as tell:
        facts, share = ceremony.make_alone(ring, keys, words, out, tell)
    show_key(
        facts,
        f"the secret is in {share}, encrypted: back it up\nevery node needs {out}",
        as_json=json,
        file=str(out),
        share=str(share),
    )
