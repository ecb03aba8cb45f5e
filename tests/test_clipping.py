from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.seeded import Counting, forbidden, seeded

from protocols.errors import InputError, MisuseError, PrivacyParameterError
from protocols.privacy.adaptive_clip import ClipSchedule
from protocols.privacy.clipping import GridClip, _quantise, sum_of_people
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noised_words import centred, least_modulus_bits, noised_words

anything = st.floats(width=64, allow_nan=True, allow_infinity=True)


def squared_norm(values: np.ndarray) -> int:
    return sum(value * value for value in values.tolist())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_person_whatever_their_data_adds_a_longer_integer_vector_than_delta(data):
    dimension = data.draw(st.integers(1, 12))
    clip = GridClip(
        clip_norm=data.draw(st.floats(1e-6, 1e6)),
        scale=data.draw(st.floats(1e-3, 1e3)),
        dimension=dimension,
        indicator=data.draw(st.sampled_from([0, 1, 37])),
    )
    values = st.one_of(anything, st.floats(-2 * clip.clip_norm, 2 * clip.clip_norm))
    person = data.draw(arrays.arrays(np.float64, (1, dimension), elements=values))
    alone = sum_of_people(person, clip, seeded(data.draw(st.integers(0, 99))))
    assert alone.values.dtype == np.int64
    assert alone.values.shape == (clip.length,)
    assert squared_norm(alone.values) <= clip.sensitivity**2


@settings(max_examples=100, deadline=None)
@given(
    dimension=st.integers(1, 3000),
    grid_norm=st.floats(1.0, 2.0**20),
    seed=st.integers(0, 2**20),
)
def test_the_norm_bound_holds_at_the_worst_place_on_the_grid(dimension, grid_norm, seed):
    # All coordinates half a unit from the grid, norm exactly C: rounding lengthens the most here.
    clip = GridClip.of_grid_norm(1.0, dimension, grid_norm=grid_norm)
    rows = np.full((3, dimension), 1 / math.sqrt(dimension))
    for row in rows:
        one = sum_of_people(row[np.newaxis], clip, seeded(seed))
        assert squared_norm(one.values) <= clip.sensitivity**2


def test_a_vector_that_rounding_would_make_too_long_is_rounded_towards_zero():
    clip = GridClip(clip_norm=1.0, scale=1.0, dimension=10_000)
    scaled = np.stack([np.full(10_000, 0.01), np.full(10_000, -0.01), np.eye(1, 10_000)[0]])
    # Coins of zero round every fraction away from zero: a norm of 100 where Delta is 54.
    coins = np.zeros(scaled.shape, np.uint32)
    assert clip.sensitivity == 54
    assert _quantise(scaled, coins, clip).sum(axis=1).tolist() == [0, 0, 1]


def test_values_on_the_grid_stay_there_whatever_the_coins():
    clip = GridClip(clip_norm=4.0, scale=1.0, dimension=3)
    on_grid = np.array([[1.0, -2.0, 0.0]])
    for coin in (0, 2**32 - 1):
        coins = np.full(on_grid.shape, coin, np.uint32)
        assert _quantise(on_grid, coins, clip).tolist() == [[1, -2, 0]]


def test_a_vector_that_no_rounding_makes_short_enough_is_never_released_and_raises_nothing():
    clip = GridClip(clip_norm=1.0, scale=1.0, dimension=2)
    rows = np.array([[9.0, 9.0], [1.0, 0.0]])
    assert _quantise(rows, np.zeros((2, 2), np.uint32), clip).tolist() == [[0, 0], [1, 0]]


def test_the_squares_are_summed_in_integers_where_floats_would_round():
    clip = GridClip(clip_norm=1.0, scale=2.0**30, dimension=2)
    values = sum_of_people(np.array([[1.0, 0.0]]), clip, seeded("wide")).values
    assert values.tolist() == [2**30, 0]
    assert squared_norm(values) <= clip.sensitivity**2 < 2**63


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 5))
def test_the_sum_is_the_sum_of_each_person_alone_up_to_their_coins(people, dimension, indicator):
    vectors = np.random.default_rng(people).normal(size=(people, dimension))
    clip = GridClip.of_grid_norm(1.0, dimension, grid_norm=1e5, indicator=indicator)
    total = sum_of_people(vectors, clip, seeded("sum")).values
    norms = np.linalg.norm(vectors, axis=1)
    exact = (vectors * (1e5 / np.maximum(norms, 1))[:, np.newaxis]).sum(axis=0)
    assert np.all(np.abs(total[:dimension] - exact) <= people)
    if indicator:
        assert total[-1] == indicator * (2 * np.count_nonzero(norms <= 1) - people)


