"""Renyi differential privacy of Poisson-sampled Gaussian sums, computed here.

Independent of the library behind the privacy loss distributions, so that each checks the other.
With likelihood ratio L of a sum with the person to one without, over the noise Q, the divergences
of order a are log E_Q[L^a] / (a - 1) and log E_Q[L^(1-a)] / (a - 1); the larger one counts (Mironov
2017, Definition 4; Mironov, Talwar and Zhang 2019, section 3). The expectations are integrals of
analytic functions that fall like a Gaussian, for which the trapezoidal rule errs by less than the
rounding of floats at the step taken here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.releases import Release, check_delta

ORDERS: Final = (
    *(1 + n / 10 for n in range(1, 100)),
    *range(11, 65),
    *(2**n for n in range(7, 25)),
)
"""Orders at which the divergence is taken; a larger set can only tighten the result."""

_WIDEST: Final = 1000.0
"""Largest shift of the integrand, in standard deviations, that is integrated; orders beyond are
left out: no release of any use has its best order there."""

_ROUNDING: Final = 1e-14
_TAIL: Final = 12.0
"""Standard deviations integrated beyond the furthest shift."""


def renyi_epsilon(releases: Iterable[Release], delta: float) -> float:
    """Return epsilon at ``delta`` of the composition, by way of Renyi divergences.

    Args:
        releases: what is composed; sums of any parameters.
        delta: 1e-12..1, exclusive.

    Returns:
        epsilon >= 0, for neighbours that differ by one person added or removed, for continuous
        noise; infinite where no order applies.

    Raises:
        PrivacyParameterError: delta is out of range.

    Source: conversion of Canonne, Kamath and Steinke 2020, Proposition 12.
    """
    check_delta(delta)
    total = np.zeros(len(ORDERS))
    for release in releases:
        total += release.count * _divergences(release.times(1))
    orders = np.array(ORDERS)
    converted = total + np.log1p(-1 / orders) - np.log(delta * orders) / (orders - 1)
    return max(0.0, float(converted.min()))


@lru_cache(maxsize=256)
def _divergences(release: Release) -> NDArray[np.float64]:
    """Compute the divergence of one sum at each order; infinite where it is left out."""
    shift = release.companies / release.noise_multiplier
    if release.sampling_rate == 1:
        exact: NDArray[np.float64] = np.array(ORDERS) * shift**2 / 2
        return exact
    orders = [order for order in ORDERS if order * shift <= _WIDEST]
    # Zeros of L lie pi z from the real line: its weights are a binomial times a Gaussian, and a
    # polynomial with such coefficients has negative zeros only.
    step = min(0.1, release.noise_multiplier / 4)
    reach = math.ceil((orders[-1] * shift + _TAIL) / step)
    x = np.arange(-reach, reach + 1) * step
    logs = _log_ratio(release, x)
    found = np.full(len(ORDERS), math.inf)
    for index, order in enumerate(orders):
        inner = math.ceil((order * shift + _TAIL) / step)
        part = slice(reach - inner, reach + inner + 1)
        base = math.log(step / math.sqrt(2 * math.pi)) - x[part] ** 2 / 2
        moments = [_log_sum(power * logs[part] + base) for power in (order, 1 - order)]
        # The allowance covers what rounding took from the sums.
        moment = max(0.0, *moments)
        found[index] = (moment + _ROUNDING * (1 + moment)) / (order - 1)
    return found


def _log_ratio(release: Release, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log L at x standard deviations."""
    logs = np.full(x.size, -math.inf)
    for count, weight in enumerate(release.weights()):
        if weight > 0:
            move = count / release.noise_multiplier
            np.logaddexp(logs, math.log(weight) + move * x - move**2 / 2, out=logs)
    return logs


def _log_sum(logs: NDArray[np.float64]) -> float:
    """Return log(sum(exp(logs))) without overflow."""
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))
