"""What an agreement says about noise: one plan for each task, and what all of it costs.

Whatever happens within the agreed bounds, a sum holds the noise of at least
``t = n - colluders - max_dropouts`` honest parties: each adds a share of variance 1/t of what the
sum has to hold. Source: ``docs/theory/lattice-lemma.md``; distributed noise after Kairouz, Liu and
Steinke 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from protocols.agreement.model import Agreement, Task
from protocols.errors import MisuseError, PolicyError, PrivacyParameterError
from protocols.privacy.accounting import Guarantee, epsilon, guarantee
from protocols.privacy.adaptive_clip import ClipSchedule
from protocols.privacy.clipping import GridClip
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noise_meter import METER_VALUES
from protocols.privacy.noised_words import least_modulus_bits
from protocols.privacy.releases import Release

INDICATOR_WEIGHT: Final = 0.25
"""Length of the indicator of adaptive clipping over the clip norm: it makes vectors 3 % longer."""


@dataclass(frozen=True, slots=True)
class NoisePlan:
    """How one party's part of a task's sum is made, and what the sum costs.

    Attributes:
        unit: ``"person"`` or ``"company"``.
        clip: norm and grid of one unit's vector.
        noise: of the sum, and each party's share of it.
        sampling_rate: probability that a unit takes part in a round.
        people: most units of all parties together.
        parties: in the agreement.
        companies: most parties that one unit may be in.
    """

    unit: str
    clip: GridClip
    noise: SummedNoise
    sampling_rate: float
    people: int
    parties: int
    companies: int

    @property
    def values(self) -> int:
        """Values in the summed vector: the task's, and the noise meter's."""
        return self.clip.length + METER_VALUES

    @property
    def share(self) -> DiscreteGaussian:
        """Noise that every party adds."""
        return DiscreteGaussian(self.noise.share_variance)

    @property
    def expected_people(self) -> float:
        """Public constant that sums are divided by: how many units take part on average."""
        return self.sampling_rate * self.people

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of the noise in a sum with every party's share, model units."""
        return self.deviation_of(self.parties)

    def deviation_of(self, survivors: int) -> float:
        """Return the standard deviation of the noise in a sum of so many parties, model units."""
        return math.sqrt(self.noise.share_variance * survivors) / self.clip.scale

    @property
    def least_modulus_bits(self) -> int:
        """Fewest bits with which the noised sum does not wrap."""
        total: Fraction = self.noise.share_variance * self.parties
        return least_modulus_bits(
            people=self.people * self.companies,
            sensitivity=self.clip.sensitivity,
            sum_variance=total,
        )

    def release(self, count: int = 1, *, sharers: int | None = None) -> Release:
        """Return what ``count`` sums cost; ``sharers=1`` if all other parties collude.

        Raises:
            PrivacyParameterError: a parameter that the accounting does not cover.
        """
        return self.noise.release(
            sampling_rate=self.sampling_rate,
            count=count,
            companies=self.companies,
            sharers=sharers,
        )


def honest_parties(agreement: Agreement) -> int:
    """Return t, the parties that are sure to add their noise."""
    rules = agreement.aggregation
    return len(agreement.parties) - rules.colluders - rules.max_dropouts


def noise_plan(
    agreement: Agreement, task: Task, *, clip_norm: float | None = None
) -> NoisePlan | None:
    """Return the plan of a task; ``None`` where the agreement adds no noise.

    Args:
        agreement: a validated one.
        task: one of its tasks.
        clip_norm: of this round, where it adapts; the first one unless given. The norm on the grid
            stays, so the noise and what a round costs do not depend on it.

    Raises:
        PrivacyParameterError: parameters that the mechanism or its accounting do not cover.
        PolicyError: a clip norm outside the agreed range, or another one where it is fixed.
        MisuseError: the agreement was not validated: noise without a task's parameters.
    """
    if agreement.privacy.mechanism == "none":
        return None
    privacy = task.privacy
    if privacy is None:
        raise MisuseError(f"task {task.name} has no [tasks.privacy] table; validate says so")
    whole = agreement.privacy.unit == "company"
    grid_norm = privacy.clip_norm * task.scale
    indicator = 0 if privacy.adaptive is None else math.ceil(grid_norm * INDICATOR_WEIGHT)
    first = GridClip(privacy.clip_norm, task.scale, task.dimension, indicator)
    clip = first
    if clip_norm is not None and clip_norm != privacy.clip_norm:
        _check_clip(task, clip_norm)
        # A little coarser, so that no rounding makes the norm on the grid longer than the first.
        scale = grid_norm / clip_norm * (1 - 2.0**-40)
        clip = GridClip(clip_norm, scale, task.dimension, indicator)
    return NoisePlan(
        unit=agreement.privacy.unit,
        clip=clip,
        noise=SummedNoise(
            privacy.noise_multiplier,
            first.sensitivity,
            honest_parties(agreement),
            first.length + METER_VALUES,
        ),
        sampling_rate=privacy.sampling_rate,
        people=len(agreement.parties) if whole else privacy.people,
        parties=len(agreement.parties),
        companies=1 if whole else agreement.privacy.companies_per_person,
    )


