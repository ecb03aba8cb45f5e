"""``securefed coordinator run`` and ``securefed party run``: one node, one process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.coordinator.progress import RunReport
from parties.keys import load_keys
from parties.reporting import Event
from securefed.cli.options import (
    AgreementFile,
    KeyRecordOption,
    PassphraseOption,
    SignaturesOption,
    passphrase,
)
from securefed.cli.output import console, event_to_plain, print_json
from securefed.data.loaders import load_party_data
from securefed.deployment import Deployment
from securefed.extras import paillier_extra
from securefed.privacy_spent import PrivacySpent, privacy_spent

if TYPE_CHECKING:
    from securefed.ciphers import NodeKeys

coordinator_app = typer.Typer(help="The node that runs the rounds and sees sums only.")
party_app = typer.Typer(help="The node of one company; its data stay in this process.")

KeysOption = Annotated[Path, typer.Option("--keys", help="Directory that keygen wrote to.")]
StateOption = Annotated[
    Path, typer.Option("--state", help="Directory of durable state; the same after a restart.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Directory for the final models (safetensors).")
]
CertificatesOption = Annotated[
    Path | None,
    typer.Option(
        "--certificates", help="Directory of everybody's .pem files (default: beside it)."
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="Where the coordinator is (default: the agreement's)."),
]
EventsOption = Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")]
PatienceOption = Annotated[
    float, typer.Option("--patience", min=1.0, help="Seconds to wait for the others.")
]


def reporter(*, as_json: bool) -> Callable[[Event], None]:
    """Return what tells people, or machines, what a node does."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if as_json:
        return lambda event: print_json(event_to_plain(event))
    screen = console()

    def show(event: Event) -> None:
        facts = "  ".join(f"{key}={value}" for key, value in event.detail.items())
        style = "yellow" if event.name in {"refused", "round-aborted", "left-round"} else None
        screen.print(f"round {event.round:>3}  {event.name:<16} {facts}", style=style, markup=False)

    return show


@coordinator_app.command("run")
def run_coordinator(
    agreement: AgreementFile,
    keys: KeysOption,
    state: StateOption,
    out: OutOption = None,
    signatures: SignaturesOption = None,
    certificates: CertificatesOption = None,
    key_record: KeyRecordOption = None,
    passphrase_file: PassphraseOption = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="host:port to bind (default: the agreement's).")
    ] = None,
    patience: PatienceOption = 300.0,
    keep_every: Annotated[
        int,
        typer.Option(
            "--keep-every",
            min=0,
            help="Keep every so many-th model of a task, and write it to --out; 0 for none.",
        ),
    ] = 0,
    json: EventsOption = False,
) -> None:
    """Run every round of an agreement that all parties signed."""
    from securefed.nodes import Coordinator  # noqa: PLC0415 - gRPC loads slowly; --help must not

    deployment = Deployment.load(
        agreement, signatures=signatures, certificates=certificates, key_record=key_record
    )
    name = deployment.agreement.coordinator.name
    ring = load_keys(keys, name, passphrase(passphrase_file))
    node = Coordinator(deployment, ring, state, out, listen, patience, keep_every=keep_every)
    done = node.run(reporter(as_json=json))
    _summarise(done, privacy_spent(deployment.agreement, done.records), out, as_json=json)


def node_keys(deployment: Deployment, name: str, keys: Path, words: bytes) -> NodeKeys | None:
    """Return what a node opens sums with, if it does and where anything is encrypted.

    Raises:
        MisuseError: the extra is not installed.
        KeyFileError: our share cannot be read.
        PeerError: the record of the key is not in force.
    """
    if deployment.key_record is None:
        return None
    with paillier_extra():
        from securefed.ciphers import load_node_keys  # noqa: PLC0415 - an extra
    return load_node_keys(deployment, name, keys, words)


def _summarise(
    done: RunReport, spent: PrivacySpent | None, out: Path | None, *, as_json: bool
) -> None:
    completed = [record for record in done.records if record.outcome == "completed"]
    lost = sum(len(record.lost) for record in completed)
    if as_json:
        print_json(
            {
                "event": "report",
                "rounds": len(completed),
                "aborted": len(done.records) - len(completed),
                "dropouts_survived": lost,
                "bytes_up": done.bytes_up,
                "models": sorted(done.models),
                **({} if spent is None else spent.to_plain()),
            }
        )
        return
    where = f"; models in {out}" if out is not None else ""
    console().print(
        f"completed: {len(completed)} rounds, {len(done.records) - len(completed)} aborted, "
        f"{lost} dropouts survived{where}"
    )
    if spent is not None:
        console().print(
            f"privacy: epsilon {spent.epsilon:.3f} at delta {spent.delta:g} for every person, "
            f"{spent.epsilon_worst_case:.3f} if all other parties collude; noise meter "
            f"{spent.noise_meter:.3f}, {spent.noise_alarms} alarms"
        )


@party_app.command("run")
def run_party(
    agreement: AgreementFile,
    name: Annotated[str, typer.Option("--name", help="Our name in the agreement.")],
    keys: KeysOption,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Our rows: .npz with arrays features and labels.",
            exists=True,
            dir_okay=False,
        ),
    ],
    state: StateOption,
    out: OutOption = None,
    signatures: SignaturesOption = None,
    certificates: CertificatesOption = None,
    key_record: KeyRecordOption = None,
    passphrase_file: PassphraseOption = None,
    address: AddressOption = None,
    patience: PatienceOption = 3600.0,
    epsilon_ceiling: Annotated[
        float | None,
        typer.Option(
            "--epsilon-ceiling",
            min=0.0,
            help="Stop before epsilon passes this, if it is lower than the agreed budget.",
        ),
    ] = None,
    answer_after: Annotated[
        float,
        typer.Option(
            "--answer-after",
            min=0.0,
            help="Seconds from the start of a training to its answer, at least: hides how long it "
            "took.",
        ),
    ] = 0.0,
    json: EventsOption = False,
) -> None:
    """Take part in a run, under the agreement that we signed and nothing else."""
    from securefed.nodes import Party  # noqa: PLC0415 - gRPC loads slowly; --help must not

    deployment = Deployment.load(
        agreement, signatures=signatures, certificates=certificates, key_record=key_record
    )
    deployment.agreement.party_index(name)
    words = passphrase(passphrase_file)
    ring = load_keys(keys, name, words)
    node = Party(
        deployment,
        ring,
        load_party_data(data, classes=None),
        state,
        out,
        address,
        patience,
        epsilon_ceiling,
        answer_after,
        node_keys(deployment, name, keys, words),
    )
    models = node.run(reporter(as_json=json))
    if not json:
        console().print(f"completed: models of {', '.join(sorted(models)) or 'no task'}")
