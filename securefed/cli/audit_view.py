"""The verdict of an audit on a terminal: what to know first, first."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from securefed.audit.words import ranges
from securefed.cli.privacy_view import bar

_STYLES: Final = {"verified": "bold green", "incomplete": "bold yellow", "failed": "bold red"}
_MOST_ROWS: Final = 20
_SAID: Final = {"not-anchored", "not-closed"}


def show_audit(screen: Console, report: dict[str, Any]) -> None:
    """Print a report for people; the page and the JSON twin hold more."""
    _show_verdict(screen, report)
    _show_cards(screen, report)
    spent = report["privacy"]
    if spent["noise"] and spent["whole"]:
        budget = spent["budget"]
        screen.print(
            Text(
                f"\nspent  {bar(budget['spent'] or 0.0, budget['epsilon'])} "
                f"{_number(budget['spent'])} of {budget['epsilon']:g}"
            )
        )
    if spent["noise"] and spent["parties"]:
        screen.print()
        screen.print(_parties(report))
    if report["agreement"] and not spent["noise"]:
        screen.print(
            Text(
                "\nWARNING: no differential privacy: sums and models may tell about single people",
                style="bold yellow",
            )
        )
    _show_secrecy(screen, report["secrecy"])
    _show_warnings(screen, report["verdict"]["warnings"])


def _show_verdict(screen: Console, report: dict[str, Any]) -> None:
    """Print the verdict, its first failure and where the keys come from."""
    verdict, ledger = report["verdict"], report["ledger"]
    screen.print(
        Text.assemble((verdict["headline"], _STYLES[verdict["verdict"]]), ": ", verdict["sentence"])
    )
    if verdict["failure"]:
        screen.print(Text(f"{_where(verdict['failure'])}", style="red"), soft_wrap=True)
    if not verdict["anchored"]:
        screen.print(
            Text(
                "No agreement was given: all public keys come from the file itself, so whoever "
                "made it could have made up all of it. Give --agreement.",
                style="yellow",
            )
        )
    screen.print(
        Text(
            f"{ledger['leaves']:,} leaves, {len(report['rounds']):,} rounds, "
            f"{ledger['signatures']:,} signatures checked, root {ledger['root']}"
        ),
        soft_wrap=True,
    )


def _show_cards(screen: Console, report: dict[str, Any]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for card in report["cards"]:
        grid.add_row(
            Text(card["title"], style="bold"),
            Text.assemble((card["big"], "bold"), f". {card['text']}"),
        )
    screen.print()
    screen.print(grid)


def _show_secrecy(screen: Console, secrecy: dict[str, Any] | None) -> None:
    if secrecy is None:
        return
    screen.print(Text("\nWho could read one company's part", style="bold"))
    for sentence in secrecy["sentences"]:
        screen.print(Text(f"- {sentence}"))


def _parties(report: dict[str, Any]) -> Table:
    table = Table(title="What each company's people were charged", title_justify="left")
    table.add_column("company")
    for heading in ("rounds", "in sums", "silent", "epsilon", "Renyi", "worst case"):
        table.add_column(heading, justify="right")
    took = {one["party"]: one for one in report["participation"]["parties"]}
    parties = report["privacy"]["parties"]
    for one in parties[:_MOST_ROWS]:
        there = took[one["party"]]
        table.add_row(
            Text(one["party"]),
            f"{one['invited']}",
            f"{there['in_sum']}",
            f"{there['silent']}",
            _number(one["epsilon_pld"]),
            _number(one["epsilon_rdp"]),
            _number(one["worst_case"]["epsilon"]),
        )
    if len(parties) > _MOST_ROWS:
        table.caption = f"and {len(parties) - _MOST_ROWS} more in the report"
    return table


def _show_warnings(screen: Console, warnings: list[dict[str, Any]]) -> None:
    # What was said beside the verdict is not said again.
    counts = Counter(one["name"] for one in warnings if one["name"] not in _SAID)
    for name, times in counts.items():
        these = [one for one in warnings if one["name"] == name]
        rounds = ranges(sorted({one["round"] for one in these if one["round"]}))
        where = f" (round {rounds})" if rounds else ""
        told = these[0]["means"] or these[0]["reason"]
        often = f" {times} times." if times > 1 else ""
        screen.print(Text(f"\nWARNING: {name}{where}: {told}{often}", style="bold yellow"))


def _where(failure: dict[str, Any]) -> str:
    parts = [] if failure["leaf"] is None else [f"leaf {failure['leaf']}"]
    parts += [f"round {failure['round']}"] if failure["round"] else []
    parts += [failure["party"]] if failure["party"] else []
    where = f" at {', '.join(parts)}" if parts else ""
    return f"first fault: {failure['name']}{where}: {failure['reason']}"


def _number(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.3f}"
