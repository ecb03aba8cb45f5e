"""Integer noise accounted as continuous noise: the lattice lemma, with its constants.

A sum of discrete Gaussian shares about an integer vector is, up to a factor within exp(+-kappa) for
each value, what randomised rounding makes of that vector plus *continuous* Gaussian noise of
variance sigma^2 - 6. So a release of integer noise costs at most what a continuous one with
z'^2 = z^2 - 6 / Delta^2 costs, up to an epsilon and a delta that are far below anything else. Proof
and constants: ``docs/theory/lattice-lemma.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from protocols.errors import PrivacyParameterError
from protocols.privacy.mechanisms import DISTANCE_BITS, MAX_VARIANCE, SMOOTHING
from protocols.privacy.releases import Release

LOG_RATIO: Final = 3e-51
"""kappa: bound on the logarithm of the factor, for each value that an honest party draws."""

MIN_SHARE_VARIANCE: Final = 2 * SMOOTHING
"""Any two partial sums of shares then have s_1 s_2 / sigma of at least the square root of 6."""

MAX_SENSITIVITY: Final = 2**31
"""Squared norms up to here fit int64."""


@dataclass(frozen=True, slots=True)
class SummedNoise:
    """Noise of one sum, drawn in equal shares by the parties.

    Attributes:
        noise_multiplier: z, promised standard deviation of the sum's noise over the sensitivity.
        sensitivity: Delta, largest norm of a person's integer vector, grid units; 1..2^31.
        honest: t, parties that are sure to add their share; every party draws 1/t of the promised
            variance.
        dimension: values in the released vector, >= 1.

    Raises:
        PrivacyParameterError: an attribute outside these ranges, or a share of less than 12
            squared grid units, which the lemma does not cover: choose a finer grid.
    """

    noise_multiplier: float
    sensitivity: int
    honest: int
    dimension: int

    def __post_init__(self) -> None:
        if not 0 < self.noise_multiplier < math.inf:
            raise PrivacyParameterError(
                "noise_multiplier", f"{self.noise_multiplier} is not positive and finite"
            )
        for name, value, most in (
            ("sensitivity", self.sensitivity, MAX_SENSITIVITY),
            ("honest", self.honest, 10**6),
            ("dimension", self.dimension, 2**28),
        ):
            if not 1 <= value <= most:
                raise PrivacyParameterError(name, f"{value} is not within 1 to {most}")
        if not MIN_SHARE_VARIANCE <= self.share_variance <= MAX_VARIANCE:
            raise PrivacyParameterError(
                "sensitivity",
                f"a noise share of {float(self.share_variance):g} squared grid units is not within "
                f"{MIN_SHARE_VARIANCE} to 2^80; choose a finer grid, or a coarser one above that",
            )

    @property
    def share_variance(self) -> Fraction:
        """sigma_i^2, the least integer of at least (z Delta)^2 / t, squared grid units.

        Computed exactly: the shares of t parties never sum to less than was promised.
        """
        promised = Fraction(self.noise_multiplier) ** 2 * self.sensitivity**2
        return Fraction(math.ceil(promised / self.honest))

    def release(
        self,
        *,
        sampling_rate: float,
        count: int = 1,
        companies: int = 1,
        sharers: int | None = None,
    ) -> Release:
        """Return what ``count`` such sums cost a party whose people join with ``sampling_rate``.

        Args:
            sampling_rate: q of this party, in (0, 1].
            count: number of sums.
            companies: most companies that one person may be in.
            sharers: parties whose noise is counted on: ``honest`` unless given. 1 is the worst
                case, in which all the others collude and tell their noise.

        Raises:
            PrivacyParameterError: an argument out of range, or noise that does not exceed what the
                lemma takes away.
        """
        sharers = self.honest if sharers is None else sharers
        if not 1 <= sharers <= self.honest:
            raise PrivacyParameterError("sharers", f"{sharers} is not within 1 to {self.honest}")
        # Of the promise, not of the rounded-up share: what was agreed is what is accounted.
        squared = Fraction(self.noise_multiplier) ** 2 * sharers / self.honest
        left = squared - Fraction(SMOOTHING, self.sensitivity**2)
        if left <= 0:
            raise PrivacyParameterError(
                "sensitivity",
                f"noise of {float(squared) ** 0.5:g} times {self.sensitivity} grid units is too "
                "little for the grid; choose a finer one",
            )
        return Release(
            noise_multiplier=math.sqrt(left),
            sampling_rate=sampling_rate,
            count=count,
            companies=companies,
            integer_values=self.dimension * sharers,
        )


def integer_slack(releases: tuple[Release, ...]) -> tuple[float, float]:
    """Return what integer noise adds to the cost of the continuous noise it is accounted as.

    Returns:
        (epsilon, distance): an additive epsilon, and a statistical distance that counts
        ``(1 + exp(epsilon))`` times towards delta.
    """
    values = sum(release.count * release.integer_values for release in releases)
    return 2 * values * LOG_RATIO, math.ldexp(values, -DISTANCE_BITS)
