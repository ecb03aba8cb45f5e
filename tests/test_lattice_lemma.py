"""The statements of docs/theory/lattice-lemma.md, to 60 digits and end to end."""

from __future__ import annotations

import math
from fractions import Fraction
from importlib import import_module
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf

from protocols.errors import PrivacyParameterError
from protocols.privacy.accounting import epsilon
from protocols.privacy.clipping import GridClip
from protocols.privacy.lattice import LOG_RATIO, SummedNoise, integer_slack
from protocols.privacy.mechanisms import _levels
from protocols.privacy.releases import Release

DIGITS = 75


def rho(x: mpf, variance: mpf) -> mpf:
    return mpmath.exp(-(x**2) / (2 * variance))


def lattice_sum(centre: mpf, variance: mpf) -> mpf:
    """rho_s(Z - centre), term by term; what is left out is below the precision."""
    reach = int(mpmath.sqrt(2 * variance * mpmath.mp.dps * mpmath.log(10))) + 3
    middle = int(mpmath.nint(centre))
    return mpmath.fsum(rho(k - centre, variance) for k in range(middle - reach, middle + reach + 1))


def bound(variance: mpf) -> mpf:
    """The bound of Lemma 1."""
    small = mpmath.exp(-2 * mpmath.pi**2 * variance)
    return 2 * small / (1 - small**3)


def smoothed_probability(k: int, sigma2: mpf, s2: mpf) -> mpf:
    """P[k] for y ~ N(0, sigma2 - s2), k ~ D_{Z,y,s}: the trapezoidal rule, exact to 10^-66 here."""
    r2, step = sigma2 - s2, mpf(1) / 3
    spread, centre = mpmath.sqrt(r2 * s2 / sigma2), k * r2 / sigma2
    reach = int(spread * mpmath.sqrt(2 * DIGITS * mpmath.log(10)) / step) + 1
    nodes = (centre + n * step for n in range(-reach, reach + 1))
    return mpmath.fsum(
        step * rho(y, r2) / mpmath.sqrt(2 * mpmath.pi * r2) * rho(k - y, s2) / lattice_sum(y, s2)
        for y in nodes
    )


@pytest.mark.parametrize("s2", ["0.3", "1", "2.5", "6", "12"])
def test_lemma_1_the_sum_over_a_shifted_lattice_is_flat_within_its_bound(s2):
    # Twelve digits are left of the smallest deviation, 10^-103.
    with mpmath.workdps(115):
        variance = mpf(s2)
        flat = mpmath.sqrt(2 * mpmath.pi * variance)
        deviations = [abs(lattice_sum(mpf(c) / 8, variance) / flat - 1) for c in range(9)]
        assert max(deviations) <= bound(variance) * (1 + mpf(10) ** -9)
        # And no better: the bound is reached at the lattice points.
        assert deviations[0] > bound(variance) * (1 - mpf(10) ** -2)


@pytest.mark.parametrize(
    ("sigma2", "s2"), [("16", "1"), ("16", "2"), ("7", "6"), ("16", "6"), ("100", "6")]
)
def test_theorem_2_integer_noise_is_rounded_continuous_noise_to_60_digits(sigma2, s2):
    with mpmath.workdps(DIGITS):
        total, smoothing = mpf(sigma2), mpf(s2)
        allowed = mpf("2.01") * bound(smoothing)
        for k in (0, 3, 11):
            exact = rho(mpf(k), total) / lattice_sum(mpf(0), total)
            ratio = smoothed_probability(k, total, smoothing) / exact
            assert abs(mpmath.log(ratio)) <= allowed


