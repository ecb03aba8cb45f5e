from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import InputError, MisuseError
from securefed.learning.recommend import (
    Calibration,
    Evaluator,
    Histories,
    discount_popularity,
    evaluate,
    leave_last_out,
    popularity_bias,
)
from securefed.learning.recommend.bias import gini, head
from securefed.learning.recommend.demo import shops
from securefed.learning.recommend.ranking import ranks, top

SHOPS = shops(1, users=80, items=150)
HOLDOUT = leave_last_out(SHOPS.parts[0])


def constant(value):
    return lambda histories: np.full((histories.people, histories.count), value)


@pytest.mark.parametrize("value", [0.0, 1e9, -np.inf])
def test_a_model_that_cannot_tell_items_apart_hits_nothing(value):
    result = Evaluator(np.ones(150))
    result.add(constant(0.5), HOLDOUT)
    assert result.result().hit_rate == 0
    if value > -np.inf:
        assert evaluate(constant(value), HOLDOUT).sampled_hit_rate == 0


def oracle(histories):
    assert histories.people == len(HOLDOUT.targets)
    scores = np.zeros((histories.people, histories.count))
    scores[np.arange(histories.people), HOLDOUT.targets] = 1
    return scores


def test_a_model_that_knows_the_hidden_items_hits_all():
    found = evaluate(oracle, HOLDOUT)
    assert (found.hit_rate, found.ndcg, found.sampled_hit_rate) == (1, 1, 1)
    assert found.users == HOLDOUT.train.people
    assert found.bias.pop_reo == 0


def test_random_scores_hit_as_often_as_chance_says():
    rng = np.random.default_rng(0)
    many = Evaluator(np.ones(150))
    for _ in range(20):
        many.add(lambda histories: rng.random((histories.people, histories.count)), HOLDOUT)
    assert abs(many.result().sampled_hit_rate - 0.1) < 0.03


def test_known_items_are_never_recommended():
    known = Histories.from_interactions(HOLDOUT.train)
    seen = Evaluator(np.ones(150))
    seen.add(lambda histories: histories.dense() + np.random.default_rng(0).random(150), HOLDOUT)
    for user, items in enumerate(seen._lists):
        mine = known.items[known.starts[user] : known.starts[user + 1]]
        assert not set(items) & set(mine)


def test_a_model_that_returns_nan_is_refused():
    with pytest.raises(InputError, match="NaN"):
        evaluate(constant(np.nan), HOLDOUT)


def test_ranks_count_ties_against_the_target_and_leave_known_items_out():
    scores = np.array([[3.0, 3.0, np.nan, 5.0], [-np.inf, 1.0, np.nan, -np.inf]])
    assert ranks(scores, np.array([0, 0])).tolist() == [2, 2]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_the_top_is_a_stable_sort(values, k):
    scores = np.where(np.array(values) == 0, -np.inf, np.array(values, dtype=float))
    expected = [n for n in np.argsort(-scores, kind="stable") if scores[n] > -np.inf][:k]
    assert top(scores, k).tolist() == expected


# Popularity bias, by hand


def test_bias_figures_are_those_counted_by_hand():
    popularity = np.array([10.0, 4.0, 3.0, 2.0, 1.0])
    lists = [np.array([0, 1]), np.array([0, 4]), np.array([], dtype=np.int64)]
    hits, targets = np.array([True, True, False]), np.array([0, 4, 3])
    found = popularity_bias(lists, hits, targets, popularity)
    assert found.arp == pytest.approx((7 + 5.5) / 2)
    assert found.coverage == pytest.approx(3 / 5)
    assert found.aplt == pytest.approx(0.5)
    assert found.pop_reo == pytest.approx(0.25 / 0.75)
    assert found.gini == pytest.approx(gini(np.array([2.0, 1, 0, 0, 1])))


def test_gini_is_zero_for_equals_and_near_one_for_a_single_winner():
    assert gini(np.full(50, 3.0)) == pytest.approx(0)
    assert gini(np.eye(50)[3]) == pytest.approx(0.98)
    assert gini(np.zeros(3)) == 0


def test_the_head_is_a_fifth_of_the_items():
    assert np.flatnonzero(head(np.arange(10.0))).tolist() == [8, 9]


def test_no_hit_at_all_leaves_the_opportunity_undefined():
    found = popularity_bias(
        [np.array([0])], np.array([False]), np.array([4]), np.array([5.0, 1, 1, 1, 1])
    )
    assert math.isnan(found.pop_reo)


# Re-ranking


def test_a_discount_lowers_the_popularity_of_what_is_recommended():
    popularity = Histories.from_interactions(HOLDOUT.train).raters.astype(float)

    def biased(beta):
        return lambda histories: discount_popularity(
            np.tile(popularity + 1, (histories.people, 1)), popularity, beta
        )

    plain, milder = evaluate(biased(0), HOLDOUT), evaluate(biased(1.2), HOLDOUT)
    assert milder.bias.arp < plain.bias.arp / 2
    assert milder.bias.aplt > plain.bias.aplt
    with pytest.raises(MisuseError, match="favour"):
        discount_popularity(popularity, popularity, -1)


def test_calibration_brings_the_mix_of_kinds_closer_to_the_users_own():
    rng = np.random.default_rng(3)
    history = np.flatnonzero(SHOPS.kinds[:, 0])[:6]
    scores = rng.random(150) + 2 * SHOPS.kinds[:, 1]
    scores[history] = np.nan
    plain = Calibration(SHOPS.kinds, weight=0).choose(scores, history, 10)
    assert plain.tolist() == top(scores, 10).tolist()
    mixed = Calibration(SHOPS.kinds, weight=0.9)
    listed = mixed.choose(scores, history, 10)
    assert len(set(listed.tolist())) == 10
    assert not set(listed.tolist()) & set(history.tolist())
    wanted = mixed.mix(history)
    gap = mixed.divergence(wanted, mixed.mix(listed))
    assert gap < 0.5 * mixed.divergence(wanted, mixed.mix(plain))


@pytest.mark.parametrize(
    "changes", [{"weight": 2}, {"pool": 0}, {"kinds": np.ones(3)}, {"kinds": -np.ones((2, 2))}]
)
def test_a_calibration_that_makes_no_sense_is_refused(changes):
    with pytest.raises(MisuseError):
        Calibration(**{"kinds": SHOPS.kinds} | changes)
