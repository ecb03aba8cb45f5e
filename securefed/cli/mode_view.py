"""The three modes of summing side by side, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from securefed.collusion import Coalition
from securefed.mode_comparison import ModePrice, TaskPrice

_BRIEF = 0.01


def show_modes(screen: Console, modes: Sequence[ModePrice]) -> None:
    """Print what each mode costs in a round of the longest task, and whom it protects from."""
    priced = [max(one.tasks, key=_weight) if one.tasks else None for one in modes]
    task = next(one.task for one in priced if one is not None)
    table = Table(
        title=f"What each mode costs in a round of {task}, and who could read one party's update",
        title_justify="left",
    )
    table.add_column("", no_wrap=True)
    for one in modes:
        heading = Text(one.mode + (f",\n{one.opened_by}" if one.opened_by else ""))
        heading.append("\n(agreed)" if one.agreed else "", style="green")
        table.add_column(heading, overflow="fold")
    for label, cell in _COSTS:
        cells = [
            one.obstacle if price is None else cell(price)
            for one, price in zip(modes, priced, strict=True)
        ]
        if any(cells):
            table.add_row(label, *(Text(one or "-") for one in cells))
    for label, found in _exposures(modes):
        table.add_section()
        table.add_row(label, *map(Text, found))
    screen.print(table)
    bits = max(one.key_bits for one in modes)
    screen.print(
        f"Seconds are estimates for one thread and a key of {bits} bits, from measurements in "
        'docs/benchmarks.md ("Paillier") and docs/threshold-paillier.md. "Could read it" names the '
        "smallest coalitions that could, beside the party itself, which is in none of them; a "
        "dealer only if it kept what it dealt."
    )


def _weight(price: TaskPrice) -> int:
    return price.party_up + price.party_down


def _exposures(modes: Sequence[ModePrice]) -> Iterator[tuple[str, list[str]]]:
    told = [one.exposure for one in modes]
    yield "hidden by", [one.rests_on for one in told]
    yield "stays private from", [_any(one.safe_from) for one in told]
    yield "could read it, unseen", [_any(one.unnoticed) for one in told]
    yield "could read it, provably", [_any(one.provable) for one in told]
    yield "could read it, years later", [_any(one.later) for one in told]


def _any(coalitions: Sequence[Coalition]) -> str:
    return "\nor ".join(map(str, coalitions)) or "nobody"


def _seconds(value: float) -> str:
    if value == 0:
        return ""
    return "below 0.01 s" if value < _BRIEF else f"{value:.3g} s"


_COSTS: tuple[tuple[str, Callable[[TaskPrice], str]], ...] = (
    ("party, others waiting", lambda one: _seconds(one.seconds.party_online)),
    ("party, while training", lambda one: _seconds(one.seconds.party_offline)),
    ("each trustee", lambda one: _seconds(one.seconds.trustee)),
    ("coordinator", lambda one: _seconds(one.seconds.coordinator)),
    ("round, with transfer", lambda one: _seconds(one.round_seconds)),
    ("party sends", lambda one: decimal(one.party_up)),
    ("party receives", lambda one: decimal(one.party_down)),
    ("key holder receives", lambda one: decimal(one.holder_down) if one.holder_down else ""),
    ("coordinator receives", lambda one: decimal(one.coordinator_in)),
    ("coordinator sends", lambda one: decimal(one.coordinator_out)),
    ("waits for answers", lambda one: str(one.answers)),
)
