"""Epsilon of a composition of releases: by privacy loss distributions, and by Renyi divergences.

The privacy loss distributions are those of ``dp-accounting`` by its connect-the-dots algorithm
(Doroshenko et al. 2022), which errs on the safe side; the interval is chosen so that it errs by
about 1e-4 of epsilon. The Renyi accountant is :mod:`protocols.privacy.renyi`. Accountants by
Gaussian differential privacy are refused: their central limit falls below certified lower bounds.

What is composed is fixed before the first release. Parameters that depend on what earlier releases
said need a privacy filter, which this is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from protocols.errors import PrivacyParameterError
from protocols.privacy.lattice import integer_slack
from protocols.privacy.releases import Release, check_delta, merged
from protocols.privacy.renyi import renyi_epsilon

ACCOUNTANTS: Final = ("pld", "rdp")

_MANTISSAS: Final = (1, 2, 5)
_FINEST: Final = 1e-6
_MOST_BINS: Final = 2**21
_MOST_STEPS: Final = 2**18
_NO_PRIVACY: Final = 500.0
_RELATIVE_ERROR: Final = 5e-5
_SLACK_MARGIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What a composition of releases guarantees every person, add or remove one person.

    Attributes:
        epsilon_pld: the tight bound.
        epsilon_rdp: by Renyi divergences; a check, never much below the other.
        delta: of both.
        interval: of the discretised privacy losses, for those who recompute the first.
    """

    epsilon_pld: float
    epsilon_rdp: float
    delta: float
    interval: float


def guarantee(releases: Iterable[Release], delta: float) -> Guarantee:
    """Account for a composition by both accountants.

    Args:
        releases: what was or will be released, in any order; parameters may differ.
        delta: 1e-12..1, exclusive.

    Raises:
        PrivacyParameterError: delta out of range, or too small for so many integer noise values.
    """
    kinds = merged(releases)
    return Guarantee(
        epsilon_pld=epsilon(kinds, delta),
        epsilon_rdp=epsilon(kinds, delta, accountant="rdp"),
        delta=delta,
        interval=choose_interval(kinds, delta),
    )


def guarantees(releases: Mapping[str, Iterable[Release]], delta: float) -> dict[str, Guarantee]:
    """Account for each party separately: sampling rates, and what they joined, may differ.

    The federation's guarantee is the largest: ``max(.., key=lambda each: each.epsilon_pld)``.

    Raises:
        PrivacyParameterError: as :func:`guarantee`.
    """
    return {party: guarantee(each, delta) for party, each in releases.items()}


def epsilon(
    releases: Iterable[Release],
    delta: float,
    *,
    accountant: str = "pld",
    interval: float | None = None,
) -> float:
    """Return epsilon at ``delta`` of a composition, integer noise included.

    Args:
        releases: what is composed.
        delta: 1e-12..1, exclusive.
        accountant: ``"pld"`` or ``"rdp"``.
        interval: of the discretised privacy losses; by :func:`choose_interval` unless given.

    Returns:
        epsilon >= 0; 0 for no release at all. Above 500 it is the Renyi accountant's for both.

    Raises:
        PrivacyParameterError: an unknown or unsound accountant, a parameter out of range, or a
            delta too small for so many integer noise values.
    """
    check_accountant(accountant)
    check_delta(delta)
    kinds = merged(releases)
    if not kinds:
        return 0.0
    width = None
    if accountant == "pld":
        width = choose_interval(kinds, delta) if interval is None else interval
    additive, distance = integer_slack(kinds)
    first = _continuous_epsilon(kinds, delta, width)
    # (1 + e^epsilon) * distance goes from delta. The margin makes it enough for the larger epsilon
    # that the smaller delta gives.
    spent = (1 + math.exp(min(first + _SLACK_MARGIN, 700.0))) * distance
    if spent == 0:
        return first + additive
    if spent < delta:
        second = _continuous_epsilon(kinds, delta - spent, width) + additive
        if second <= first + _SLACK_MARGIN:
            return second
    raise PrivacyParameterError(
        "delta", f"{delta:g} is too small for so many integer noise values at epsilon {first:.3g}"
    )


def check_accountant(name: str) -> None:
    """Raise PrivacyParameterError unless ``name`` is an accountant whose bound can be trusted."""
    if name in ACCOUNTANTS:
        return
    if name.lower() in {"gdp", "clt", "gaussian-dp"}:
        raise PrivacyParameterError(
            "accountant",
            f"{name!r} is an approximation by the central limit that reports less than what is "
            "certainly lost; use 'pld'",
        )
    raise PrivacyParameterError("accountant", f"{name!r} is not one of {', '.join(ACCOUNTANTS)}")