@pytest.mark.parametrize(("a2", "b2"), [("12", "12"), ("12", "40"), ("36", "12")])
def test_theorem_3_shares_sum_to_one_discrete_gaussian_to_60_digits(a2, b2):
    with mpmath.workdps(DIGITS):
        one, two = mpf(a2), mpf(b2)
        both = one + two
        reach = int(mpmath.sqrt(2 * both * DIGITS * mpmath.log(10))) + 30
        scale = lattice_sum(mpf(0), both) / (lattice_sum(mpf(0), one) * lattice_sum(mpf(0), two))
        worst = mpf(0)
        for k in (0, 1, 2, 7, 30):
            convolved = mpmath.fsum(
                rho(mpf(j), one) * rho(mpf(k - j), two) for j in range(-reach, reach + 1)
            )
            worst = max(worst, abs(mpmath.log(convolved * scale / rho(mpf(k), both))))
        assert worst <= mpf("1.01") * bound(mpf(6))
        if one == two:
            # The constant is not idle: two shares of twelve do deviate by it.
            assert worst > bound(mpf(6)) / 2


@pytest.mark.parametrize("variance", [Fraction(2**22) + 1, Fraction(10**12), Fraction(2**70)])
def test_the_convolution_of_tables_is_the_wide_distribution_to_a_relative_2_to_the_minus_168(
    variance,
):
    levels = _levels(variance)
    left, factor, smoothness = variance, 1, []
    for one, two in pairwise(levels):
        step = two.factor // factor
        fine = _variance_of(one.table.half_width, left, step)
        smoothness.append(fine * (left - fine) / (step**2 * left))
        left, factor = (left - fine) / step**2, two.factor
    with mpmath.workdps(DIGITS):
        for each in smoothness:
            squared = mpf(each.numerator) / each.denominator
            assert mpf("2.01") * bound(squared) < mpf(2) ** -168


def _variance_of(half_width: int, left: Fraction, step: int) -> Fraction:
    """The integer variance of a level, found again from the rule that is documented."""
    fine = 6 * step**2
    fine += math.ceil(Fraction(2 * fine**2) / left)
    assert 11.5 < half_width / math.sqrt(fine) < 12.5
    return Fraction(fine)


def test_the_constant_in_the_code_covers_what_the_theorems_need():
    with mpmath.workdps(60):
        epsilon_6 = bound(mpf(6))
        assert epsilon_6 < mpf("7.34e-52")
        assert mpf("2.01") * epsilon_6 < LOG_RATIO < 3 * mpf("2.01") * epsilon_6


@settings(max_examples=300, deadline=None)
@given(
    z=st.floats(0.05, 1e3),
    sensitivity=st.integers(200, 2**31),
    honest=st.integers(1, 300),
)
def test_the_shares_of_the_honest_never_sum_to_less_than_was_promised(z, sensitivity, honest):
    try:
        noise = SummedNoise(z, sensitivity, honest, 10)
    except PrivacyParameterError:
        assert not 12 < Fraction(z) ** 2 * sensitivity**2 / honest <= 2**80
        return
    promised = Fraction(z) ** 2 * sensitivity**2
    assert promised <= honest * noise.share_variance < promised + honest
    release = noise.release(sampling_rate=0.5) if z > 0.1 else None
    if release:
        squared = Fraction(release.noise_multiplier) ** 2
        exact = Fraction(z) ** 2 - Fraction(6, sensitivity**2)
        assert abs(squared / exact - 1) < 1e-15
        assert release.integer_values == 10 * honest


def test_integer_noise_at_a_million_values_costs_within_half_a_percent_of_continuous_noise():
    # Noise of z times the norm before rounding: the sensitivity after rounding is larger.
    sensitivity = GridClip.of_grid_norm(1.0, 10**6).sensitivity
    z = 2.0 * 2**14 / sensitivity
    noise = SummedNoise(z, sensitivity, honest=3, dimension=10**6)
    integer = epsilon([noise.release(sampling_rate=0.05, count=500)], 1e-6)
    central = epsilon([Release(2.0, 0.05, 500)], 1e-6)
    assert integer == pytest.approx(2.876, rel=5e-3)
    assert central == pytest.approx(2.873, rel=1e-3)
    assert central < integer < 1.005 * central


def test_a_coarse_grid_costs_what_its_rounding_takes_from_the_noise():
    fine, coarse = (
        epsilon([SummedNoise(2.0, grid, 1, 1000).release(sampling_rate=1.0)], 1e-6)
        for grid in (2**14, 2)
    )
    assert coarse == pytest.approx(epsilon([Release(math.sqrt(4 - 6 / 4), 1.0)], 1e-6), rel=1e-9)
    assert fine < coarse


