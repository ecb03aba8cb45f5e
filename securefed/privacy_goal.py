"""From a target epsilon to the noise of every task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from protocols.agreement.noise import INDICATOR_WEIGHT, NoisePlan
from protocols.errors import MisuseError
from protocols.privacy.calibration import smallest_noise_multiplier
from protocols.privacy.clipping import GridClip
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.noise_meter import METER_VALUES
from securefed.learning.person import grid_scale


@dataclass(frozen=True, slots=True)
class PrivacyGoal:
    """What every person is promised over all rounds of all tasks.

    Attributes:
        epsilon: most that anybody may be charged.
        delta: at which epsilon is taken; well below one over the number of people.
        unit: ``"person"``, or ``"company"`` for federations of a hundred parties or more.
        companies_per_person: most parties that one person's data may be at.
    """

    epsilon: float
    delta: float
    unit: Literal["person", "company"] = "person"
    companies_per_person: int = 1

    def to_plain(self) -> dict[str, Any]:
        """Return the agreement's ``[privacy]`` table."""
        return {
            "mechanism": "discrete-gaussian",
            "unit": self.unit,
            "epsilon": float(self.epsilon),
            "delta": float(self.delta),
            "companies_per_person": self.companies_per_person,
        }


@dataclass(frozen=True, slots=True)
class NoisedTask:
    """What the lead says about one task's noise.

    Attributes:
        dimension: values of a person's vector.
        rounds: most rounds.
        clip_norm: largest norm of a person's vector, model units.
        people: most people of all parties together.
        sampling_rate: probability that a person takes part in a round.
        noise_multiplier: as given, or ``None`` to have it chosen.
        adaptive: how the clip norm moves, as in the agreement; ``None`` keeps it.
    """

    dimension: int
    rounds: int
    clip_norm: float
    people: int
    sampling_rate: float
    noise_multiplier: float | None
    adaptive: Mapping[str, float] | None = None

    @property
    def bound(self) -> float:
        """Largest absolute value of any number of any person, model units."""
        return self.clip_norm if self.adaptive is None else float(self.adaptive["highest"])

    def to_plain(self, noise_multiplier: float) -> dict[str, Any]:
        """Return the agreement's ``[tasks.privacy]`` table."""
        fixed = {
            "clip_norm": self.clip_norm,
            "noise_multiplier": noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "people": self.people,
        }
        return fixed if self.adaptive is None else {**fixed, "adaptive": dict(self.adaptive)}

    def plan(self, goal: PrivacyGoal, parties: int, honest: int, z: float) -> NoisePlan:
        """Return the plan with noise multiplier ``z``.

        Raises:
            PrivacyParameterError: a number that the accounting does not cover.
        """
        scale = grid_scale(self.clip_norm, self.dimension)
        weight = 0 if self.adaptive is None else INDICATOR_WEIGHT
        indicator = math.ceil(self.clip_norm * scale * weight)
        clip = GridClip(self.clip_norm, scale, self.dimension, indicator)
        whole = goal.unit == "company"
        return NoisePlan(
            unit=goal.unit,
            clip=clip,
            noise=SummedNoise(z, clip.sensitivity, honest, clip.length + METER_VALUES),
            sampling_rate=self.sampling_rate,
            people=parties if whole else self.people,
            parties=parties,
            companies=1 if whole else goal.companies_per_person,
        )


def choose_noise(
    goal: PrivacyGoal, tasks: Sequence[NoisedTask], *, parties: int, honest: int
) -> list[NoisePlan]:
    """Choose one noise multiplier for all tasks that leave it open, so that the goal just holds.

    Args:
        goal: the promise.
        tasks: in order.
        parties: in the federation.
        honest: parties whose noise is counted on.

    Raises:
        PrivacyParameterError: no noise is enough, or the fixed ones alone are too little.
    """

    def plans(z: float) -> list[NoisePlan]:
        return [task.plan(goal, parties, honest, task.noise_multiplier or z) for task in tasks]

    if all(task.noise_multiplier is not None for task in tasks):
        return plans(1.0)

    def releases(z: float) -> list[Any]:
        return [plan.release(task.rounds) for plan, task in zip(plans(z), tasks, strict=True)]

    found = smallest_noise_multiplier(releases, target_epsilon=goal.epsilon, delta=goal.delta)
    # Four digits read better in an agreement; upwards, so that the goal still holds.
    return plans(float(f"{found * 1.0005:.4g}"))


def noised_task(
    dimension: int, rounds: int, privacy: Mapping[str, Any], *, name: str
) -> NoisedTask:
    """Read what ``add_task`` was told about noise.

    Raises:
        MisuseError: something is missing or unknown.
    """
    known = {"clip_norm", "people", "sampling_rate", "noise_multiplier", "adaptive"}
    unknown = sorted(set(privacy) - known)
    missing = sorted({"clip_norm", "people"} - set(privacy))
    if unknown or missing:
        raise MisuseError(
            f"task {name}: privacy needs clip_norm and people, and takes sampling_rate, "
            f"noise_multiplier and adaptive; {', '.join(unknown + missing)} is "
            + ("unknown" if unknown else "missing")
        )
    return NoisedTask(
        dimension,
        rounds,
        clip_norm=float(privacy["clip_norm"]),
        people=int(privacy["people"]),
        sampling_rate=float(privacy.get("sampling_rate", 1.0)),
        noise_multiplier=privacy.get("noise_multiplier"),
        adaptive=privacy.get("adaptive"),
    )
