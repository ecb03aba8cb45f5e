from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed import Federation, PrivacyGoal
from securefed.data import Data
from securefed.learning import PersonPrivacy, build_task
from securefed.learning.recommend import (
    DpIals,
    DpPopularity,
    Histories,
    evaluate,
    leave_last_out,
    merge,
)
from securefed.learning.recommend.demo import shops
from securefed.learning.recommend.private_als_task import PERSON_NORM, PersonAls
from securefed.learning.recommend.private_factors import (
    PersonSums,
    matrices,
    products,
    products_of,
)
from securefed.learning.recommend.private_gram import count_norm, indicators, people_of
from securefed.learning.recommend.user_factors import UserSide

SHOPS = shops(4, users=40, items=60)
NAMES = ["east", "north", "south", "west"]
BY_NAME = dict(zip(NAMES, SHOPS.parts, strict=True))
POOLED = merge(SHOPS.parts)
ALL = np.arange(60)
both = pytest.mark.parametrize("item_products", [False, True])


def privacy(noise_multiplier, parties=4):
    return PersonPrivacy(PERSON_NORM, noise_multiplier, 1.0, parties, 1e-6)


def goal_lead(epsilon=8.0):
    return Federation("shops", NAMES, privacy=PrivacyGoal(epsilon=epsilon, delta=1e-6))


def model(**changes):
    return DpIals(SHOPS.catalogue, **{"people": 400, "most": 12, "factors": 4} | changes)


def task_of(**changes):
    plan = model(**changes).plan(4)
    return build_task(plan.kind, plan.parameters)


# What a person adds


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.integers(1, 14))
@settings(max_examples=30, deadline=None)
def test_no_person_adds_a_vector_longer_than_one_whatever_the_model_says(
    seed, item_products, counting, most
):
    rng = np.random.default_rng(seed)
    task = task_of(item_products=item_products, most=most)
    factors = rng.normal(size=(60, 4))
    factors *= 10 ** rng.uniform(-6, 1.2) / np.linalg.norm(factors, axis=1, keepdims=True)
    state = task.initial_state() | {"round": np.array(0.0 if counting else 1.0), "factors": factors}
    good = people_of(SHOPS.parts[0], ALL, most).features
    bad = np.concatenate([np.zeros((1, most + 1)), rng.normal(size=(5, most + 1)) * 100])
    data = Data(np.concatenate([good, bad]), np.zeros(len(good) + 6))
    vectors = np.concatenate(list(task.per_person(state, data, 2, rng)))
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths.max() <= PERSON_NORM + 1e-9
    assert not vectors[len(good) :].any()
    full = (good[:, 1:] > 0).sum(axis=1) == most
    assert full.any()
    np.testing.assert_allclose(lengths[: len(good)][full], PERSON_NORM)


@both
def test_a_persons_vector_is_that_of_the_person_alone(item_products):
    task = task_of(item_products=item_products)
    state = task.initial_state() | {"round": np.array(1.0)}
    data = people_of(SHOPS.parts[0], ALL, 12)
    together = np.concatenate(list(task.per_person(state, data, 2, None)))
    for person in (0, 7, len(data) - 1):
        (alone,) = task.per_person(state, data.take(np.array([person])), 2, None)
        np.testing.assert_allclose(alone[0], together[person], atol=1e-12)


def test_directions_are_those_of_the_factors_that_ials_solves():
    histories = Histories.from_interactions(POOLED)
    factors = np.random.default_rng(0).normal(size=(60, 4))
    solved = UserSide(factors, np.ones(60), 0.2, 0.05).solve(histories)
    ours = PersonSums(4, 60, False, 0.2, 0.05).directions(histories.dense(), factors)
    np.testing.assert_allclose(ours, solved / np.linalg.norm(solved, axis=1, keepdims=True))