def test_rounding_is_unbiased_and_leaves_the_grid_alone():
    clip = GridClip(clip_norm=10.0, scale=1.0, dimension=4)
    people = np.tile([0.25, -0.75, 2.0, 0.0], (200_000, 1))
    mean = sum_of_people(people, clip, seeded("coins")).values / 200_000
    assert mean[2:].tolist() == [2.0, 0.0]
    assert abs(mean[0] - 0.25) < 5 * 0.44 / math.sqrt(200_000)
    assert abs(mean[1] + 0.75) < 5 * 0.44 / math.sqrt(200_000)


def test_coins_differ_between_people_and_between_blocks_of_people():
    clip = GridClip(clip_norm=1e6, scale=1.0, dimension=1000)
    halves = np.full((200, 1000), 0.5)
    total = sum_of_people(halves, clip, seeded("blocks")).values
    # Binomial with 200 coins each; equal coins in any two blocks would widen it visibly.
    assert abs(total.mean() - 100) < 5 * math.sqrt(50 / 1000)
    assert abs(total.var() - 50) < 5 * 50 * math.sqrt(2 / 1000)


def test_a_clipped_vector_keeps_its_direction_and_a_short_one_stays_as_it_is():
    clip = GridClip.of_grid_norm(2.0, 2, grid_norm=2e6)
    assert np.allclose(
        sum_of_people(np.array([[30.0, 40.0]]), clip, seeded(0)).values, [1.2e6, 1.6e6], atol=1
    )
    assert np.allclose(
        sum_of_people(np.array([[0.3, 0.4]]), clip, seeded(0)).values, [3e5, 4e5], atol=1
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_a_person_with_unusable_values_counts_as_zero_and_stops_nobody(bad):
    clip = GridClip.of_grid_norm(1.0, 3, indicator=10)
    people = np.array([[0.5, 0.0, 0.0], [bad, 0.1, 0.1], [0.0, 0.5, 0.0]])
    total = sum_of_people(people, clip, seeded("bad"))
    assert total.values.tolist() == [2**13, 2**13, 0, 10]
    assert total.unusable == 1
    assert "8192" not in repr(total)
    assert "1" not in repr(total)


def test_nobody_in_the_sample_gives_zero():
    clip = GridClip.of_grid_norm(1.0, 5)
    assert sum_of_people(np.empty((0, 5)), clip, seeded(1)).values.tolist() == [0] * 5


def test_single_precision_is_taken_as_it_is():
    clip = GridClip.of_grid_norm(1.0, 2)
    assert sum_of_people(np.ones((1, 2), np.float32) / 4, clip, seeded(1)).values.tolist() == [
        4096,
        4096,
    ]


@pytest.mark.parametrize(
    "vectors",
    [np.zeros(5), np.zeros((2, 4)), np.zeros((2, 5), np.int64), np.zeros((1, 2, 5))],
    ids=["flat", "narrow", "integers", "deep"],
)
def test_vectors_of_another_shape_or_type_are_refused_before_any_coin_is_drawn(vectors):
    with pytest.raises(InputError):
        sum_of_people(vectors, GridClip.of_grid_norm(1.0, 5), forbidden)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ((0.0, 1.0, 5), "clip_norm"),
        ((math.nan, 1.0, 5), "clip_norm"),
        ((1.0, math.inf, 5), "scale"),
        ((1.0, -1.0, 5), "scale"),
        ((1.0, 1.0, 0), "dimension"),
        ((1.0, 1.0, 2**28 + 1), "dimension"),
        ((1.0, 1.0, 5, -1), "indicator"),
        ((1.0, 2.0**31, 5), "scale"),
        ((1.0, 1.0, 5, 2**31), "scale"),
    ],
)
def test_a_grid_that_cannot_bound_anybody_is_refused_by_name(fields, name):
    with pytest.raises(PrivacyParameterError) as caught:
        GridClip(*fields)
    assert caught.value.parameter == name


def test_the_sensitivity_leaves_little_more_room_than_the_norm_on_a_fine_grid():
    fine = GridClip.of_grid_norm(1.0, 10**6)
    assert 2**14 < fine.sensitivity < 1.001 * 2**14
    assert fine.scale == 2.0**14
    with_indicator = GridClip.of_grid_norm(1.0, 10**6, indicator=1000)
    assert with_indicator.sensitivity == math.ceil(
        math.sqrt(fine._room() ** 2 + 1000**2)  # one more orthogonal coordinate
    )


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0.01, 0.99),
    st.floats(0.01, 1.0),
    st.floats(1e-3, 1e3),
    st.floats(-1e6, 1e6),
)
def test_the_clip_norm_moves_towards_the_quantile_and_stays_within_its_range(
    quantile, rate, norm, noisy
):
    schedule = ClipSchedule(quantile, rate, 1e-3, 1e3)
    moved = schedule.next_norm(norm, indicator_sum=noisy, indicator=10, expected_people=100.0)
    assert 1e-3 <= moved <= 1e3
    assert abs(math.log(moved / norm)) <= rate * 1.000001
    share = 0.5 + noisy / 2000
    if share < quantile - 1e-9:
        assert moved >= norm
    if share > quantile + 1e-9:
        assert moved <= norm


