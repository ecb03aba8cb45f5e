from __future__ import annotations

import json
import math
from fractions import Fraction
from functools import cache

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from support.seeded import Counting, seeded
from vectors.generate_noise import FOLDER, VARIANCES, digest, noise_vectors

from parties.parallel import ThreadedRanges
from protocols.errors import MisuseError, PrivacyParameterError
from protocols.privacy.alias_table import build_table, discrete_gaussian_weights
from protocols.privacy.mechanisms import DiscreteGaussian, _fill, _levels, split_variance

ONE = Fraction(1, 16), Fraction(1, 3), Fraction(1), Fraction(7, 2), Fraction(900), Fraction(2**22)
MANY = 10_000_000


def as_mpf(variance: Fraction) -> mpmath.mpf:
    return mpmath.mpf(variance.numerator) / variance.denominator


@cache
def normaliser(variance: Fraction) -> mpmath.mpf:
    """Sum of exp(-x^2 / 2v) over all integers, by the identity of Jacobi that converges fast."""
    with mpmath.workdps(90):
        v = as_mpf(variance)
        if variance > 1:
            theta = mpmath.jtheta(3, 0, mpmath.exp(-2 * mpmath.pi**2 * v))
            return mpmath.sqrt(2 * mpmath.pi * v) * theta
        return mpmath.jtheta(3, 0, mpmath.exp(-1 / (2 * v)))


def exact_probability(x: int, variance: Fraction) -> mpmath.mpf:
    return mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * as_mpf(variance))) / normaliser(variance)


def chi_square_p(drawn: np.ndarray, variance: Fraction) -> float:
    """Pearson's test over the values expected at least 20 times, tails pooled."""
    sigma = math.sqrt(variance)
    reach = int(6 * sigma) + 3
    x = np.arange(-reach, reach + 1)
    masses = np.exp(-(x**2) / (2 * float(variance)))
    expected = masses / masses.sum() * drawn.size
    seen = np.bincount(np.clip(drawn, -reach, reach) + reach, minlength=x.size).astype(float)
    kept = expected >= 20
    inner_seen, inner_expected = seen[kept], expected[kept]
    pooled_expected = drawn.size - inner_expected.sum()
    if pooled_expected > 5:
        inner_seen = np.append(inner_seen, drawn.size - inner_seen.sum())
        inner_expected = np.append(inner_expected, pooled_expected)
    else:
        inner_expected = inner_expected * (inner_seen.sum() / inner_expected.sum())
    return float(stats.chisquare(inner_seen, inner_expected).pvalue)


