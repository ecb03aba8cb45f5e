"""The audit report as one HTML page: no script, nothing loaded from anywhere, every text escaped.

The page is made from the plain report alone, so that it says nothing that the JSON twin does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from securefed.audit.charts import Chart, clip_chart, epsilon_chart, meter_chart
from securefed.audit.matrix import matrix
from securefed.audit.words import ranges

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
MOST_ROUNDS: Final = 2000
MOST_ROWS: Final = 200
TEMPLATE: Final = "report.html"


def render(report: dict[str, Any]) -> str:
    """Return the page of a report made by :func:`securefed.audit.report.report`."""
    charts = [chart(report) for chart in (epsilon_chart, meter_chart, clip_chart)]
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            policy=POLICY,
            charts=[chart for chart in charts if chart is not None],
            matrix=matrix(report),
            rounds=report["rounds"][:MOST_ROUNDS],
            aborted=report["participation"]["aborted"][:MOST_ROWS],
            checkpoints=_ends(report["checkpoints"]),
            absent=[
                one
                for one in report["participation"]["parties"]
                if one["silent_in"] or one["left_out_in"]
            ],
            steady=_steady_norms(report),
            findings=_findings(report["verdict"]),
            warned=list(Counter(one["name"] for one in report["verdict"]["warnings"]).items()),
        )
    )


def render_charts(title: str, charts: Sequence[Chart]) -> str:
    """Return charts, at least one, below one another as one SVG picture of its own."""
    return _environment().get_template("curves.svg").render(title=title, charts=charts)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("securefed.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "count": _count, "epsilon": _epsilon}
    return environment


def _ends(checkpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the checkpoints to show: all, or where they are many the first and the last ones."""
    if len(checkpoints) <= MOST_ROWS:
        return checkpoints
    return checkpoints[: MOST_ROWS // 2] + checkpoints[-MOST_ROWS // 2 :]


def _steady_norms(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks whose clip norm does not move."""
    if not report["privacy"]["noise"]:
        return []
    return [task for task in report["privacy"]["tasks"] if not task["adaptive"]]


def _findings(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for the fault and for each kind of warning and party."""
    rows = [] if verdict["failure"] is None else [("fault", [verdict["failure"]])]
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in verdict["warnings"]:
        kinds.setdefault((one["name"], one["party"]), []).append(one)
    rows += [("warning", each) for each in kinds.values()]
    return [{"kind": kind, "first": each[0], "where": _places(each)} for kind, each in rows]


def _places(findings: list[dict[str, Any]]) -> str:
    """Return where findings of one kind are, in one line."""
    first, many = findings[0], len(findings) > 1
    rounds = sorted({one["round"] for one in findings if one["round"]})
    leaf = [] if many or first["leaf"] is None else [f"leaf {first['leaf']}"]
    named = [f"{'rounds' if len(rounds) > 1 else 'round'} {ranges(rounds)}"] if rounds else []
    return ", ".join([*leaf, *named, *([first["party"]] if first["party"] else [])])


def _number(value: float | None, digits: int = 4) -> str:
    return "none" if value is None else f"{value:.{digits}g}"


def _epsilon(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.3f}"


def _count(value: int) -> str:
    return f"{value:,}"
