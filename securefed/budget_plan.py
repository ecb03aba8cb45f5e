"""What an agreement will cost in privacy, round by round, before anybody signs it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from protocols.agreement import Agreement
from protocols.agreement.noise import composed_epsilon, noise_plan, planned_cost
from protocols.errors import MisuseError

POINTS: Final = 12
"""Rounds at which epsilon is worked out; between them it is drawn straight."""


@dataclass(frozen=True, slots=True)
class TaskNoise:
    """The noise of one task's sums.

    Attributes:
        name: of the task.
        rounds: at most.
        clip_norm: largest norm of a person's vector, model units.
        noise_multiplier: noise of the sum over that norm.
        sampling_rate: probability that a person takes part in a round.
        noise_std: standard deviation of the noise in a sum, model units.
    """

    name: str
    rounds: int
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    noise_std: float


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    """The whole privacy plan.

    Attributes:
        unit: what one noised sum hides.
        mechanism: of the noise.
        delta: of every epsilon here.
        budget: most epsilon that nodes allow.
        epsilon_pld: of all planned rounds, the tight bound.
        epsilon_rdp: the same by Renyi divergences.
        epsilon_worst_case: if all other parties collude; infinite where nothing is left.
        companies_per_person: most parties that one person may be at.
        tasks: noise of each task.
        curve: epsilon after so many rounds.
    """

    unit: str
    mechanism: str
    delta: float
    budget: float
    epsilon_pld: float
    epsilon_rdp: float
    epsilon_worst_case: float
    companies_per_person: int
    tasks: tuple[TaskNoise, ...]
    curve: tuple[tuple[int, float], ...]


def budget_plan(agreement: Agreement) -> BudgetPlan | None:
    """Work out the plan of a validated agreement; ``None`` where it adds no noise."""
    cost = planned_cost(agreement)
    if cost is None:
        return None
    return BudgetPlan(
        unit=agreement.privacy.unit,
        mechanism=agreement.privacy.mechanism,
        delta=agreement.privacy.delta,
        budget=cost.budget,
        epsilon_pld=cost.promised.epsilon_pld,
        epsilon_rdp=cost.promised.epsilon_rdp,
        epsilon_worst_case=cost.worst_case,
        companies_per_person=agreement.privacy.companies_per_person,
        tasks=tuple(_noises(agreement)),
        curve=tuple(
            (number, composed_epsilon(agreement, _first_rounds(agreement, number)))
            for number in _marks(agreement.max_rounds)
        ),
    )


def _noises(agreement: Agreement) -> list[TaskNoise]:
    noises = []
    for task in agreement.tasks:
        plan = noise_plan(agreement, task)
        if plan is None:
            raise MisuseError("a plan without noise has no budget")
        noises.append(
            TaskNoise(
                task.name,
                task.rounds,
                plan.clip.clip_norm,
                plan.noise.noise_multiplier,
                plan.sampling_rate,
                plan.noise_deviation,
            )
        )
    return noises


def _marks(rounds: int) -> list[int]:
    return sorted({max(1, round(rounds * step / POINTS)) for step in range(1, POINTS + 1)})


def _first_rounds(agreement: Agreement, rounds: int) -> Counter[str]:
    """Return how the first rounds fall to the tasks, which run one after the other."""
    left, counts = rounds, Counter[str]()
    for task in agreement.tasks:
        counts[task.name] = min(left, task.rounds)
        left -= counts[task.name]
    return counts
