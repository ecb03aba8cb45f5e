"""The noise meter: does the sum hold the noise that the parties promised?

Every party appends K coordinates that are zero but for its share of noise. In the sum they show the
noise alone, which depends on nobody's data and so costs no privacy. Their sum of squares over the
promised variance follows a chi-square distribution with K degrees of freedom, up to what
``docs/theory/lattice-lemma.md``, section 6, proves of the difference that integers make.

It finds a party that is broken or lazy. It does not find one that cheats: noise on these
coordinates alone, or noise that is known to somebody, looks the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, PrivacyParameterError
from protocols.privacy.chi_square import lower_limit, upper_limit

METER_VALUES: Final = 4096
FALSE_ALARM: Final = 1e-6
"""Bound on the probability that a sum with every share is called anything but as promised, for a
promised variance of 2^14 squared grid units or more."""

_TAIL: Final = FALSE_ALARM / 5
"""Of the chi-square distribution, on each side; integers may double it, and a little."""

Verdict = Literal["as promised", "too little", "too much"]


@dataclass(frozen=True, slots=True)
class NoiseReading:
    """What the meter showed in one round.

    Attributes:
        ratio: measured over promised variance.
        lowest: ratio below which there is too little noise.
        highest: ratio above which there is too much.
        verdict: which of the three.
        shares: the noise that was measured, in shares of one party.
    """

    ratio: float
    lowest: float
    highest: float
    verdict: Verdict
    shares: float


def read_meter(
    values: NDArray[np.int64], *, share_variance: Fraction, sharers: int
) -> NoiseReading:
    """Judge the noise of one sum from its meter coordinates.

    Args:
        values: the sum at the meter coordinates, centred integers, shape (K,), K even and >= 2.
        share_variance: promised variance of one party's share, squared grid units, > 0.
        sharers: parties in the sum, each of which promised a share, >= 1.

    Raises:
        InputError: another shape or dtype.
        PrivacyParameterError: no share, or one without variance.
    """
    if values.dtype != np.int64 or values.ndim != 1 or values.size < 2 or values.size % 2:
        raise InputError(
            f"a meter is an even number of int64 values, not {values.dtype} of shape {values.shape}"
        )
    if share_variance <= 0 or sharers < 1:
        raise PrivacyParameterError(
            "share_variance", f"{sharers} shares of variance {float(share_variance):g} are no noise"
        )
    exact = values.astype(np.float64)
    ratio = float(exact @ exact) / (float(share_variance) * sharers * values.size)
    lowest, highest = _limits(values.size)
    verdict = judge_ratio(ratio, values.size)
    return NoiseReading(ratio, lowest, highest, verdict, ratio * sharers)


def judge_ratio(ratio: float, count: int = METER_VALUES) -> Verdict:
    """Judge a ratio of measured to promised variance that a meter of ``count`` values gave."""
    lowest, highest = _limits(count)
    if ratio < lowest:
        return "too little"
    # Not a number is no noise that anybody promised.
    return "as promised" if ratio <= highest else "too much"


@lru_cache(maxsize=16)
def _limits(count: int) -> tuple[float, float]:
    """Return the ratios below and above which a meter of ``count`` values raises an alarm."""
    return lower_limit(_TAIL, count) / count, upper_limit(_TAIL, count) / count
