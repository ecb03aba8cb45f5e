"""``securefed keyholder``: the node that holds the Paillier key alone, and its key."""

from __future__ import annotations

import typer

from parties.keys import load_keys
from protocols.errors import MisuseError
from securefed.cli.ceremony import NameOption, OutOption, open_ceremony, searching, show_key
from securefed.cli.nodes import (
    AddressOption,
    CertificatesOption,
    EventsOption,
    KeysOption,
    PatienceOption,
    StateOption,
    node_keys,
    reporter,
)
from securefed.cli.options import (
    AgreementFile,
    JsonOption,
    KeyRecordOption,
    PassphraseOption,
    SignaturesOption,
    passphrase,
)
from securefed.cli.output import console
from securefed.deployment import Deployment
from securefed.extras import paillier_extra

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


@keyholder_app.command("run")
def run(
    agreement: AgreementFile,
    name: NameOption,
    keys: KeysOption,
    state: StateOption,
    signatures: SignaturesOption = None,
    certificates: CertificatesOption = None,
    key_record: KeyRecordOption = None,
    passphrase_file: PassphraseOption = None,
    address: AddressOption = None,
    patience: PatienceOption = 3600.0,
    json: EventsOption = False,
) -> None:
    """Open one sum of masked vectors a round, the one that all parties' vectors add up to."""
    with paillier_extra():
        from securefed.keyholder import KeyHolder  # noqa: PLC0415 - an extra

    deployment = Deployment.load(
        agreement, signatures=signatures, certificates=certificates, key_record=key_record
    )
    words = passphrase(passphrase_file)
    own = node_keys(deployment, name, keys, words)
    if own is None:
        raise MisuseError("nothing is encrypted under this agreement; no key holder is needed")
    node = KeyHolder(deployment, load_keys(keys, name, words), own, state, address, patience)
    node.run(reporter(as_json=json))
    if not json:
        console().print("completed: every sum is open")
