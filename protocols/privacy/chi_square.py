"""Tails of the chi-square distribution with an even number of degrees of freedom.

With 2a degrees, the probability of more than x is that of fewer than a events in a Poisson process
of mean x / 2 (Johnson, Kotz and Balakrishnan 1994, section 18.3): a finite sum of positive terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from protocols.errors import MisuseError

_STEPS: Final = 60


def chi_square_above(x: float, degrees: int) -> float:
    """Return P[chi^2 > x] for an even number of degrees, to about 1e-12 of itself.

    Raises:
        MisuseError: the number of degrees is not even and positive, or x is negative.
    """
    half, mean = _checked(x, degrees)
    return _poisson(mean, 0, half)


def chi_square_below(x: float, degrees: int) -> float:
    """Return P[chi^2 < x] for an even number of degrees, to about 1e-12 of itself.

    Raises:
        MisuseError: as :func:`chi_square_above`.
    """
    half, mean = _checked(x, degrees)
    # Far enough that the terms left out are below 1e-30 of those kept.
    return min(1.0, _poisson(mean, half, half + int(mean + 40 * math.sqrt(mean + 1)) + 200))


def lower_limit(level: float, degrees: int) -> float:
    """Return the largest x found with P[chi^2 < x] at most ``level``, 0 < level < 1/2."""
    return _edge(lambda x: chi_square_below(x, degrees) <= level, 0.0, float(degrees))


def upper_limit(level: float, degrees: int) -> float:
    """Return the smallest x found with P[chi^2 > x] at most ``level``, 0 < level < 1/2."""
    # Chernoff: more than degrees + 2 sqrt(degrees t) + 2 t has probability below exp(-t).
    t = -math.log(level)
    far = degrees + 2 * math.sqrt(degrees * t) + 2 * t
    return _edge(lambda x: chi_square_above(x, degrees) <= level, far, degrees / 2)


def _checked(x: float, degrees: int) -> tuple[int, float]:
    if degrees < 2 or degrees % 2 or not x >= 0:
        raise MisuseError(f"{degrees} degrees at {x}: even degrees and x >= 0 are needed")
    return degrees // 2, x / 2


def _poisson(mean: float, start: int, stop: int) -> float:
    """Sum the Poisson probabilities of ``start`` to ``stop - 1`` events."""
    if mean == 0:
        return 1.0 if start == 0 else 0.0
    counts = np.arange(start, stop)
    factorials = np.array([math.lgamma(count + 1) for count in range(start, stop)])
    return float(np.exp(counts * math.log(mean) - mean - factorials).sum())


def _edge(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return the last point inside, between one where ``holds`` and one where it does not."""
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return inside
