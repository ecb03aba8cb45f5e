from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed import Federation, PrivacyGoal
from securefed.learning import build_task, suggest
from securefed.learning.recommend import (
    Bpr,
    Evaluator,
    Histories,
    Popularity,
    leave_last_out,
    merge,
)
from securefed.learning.recommend.bpr_task import BprParameters, PairwiseRanking
from securefed.learning.recommend.demo import shops
from securefed.learning.recommend.pairwise import Opponents, PairwiseSide
from securefed.learning.reference import fit, fixed_point_sum

SHOPS = shops(4, users=40, items=60)
NAMES = ["east", "north", "south", "west"]
BY_NAME = dict(zip(NAMES, SHOPS.parts, strict=True))
POOLED = merge(SHOPS.parts)
ROWS = [part.to_data() for part in SHOPS.parts]
OPTIONS = {
    "factors": 6,
    "sweeps": 12,
    "batch_size": 128,
    "local_epochs": 2,
    "max_users": 100,
    "min_support": 22,
}


def model(**changes):
    return Bpr(SHOPS.catalogue, **OPTIONS | changes)


@pytest.fixture(scope="module")
def fitted():
    return model().fit_plain(SHOPS.parts)


# What leaves a company


def test_over_real_nodes_the_model_is_that_of_plain_sums_with_the_same_draws():
    # Parties draw their comparisons: it is the same model only where they draw the same.
    federated = model(sweeps=4).fit(Federation("shops", NAMES, privacy=None), BY_NAME, seed=7)
    alike = model(sweeps=4)
    alike.prepare(federated.popularity_)
    plan = alike.plan(4)
    task = build_task(plan.kind, plan.parameters)
    layout, state, done, rounds = task.layout(), task.initial_state(), False, 0
    draws = [np.random.default_rng(7 + number) for number in range(4)]
    while not done:
        rounds += 1
        sent = [
            layout.flatten(task.contribute(state, rows, rounds, rng))
            for rows, rng in zip(ROWS, draws, strict=True)
        ]
        step = task.combine(state, layout.unflatten(sum(sent)), rounds)
        state, done = step.state, step.done
    assert rounds == len(federated.runs_["bpr"].records) == 1 + 4
    plain = alike.load({"bpr": state})
    np.testing.assert_allclose(federated.factors_, plain.factors_, atol=1e-6)
    np.testing.assert_allclose(federated.biases_, plain.biases_, atol=1e-6)
    other = model(sweeps=4).fit_plain(SHOPS.parts, seed=8)
    assert np.abs(other.factors_ - plain.factors_).max() > 1e-3


def test_a_party_sends_a_row_an_item_and_nothing_of_the_size_of_its_users():
    whole = [{name: array.shape for name, array in _sent(rows).items()} for rows in ROWS]
    assert len({part.people for part in SHOPS.parts}) > 1
    assert all(
        each == {"items": (60, 7), "counts": (60,), "loss": (), "parties": ()} for each in whole
    )
    for part, rows in zip(SHOPS.parts, ROWS, strict=True):
        task, state = _task_and_state()
        trained, side = task.public_side(state)
        users = side.solve(Histories.from_interactions(part).restricted(trained))
        values = np.concatenate([each.ravel() for each in _sent(rows).values()])
        found = np.abs(users.ravel()[:, np.newaxis] - values).min(axis=1)
        assert (found[np.abs(users.ravel()) > 1e-3] > 0).all()


def _task_and_state(**changes):
    task = PairwiseRanking(BprParameters(items=60, max_users=100, factors=6))
    counts = Histories.from_interactions(POOLED).raters.astype(float)
    known = {"round": np.array(1.0), "counts": counts}
    return task, task.initial_state() | known | changes


def _sent(rows, **changes):
    task, state = _task_and_state(**changes)
    return task.contribute(state, rows, 2, np.random.default_rng(0))


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 2.2))
@settings(max_examples=20, deadline=None)
def test_what_a_hostile_model_makes_a_party_send_stays_within_the_agreed_bound(seed, power):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(60, 7))
    rows *= 10**power / 10 / np.linalg.norm(rows, axis=1, keepdims=True)
    sent = _sent(
        ROWS[0], factors=rows[:, :6], biases=rows[:, 6], counts=rng.normal(size=60) * 1e9
    )  # fmt: skip
    task, _ = _task_and_state()
    assert np.abs(task.layout().flatten(sent)).max() <= task.numbers().bound
    assert np.linalg.norm(sent["items"], axis=1).max() <= 1 + 1e-9


