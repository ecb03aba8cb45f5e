"""The privacy plan of an agreement on a terminal: what is promised, to whom, and a plot of it."""

from __future__ import annotations

import math
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from securefed.budget_plan import BudgetPlan

_BAR: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def show_privacy(screen: Console, plan: BudgetPlan) -> None:
    """Print the promise, the noise of each task, and epsilon over the rounds."""
    screen.print(Text("What is promised to every " + plan.unit, style="bold"))
    screen.print(
        f"- epsilon {plan.epsilon_pld:.3f} at delta {plan.delta:g} over all rounds, of at most "
        f"{plan.budget:g}; nodes stop before that is passed (by Renyi divergences: "
        f"{plan.epsilon_rdp:.3f})"
    )
    worst = (
        f"epsilon {plan.epsilon_worst_case:.3f}"
        if math.isfinite(plan.epsilon_worst_case)
        else "no bound"
    )
    screen.print(f"- {worst} if every other party sides with the coordinator")
    screen.print(
        f"- exact {plan.mechanism} noise; neighbouring data differ by all of one {plan.unit}"
        + (
            f", who may be at {plan.companies_per_person} parties"
            if plan.companies_per_person > 1
            else ""
        )
    )
    screen.print()
    screen.print(_noise(plan))
    screen.print(Text("\nepsilon after so many rounds", style="bold"))
    for number, value in plan.curve:
        screen.print(Text(f"{number:>7} {bar(value, plan.budget)} {value:.3f}"))


def bar(value: float, most: float, width: int = _BAR) -> str:
    """Return a bar of ``width`` cells, of which value / most are filled, to an eighth of a cell."""
    eighths = round(8 * width * min(1.0, max(0.0, value / most))) if most > 0 else 0
    whole, rest = divmod(eighths, 8)
    filled = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return filled + "·" * (width - len(filled))


def _noise(plan: BudgetPlan) -> Table:
    table = Table(title="Noise of each sum", title_justify="left")
    table.add_column("task")
    for heading in ("rounds", "clip norm", "noise multiplier", "sampling rate", "noise std"):
        table.add_column(heading, justify="right")
    for task in plan.tasks:
        table.add_row(
            task.name,
            f"{task.rounds}",
            f"{task.clip_norm:g}",
            f"{task.noise_multiplier:.4g}",
            f"{task.sampling_rate:g}",
            f"{task.noise_std:.4g}",
        )
    return table