@pytest.mark.parametrize("variance", ONE)
def test_weights_sum_to_two_to_the_128_and_differ_from_the_exact_ones_by_less_than_one(variance):
    weights = discrete_gaussian_weights(variance)
    assert weights[0] + 2 * sum(weights[1:]) == 2**128
    assert all(weight >= 0 for weight in weights)
    step = max(1, len(weights) // 300)
    with mpmath.workdps(80):
        for x in range(1, len(weights), step):
            # The cut tails scale what is kept by at most 1 + 2^-108.
            error = weights[x] - 2**128 * exact_probability(x, variance)
            assert -1 - mpmath.mpf(2) ** -30 < error < weights[x] * mpmath.mpf(2) ** -108 + 1e-30
        centre = weights[0] - 2**128 * exact_probability(0, variance)
        assert 0 <= centre <= 2 * len(weights) + 2**20


@pytest.mark.parametrize("variance", ONE)
def test_the_tails_that_are_cut_hold_at_most_two_to_the_minus_108(variance):
    reach = len(discrete_gaussian_weights(variance)) - 1
    with mpmath.workdps(60):
        ends = (exact_probability(x, variance) for x in range(reach + 1, reach + 40))
        v = as_mpf(variance)
        last = exact_probability(reach + 40, variance)
        ratio = mpmath.exp(-(2 * mpmath.mpf(reach + 40) + 1) / (2 * v))
        assert 2 * (sum(ends) + last / (1 - ratio)) <= mpmath.mpf(2) ** -108


@pytest.mark.parametrize("variance", ONE)
def test_what_the_columns_give_to_a_value_is_its_weight_exactly(variance):
    weights = discrete_gaussian_weights(variance)
    table = build_table(weights)
    full = 2 ** (128 - table.column_bits)
    given_to = [0] * 2**table.column_bits
    for column, (threshold, alias) in enumerate(zip(table.thresholds, table.aliases, strict=True)):
        assert 0 <= threshold <= full
        given_to[column] += threshold
        given_to[alias] += full - threshold
    symmetric = [*reversed(weights[1:]), *weights]
    assert given_to == symmetric + [0] * (len(given_to) - len(symmetric))


@settings(max_examples=100, deadline=None)
@given(st.fractions(min_value=2**22 + 1, max_value=2**80, max_denominator=10**9))
def test_a_wide_variance_is_split_exactly_and_smoothly_enough(variance):
    step, fine = split_variance(variance)
    coarse = (variance - fine) / step**2
    assert fine + step**2 * coarse == variance
    assert fine <= 2**22
    assert fine * coarse >= 6 * variance


def test_no_distribution_needs_more_than_five_tables():
    levels = _levels(Fraction(2**80))
    assert len(levels) <= 5


def test_the_values_are_those_of_the_committed_vectors():
    for case in json.loads((FOLDER / "noise.json").read_text()):
        levels = _levels(Fraction(*map(int, case["variance"])))
        assert [
            {
                "factor": level.factor,
                "column_bits": level.table.column_bits,
                "half_width": level.table.half_width,
                "sha256": digest(level.table),
            }
            for level in levels
        ] == case["tables"]
        for position, value, _ in case["values"]:
            out = np.empty(3, np.int64)
            _fill(out, levels, bytes.fromhex(case["key"]), max(0, position - 1))
            assert out[min(position, 1)] == value


def test_the_committed_vectors_are_what_the_other_implementation_makes():
    committed = json.loads((FOLDER / "noise.json").read_text())
    assert json.loads(json.dumps(noise_vectors(VARIANCES[:1]))) == committed[:1]


@pytest.mark.soak
def test_all_committed_vectors_are_what_the_other_implementation_makes():
    assert json.loads(json.dumps(noise_vectors())) == json.loads(
        (FOLDER / "noise.json").read_text()
    )


@pytest.mark.parametrize("sigma", [0.25, 0.8, 3.0, 100.0, 2000.0])
def test_ten_million_values_of_one_table_pass_chi_square(sigma):
    noise = DiscreteGaussian.of_deviation(sigma)
    assert chi_square_p(noise.sample(MANY, seeded(f"chi {sigma}")), noise.variance) > 1e-4


def test_ten_million_values_of_two_tables_pass_chi_square_down_to_single_integers():
    noise = DiscreteGaussian(Fraction(2**22) + Fraction(1, 7))
    assert len(_levels(noise.variance)) == 2
    assert chi_square_p(noise.sample(MANY, seeded("chi two")), noise.variance) > 1e-4


@pytest.mark.parametrize(
    ("sigma", "count"), [(58_617.0, MANY // 5), (1e6, MANY), (2.0**31, MANY // 5)]
)
def test_wide_values_pass_kolmogorov_and_smirnov(sigma, count):
    drawn = np.sort(DiscreteGaussian.of_deviation(sigma).sample(count, seeded(f"ks {sigma}")))
    # The continuity correction leaves an error of 1 / 24 sigma^2, which no sample can show.
    below = special.ndtr((drawn - 0.5) / sigma)
    up_to = special.ndtr((drawn + 0.5) / sigma)
    ranks = np.arange(count) / count
    distance = max(np.max(below - ranks), np.max(ranks + 1 / count - up_to))
    assert stats.kstwobign.sf(distance * math.sqrt(count)) > 1e-4


@pytest.mark.parametrize("sigma", [1.0, 37.5, 4096.0, 1e6])
def test_moments_are_those_of_the_distribution(sigma):
    noise, count = DiscreteGaussian.of_deviation(sigma), MANY // 4
    drawn = noise.sample(count, seeded(f"moments {sigma}")).astype(float)
    # From 1 on, every moment of the discrete distribution is within e^-19 of the continuous one.
    scaled, root = drawn / sigma, math.sqrt(count)
    square = scaled * scaled
    assert abs(scaled.mean()) < 5 / root
    assert abs(square.mean() - 1) < 5 * math.sqrt(2) / root
    assert abs((square @ scaled) / count) < 5 * math.sqrt(15) / root
    assert abs((square @ square) / count - 3) < 5 * math.sqrt(96) / root


@pytest.mark.parametrize("sigma", [2.0, 300.0, 3000.0])
def test_tails_hold_what_the_exact_probabilities_say(sigma):
    noise = DiscreteGaussian.of_deviation(sigma)
    drawn = np.abs(noise.sample(MANY, seeded(f"tails {sigma}")))
    with mpmath.workdps(30):
        beyond, end = mpmath.mpf(0), math.ceil(9 * sigma)
        for multiple in (5, 4.5, 4, 3):
            least = math.ceil(multiple * sigma)
            beyond += sum(exact_probability(x, noise.variance) for x in range(least, end))
            end = least
            expected = 2 * float(beyond) * MANY
            seen = np.count_nonzero(drawn >= least)
            assert stats.poisson.cdf(seen, expected) > 1e-7
            assert stats.poisson.sf(seen - 1, expected) > 1e-7


def test_nothing_lies_beyond_the_tails_that_were_kept():
    noise = DiscreteGaussian.of_deviation(1.0)
    reach = len(discrete_gaussian_weights(noise.variance)) - 1
    assert reach == 12
    assert np.abs(noise.sample(MANY, seeded("reach"))).max() <= reach


@pytest.mark.parametrize("sigma", [50.0, 1e5])
def test_values_under_different_keys_are_independent(sigma):
    noise = DiscreteGaussian.of_deviation(sigma)
    one, two = (noise.sample(MANY // 10, seeded(f"{key} of {sigma}")) for key in "ab")
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / math.sqrt(one.size)
    assert abs(np.corrcoef(np.abs(one), np.abs(two))[0, 1]) < 5 / math.sqrt(one.size)
    signs = np.array(
        [
            [np.sum((one > 0) & (two > 0)), np.sum((one > 0) & (two < 0))],
            [np.sum((one < 0) & (two > 0)), np.sum((one < 0) & (two < 0))],
        ]
    )
    assert stats.chi2_contingency(signs).pvalue > 1e-4


def test_neighbouring_values_are_independent():
    drawn = DiscreteGaussian.of_deviation(5000.0).sample(MANY // 10, seeded("neighbours"))
    for lag in (1, 2, 32 * 1024):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 5 / math.sqrt(drawn.size)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1.0, 700.0, 1e6, 1e9]), st.integers(0, 100_000), st.integers(1, 4))
def test_the_same_key_gives_the_same_values_however_the_work_is_divided(sigma, count, workers):
    noise = DiscreteGaussian.of_deviation(sigma)
    whole = noise.sample(count, seeded("same"))
    with ThreadedRanges(workers) as ranges:
        assert np.array_equal(noise.sample(count, seeded("same"), ranges=ranges), whole)
    assert np.array_equal(noise.sample(count // 2, seeded("same")), whole[: count // 2])
    assert whole.dtype == np.int64


def test_one_seed_is_asked_for_each_sample():
    source = Counting(seeded("seeds"))
    noise = DiscreteGaussian.of_deviation(10.0)
    assert not np.array_equal(noise.sample(100, source), noise.sample(100, source))
    assert source.asked == [32, 32]


@pytest.mark.parametrize("sigma", [0.0, -1.0, 0.2, 2.0**41, math.nan, math.inf, -math.inf], ids=str)
def test_a_deviation_that_is_no_noise_is_refused_by_name(sigma):
    with pytest.raises(PrivacyParameterError) as caught:
        DiscreteGaussian.of_deviation(sigma)
    assert caught.value.parameter in {"sigma", "variance"}


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(-1), Fraction(1, 17), Fraction(2**81)])
def test_a_variance_that_is_no_noise_is_refused_by_name(variance):
    with pytest.raises(PrivacyParameterError, match="variance"):
        DiscreteGaussian(variance)
    with pytest.raises(PrivacyParameterError, match="variance"):
        discrete_gaussian_weights(variance)


def test_a_variance_that_cannot_be_split_and_a_negative_count_are_refused():
    with pytest.raises(PrivacyParameterError, match="split"):
        split_variance(Fraction(20))
    with pytest.raises(MisuseError, match="-1"):
        DiscreteGaussian(Fraction(1)).sample(-1, seeded("none"))


@pytest.mark.soak
@pytest.mark.parametrize("sigma", [1.0, 100.0, 2500.0])
def test_half_a_billion_values_pass_chi_square(sigma):
    noise, pieces = DiscreteGaussian.of_deviation(sigma), 50
    random = seeded(f"soak {sigma}")
    p_values = [chi_square_p(noise.sample(MANY, random), noise.variance) for _ in range(pieces)]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-4
    assert min(p_values) > 1e-4 / pieces
