"""A summary of an agreement on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from securefed.cli.mode_view import show_modes
from securefed.cli.privacy_view import show_privacy
from securefed.forecast import Forecast
from securefed.signing import SignatureState, SignatureStatus
from securefed.summary import Summary

_MINUTE, _HOUR = 60, 3600
_MOST_ROWS = 20


def show_summary(screen: Console, summary: Summary) -> None:
    """Print everything that somebody should know before signing, warnings last."""
    screen.print(Text(f"Federation {summary.federation}", style="bold"))
    screen.print(f"digest {summary.digest}\n", soft_wrap=True)
    screen.print(_insights(summary))
    screen.print(Text("\nWhat the parties withstand", style="bold"))
    for sentence in summary.resilience:
        screen.print(f"- {sentence}", markup=False)
    if summary.privacy is not None:
        screen.print()
        show_privacy(screen, summary.privacy)
    screen.print()
    screen.print(_costs(summary.forecast))
    _show_totals(screen, summary.forecast)
    screen.print()
    show_modes(screen, summary.modes)
    screen.print()
    screen.print(_signatures(summary.signatures))
    show_warnings(screen, summary.warnings)


def show_warnings(screen: Console, warnings: tuple[str, ...]) -> None:
    """Print warnings so that nobody misses them."""
    for warning in warnings:
        screen.print(Text(f"\nWARNING: {warning}", style="bold yellow"))


def _insights(summary: Summary) -> Table:
    table = Table(title="Who sees what", title_justify="left", show_lines=True)
    for heading in ("who", "sees", "does not see"):
        table.add_column(heading, overflow="fold")
    for one in summary.insights:
        table.add_row(Text(one.who), Text(one.sees), Text(one.never))
    return table


def _costs(forecast: Forecast) -> Table:
    table = Table(title="What a round costs, per party", title_justify="left")
    table.add_column("task")
    headings = ("rounds", "values", "up", "down", "memory", "seconds")
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in forecast.tasks:
        table.add_row(
            one.name,
            f"at most {one.rounds}",
            f"{one.dimension:,}",
            decimal(one.up_per_round),
            ("up to " if one.model_is_a_guess else "") + decimal(one.down_per_round),
            decimal(one.party_memory),
            f"{one.seconds_per_round:.2f}",
        )
    return table


def _show_totals(screen: Console, forecast: Forecast) -> None:
    screen.print(
        f"In all at most {forecast.rounds} rounds: each party sends {decimal(forecast.party_up)} "
        f"and receives {decimal(forecast.party_down)}; the coordinator receives "
        f"{decimal(forecast.coordinator_in)} and sends {decimal(forecast.coordinator_out)}."
    )
    if forecast.holder_down:
        screen.print(
            f"The key holder receives {decimal(forecast.holder_down)} and sends "
            f"{decimal(forecast.holder_up)} of that."
        )
    memory = max(one.coordinator_memory for one in forecast.tasks)
    encrypted = any("encrypt" in one.messages for one in forecast.tasks)
    what = "sums and their opening" if encrypted else "the sum, however many parties there are"
    screen.print(
        f"About {_duration(forecast.seconds)} at {forecast.mbit_per_second:g} Mbit/s for every "
        f"node, without the parties' own training. The coordinator needs {decimal(memory)} for "
        f"{what}."
    )


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def _signatures(signatures: tuple[SignatureStatus, ...]) -> Text:
    by_state = {
        state: [one for one in signatures if one.state is state] for state in SignatureState
    }
    valid, missing = by_state[SignatureState.VALID], by_state[SignatureState.MISSING]
    text = Text(f"Signed by {len(valid)} of {len(signatures)} parties", style="bold")
    text.append(f": {_names(valid)}\n" if valid else "\n", style="not bold")
    if missing:
        text.append(f"Still to sign: {_names(missing)}\n", style="not bold")
    for one in by_state[SignatureState.WRONG][:_MOST_ROWS]:
        text.append(f"Does not count: {one.problem}\n", style="red")
    if len(valid) == len(signatures):
        text.append("In force.\n", style="green")
    return text


def _names(signatures: list[SignatureStatus]) -> str:
    shown = ", ".join(one.name for one in signatures[:_MOST_ROWS])
    more = len(signatures) - _MOST_ROWS
    return f"{shown} and {more} more" if more > 0 else shown
