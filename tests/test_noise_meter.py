from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.seeded import seeded

from protocols.errors import InputError, MisuseError, PrivacyParameterError
from protocols.privacy.chi_square import (
    chi_square_above,
    chi_square_below,
    lower_limit,
    upper_limit,
)
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noise_meter import FALSE_ALARM, METER_VALUES, read_meter


def meter_of(sharers: int, noise: SummedNoise, seed: int, values: int = METER_VALUES) -> np.ndarray:
    share = DiscreteGaussian(noise.share_variance)
    random = seeded(f"meter {seed}")
    return sum(
        (share.sample(values, random) for _ in range(sharers)), start=np.zeros(values, np.int64)
    )


grids = st.integers(500, 2**20)


@settings(max_examples=60, deadline=None)
@given(sensitivity=grids, z=st.floats(0.7, 10.0), seed=st.integers(0, 2**30))
def test_one_lazy_party_of_five_is_flagged_in_one_round(sensitivity, z, seed):
    noise = SummedNoise(z, sensitivity, honest=3, dimension=10)
    reading = read_meter(meter_of(4, noise, seed), share_variance=noise.share_variance, sharers=5)
    assert reading.verdict == "too little"
    assert reading.shares == pytest.approx(4, abs=0.6)


@settings(max_examples=60, deadline=None)
@given(
    sensitivity=grids,
    z=st.floats(0.7, 10.0),
    seed=st.integers(0, 2**30),
    sharers=st.integers(1, 7),
)
def test_parties_that_all_add_their_share_raise_no_alarm(sensitivity, z, seed, sharers):
    noise = SummedNoise(z, sensitivity, honest=3, dimension=10)
    reading = read_meter(
        meter_of(sharers, noise, seed), share_variance=noise.share_variance, sharers=sharers
    )
    assert reading.verdict == "as promised"
    assert reading.lowest < reading.ratio < reading.highest


def test_a_party_that_adds_twice_its_share_is_seen():
    noise = SummedNoise(2.0, 2**14, honest=3, dimension=10)
    reading = read_meter(meter_of(6, noise, 1), share_variance=noise.share_variance, sharers=5)
    assert reading.verdict == "too much"
    assert reading.shares == pytest.approx(6, abs=0.6)


def test_no_noise_at_all_is_too_little():
    reading = read_meter(np.zeros(64, np.int64), share_variance=Fraction(100), sharers=3)
    assert reading.verdict == "too little"
    assert reading.shares == 0


def test_a_false_alarm_is_rarer_than_one_in_a_million_rounds():
    # Twice the tails and a little, for the difference that integers make: docs/theory, section 6.
    reading = read_meter(
        np.zeros(METER_VALUES, np.int64), share_variance=Fraction(2**14), sharers=1
    )
    low = stats.chi2.cdf(reading.lowest * METER_VALUES, METER_VALUES)
    high = stats.chi2.sf(reading.highest * METER_VALUES, METER_VALUES)
    assert 2.1 * (low + high) < FALSE_ALARM == 1e-6
    assert low + high > FALSE_ALARM / 3


def test_a_lazy_party_of_five_is_missed_less_than_once_in_a_million_rounds():
    reading = read_meter(np.zeros(METER_VALUES, np.int64), share_variance=Fraction(1), sharers=1)
    assert stats.chi2.sf(reading.lowest / 0.8 * METER_VALUES, METER_VALUES) < 1e-6


def test_the_statistic_of_real_noise_follows_the_chi_square_distribution():
    noise = SummedNoise(1.0, 1000, honest=2, dimension=1)
    drawn = meter_of(2, noise, 5, values=64 * 20_000).reshape(20_000, 64).astype(float)
    statistic = (drawn**2).sum(axis=1) / float(2 * noise.share_variance)
    assert stats.kstest(statistic, stats.chi2(64).cdf).pvalue > 1e-3


@settings(max_examples=200, deadline=None)
@given(half=st.integers(1, 4000), ratio=st.floats(0.0, 4.0))
def test_our_chi_square_tails_are_those_of_scipy(half, ratio):
    degrees = 2 * half
    x = ratio * degrees
    above, below = stats.chi2.sf(x, degrees), stats.chi2.cdf(x, degrees)
    assert chi_square_above(x, degrees) == pytest.approx(above, rel=1e-8, abs=1e-290)
    assert chi_square_below(x, degrees) == pytest.approx(below, rel=1e-8, abs=1e-290)


@pytest.mark.parametrize("degrees", [2, 16, 4096])
@pytest.mark.parametrize("level", [1e-9, 2e-7, 1e-3])
def test_the_limits_hold_their_level_and_no_less(degrees, level):
    low, high = lower_limit(level, degrees), upper_limit(level, degrees)
    assert chi_square_below(low, degrees) <= level < chi_square_below(low * 1.001, degrees)
    assert chi_square_above(high, degrees) <= level < chi_square_above(high * 0.999, degrees)
    assert low == pytest.approx(stats.chi2.ppf(level, degrees), rel=1e-6)
    assert high == pytest.approx(stats.chi2.isf(level, degrees), rel=1e-6)


@pytest.mark.parametrize("degrees", [0, -2, 3])
def test_odd_or_no_degrees_are_refused(degrees):
    with pytest.raises(MisuseError):
        chi_square_above(1.0, degrees)
    with pytest.raises(MisuseError):
        chi_square_below(1.0, degrees)


@pytest.mark.parametrize(
    "values",
    [np.zeros(4), np.zeros(5, np.int64), np.zeros(0, np.int64), np.zeros((2, 2), np.int64)],
    ids=["floats", "odd", "empty", "square"],
)
def test_what_is_no_meter_is_refused(values):
    with pytest.raises(InputError, match="meter"):
        read_meter(values, share_variance=Fraction(1), sharers=1)


@pytest.mark.parametrize(("variance", "sharers"), [(Fraction(0), 1), (Fraction(1), 0)])
def test_a_promise_of_no_noise_is_refused(variance, sharers):
    with pytest.raises(PrivacyParameterError, match="no noise"):
        read_meter(np.zeros(4, np.int64), share_variance=variance, sharers=sharers)


def test_the_largest_values_of_a_ring_do_not_overflow():
    reading = read_meter(
        np.full(4, -(2**63), np.int64), share_variance=Fraction(2**80), sharers=1000
    )
    assert reading.ratio == pytest.approx(2.0**126 / 2**80 / 1000)
    assert math.isfinite(reading.shares)
