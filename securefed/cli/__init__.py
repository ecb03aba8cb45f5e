"""The ``securefed`` command. Each command is a module of its own; this one puts them together."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Annotated, NoReturn, cast

import typer

from parties.party.training import THREAD_NAME
from protocols.errors import SecureFedError
from protocols.version import PROTOCOL_VERSION, __version__
from securefed.cli import (
    agreement,
    audit,
    ceremony,
    demo,
    export,
    init,
    keygen,
    keyholder,
    ledger,
    nodes,
    privacy,
    sign,
)
from securefed.cli.exit_codes import ExitCode, exit_code
from securefed.cli.output import error_to_plain, print_error, print_json

# Typer does not export the base of its usage errors under one name in all its versions.
_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])

app = typer.Typer(
    name="securefed",
    help="Train one model across companies that may not share their data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"securefed {__version__} (protocol {PROTOCOL_VERSION})")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command("init")(init.init)
app.command("keygen")(keygen.keygen)
app.command("validate")(agreement.validate_agreement)
app.command("inspect")(agreement.inspect_agreement)
app.command("sign")(sign.sign)
app.command("schema")(agreement.schema)
app.add_typer(nodes.coordinator_app, name="coordinator")
app.add_typer(nodes.party_app, name="party")
app.add_typer(ceremony.ceremony_app, name="ceremony")
app.add_typer(keyholder.keyholder_app, name="keyholder")
app.add_typer(privacy.privacy_app, name="privacy")
app.command("audit")(audit.audit)
app.add_typer(ledger.ledger_app, name="ledger")
app.command("export")(export.export)
app.command("demo")(demo.demo)


def main() -> NoReturn:
    """Run the command line. Expected errors are one line, or one JSON object with ``--json``."""
    as_json = "--json" in sys.argv
    try:
        # On its own, typer explains a wrong command line to people and exits with 2.
        code = app(standalone_mode=not as_json)
    except SecureFedError as error:
        if as_json:
            print_json(error_to_plain(error))
        else:
            print_error(str(error))
        _leave(exit_code(error))
    except _UsageError as error:
        print_json({"error": "UsageError", "message": str(error), "exit_code": int(ExitCode.USAGE)})
        _leave(ExitCode.USAGE)
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        typer.echo("interrupted", err=True)
        _leave(ExitCode.INTERRUPTED)
    _leave(code if isinstance(code, int) else ExitCode.OK)


def _leave(code: int) -> NoReturn:
    """End the process, also one whose training code never returned from native code."""
    if any(thread.name == THREAD_NAME for thread in threading.enumerate()):
        # Taking the interpreter down under that thread would abort the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