def test_our_epsilon_is_no_lower_than_the_discrete_gaussian_s_own_distribution():
    # One dimension, where the library has the discrete mechanism itself: an optimistic rounding of
    # its losses is a lower bound on what any sound accountant may report.
    sigma, sensitivity, rate, steps, delta = 16.0, 8, 0.05, 500, 1e-6
    library = import_module("dp_accounting.pld.privacy_loss_distribution")
    least = (
        library.from_discrete_gaussian_mechanism(
            sigma=sigma,
            sensitivity=sensitivity,
            sampling_prob=rate,
            value_discretization_interval=1e-4,
            pessimistic_estimate=False,
        )
        .self_compose(steps)
        .get_epsilon_for_delta(delta)
    )
    noise = SummedNoise(sigma / sensitivity, sensitivity, honest=1, dimension=1)
    ours = epsilon([noise.release(sampling_rate=rate, count=steps)], delta)
    assert least < ours < 1.02 * epsilon([Release(sigma / sensitivity, rate, steps)], delta)


def test_the_additive_terms_are_counted_for_every_value_of_every_sharer():
    noise = SummedNoise(2.0, 2**14, honest=5, dimension=10**6)
    additive, distance = integer_slack((noise.release(sampling_rate=0.1, count=1000),))
    assert additive == pytest.approx(2 * 5e9 * LOG_RATIO, abs=0)
    assert distance == pytest.approx(5e9 * 2.0**-100, abs=0)
    assert integer_slack((Release(1.0, 0.1, 1000),)) == (0.0, 0.0)


def test_the_samplers_distance_is_taken_from_delta_before_the_accountant_is_asked():
    values, delta = 2**47, 1e-6
    ours = epsilon([Release(0.3, 1.0, integer_values=values)], delta, interval=1e-3)
    taken = (1 + math.exp(ours)) * values * 2.0**-100
    assert 0.05 * delta < taken < 0.9 * delta
    continuous = Release(0.3, 1.0)
    assert ours > epsilon([continuous], delta - taken, interval=1e-3)
    assert ours < epsilon([continuous], delta - 4 * taken, interval=1e-3)


def test_a_delta_that_the_samplers_distance_would_eat_is_refused():
    values = Release(0.1, 1.0, integer_values=2**48)
    with pytest.raises(PrivacyParameterError, match="too small for so many integer"):
        epsilon([values], 1e-6)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ((2.0, 1, 1, 10), "sensitivity"),  # a share of 4: below 12
        ((2.0, 100, 5000, 10), "sensitivity"),
        ((2.0, 0, 1, 10), "sensitivity"),
        ((2.0, 2**32, 1, 10), "sensitivity"),
        ((2.0, 100, 0, 10), "honest"),
        ((2.0, 100, 1, 0), "dimension"),
        ((0.0, 100, 1, 10), "noise_multiplier"),
        ((math.nan, 100, 1, 10), "noise_multiplier"),
        ((math.inf, 100, 1, 10), "noise_multiplier"),
        ((2.0**40, 2**31, 1, 10), "sensitivity"),  # beyond 2^80
    ],
)
def test_noise_that_the_lemma_does_not_cover_is_refused_by_name(parameters, name):
    with pytest.raises(PrivacyParameterError) as caught:
        SummedNoise(*parameters)
    assert caught.value.parameter == name


@pytest.mark.parametrize("sharers", [0, 4])
def test_only_the_honest_are_counted_on(sharers):
    with pytest.raises(PrivacyParameterError, match="sharers"):
        SummedNoise(2.0, 100, 3, 10).release(sampling_rate=0.1, sharers=sharers)


def test_the_worst_case_counts_one_share():
    noise = SummedNoise(2.0, 2**14, honest=3, dimension=10)
    alone = noise.release(sampling_rate=0.05, count=500, sharers=1)
    assert alone.noise_multiplier == pytest.approx(2 / math.sqrt(3), rel=1e-8)
    assert epsilon([alone], 1e-6) == pytest.approx(6.51, abs=0.01)
    assert np.isclose(alone.integer_values, 10)
