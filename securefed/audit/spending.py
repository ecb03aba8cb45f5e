"""What the rounds of a verified ledger cost people in privacy, and how the noise was made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np

from protocols.agreement import Agreement, Task
from protocols.agreement.noise import (
    composed_epsilon,
    composed_releases,
    honest_parties,
    noise_plan,
)
from protocols.errors import MisuseError
from protocols.ledger.facts import AuditResult, PartySpending, RoundFacts
from protocols.privacy.accounting import Guarantee, guarantee
from protocols.privacy.noise_meter import METER_VALUES, read_meter
from securefed.audit.words import best_guess, finite, meaning, strength

CURVE_POINTS: Final = 10
"""Rounds at which the tight epsilon is worked out; between them it is drawn straight."""

RESET: Final = (
    "Never within an agreement: rounds are charged when they begin, aborted ones too, and nothing "
    "is given back. Another agreement on the same people is another budget, and both add up."
)


def spending(result: AuditResult, agreement: Agreement) -> dict[str, Any]:
    """Return everything about epsilon; without noise only that there is none.

    Where the record fails, it is what the sound rounds before the fault cost, and ``whole`` is
    false.
    """
    privacy = agreement.privacy
    if privacy.mechanism == "none":
        return {"noise": False, "mechanism": privacy.mechanism}
    total, worst = result.total, result.worst_case
    if total is None:
        total = guarantee(composed_releases(agreement, charged(result.rounds)), privacy.delta)
        worst = composed_epsilon(agreement, charged(result.rounds), sharers=1)
    people = _people(agreement)
    return {
        "noise": True,
        "whole": result.verdict != "failed",
        "mechanism": privacy.mechanism,
        **_guarantee(total),
        "best_guess": best_guess(total.epsilon_pld, total.delta),
        "meaning": meaning(total.epsilon_pld, total.delta, privacy.unit),
        "strength": strength(total.epsilon_pld),
        "worst_case": _worst(worst),
        "honest_parties": honest_parties(agreement),
        "people": people,
        "delta_times_people": total.delta * people,
        "companies_per_person": privacy.companies_per_person,
        "parties": [_party(one) for one in result.spending],
        "curve": _curve(result.rounds, agreement),
        "budget": _budget(result, agreement, total),
        "tasks": [_task(agreement, task, result.rounds) for task in agreement.tasks],
    }


def charged(rounds: Sequence[RoundFacts]) -> Counter[str]:
    """Return how many rounds of each task ended; aborted ones count."""
    return Counter(one.task for one in rounds)


def meter_bounds() -> list[float]:
    """Return the least and the most that a noise meter shows when every party added its share."""
    silent = np.zeros(METER_VALUES, np.int64)
    reading = read_meter(silent, share_variance=Fraction(1), sharers=1)
    return [reading.lowest, reading.highest]


def _people(agreement: Agreement) -> int:
    if agreement.privacy.unit == "company":
        return len(agreement.parties)
    return max(task.privacy.people for task in agreement.tasks if task.privacy is not None)


def _guarantee(spent: Guarantee) -> dict[str, Any]:
    return {
        "delta": spent.delta,
        "epsilon_pld": finite(spent.epsilon_pld),
        "epsilon_rdp": finite(spent.epsilon_rdp),
        "interval": spent.interval,
    }


def _worst(epsilon: float | None) -> dict[str, Any]:
    bound = finite(epsilon)
    return {"epsilon": bound, "bounded": bound is not None}


def _party(one: PartySpending) -> dict[str, Any]:
    spent = None if one.guarantee is None else _guarantee(one.guarantee)
    return {
        "party": one.party,
        "invited": one.invited,
        "committed": one.committed,
        "epsilon_pld": None if spent is None else spent["epsilon_pld"],
        "epsilon_rdp": None if spent is None else spent["epsilon_rdp"],
        "worst_case": _worst(one.worst_case),
    }


def _curve(rounds: Sequence[RoundFacts], agreement: Agreement) -> list[list[float]]:
    """Return pairs of a round and the tight epsilon after it.

    It rises like a square root: marks at squares keep the straight lines between them close to it.
    """
    steps = range(1, CURVE_POINTS + 1)
    marks = {max(1, round(len(rounds) * (step / CURVE_POINTS) ** 2)) for step in steps}
    counts: Counter[str] = Counter()
    points = []
    for index, one in enumerate(rounds, 1):
        counts[one.task] += 1
        if index in marks:
            epsilon = composed_epsilon(agreement, counts)
            if math.isfinite(epsilon):
                points.append([one.round, epsilon])
    return points


def _budget(result: AuditResult, agreement: Agreement, total: Guarantee) -> dict[str, Any]:
    most = agreement.privacy.epsilon
    ended = charged(result.rounds)
    return {
        "epsilon": most,
        "delta": agreement.privacy.delta,
        "spent": finite(total.epsilon_pld),
        "left": max(0.0, most - total.epsilon_pld),
        "rounds_planned": agreement.max_rounds,
        "rounds_run": len(result.rounds),
        "tasks": [
            {"task": task.name, "planned": task.rounds, "run": ended[task.name]}
            for task in agreement.tasks
        ],
        "reset": RESET,
    }


def _task(agreement: Agreement, task: Task, rounds: Sequence[RoundFacts]) -> dict[str, Any]:
    plan = noise_plan(agreement, task)
    if plan is None or task.privacy is None:
        raise MisuseError("a mechanism without noise has no parameters")
    mine = [one for one in rounds if one.task == task.name]
    norms = [one.terms.clip_norm for one in mine if one.terms is not None]
    adaptive = task.privacy.adaptive
    return {
        "task": task.name,
        "kind": task.kind,
        "dimension": task.dimension,
        "values": plan.values,
        "clip_norm": task.privacy.clip_norm,
        "clip_norm_used": [min(norms), max(norms)] if norms else None,
        "adaptive": None if adaptive is None else adaptive.model_dump(mode="json"),
        "noise_multiplier": task.privacy.noise_multiplier,
        "sampling_rate": task.privacy.sampling_rate,
        "rounds_planned": task.rounds,
        "rounds_run": len(mine),
        "rounds_completed": sum(one.outcome == "completed" for one in mine),
        "people": plan.people,
        "grid_units_per_model_unit": task.scale,
        "sensitivity_grid_units": plan.clip.sensitivity,
        "share_deviation_grid_units": math.sqrt(plan.noise.share_variance),
        "sum_deviation_model_units": plan.noise_deviation,
        "modulus_bits": task.modulus_bits,
        "rounding": task.rounding,
    }