def test_the_clip_norm_settles_at_the_quantile_of_the_norms():
    rng = np.random.default_rng(5)
    schedule, norm = ClipSchedule(0.5, 0.2, 1e-3, 1e3), 100.0
    for number in range(80):
        vectors = rng.normal(size=(500, 4))
        clip = GridClip.of_grid_norm(norm, 4, indicator=100)
        noised = sum_of_people(vectors, clip, seeded(number)).values[-1] + rng.normal(0, 300)
        norm = schedule.next_norm(
            norm, indicator_sum=float(noised), indicator=100, expected_people=500.0
        )
    assert norm == pytest.approx(1.83, rel=0.1)  # median of a chi with 4 degrees


@pytest.mark.parametrize(
    "fields",
    [
        (0.0, 0.2, 1.0, 2.0),
        (1.0, 0.2, 1.0, 2.0),
        (0.5, 0.0, 1.0, 2.0),
        (0.5, 0.2, 2.0, 1.0),
        (0.5, 0.2, 0.0, 1.0),
        (0.5, 0.2, 1.0, math.inf),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(fields):
    with pytest.raises(PrivacyParameterError):
        ClipSchedule(*fields)


def test_without_an_indicator_the_norm_cannot_adapt():
    with pytest.raises(PrivacyParameterError, match="indicator"):
        ClipSchedule(0.5, 0.2, 0.1, 10.0).next_norm(
            1.0, indicator_sum=0.0, indicator=0, expected_people=10.0
        )


@settings(max_examples=60, deadline=None)
@given(
    bits=st.sampled_from([16, 24, 32, 40, 64]),
    parties=st.integers(1, 5),
    count=st.integers(0, 50),
    meter=st.integers(0, 10),
)
def test_the_ring_words_of_all_parties_sum_to_their_sums_plus_their_noise(
    bits, parties, count, meter
):
    noise = DiscreteGaussian(Fraction(400))
    rng = np.random.default_rng(count)
    sums = [rng.integers(-1000, 1000, count) for _ in range(parties)]
    words = [
        noised_words(each, noise, modulus_bits=bits, random=seeded(i), meter=meter)
        for i, each in enumerate(sums)
    ]
    drawn = [noise.sample(count + meter, seeded(i)) for i in range(parties)]
    total = np.zeros(count + meter, words[0].dtype)
    for each in words:
        assert int(each.max(initial=0)) < 2**bits
        total += each
    expected = np.sum(drawn, axis=0)
    expected[:count] += np.sum(sums, axis=0)
    assert np.array_equal(centred(total, bits), expected)


def test_the_noise_of_a_party_takes_one_key_and_covers_the_meter():
    source = Counting(seeded("key"))
    words = noised_words(
        np.zeros(3, np.int64), DiscreteGaussian(Fraction(10**6)), modulus_bits=32, random=source
    )
    assert source.asked == [32]
    assert words.size == 3 + 4096
    assert words.dtype == np.uint32


def test_a_sum_of_another_type_or_a_ring_of_another_width_is_refused():
    noise = DiscreteGaussian(Fraction(100))
    with pytest.raises(MisuseError):
        noised_words(np.zeros(3), noise, modulus_bits=32, random=forbidden)
    with pytest.raises(MisuseError):
        noised_words(np.zeros(3, np.int64), noise, modulus_bits=65, random=forbidden)
    with pytest.raises(MisuseError):
        centred(np.zeros(3, np.uint64), 1)


def test_a_ring_of_the_least_width_does_not_wrap():
    variance = Fraction(10**9)
    bits = least_modulus_bits(people=100, sensitivity=2**14, sum_variance=variance)
    largest = 100 * 2**14 + 12 * math.isqrt(10**9)
    assert 2 ** (bits - 2) <= largest < 2 ** (bits - 1)
    assert least_modulus_bits(people=10**5, sensitivity=2**14, sum_variance=variance) == 32


@pytest.mark.parametrize("clip_norm", [1e-200, 1e-170])
def test_numbers_too_small_to_square_count_as_zero_and_never_pass_the_sensitivity(clip_norm):
    clip = GridClip.of_grid_norm(clip_norm, 4)
    vectors = np.array([[1e-165, -1e-165, 0.0, 0.0], [0.5 * clip_norm, 0.0, 0.0, 0.0]])
    together = sum_of_people(vectors, clip, seeded(3))
    alone = sum_of_people(vectors[1:], clip, seeded(3))
    assert (together.unusable, alone.unusable) == (1, 0)
    assert abs(together.values[0] - 2**13) <= 1
    assert not together.values[1:].any()