def choose_interval(
    releases: Iterable[Release], delta: float, *, near: float | None = None
) -> float:
    """Choose the interval of privacy losses: 1, 2 or 5 times a power of ten.

    Connecting the dots adds about ``0.6 * count * interval^2`` to epsilon; the interval keeps that
    near 3e-5 of the Renyi epsilon, and is below a twentieth of the deviation of one sum's loss. But
    the losses of one sum may not span more than 2^21 intervals, nor epsilon more than 2^18.

    Args:
        releases: what is composed.
        delta: 1e-12..1, exclusive.
        near: an epsilon above 0. Given, the interval is as wide as an error of about 3e-5 of that
            one allows, whatever a single sum loses: often ten times as quick, and a bound as well.

    Raises:
        PrivacyParameterError: delta is out of range.
    """
    kinds = merged(releases)
    count = sum(each.count for each in kinds) or 1
    expected = max(renyi_epsilon(kinds, delta), 1e-6)
    shifts = [each.companies / each.noise_multiplier for each in kinds]
    deviations = [each.sampling_rate * shift for each, shift in zip(kinds, shifts, strict=True)]
    if near is None:
        wanted = min([math.sqrt(_RELATIVE_ERROR * expected / count), *(x / 20 for x in deviations)])
    else:
        wanted = math.sqrt(_RELATIVE_ERROR * near / count)
    widest = max([*shifts, math.sqrt(_unsampled(kinds))], default=0.0)
    coarsest = max(_FINEST, (20 * widest + widest**2) / _MOST_BINS, expected / _MOST_STEPS)
    return _round_up(coarsest) if wanted < coarsest else _round_down(wanted)


def _unsampled(releases: tuple[Release, ...]) -> float:
    """Return the inverse variance of the one Gaussian that all unsampled sums compose to."""
    return sum(
        each.count * (each.companies / each.noise_multiplier) ** 2
        for each in releases
        if each.sampling_rate == 1
    )


def _continuous_epsilon(releases: tuple[Release, ...], delta: float, width: float | None) -> float:
    """Return epsilon as if all noise were continuous; by Renyi divergences without a width."""
    by_renyi = renyi_epsilon(releases, delta)
    # Where nothing is left to protect, the library overflows; the looser bound is a bound.
    if width is None or by_renyi > _NO_PRIVACY:
        return by_renyi
    return _pld_epsilon(releases, delta, width)


@lru_cache(maxsize=64)
def _pld_epsilon(releases: tuple[Release, ...], delta: float, width: float) -> float:
    """Compose privacy loss distributions: each sampled kind with itself, then all of them."""
    parts = [
        _one_loss(each.times(1), width).self_compose(each.count)
        for each in releases
        if each.sampling_rate < 1
    ]
    unsampled = _unsampled(releases)
    if unsampled:
        deviation = 1 / math.sqrt(unsampled)
        parts.append(
            _library().from_gaussian_mechanism(deviation, value_discretization_interval=width)
        )
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.compose(part)
    return float(whole.get_epsilon_for_delta(delta))


@lru_cache(maxsize=32)
def _one_loss(release: Release, width: float) -> Any:
    """Build the privacy loss distribution of one sampled sum."""
    library, z, q = _library(), release.noise_multiplier, release.sampling_rate
    if release.companies == 1:
        return library.from_gaussian_mechanism(
            z, sampling_prob=q, value_discretization_interval=width
        )
    return library.from_mixture_gaussian_mechanism(
        z,
        [float(n) for n in range(release.companies + 1)],
        release.weights(),
        value_discretization_interval=width,
    )


def _library() -> Any:
    """Import the accounting library when it is first needed: it takes a second."""
    return import_module("dp_accounting.pld.privacy_loss_distribution")


def _round_down(value: float) -> float:
    exponent = math.floor(math.log10(value))
    fitting = [m for m in _MANTISSAS if m * 10.0**exponent <= value]
    return float(f"{fitting[-1] if fitting else 1}e{exponent}")


def _round_up(value: float) -> float:
    exponent = math.floor(math.log10(value))
    fitting = [m for m in _MANTISSAS if m * 10.0**exponent >= value]
    return float(f"{fitting[0]}e{exponent}") if fitting else float(f"1e{exponent + 1}")
