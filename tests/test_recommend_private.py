from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError
from securefed import Federation, PrivacyGoal
from securefed.data import Data
from securefed.learning import PersonPrivacy, build_task
from securefed.learning.recommend import (
    DpEase,
    DpPopularity,
    Ease,
    Histories,
    Ials,
    Interactions,
    merge,
)
from securefed.learning.recommend.demo import shops
from securefed.learning.recommend.evaluation import evaluate
from securefed.learning.recommend.holdout import leave_last_out
from securefed.learning.recommend.private_gram import (
    PersonCounts,
    PersonGram,
    PersonItemsParameters,
    count_norm,
    pair_norm,
    people_of,
)

SHOPS = shops(4, users=40, items=60)
NAMES = ["east", "north", "south", "west"]
BY_NAME = dict(zip(NAMES, SHOPS.parts, strict=True))
POOLED = merge(SHOPS.parts)
ALL = np.arange(60)


def privacy(clip_norm, noise_multiplier):
    return PersonPrivacy(clip_norm, noise_multiplier, 1.0, 4, 1e-6)


def goal_lead(epsilon=8.0):
    return Federation("shops", NAMES, privacy=PrivacyGoal(epsilon=epsilon, delta=1e-6))


# One row a person


def test_a_person_is_one_row_with_the_latest_items_last_first():
    table = Interactions.of_numbers(SHOPS.catalogue, ["a", "a", "b", "a"], [5, 7, 9, 8])
    rows = people_of(table, np.array([5, 7, 8]), 2)
    assert rows.features[:, 1:].tolist() == [[3, 2], [0, 0]]
    assert len(rows) == 2


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_no_person_adds_more_than_the_clip_norm_and_rows_that_are_nobodys_add_nothing(seed, most):
    rng = np.random.default_rng(seed)
    parameters = PersonItemsParameters(items=60, catalogue=SHOPS.catalogue.tag, most=most)
    good = people_of(SHOPS.parts[0], ALL, most).features
    bad = np.concatenate([np.zeros((1, most + 1)), rng.normal(size=(5, most + 1)) * 100])
    data = Data(np.concatenate([good, bad]), np.zeros(len(good) + 6))
    for task, norm in (
        (PersonCounts(parameters), count_norm(most)),
        (PersonGram(parameters), pair_norm(most)),
    ):
        vectors = np.concatenate(list(task.per_person(task.initial_state(), data, 1, rng)))
        assert np.linalg.norm(vectors, axis=1).max() <= norm + 1e-9
        assert not vectors[len(good) :].any()
        assert vectors[: len(good)].any()


def test_a_table_of_another_shape_is_refused_even_for_a_single_row_of_zeros():
    task = build_task("dp-item-counts", {"items": 60, "most": 4})
    with pytest.raises(InputError, match="most = 4"):
        next(iter(task.per_person(task.initial_state(), Data(np.zeros((1, 3)), [0.0]), 1, None)))


@pytest.mark.parametrize("kind", ["dp-item-counts", "dp-ease"])
def test_a_choice_that_is_no_bitmap_or_too_large_is_refused(kind):
    with pytest.raises(AgreementError, match="chosen"):
        build_task(kind, {"items": 60, "chosen": ["zz"]})
    with pytest.raises(AgreementError, match="2001 items"):
        build_task("dp-ease", {"items": 2001})


# Sums


def test_with_hardly_any_noise_the_sums_are_the_exact_ones_of_shortened_histories():
    counts = DpPopularity(SHOPS.catalogue, people=400, most=5)
    counts.fit_noised(SHOPS.parts, privacy(count_norm(5), 0.3))
    rows = people_of(POOLED, ALL, 5).features[:, 1:].astype(int)
    exact = np.bincount(rows.ravel(), minlength=61)[1:]
    sure = exact >= 7
    np.testing.assert_allclose(counts.popularity_[sure], exact[sure], atol=5 * counts.noise_)
    pairs = DpEase(SHOPS.catalogue, chosen=ALL, people=400, most=5)
    pairs.fit_noised(SHOPS.parts, privacy(pair_norm(5), 0.3))
    np.testing.assert_allclose(np.diagonal(pairs.gram_), exact, atol=6 * pairs.noise_)
    ones = np.zeros((len(rows), 61))
    ones[np.arange(len(rows))[:, None], rows] = 1
    np.testing.assert_allclose(pairs.gram_, ones[:, 1:].T @ ones[:, 1:], atol=6 * pairs.noise_)


