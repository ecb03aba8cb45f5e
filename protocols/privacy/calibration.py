"""The smallest noise that keeps a plan within its epsilon: bisection, never past the target."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from protocols.errors import PrivacyParameterError
from protocols.privacy.accounting import check_accountant, choose_interval, epsilon
from protocols.privacy.releases import (
    MAX_NOISE_MULTIPLIER,
    Release,
    check_delta,
    merged,
)

Plan: TypeAlias = Callable[[float], Iterable[Release]]
"""All releases of a run, given its noise multiplier."""

MAX_TARGET: Final = 1000.0
_TOLERANCE: Final = 5e-4


def smallest_noise_multiplier(
    plan: Plan, *, target_epsilon: float, delta: float, accountant: str = "pld"
) -> float:
    """Return the smallest noise multiplier with which a plan costs at most ``target_epsilon``.

    Args:
        plan: the releases for a noise multiplier z; their epsilon falls as z grows. It may refuse
            a z that is too small with PrivacyParameterError.
        target_epsilon: above 0, at most 1000.
        delta: 1e-12..1, exclusive.
        accountant: ``"pld"`` or ``"rdp"``.

    Returns:
        z, at most one part in 2000 above the smallest; the plan at z never exceeds the target.

    Raises:
        PrivacyParameterError: an argument out of range, or no noise is enough.
    """
    check_accountant(accountant)
    check_delta(delta)
    if not 0 < target_epsilon <= MAX_TARGET:
        raise PrivacyParameterError("target_epsilon", f"{target_epsilon} is not within 0 to 1000")

    def fits(z: float) -> bool:
        return epsilon(plan(z), delta, accountant=accountant) <= target_epsilon

    def surely_fits(z: float) -> bool:
        releases = merged(plan(z))
        interval = choose_interval(releases, delta, near=target_epsilon)
        return epsilon(releases, delta, interval=interval) <= target_epsilon

    def fits_by_renyi(z: float) -> bool:
        return epsilon(plan(z), delta, accountant="rdp") <= target_epsilon

    # The Renyi epsilon is quick and the larger one: where it ends is a good place to start from.
    enough = _first_fitting(fits_by_renyi, 1.0, 2.0)
    enough = _bisect(fits_by_renyi, enough, growth=2.0, tolerance=0.01)
    # Losses on wide intervals are quick as well; the finer ones have only the last word.
    quick = surely_fits if accountant == "pld" else fits_by_renyi
    enough = _first_fitting(quick, enough, 1.05)
    enough = _bisect(quick, enough, growth=1.07, tolerance=_TOLERANCE)
    return _first_fitting(fits, enough, 1 + _TOLERANCE)


def calibrate(
    target_epsilon: float,
    *,
    sampling_rate: float,
    steps: int,
    delta: float,
    companies: int = 1,
    accountant: str = "pld",
) -> float:
    """Return the smallest noise multiplier for ``steps`` equal sums of continuous noise.

    Raises:
        PrivacyParameterError: as :func:`smallest_noise_multiplier`.
    """

    def plan(z: float) -> list[Release]:
        return [Release(z, sampling_rate, steps, companies)]

    return smallest_noise_multiplier(
        plan, target_epsilon=target_epsilon, delta=delta, accountant=accountant
    )


def _first_fitting(fits: Callable[[float], bool], start: float, growth: float) -> float:
    """Return the first of ``start``, ``start * growth``, .. that fits."""
    z = start
    while True:
        try:
            if fits(z):
                return z
        except PrivacyParameterError:
            # Too little noise for the grid is too little noise; what is wrong at any z stays so.
            if z * growth > MAX_NOISE_MULTIPLIER:
                raise
        z *= growth
        if z > MAX_NOISE_MULTIPLIER:
            raise PrivacyParameterError(
                "target_epsilon", "no noise is enough for this target; raise it, or run fewer steps"
            )


def _bisect(
    fits: Callable[[float], bool], enough: float, *, growth: float, tolerance: float
) -> float:
    """Narrow between a multiplier that fits and one that does not, keeping both facts."""
    too_little = enough / growth
    while _fits_or_refused(fits, too_little):
        growth *= growth
        enough, too_little = too_little, too_little / growth
    while enough > too_little * (1 + tolerance):
        middle = math.sqrt(enough * too_little)
        if _fits_or_refused(fits, middle):
            enough = middle
        else:
            too_little = middle
    return enough


def _fits_or_refused(fits: Callable[[float], bool], z: float) -> bool:
    try:
        return fits(z)
    except PrivacyParameterError:
        return False
