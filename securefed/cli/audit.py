"""``securefed audit``: an exported ledger is verified offline, and what was found is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from parties.keys import load_keys
from protocols.errors import MisuseError
from securefed.audit.auditor import Audit, Auditor
from securefed.audit.auditor import Progress as Tell
from securefed.cli.audit_view import show_audit
from securefed.cli.exit_codes import ExitCode
from securefed.cli.options import JsonOption, PassphraseOption, passphrase
from securefed.cli.output import console, print_json

_CODES = {
    "verified": ExitCode.OK,
    "incomplete": ExitCode.INCOMPLETE,
    "failed": ExitCode.LEDGER,
}

AnchorOption = Annotated[
    Path | None,
    typer.Option(
        "--agreement", help="The agreement, from a source that you trust.", dir_okay=False
    ),
]


def audit(
    bundle: Annotated[Path, typer.Argument(help="File that securefed ledger export wrote.")],
    agreement: AnchorOption = None,
    agreement_digest: Annotated[
        str | None,
        typer.Option("--agreement-digest", help="Its digest instead, 64 hexadecimal digits."),
    ] = None,
    head: Annotated[
        list[Path] | None,
        typer.Option(
            "--head", help="A head that somebody kept (securefed ledger head); repeat it."
        ),
    ] = None,
    canary: Annotated[
        Path | None,
        typer.Option("--canary", help="Result of a canary audit as JSON, to stand beside it."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the report as one HTML page.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the report as JSON, signed with --keys.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Directory that keygen wrote to, to sign --out.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Our name in the agreement, to sign --out.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict only.")] = False,
    json: JsonOption = False,
) -> None:
    """Verify an exported ledger, trusting nobody: exit code 0 says that nothing is wrong."""
    if (keys is None) != (name is None) or (keys is not None and out is None):
        raise MisuseError("to sign a report give --keys, --name and --out together")
    auditor = Auditor(agreement, agreement_digest=_digest(agreement_digest))
    ring = (
        None if keys is None or name is None else load_keys(keys, name, passphrase(passphrase_file))
    )
    with _progress(shown=not (quiet or json)) as tell:
        found = auditor.audit(bundle, head or (), canary=canary, processes=None, progress=tell)
    if out is not None:
        found.write_json(out, ring)
    if html is not None:
        found.write_html(html)
    _print(found, quiet=quiet, as_json=json)
    raise typer.Exit(_CODES[found.verdict])


def _print(found: Audit, *, quiet: bool, as_json: bool) -> None:
    report = found.to_plain()
    if as_json:
        print_json(report)
    elif quiet:
        typer.echo(report["verdict"]["headline"])
    else:
        show_audit(console(), report)


def _digest(text: str | None) -> bytes | None:
    try:
        return None if text is None else bytes.fromhex(text)
    except ValueError as error:
        raise MisuseError("--agreement-digest takes 64 hexadecimal digits") from error


@contextmanager
def _progress(*, shown: bool) -> Iterator[Tell | None]:
    """Show how far the reading is, on standard error, where somebody looks."""
    screen = Console(stderr=True, highlight=False)
    if not shown or not screen.is_terminal or not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("verifying"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bars:
        task = bars.add_task("verifying", total=None)
        yield lambda done, size: bars.update(task, completed=done, total=size)
