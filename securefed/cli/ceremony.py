"""``securefed ceremony``: the parties' Paillier key, made by a dealer that forgets it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from parties.keys import load_keys
from protocols.errors import MisuseError
from securefed.cli.nodes import KeysOption
from securefed.cli.options import (
    AgreementFile,
    JsonOption,
    PassphraseOption,
    SignaturesOption,
    passphrase,
)
from securefed.cli.output import console, print_json
from securefed.extras import paillier_extra

if TYPE_CHECKING:
    from securefed.ceremony import KeyFacts
    from securefed.ceremony_steps import Steps

ceremony_app = typer.Typer(
    help="Make the Paillier key of an agreement: a dealer shares it among the parties.",
    no_args_is_help=True,
)

NameOption = Annotated[str, typer.Option("--as", help="Our name in the agreement.")]
SessionOption = Annotated[
    Path,
    typer.Option("--session", help="File that ceremony start wrote.", exists=True, dir_okay=False),
]
OutOption = Annotated[Path, typer.Option("--out", help="File to write; it must not exist yet.")]
DealingArgument = Annotated[
    Path, typer.Argument(help="The file dealing of the dealer.", exists=True, dir_okay=False)
]


def open_ceremony(agreement: Path, signatures: Path | None = None, *, signed: bool = True) -> Steps:
    """Read an agreement under which vectors are encrypted.

    Raises:
        MisuseError: the extra is not installed.
        AgreementError: unsafe, or not signed by all where ``signed`` says that it has to be.
    """
    with paillier_extra():
        from securefed.ceremony_steps import Steps  # noqa: PLC0415 - an extra
    return Steps.of_signed(agreement, signatures) if signed else Steps.of_any(agreement)


@ceremony_app.command("start")
def start(
    agreement: AgreementFile,
    name: NameOption,
    keys: KeysOption,
    out: OutOption,
    signatures: SignaturesOption = None,
    json: JsonOption = False,
) -> None:
    """Dealer: begin a session and write the file that every trustee joins with."""
    ceremony = open_ceremony(agreement, signatures)
    session = ceremony.start(name, keys, out).hex()
    trustees = [one.name for one in ceremony.agreement.trustees]
    if json:
        print_json({"file": str(out), "session": session, "dealer": name, "trustees": trustees})
        return
    _say(f"session {session[:16]}…: send {out} to {', '.join(trustees)}")


@ceremony_app.command("join")
def join(
    agreement: AgreementFile,
    name: NameOption,
    keys: KeysOption,
    session: SessionOption,
    out: OutOption,
    signatures: SignaturesOption = None,
    passphrase_file: PassphraseOption = None,
    json: JsonOption = False,
) -> None:
    """Trustee: make a key for this session alone, and sign it for the dealer."""
    ceremony = open_ceremony(agreement, signatures)
    words = passphrase(passphrase_file)
    ring = load_keys(keys, name, words)
    ceremony.join(session, ring, keys, words, out)
    if json:
        print_json({"file": str(out), "name": name})
        return
    _say(f"joined: send {out} to the dealer")


@ceremony_app.command("deal")
def deal(
    agreement: AgreementFile,
    joined: Annotated[
        list[Path],
        typer.Argument(
            help="Files that the trustees' ceremony join wrote.", exists=True, dir_okay=False
        ),
    ],
    name: NameOption,
    keys: KeysOption,
    session: SessionOption,
    out: Annotated[Path, typer.Option("--out", help="Directory to make.")],
    signatures: SignaturesOption = None,
    passphrase_file: PassphraseOption = None,
    json: JsonOption = False,
) -> None:
    """Dealer: make the key, seal a share for every trustee, and forget it."""
    ceremony = open_ceremony(agreement, signatures)
    ring = load_keys(keys, name, passphrase(passphrase_file))
    with searching(shown=not json) as tell:
        facts = ceremony.deal(session, joined, ring, keys, out, tell)
    show_key(
        facts,
        f"dealt, and forgotten: send {out / 'dealing'} to every trustee, and NAME.sealed to the "
        "trustee NAME alone",
        as_json=json,
        directory=str(out),
    )


@ceremony_app.command("confirm")
def confirm(
    agreement: AgreementFile,
    dealing: DealingArgument,
    sealed: Annotated[
        Path, typer.Argument(help="Our own sealed share.", exists=True, dir_okay=False)
    ],
    name: NameOption,
    keys: KeysOption,
    out: OutOption,
    signatures: SignaturesOption = None,
    passphrase_file: PassphraseOption = None,
    json: JsonOption = False,
) -> None:
    """Trustee: check the dealing and our share, keep the share encrypted, and countersign."""
    ceremony = open_ceremony(agreement, signatures)
    words = passphrase(passphrase_file)
    ring = load_keys(keys, name, words)
    facts, share = ceremony.confirm(dealing, sealed, ring, keys, words, out)
    show_key(
        facts,
        f"our share is in {share}, encrypted: back it up\n"
        f"countersigned: send {out} to whoever finishes",
        as_json=json,
        file=str(out),
        name=name,
        share=str(share),
    )


@ceremony_app.command("finish")
def finish(
    agreement: AgreementFile,
    dealing: DealingArgument,
    countersigned: Annotated[
        list[Path],
        typer.Argument(
            help="Files that the trustees' ceremony confirm wrote.", exists=True, dir_okay=False
        ),
    ],
    out: OutOption,
    signatures: SignaturesOption = None,
    json: JsonOption = False,
) -> None:
    """Anybody: put all countersignatures beside the dealing; the key is in force."""
    facts = open_ceremony(agreement, signatures).finish(dealing, countersigned, out)
    show_key(facts, f"in force: every node needs {out}", as_json=json, file=str(out))


@ceremony_app.command("check")
def check(
    agreement: AgreementFile,
    record: Annotated[Path, typer.Argument(help="The key record.", exists=True, dir_okay=False)],
    name: Annotated[
        str | None, typer.Option("--as", help="Open the share of this trustee as well.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Directory of its keys, for --as.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    json: JsonOption = False,
) -> None:
    """Anybody: verify a key record against the agreement, trusting nobody."""
    if (name is None) != (keys is None):
        raise MisuseError("to open a share give --as and --keys together")
    ceremony = open_ceremony(agreement, signed=False)
    facts = ceremony.check(record)
    if name is None or keys is None:
        show_key(facts, "in force", as_json=json, valid=True)
        return
    share = str(ceremony.check_share(record, name, keys, passphrase(passphrase_file)))
    text = f"in force; {share} opens, and is a share of it"
    show_key(facts, text, as_json=json, valid=True, name=name, share=share)


@contextmanager
def searching(*, shown: bool) -> Iterator[Callable[[], None]]:
    """Show on standard error, where somebody looks, that safe primes are being searched for."""
    screen = Console(stderr=True, highlight=False)
    if not shown or not screen.is_terminal or not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (
        TextColumn("searching for safe primes, window {task.completed}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bars:
        # How long the search takes is luck: the bar moves without an end.
        task = bars.add_task("searching", total=None)
        yield lambda: bars.advance(task)


def show_key(facts: KeyFacts, text: str, *, as_json: bool, **more: Any) -> None:
    """Print what people compare of a key, and what comes next; ``more`` goes into the JSON."""
    if as_json:
        print_json({**more, **facts.to_plain()})
        return
    if facts.held_alone:
        who = f"held by {facts.dealer} alone"
    else:
        trustees = ", ".join(facts.trustees)
        who = f"dealt by {facts.dealer}; any {facts.threshold} of {trustees} open a sum"
    _say(f"key {facts.key.hex()}\n{facts.bits} bits, {who}\n{text}")


def _say(text: str) -> None:
    console().print(text, markup=False, soft_wrap=True)