@pytest.mark.parametrize("name", ["factors", "biases"])
def test_a_model_with_a_row_beyond_the_bound_is_refused(name):
    with pytest.raises(WireError, match="longer than agreed"):
        _sent(ROWS[0], **{name: np.full((60, 6) if name == "factors" else 60, 17.0)})


def test_a_model_that_leaves_no_item_is_refused():
    with pytest.raises(WireError, match="no item is left"):
        _sent(ROWS[0], counts=np.zeros(60))


def test_an_item_below_the_support_is_not_published_and_not_trained_on(fitted):
    counts = Histories.from_interactions(POOLED).raters
    assert np.array_equal(fitted.known_, counts >= 22)
    assert not fitted.factors_[~fitted.known_].any()
    kept = [part.rows(counts[part.items] >= 22) for part in SHOPS.parts]
    assert np.array_equal(model().fit_plain(kept).factors_, fitted.factors_)


def test_an_item_does_not_move_while_too_few_of_those_present_have_it():
    task, state = _task_and_state()
    layout = task.layout()
    there = _sent(ROWS[1])
    moved = task.combine(state, layout.unflatten(layout.flatten(there)), 2).state
    few = Histories.from_interactions(SHOPS.parts[1]).raters < 5
    assert there["items"][few].any(axis=1).all()
    assert 0 < few.sum() < 60
    assert np.array_equal(moved["factors"][few], state["factors"][few])
    assert (moved["factors"] != state["factors"])[~few].any(axis=1).all()


def test_nothing_with_enough_users_is_no_result():
    with pytest.raises(NoResultError, match="min_support"):
        fit(PairwiseRanking(BprParameters(items=60, min_support=10_000)), ROWS, rounds=1)


def test_a_ring_of_thirty_two_bits_loses_next_to_nothing(fitted):
    coarse = model(modulus_bits=32)
    coarse.prepare(fitted.popularity_)
    plan = coarse.plan(4)
    add = fixed_point_sum(suggest(plan.kind, plan.parameters, 4), parties=4, random=bytes)
    done = fit(build_task(plan.kind, plan.parameters), ROWS, rounds=plan.rounds, add=add)
    assert done.history[-1]["loss"] < 0.9 * done.history[1]["loss"]
    coarse.load({"bpr": done.state})
    known = fitted.known_
    gap = coarse.scores(POOLED)[:, known] - fitted.scores(POOLED)[:, known]
    assert np.abs(gap).max() < 0.01


# Comparisons


@given(st.integers(0, 2**32 - 1), st.floats(1e-2, 3.0))
@settings(max_examples=15, deadline=None)
def test_a_reconstructed_users_objective_is_next_to_its_optimum(seed, regularization):
    rng = np.random.default_rng(seed)
    factors, biases = rng.normal(size=(30, 3)), rng.normal(size=30)
    opponents = rng.integers(30, size=(30, 4))
    side = PairwiseSide(factors, biases, opponents, regularization)
    items = rng.permutation(30)[:6]
    user = side.solve(Histories.of([items], 30))[0]
    pairs = [(i, j) for i in items for j in opponents[i] if j not in set(items)]

    def loss(w):
        margins = [(factors[i] - factors[j]) @ w + biases[i] - biases[j] for i, j in pairs]
        ridge = regularization * max(1, len(pairs)) * w @ w / 2
        return np.logaddexp(0, -np.array(margins)).sum() + ridge

    start, least = loss(np.zeros(3)), minimize(loss, user).fun
    assert loss(user) - least <= 0.02 * (start - least) + 1e-9


def test_opponents_are_drawn_in_proportion_to_a_power_of_their_users():
    drawn = Opponents.of(np.array([1.0, 4.0, 0.0]), 0.5).draw(np.random.default_rng(0), (40_000,))
    share = np.bincount(drawn, minlength=3) / 40_000
    np.testing.assert_allclose(share, [0.25, 0.5, 0.25], atol=0.01)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_user_is_never_compared_with_an_item_that_the_user_has(seed):
    rng = np.random.default_rng(seed)
    owned = rng.random((5, 8)) < rng.uniform(0.1, 1.0)
    owned[0, 0] = True
    taken = np.flatnonzero(owned.ravel())
    users = rng.integers(5, size=400)
    items, valid = Opponents.of(np.ones(8), 0.5).against(users, taken, rng)
    assert np.array_equal(valid, ~owned[users, items])
    roomy = owned.mean(axis=1)[users] <= 0.5
    assert not roomy.any() or valid[roomy].mean() > 0.8


