"""Adaptive clipping: the clip norm follows a quantile of the people's norms.

Each person's indicator, within the clip norm or not, is one more value of the same noised sum
(:class:`protocols.privacy.clipping.GridClip`), so it is charged with the rest and needs no release
of its own.

Source: Andrew, Thakkar, McMahan and Ramaswamy 2021, Algorithm 1, with the indicator as +-B instead
of 0 and 1 minus one half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocols.errors import PrivacyParameterError


@dataclass(frozen=True, slots=True)
class ClipSchedule:
    """How the clip norm moves after a round.

    Attributes:
        quantile: gamma, share of people whose norm should be within the clip norm, in (0, 1).
        rate: eta_C, largest change of the logarithm of the clip norm in one round, in (0, 1].
        lowest: smallest clip norm, model units, > 0.
        highest: largest clip norm, model units, finite.

    Raises:
        PrivacyParameterError: an attribute outside these ranges.
    """

    quantile: float
    rate: float
    lowest: float
    highest: float

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise PrivacyParameterError("quantile", f"{self.quantile} is not within 0 to 1")
        if not 0 < self.rate <= 1:
            raise PrivacyParameterError("rate", f"{self.rate} is not within 0 to 1")
        if not 0 < self.lowest <= self.highest < math.inf:
            raise PrivacyParameterError(
                "lowest", f"{self.lowest} to {self.highest} is no range of clip norms"
            )

    def next_norm(
        self, clip_norm: float, *, indicator_sum: float, indicator: int, expected_people: float
    ) -> float:
        """Return the clip norm of the next round.

        Args:
            clip_norm: C of this round, model units.
            indicator_sum: the noised sum's indicator value, grid units.
            indicator: B, grid units, >= 1.
            expected_people: sum of q_i N_i over the parties, a public constant, > 0.

        Raises:
            PrivacyParameterError: no indicator, or no people expected.
        """
        if indicator < 1 or not expected_people > 0:
            raise PrivacyParameterError("indicator", "an indicator and people are needed to adapt")
        share = 0.5 + indicator_sum / (2 * indicator * expected_people)
        within = min(1.0, max(0.0, share))
        moved = clip_norm * math.exp(-self.rate * (within - self.quantile))
        return min(self.highest, max(self.lowest, moved))
