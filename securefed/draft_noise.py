"""What a new agreement promises, and what its noise has to be chosen for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from securefed.privacy_goal import PrivacyGoal

_RANGE: Final = 50.0
"""How far an adaptive clip norm may move from its first value, either way, unless told."""


@dataclass(frozen=True, slots=True)
class DraftClip:
    """How the clip norm follows a quantile of the norms.

    Attributes:
        quantile: share of people whose vectors should be within it.
        rate: largest change of its logarithm in one round.
        lowest: smallest clip norm; a fiftieth of the first one by default.
        highest: largest; fifty times the first one by default.
    """

    quantile: float
    rate: float = 0.2
    lowest: float | None = None
    highest: float | None = None

    def to_plain(self, clip_norm: float) -> dict[str, float]:
        """Return the agreement's ``[tasks.privacy.adaptive]`` table."""
        return {
            "quantile": self.quantile,
            "rate": self.rate,
            "lowest": clip_norm / _RANGE if self.lowest is None else self.lowest,
            "highest": clip_norm * _RANGE if self.highest is None else self.highest,
        }


@dataclass(frozen=True, slots=True)
class DraftNoise:
    """What every person, or company, is promised, and what the noise has to be chosen for.

    Attributes:
        people: most people of all parties together, a public number. Nothing follows from it where
            noise hides companies.
        epsilon: over all rounds.
        delta: of it.
        clip_norm: largest norm of one person's vector, model units; of one company's, if so.
        sampling_rate: probability that a person, or a company, takes part in a round.
        unit: what one noised sum hides.
        companies_per_person: most parties whose data one person may be in.
        adaptive: how the clip norm moves; ``None`` keeps it.
    """

    people: int
    epsilon: float = 3.0
    delta: float = 1e-6
    clip_norm: float = 1.0
    sampling_rate: float = 1.0
    unit: Literal["person", "company"] = "person"
    companies_per_person: int = 1
    adaptive: DraftClip | None = None

    @property
    def goal(self) -> PrivacyGoal:
        """The promise."""
        return PrivacyGoal(self.epsilon, self.delta, self.unit, self.companies_per_person)

    def of_task(self) -> dict[str, Any]:
        """Return what the one task is told; its noise multiplier follows from the promise."""
        fixed = {
            "clip_norm": self.clip_norm,
            "people": self.people,
            "sampling_rate": self.sampling_rate,
        }
        if self.adaptive is None:
            return fixed
        return {**fixed, "adaptive": self.adaptive.to_plain(self.clip_norm)}