def _check_clip(task: Task, clip_norm: float) -> None:
    adaptive = None if task.privacy is None else task.privacy.adaptive
    if adaptive is None:
        raise PolicyError(f"the clip norm of task {task.name} is fixed by the agreement")
    if not adaptive.lowest <= clip_norm <= adaptive.highest:
        raise PolicyError(
            f"a clip norm of {clip_norm:g} for task {task.name} is not within {adaptive.lowest:g} "
            f"to {adaptive.highest:g}, as agreed"
        )


def clip_schedule(task: Task) -> ClipSchedule | None:
    """Return how the clip norm of a task moves; ``None`` where it is fixed.

    Raises:
        PrivacyParameterError: the range is empty.
    """
    adaptive = None if task.privacy is None else task.privacy.adaptive
    if adaptive is None:
        return None
    return ClipSchedule(adaptive.quantile, adaptive.rate, adaptive.lowest, adaptive.highest)


def summed_values(agreement: Agreement, task: Task) -> int:
    """Return how many values a party's masked vector of this task has."""
    plan = noise_plan(agreement, task)
    return task.dimension if plan is None else plan.values


def planned_releases(agreement: Agreement, *, sharers: int | None = None) -> tuple[Release, ...]:
    """Return every sum that the agreement allows, as what a party's people pay for it.

    Args:
        agreement: with a mechanism that adds noise; of one without, nothing is planned.
        sharers: parties whose noise is counted on; all honest ones unless given.

    Raises:
        PrivacyParameterError: as :func:`noise_plan`.
    """
    rounds = {task.name: task.rounds for task in agreement.tasks}
    return composed_releases(agreement, rounds, sharers=sharers)


@dataclass(frozen=True, slots=True)
class PlannedCost:
    """What all rounds of an agreement cost any person.

    Attributes:
        promised: within the agreed colluders and dropouts.
        worst_case: epsilon if all other parties collude and tell their noise; ``inf`` where the
            noise left is too little for any bound.
        budget: most epsilon that nodes allow.
    """

    promised: Guarantee
    worst_case: float
    budget: float


def planned_cost(agreement: Agreement) -> PlannedCost | None:
    """Return the cost of the whole plan; ``None`` without noise.

    Raises:
        PrivacyParameterError: parameters that the accounting does not cover.
    """
    releases = planned_releases(agreement)
    if not releases:
        return None
    rounds = {task.name: task.rounds for task in agreement.tasks}
    return PlannedCost(
        _guarantee(releases, agreement.privacy.delta),
        composed_epsilon(agreement, rounds, sharers=1),
        agreement.privacy.epsilon,
    )


# The same plan is asked for by validate, inspect, every node and every round.
_guarantee = lru_cache(maxsize=64)(guarantee)
_epsilon = lru_cache(maxsize=512)(epsilon)


def spent_epsilon(releases: tuple[Release, ...], delta: float) -> float:
    """Return epsilon of a composition, remembered for the next time it is asked."""
    return _epsilon(releases, delta)


def composed_releases(
    agreement: Agreement, rounds: Mapping[str, int], *, sharers: int | None = None
) -> tuple[Release, ...]:
    """Return what so many rounds of each task, by name, cost any person; aborted ones count.

    Raises:
        PrivacyParameterError: as :func:`noise_plan`.
    """
    plans = [(noise_plan(agreement, task), task.name) for task in agreement.tasks]
    return tuple(
        plan.release(rounds[name], sharers=sharers)
        for plan, name in plans
        if plan is not None and rounds.get(name)
    )


def composed_epsilon(
    agreement: Agreement, rounds: Mapping[str, int], *, sharers: int | None = None
) -> float:
    """Return epsilon after so many rounds of each task, at the agreed delta.

    Args:
        agreement: with noise.
        rounds: by task name; aborted ones count.
        sharers: parties whose noise is counted on, all honest ones unless given; with 1, all
            others collude and tell theirs, which may leave no bound at all at this delta: ``inf``.
    """
    try:
        releases = composed_releases(agreement, rounds, sharers=sharers)
        return spent_epsilon(releases, agreement.privacy.delta)
    except PrivacyParameterError:
        return math.inf
