"""The section of ``docs/benchmarks.md`` that the utility benchmark writes."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from utility_sets.evaluate import DELTA, OWN, Cost, Line

TITLE: Final = "## Utility under differential privacy"
_COLUMNS: Final = ("local-only", "federated")
_MEASURED: Final = f"""\
Area under the ROC curve on held-out rows, mean ± standard deviation over splits and noise.
Local-only is the mean over the companies' own models, each scored on all test rows. Epsilon hides a
person (add or remove one) at delta = {DELTA:g}, over all rounds of a run, by privacy loss
distributions, for the very configuration that ran."""
_RAN: Final = """\
What ran: Poisson samples with rate q, clip norm C, noise multiplier z; n parties, of which t are
counted on for their noise. "Worst" is epsilon if all other parties collude and tell their noise."""
_CHOSEN: Final = """\
Settings were chosen on synthetic tables of the same shape (`benchmarks/utility_sets/synthetic.py`;
`--data synthetic` runs them), not on rows of these sets, which would tell of them uncharged.
Columns are scaled by public knowledge of their units, not by the data; clipping of columns and of
vectors is regularisation too, so that a private model may lie above the one without noise. The test
rows of Adult are the same in every split: its deviations hold none of their sampling error. Random
numbers are seeded here; a federation draws them from the operating system."""


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of one line.

    Attributes:
        line: what was run.
        data: name of the data set.
        parties: n.
        colluders: c, assumed.
        dropouts: tolerated.
        runs: AUC of every run by column, in one order.
        costs: by target epsilon.
    """

    line: Line
    data: str
    parties: int
    colluders: int
    dropouts: int
    runs: dict[str, list[float]] = field(default_factory=dict)
    costs: dict[float, Cost] = field(default_factory=dict)

    @property
    def honest(self) -> int:
        """t, parties that are sure to add their noise."""
        return self.parties - self.colluders - self.dropouts


def section(results: Sequence[Result], targets: Sequence[float], command: str, seeds: str) -> str:
    """Return the section as Markdown."""
    private = [column(target) for target in targets]
    head = [*_COLUMNS, *private, "pooled"]
    noise = [f"z ({name})" for name in private] + [f"worst ({name})" for name in private]
    paragraphs = [
        TITLE,
        _MEASURED,
        _table(["", *head], [_areas(result, head) for result in results]),
        *_own(results),
        "Against the federated model without noise on the same split:",
        _table(["", *private], [_differences(result, private) for result in results]),
        _RAN,
        _table(
            ["", "kind", "rounds", "q", "C", "n", "t", *noise],
            [_configuration(result, targets) for result in results],
        ),
        _CHOSEN,
        f"`{command}`; {seeds}. {_versions()}",
    ]
    return "\n\n".join(paragraphs) + "\n"


def write_section(path: Path, text: str) -> None:
    """Put the section into a page: in place of an earlier one, or at the end."""
    page = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    before, found, rest = page.partition(TITLE + "\n")
    after = ""
    if found:
        at = rest.find("\n## ")
        after = rest[at:] if at >= 0 else ""
    path.write_text(before.rstrip("\n") + "\n\n" + text + after, encoding="utf-8")


def column(target: float) -> str:
    """Return the heading of a private column."""
    return f"ε = {target:g}"


def _areas(result: Result, columns: Sequence[str]) -> list[str]:
    return [_label(result), *[_mean(result.runs[name]) for name in columns]]


def _own(results: Sequence[Result]) -> list[str]:
    """Say what local models are worth to the companies themselves, where that was measured."""
    found = [f"{_mean(each.runs[OWN])} ({_label(each)})" for each in results if OWN in each.runs]
    if not found:
        return []
    return [
        "Where every test row is scored by the model of its own company, local-only is "
        + ", ".join(found)
        + "."
    ]


def _differences(result: Result, private: Sequence[str]) -> list[str]:
    base = np.array(result.runs["federated"])
    return [
        _label(result),
        *[_mean(list(np.array(result.runs[name]) - base), sign="+") for name in private],
    ]


def _configuration(result: Result, targets: Sequence[float]) -> list[str]:
    line, costs = result.line, [result.costs[target] for target in targets]
    worst = ["none" if cost.worst_case is None else f"{cost.worst_case:.3g}" for cost in costs]
    return [
        _label(result),
        f"`{line.private}`",
        str(line.rounds),
        f"{line.sampling_rate:g}",
        f"{line.clip_norm:g}",
        str(result.parties),
        str(result.honest),
        *[f"{cost.noise_multiplier:.2f}" for cost in costs],
        *worst,
    ]


def _label(result: Result) -> str:
    return f"{result.data}, {result.line.name}"


def _mean(values: Sequence[float], sign: str = "") -> str:
    return f"{np.mean(values):{sign}.4f} ± {np.std(values):.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _versions() -> str:
    names = ("securefed", "numpy", "torch", "dp-accounting")
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()}, {found}."