@both
def test_the_sum_over_people_is_a_product_with_the_matrix_of_who_has_what(item_products):
    task = task_of(item_products=item_products)
    state = task.initial_state() | {"round": np.array(1.0)}
    data = people_of(POOLED, ALL, 12)
    total = sum(block.sum(axis=0) for block in task.per_person(state, data, 2, None))
    owned = sparse.csr_matrix(indicators(data.features, task.parameters))
    sums = task.parameters.sums
    users = sums.directions(owned, state["factors"])
    fast = np.concatenate([(owned.T @ sums.for_items(users)).ravel(), sums.once(users).sum(axis=0)])
    np.testing.assert_allclose(total, fast, atol=1e-9)


# What becomes of the sums


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_products_are_vectors_of_the_same_norm_and_come_back_as_matrices(seed, size):
    rows = np.random.default_rng(seed).normal(size=(3, size))
    flat = products(rows)
    outer = rows[:, :, np.newaxis] * rows[:, np.newaxis]
    np.testing.assert_allclose(matrices(flat, size), outer, atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(flat, axis=1), np.square(np.linalg.norm(rows, axis=1)), rtol=1e-9
    )
    np.testing.assert_allclose(products_of(outer[0]), flat[0], atol=1e-12)


@both
def test_without_noise_every_items_own_system_is_solved(item_products):
    rng = np.random.default_rng(1)
    users = rng.normal(size=(50, 3))
    users /= np.linalg.norm(users, axis=1, keepdims=True)
    owned = (rng.random((50, 7)) < 0.4).astype(float)
    counts = owned.sum(axis=0)
    sums = PersonSums(3, 7, item_products, 0.2, 0.1)
    found = sums.factors(
        owned.T @ sums.for_items(users), sums.once(users).sum(axis=0), noise=0.0,
        counts=counts,
    )  # fmt: skip
    for item in range(7):
        mine = users[owned[:, item] > 0]
        own = mine.T @ mine if item_products else counts[item] / 50 * users.T @ users
        system = own + 0.2 * users.T @ users + 0.1 * (counts[item] + 0.2 * 50) * np.eye(3)
        np.testing.assert_allclose(found[item], np.linalg.solve(system, mine.sum(axis=0)))


def test_what_noise_explains_is_shrunk_away():
    rng = np.random.default_rng(2)
    sums, counts = PersonSums(3, 7, True, 0.2, 0.1), np.full(40, 10.0)
    once = sums.once(rng.normal(size=(50, 3))).sum(axis=0)
    drawn = rng.normal(0, 5.0, (40, sums.width))
    noise = sums.factors(drawn, once, noise=5.0, counts=counts)
    signal = sums.factors(drawn, once, noise=0.0, counts=counts)
    assert np.linalg.norm(noise) < 0.3 * np.linalg.norm(signal)


# Federations


def test_a_federation_with_a_goal_charges_every_sweep_and_keeps_within_it():
    fitted = model(sweeps=2, min_support=1).fit(goal_lead(), BY_NAME)
    run = fitted.runs_["dp-ials"]
    assert len(run.records) == 1 + 2
    assert 0 < run.privacy.epsilon <= 8
    noises = []
    for sweeps in (1, 4):
        lead = model(sweeps=sweeps).add_to(goal_lead())
        noises.append(lead.simulate({n: model().rows_of(p) for n, p in BY_NAME.items()}))
    multipliers = [each.agreement.tasks[0].privacy.noise_multiplier for each in noises]
    assert multipliers[1] > 1.3 * multipliers[0]
    exact = Histories.from_interactions(POOLED).raters
    assert np.corrcoef(fitted.popularity_[fitted.known_], exact[fitted.known_])[0, 1] > 0.5


def test_what_is_sent_has_the_size_of_the_items_whoever_has_them():
    layout = task_of().layout()
    assert dict(layout.zeros().items()).keys() == {"items", "once"}
    assert layout.size == 60 * 4 + 4 * 5 // 2
    assert task_of(item_products=True).layout().size == 60 * (4 + 10) + 10


