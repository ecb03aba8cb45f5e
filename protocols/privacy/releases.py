"""What one party spends: a sampled Gaussian sum, how often, and where the noise is integer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from protocols.errors import PrivacyParameterError

MIN_NOISE_MULTIPLIER: Final = 0.02
"""Below this, one release alone costs an epsilon of more than a thousand."""
MAX_NOISE_MULTIPLIER: Final = 2.0**24
MAX_COUNT: Final = 10**6
MAX_COMPANIES: Final = 100
MIN_DELTA: Final = 1e-12
"""The accountants sum floats to about 1e-15; a smaller delta would drown in that."""


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """Sums released with Gaussian noise, as one party and each of its people see them.

    A person joins each sum with ``sampling_rate``, independently of everything else and secretly,
    and then adds a vector of norm at most the sensitivity. Neighbouring data sets differ by all of
    one person.

    Attributes:
        noise_multiplier: z, standard deviation of the noise over the sensitivity; 0.02..2^24.
        sampling_rate: q, in (0, 1]. Where a person is in several companies, the largest of theirs.
        count: number of such sums, 1..10^6.
        companies: most companies that one person may be in, each of which samples on its own and
            adds a vector of that norm; 1..100.
        integer_values: integer noise values that the honest parties draw for one such sum, the
            dimension times their number; 0 where the noise is continuous.

    Raises:
        PrivacyParameterError: an attribute outside these ranges.
    """

    noise_multiplier: float
    sampling_rate: float
    count: int = 1
    companies: int = 1
    integer_values: int = 0

    def __post_init__(self) -> None:
        if not MIN_NOISE_MULTIPLIER <= self.noise_multiplier <= MAX_NOISE_MULTIPLIER:
            raise PrivacyParameterError(
                "noise_multiplier", f"{self.noise_multiplier} is not within 0.02 to 2^24"
            )
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyParameterError(
                "sampling_rate", f"{self.sampling_rate} is not a probability above 0"
            )
        for name, value, least, most in (
            ("count", self.count, 1, MAX_COUNT),
            ("companies", self.companies, 1, MAX_COMPANIES),
            ("integer_values", self.integer_values, 0, 2**48),
        ):
            if not least <= value <= most:
                raise PrivacyParameterError(name, f"{value} is not within {least} to {most}")

    def times(self, count: int) -> Release:
        """Return ``count`` of these sums instead.

        Raises:
            PrivacyParameterError: ``count`` is not within 1 to 10^6.
        """
        return replace(self, count=count)

    def alone(self, sharers: int) -> Release:
        """Return the worst case of continuous noise that ``sharers`` parties added in equal shares.

        All others collude and tell theirs; one share is left, z / sqrt(sharers).

        Raises:
            PrivacyParameterError: ``sharers`` is less than 1, or the noise left is below 0.02.
        """
        if sharers < 1:
            raise PrivacyParameterError("sharers", f"{sharers} parties add no noise")
        return replace(self, noise_multiplier=self.noise_multiplier / math.sqrt(sharers))

    def weights(self) -> list[float]:
        """Return the probabilities that 0, 1, .., ``companies`` vectors of one person are added."""
        n, q = self.companies, self.sampling_rate
        return [math.comb(n, j) * q**j * (1 - q) ** (n - j) for j in range(n + 1)]


def merged(releases: Iterable[Release]) -> tuple[Release, ...]:
    """Add up the counts of equal releases and sort: one tuple for each multiset.

    Raises:
        PrivacyParameterError: more than 10^6 of one kind.
    """
    counts: Counter[Release] = Counter()
    for release in releases:
        counts[release.times(1)] += release.count
    return tuple(sorted(kind.times(count) for kind, count in counts.items()))


def check_delta(delta: float) -> None:
    """Raise PrivacyParameterError unless ``delta`` lies in [1e-12, 1)."""
    if not MIN_DELTA <= delta < 1:
        raise PrivacyParameterError("delta", f"{delta} is not within 1e-12 and 1")