def test_a_federation_with_a_goal_learns_noised_popularity_within_it():
    model = DpPopularity(SHOPS.catalogue, people=400).fit(goal_lead(), BY_NAME)
    spent = model.runs_["dp-item-counts"].privacy
    assert 0 < spent.epsilon <= 8
    assert model.noise_ > 0
    exact = Histories.from_interactions(POOLED).raters
    assert np.corrcoef(model.popularity_, exact)[0, 1] > 0.8
    assert model.popularity_[model.supported_].min() >= 2 * model.noise_


def test_noised_pairs_run_over_the_real_nodes():
    popular = np.argsort(-Histories.from_interactions(POOLED).raters)[:12]
    model = DpEase(SHOPS.catalogue, chosen=popular, people=400, most=6).fit(goal_lead(), BY_NAME)
    assert len(model.runs_["dp-ease"].records) == 1
    assert {one.item for one in model.recommend([], k=12)} == set(popular.tolist())


def test_many_people_make_noised_pairs_better_than_popularity():
    crowd = shops(2, users=1500, items=60, seed=3)
    hidden = [leave_last_out(part) for part in crowd.parts]
    trained = [each.train for each in hidden]
    people = sum(part.people for part in trained)
    level = PersonPrivacy(pair_norm(12), 1.0, 1.0, 2, 1e-6)
    pairs = DpEase(crowd.catalogue, chosen=ALL, people=people, most=12)
    pairs.fit_noised(trained, level)
    floor = DpPopularity(crowd.catalogue, people=people, most=12)
    floor.fit_noised(trained, PersonPrivacy(count_norm(12), 1.0, 1.0, 2, 1e-6))
    better = evaluate(pairs.scores, hidden[0], negatives=20)
    worse = evaluate(floor.scores, hidden[0], negatives=20)
    assert better.ndcg > 1.05 * worse.ndcg
    assert pairs.private_fit_.epsilon < 6


def test_few_people_and_strict_privacy_leave_nothing_and_say_so():
    with pytest.raises(NoResultError, match="more people"):
        DpPopularity(SHOPS.catalogue, people=400).fit_noised(
            SHOPS.parts, privacy(count_norm(20), 20.0)
        )


# Refused by name


@pytest.mark.parametrize("kind", [Ease, Ials])
def test_exact_recommenders_are_refused_where_people_are_promised_privacy(kind):
    with pytest.raises(MisuseError, match=rf"{kind.__name__}|Popularity") as refused:
        kind(SHOPS.catalogue).fit(goal_lead(), BY_NAME)
    assert "DpPopularity, DpEase and DpIals have one" in str(refused.value)


def test_noised_recommenders_are_refused_where_no_goal_says_how_much_noise():
    with pytest.raises(MisuseError, match="without a privacy goal"):
        DpPopularity(SHOPS.catalogue, people=400).fit(
            Federation("shops", NAMES, privacy=None), BY_NAME
        )
    with pytest.raises(AgreementError, match="differential privacy only"):
        DpPopularity(SHOPS.catalogue, people=400).fit_plain(SHOPS.parts)


def test_more_people_than_agreed_are_refused():
    with pytest.raises(InputError, match="allows 10"):
        DpPopularity(SHOPS.catalogue, people=10).fit(goal_lead(), BY_NAME)


def test_states_of_other_items_are_refused():
    with pytest.raises(MisuseError, match="another catalogue"):
        DpPopularity(SHOPS.catalogue, people=9).load({"a": {"sum": np.zeros(3)}})
    with pytest.raises(MisuseError, match="other items"):
        DpEase(SHOPS.catalogue, chosen=[1], people=9).load({"a": {"sum": np.zeros(3)}})