@both
def test_many_people_make_noised_factors_better_than_popularity(item_products):
    crowd = shops(2, users=1500, items=60, seed=3)
    hidden = [leave_last_out(part) for part in crowd.parts]
    trained = [each.train for each in hidden]
    people = sum(part.people for part in trained)
    factors = DpIals(
        crowd.catalogue, people=people, most=12, factors=6, item_products=item_products
    )
    factors.fit_noised(trained, privacy(1.5, parties=2))
    floor = DpPopularity(crowd.catalogue, people=people, most=12)
    floor.fit_noised(trained, PersonPrivacy(count_norm(12), 1.0, 1.0, 2, 1e-6))
    better = evaluate(factors.scores, hidden[0], negatives=20)
    worse = evaluate(floor.scores, hidden[0], negatives=20)
    assert better.ndcg > 1.05 * worse.ndcg
    assert factors.private_fit_.fit.rounds == 4
    assert factors.private_fit_.epsilon < 8


def test_a_user_is_folded_in_and_reasons_sum_to_the_score():
    fitted = model(min_support=1).fit_noised(SHOPS.parts, privacy(0.5))
    history = SHOPS.parts[0].items[:6]
    best = fitted.recommend(history, k=1)[0]
    assert sum(one.score for one in fitted.explain(history, best.item)) == pytest.approx(best.score)
    assert fitted.recommend([], k=1)[0].item == int(fitted.popularity_.argmax())


def test_agreeing_on_more_people_than_there_are_changes_no_factor():
    few, many = (
        model(people=people, min_support=1).fit_noised(SHOPS.parts, privacy(0.5))
        for people in (200, 2_000)
    )
    np.testing.assert_allclose(few.factors_, many.factors_)


def test_chosen_items_alone_take_part():
    fitted = model(chosen=range(10, 30), min_support=1).fit_noised(SHOPS.parts, privacy(0.5))
    assert not fitted.known_[:10].any()
    assert not fitted.known_[30:].any()
    exact = Histories.from_interactions(POOLED).raters
    np.testing.assert_allclose(
        fitted.popularity_[fitted.known_], exact[fitted.known_], atol=6 * fitted.noise_
    )


# Refused by name


def test_few_people_and_strict_privacy_leave_nothing_and_say_so():
    with pytest.raises(NoResultError, match="more people"):
        model().fit_noised(SHOPS.parts, privacy(50.0))


def test_it_is_refused_where_no_goal_says_how_much_noise():
    with pytest.raises(MisuseError, match="DpIals does not suit a federation without"):
        model().fit(Federation("shops", NAMES, privacy=None), BY_NAME)
    with pytest.raises(AgreementError, match="differential privacy only"):
        model().fit_plain(SHOPS.parts)


def test_more_people_than_agreed_and_rows_of_another_length_are_refused():
    with pytest.raises(InputError, match="allows 10"):
        model(people=10).fit(goal_lead(), BY_NAME)
    task = task_of()
    with pytest.raises(InputError, match="most = 12"):
        next(iter(task.per_person(task.initial_state(), Data(np.zeros((1, 3)), [0.0]), 1, None)))


def test_a_model_with_a_factor_beyond_the_bound_is_refused_before_anybody_counts():
    task = task_of()
    state = task.initial_state() | {"factors": np.full((60, 4), 9.0)}
    with pytest.raises(WireError, match="longer than agreed"):
        next(iter(task.per_person(state, people_of(POOLED, ALL, 12), 2, None)))


def test_a_vector_too_long_to_hold_and_a_strange_choice_are_refused_by_name():
    with pytest.raises(AgreementError, match="item_products"):
        build_task("dp-ials", {"items": 20_000, "factors": 128, "item_products": True})
    with pytest.raises(AgreementError, match="chosen"):
        build_task("dp-ials", {"items": 60, "chosen": ["zz"]})


def test_a_state_of_other_parameters_is_refused():
    state = PersonAls(task_of().parameters).initial_state()
    with pytest.raises(MisuseError, match="other items or parameters"):
        model(factors=5).load({"dp-ials": state})
