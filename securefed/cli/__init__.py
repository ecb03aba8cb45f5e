"""The ``securefed`` command. Each command is a module of its own; this one puts them together."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, NoReturn

import typer

from protocols.errors import SecureFedError
from protocols.version import PROTOCOL_VERSION, __version__
from securefed.cli import demo, nodes
from securefed.cli.exit_codes import ExitCode, exit_code
from securefed.cli.output import error_to_plain, print_json

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


app.add_typer(nodes.coordinator_app, name="coordinator")
app.add_typer(nodes.party_app, name="party")
app.command("demo")(demo.demo)


def main() -> NoReturn:
    """Run the command line. Expected errors are one line, or one JSON object with ``--json``."""
    try:
        app(standalone_mode=True)
    except SecureFedError as error:
        if "--json" in sys.argv:
            print_json(error_to_plain(error))
        else:
            typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(exit_code(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.OK)