# Use


def test_it_beats_popularity_and_what_a_company_learns_alone():
    holdouts = [leave_last_out(part) for part in SHOPS.parts]
    trained = [each.train for each in holdouts]
    counts = Histories.from_interactions(merge(trained)).raters.astype(float)
    options = {"min_support": 2, "sweeps": 15}
    together = model(**options).fit_plain(trained)
    popular = Popularity(SHOPS.catalogue, max_users=100).fit_plain(trained)
    scores = [Evaluator(counts, negatives=20) for _ in range(3)]
    for each in holdouts:
        scores[0].add(together.scores, each)
        scores[1].add(popular.scores, each)
        scores[2].add(model(**options).fit_plain([each.train]).scores, each)
    ours, floor, alone = (each.result().ndcg for each in scores)
    assert ours > 1.1 * floor
    assert ours > alone


def test_a_new_company_folds_its_users_in_without_a_round():
    model_ = model(min_support=2, sweeps=12).fit_plain(SHOPS.parts[:3])
    hidden = leave_last_out(SHOPS.parts[3])
    counts = Histories.from_interactions(hidden.train).raters.astype(float)
    folded, chance = Evaluator(counts, negatives=20), Evaluator(counts, negatives=20)
    folded.add(model_.scores, hidden)
    rng = np.random.default_rng(0)
    chance.add(lambda users: rng.random((users.people, users.count)), hidden)
    assert folded.result().sampled_ndcg > 1.2 * chance.result().sampled_ndcg


def test_a_users_scores_do_not_depend_on_who_else_is_asked_for(fitted):
    together = fitted.scores(SHOPS.parts[0])
    history = SHOPS.parts[0].items[: SHOPS.parts[0].starts[1]]
    alone = fitted.scores(Histories.of([history], 60))
    np.testing.assert_allclose(alone[0], together[0], rtol=1e-9)


def test_a_user_without_known_items_gets_popular_ones(fitted):
    listed = fitted.recommend([], k=3)
    assert listed[0].item == int(fitted.popularity_.argmax())
    strange = int(np.flatnonzero(~fitted.known_)[0])
    assert fitted.recommend([strange], k=3) == listed


def test_reasons_sum_to_the_score_and_similar_items_share_kinds(fitted):
    history = SHOPS.parts[0].items[:6]
    best = fitted.recommend(history, k=1)[0]
    assert sum(one.score for one in fitted.explain(history, best.item)) == pytest.approx(best.score)
    shared = [
        bool(SHOPS.kinds[item] @ SHOPS.kinds[one.item])
        for item in fitted.chosen_[fitted.known_[fitted.chosen_]][:30]
        for one in fitted.similar(int(item), k=5)
    ]
    assert np.mean(shared) > 1.2 * (SHOPS.kinds @ SHOPS.kinds.T > 0).mean()


def test_a_first_run_of_counts_may_choose_the_items():
    counted = Popularity(SHOPS.catalogue, min_support=22, max_users=100).fit_plain(SHOPS.parts)
    chosen = model(support=counted).fit_plain(SHOPS.parts)
    assert np.array_equal(np.flatnonzero(chosen.known_), counted.supported_)


# Refused by name


def test_it_is_refused_where_people_are_promised_privacy():
    goal = PrivacyGoal(epsilon=8.0, delta=1e-6)
    with pytest.raises(MisuseError, match="Bpr does not suit a federation with a privacy goal"):
        model().fit(Federation("shops", NAMES, privacy=goal), BY_NAME)


def test_rows_of_another_catalogue_and_too_many_users_are_refused_and_name_the_party():
    with pytest.raises(InputError, match=r"part 0: .*max_users = 3"):
        model(max_users=3).fit_plain(SHOPS.parts)
    with pytest.raises(InputError, match="another catalogue"):
        model().fit_plain([shops(2, items=61).parts[0]])


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"learning_rate": 0.0}, "learning_rate"), ({"chosen": ["zz"]}, "chosen")],
)
def test_parameters_out_of_range_are_refused_by_name(changes, key):
    with pytest.raises(AgreementError, match=key):
        build_task("bpr", {"items": 60, **changes})


def test_a_state_of_other_parameters_is_refused():
    with pytest.raises(MisuseError, match="other items or parameters"):
        model(factors=5).load({"bpr": {"factors": np.zeros(1)}})
