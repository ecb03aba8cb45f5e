"""What commands print: text for people, or with ``--json`` one JSON value per line for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

from parties.reporting import Event
from protocols.errors import AgreementError, LedgerError, PeerError, SecureFedError
from securefed.cli.exit_codes import exit_code


def console() -> Console:
    """Return the console for people; NO_COLOR and a pipe are respected."""
    return Console(highlight=False)


def print_error(text: str) -> None:
    """Print one line on standard error; NO_COLOR is respected."""
    screen = Console(stderr=True, highlight=False)
    screen.print(f"error: {text}", style="red", markup=False, soft_wrap=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of its own, at once."""
    typer.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def event_to_plain(event: Event) -> dict[str, Any]:
    """Return an event as a plain dict with its name under ``event``."""
    return {"event": event.name, "round": event.round, **event.detail}


def error_to_plain(error: SecureFedError) -> dict[str, Any]:
    """Return an error as a plain dict: its class, its text, and the facts that it carries."""
    plain: dict[str, Any] = {
        "error": type(error).__name__,
        "message": str(error),
        "exit_code": int(exit_code(error)),
    }
    if isinstance(error, AgreementError):
        plain |= {"key": error.key, "problem": error.problem, "remedy": error.remedy}
    if isinstance(error, PeerError):
        plain |= {"party": error.party, "step": error.step, "reason": error.reason}
    if isinstance(error, LedgerError):
        plain |= {"finding": error.finding, "reason": error.reason, "leaf": error.leaf}
        plain |= {"round": error.round, "party": error.party}
    return plain
