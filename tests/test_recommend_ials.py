from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed import Federation
from securefed.learning import build_task, suggest
from securefed.learning.recommend import Evaluator, Histories, Ials, leave_last_out, merge
from securefed.learning.recommend.als_task import AlsParameters, AlternatingLeastSquares
from securefed.learning.recommend.demo import shops
from securefed.learning.recommend.user_factors import UserSide, largest_norm
from securefed.learning.reference import fit, fixed_point_sum

SHOPS = shops(4, users=40, items=60)
NAMES = ["east", "north", "south", "west"]
POOLED = merge(SHOPS.parts)
OPTIONS = {
    "factors": 6,
    "sweeps": 3,
    "regularization": 0.02,
    "unobserved": 0.2,
    "max_users": 100,
    "min_support": 22,
}
ROWS = [part.to_data() for part in SHOPS.parts]


def model(**changes):
    return Ials(SHOPS.catalogue, **OPTIONS | changes)


@pytest.fixture(scope="module")
def pooled():
    return model(max_users=400).fit_plain([POOLED])


# Equal to pooled


def distance(one, other):
    known = other.known_
    return np.abs(one.scores(POOLED)[:, known] - other.scores(POOLED)[:, known]).max()


def test_the_federated_scores_are_the_pooled_ones_to_the_rings_grid(pooled):
    federated = model().fit(
        Federation("shops", NAMES, privacy=None), dict(zip(NAMES, SHOPS.parts, strict=True))
    )
    assert distance(federated, pooled) < 1e-8
    assert len(federated.runs_["ials"].records) == 1 + 3 * (1 + 3)


def test_a_ring_of_forty_bits_is_enough(pooled):
    small = model(modulus_bits=40)
    small.prepare(pooled.popularity_)
    plan = small.plan(4)
    ring = suggest(plan.kind, plan.parameters, 4)
    assert ring.modulus_bits == 40
    add = fixed_point_sum(ring, parties=4, random=bytes)
    state = fit(build_task(plan.kind, plan.parameters), ROWS, rounds=plan.rounds, add=add).state
    assert distance(small.load({"ials": state}), pooled) < 1e-3
    with pytest.raises(AgreementError, match="modulus_bits"):
        suggest(plan.kind, {**plan.parameters, "modulus_bits": 24}, 4)


def exact_sweep(matrix, factors, reg, unobserved):
    """One sweep of iALS by solving both sides exactly."""

    def solve(observed, others, count):
        out = np.zeros((len(observed), others.shape[1]))
        for row, seen in enumerate(observed):
            picked = others[seen > 0]
            ridge = reg * (len(picked) + unobserved * count)
            system = unobserved * others.T @ others + picked.T @ picked
            out[row] = np.linalg.solve(system + ridge * np.eye(others.shape[1]), picked.sum(axis=0))
        return out

    users = solve(matrix, factors, len(factors))
    return solve(matrix.T, users, len(users))


def test_enough_conjugate_gradient_steps_solve_every_items_system():
    whole = model(min_support=1, sweeps=1, steps=12).fit_plain(SHOPS.parts)
    matrix = Histories.from_interactions(POOLED).dense()[:, whole.chosen_]
    plan = whole.plan(4)
    start = build_task(plan.kind, plan.parameters).initial_state()["factors"]
    expected = exact_sweep(matrix, start, 0.02, 0.2)
    np.testing.assert_allclose(whole.factors_[whole.chosen_], expected, atol=1e-7)


def test_three_steps_come_close_to_exact_solving():
    whole = model(min_support=1, sweeps=8).fit_plain(SHOPS.parts)
    matrix = Histories.from_interactions(POOLED).dense()[:, whole.chosen_]
    plan = whole.plan(4)
    factors = build_task(plan.kind, plan.parameters).initial_state()["factors"]
    for _ in range(8):
        factors = exact_sweep(matrix, factors, 0.02, 0.2)
    side = UserSide(factors, np.ones(len(factors)), 0.2, 0.02)
    histories = Histories.from_interactions(POOLED).restricted(whole.chosen_)
    exact = side.solve(histories) @ factors.T
    assert np.corrcoef(exact.ravel(), whole.scores(POOLED)[:, whole.chosen_].ravel())[0, 1] > 0.99


# What a party sends


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 10.0), st.floats(1e-3, 3.0))
@settings(max_examples=30, deadline=None)
def test_no_users_factor_is_longer_than_the_bound_whatever_the_items_are(seed, reg, unobserved):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(20, 4)) * 10 ** rng.uniform(-3, 2)
    weights = 10 ** rng.uniform(-2, 2, size=20)
    picked = [rng.permutation(20)[: rng.integers(0, 20)] for _ in range(10)]
    users = UserSide(factors, weights, unobserved, reg).solve(Histories.of(picked, 20))
    assert np.linalg.norm(users, axis=1).max() <= largest_norm(reg) * (1 + 1e-9)


def task_and_state(phase, **changes):
    task = AlternatingLeastSquares(AlsParameters(items=60, max_users=100, factors=6))
    counts = Histories.from_interactions(POOLED).raters.astype(float)
    known = {"phase": np.array(phase), "counts": counts, "present": counts}
    return task, task.initial_state() | known | changes


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 2.0]))
@settings(max_examples=20, deadline=None)
def test_what_a_hostile_model_makes_a_party_send_stays_within_the_agreed_bound(seed, phase):
    rng = np.random.default_rng(seed)

    def rows(longest):
        drawn = rng.normal(size=(60, 6))
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * longest

    task, state = task_and_state(
        phase, factors=rows(16), candidate=rows(16), direction=rows(1),
        counts=rng.normal(size=60) * 1e9,
    )  # fmt: skip
    sent = task.layout().flatten(task.contribute(state, ROWS[0], 2, rng))
    assert np.abs(sent).max() <= task.numbers().bound


@pytest.mark.parametrize(
    ("phase", "name", "size"), [(1.0, "factors", 17), (1.0, "candidate", 17), (2.0, "direction", 2)]
)
def test_a_model_with_a_factor_beyond_the_bound_is_refused(phase, name, size):
    task, state = task_and_state(phase, **{name: np.full((60, 6), size / np.sqrt(6))})
    with pytest.raises(WireError, match="longer than agreed"):
        task.contribute(state, ROWS[0], 2, np.random.default_rng())


def test_a_model_that_leaves_no_item_is_refused():
    task, state = task_and_state(1.0, counts=np.zeros(60))
    with pytest.raises(WireError, match="no item is left"):
        task.contribute(state, ROWS[0], 2, np.random.default_rng())


def test_an_item_below_the_support_changes_nothing_and_gets_no_factors():
    counts = Histories.from_interactions(POOLED).raters
    least = int(np.median(counts))
    whole = model(min_support=least).fit_plain(SHOPS.parts)
    assert np.array_equal(whole.known_, counts >= least)
    assert not whole.factors_[counts < least].any()
    kept = [part.rows(counts[part.items] >= least) for part in SHOPS.parts]
    other = model(min_support=least).fit_plain(kept)
    assert np.array_equal(other.factors_, whole.factors_)


def test_a_task_over_the_whole_catalogue_keeps_the_support_by_itself(pooled):
    alone = model()
    task = alone.add_to(Federation("shops", NAMES, privacy=None), "taste")
    assert task.tasks == ("taste",)
    plan = alone.plan(4)
    state = fit(build_task(plan.kind, plan.parameters), ROWS, rounds=plan.rounds).state
    alone.load({"taste": state})
    assert np.array_equal(alone.known_, pooled.known_)
    rare = ~alone.known_
    assert rare.any()
    assert not state["counts"][rare].any()
    assert not state["factors"][rare].any()


def test_nothing_with_enough_users_is_no_result():
    task = AlternatingLeastSquares(AlsParameters(items=60, min_support=10_000))
    with pytest.raises(NoResultError, match="min_support"):
        fit(task, ROWS, rounds=1)


# Dropouts


def test_a_company_that_leaves_in_a_sweep_restarts_it_and_the_fit_stays_good():
    pooled = model(sweeps=8, max_users=400).fit_plain([POOLED])
    plan = model(sweeps=8).plan(4)
    task = build_task(plan.kind, plan.parameters)
    layout, rng = task.layout(), np.random.default_rng(0)
    state, done, rounds = task.initial_state(), False, 0
    while not done:
        rounds += 1
        there = ROWS[:3] if 7 <= rounds <= 9 else ROWS
        vectors = [layout.flatten(task.contribute(state, rows, rounds, rng)) for rows in there]
        step = task.combine(state, layout.unflatten(sum(vectors)), rounds)
        state, done = step.state, step.done
        assert rounds < 60
    assert rounds > 1 + 8 * 4
    seen = Histories.from_interactions(POOLED).dense()[:, pooled.known_] > 0

    def margin(fitted):
        scores = fitted.scores(POOLED)[:, pooled.known_]
        return scores[seen].mean() - scores[~seen].mean()

    assert margin(model(sweeps=8).load({"ials": state})) > 0.97 * margin(pooled) > 0.1


# Use


def test_federated_factors_are_better_than_a_companys_own():
    holdouts = [leave_last_out(part) for part in SHOPS.parts]
    trained = [each.train for each in holdouts]
    counts = Histories.from_interactions(merge(trained)).raters.astype(float)
    together = model(min_support=2).fit_plain(trained)
    both, alone = Evaluator(counts, negatives=20), Evaluator(counts, negatives=20)
    for each in holdouts:
        both.add(together.scores, each)
        alone.add(model(min_support=2).fit_plain([each.train]).scores, each)
    assert both.result().ndcg > alone.result().ndcg


def test_a_new_company_folds_its_users_in_without_a_round():
    model_ = model(min_support=2).fit_plain(SHOPS.parts[:3])
    hidden = leave_last_out(SHOPS.parts[3])
    counts = Histories.from_interactions(hidden.train).raters.astype(float)
    folded, chance = Evaluator(counts, negatives=20), Evaluator(counts, negatives=20)
    folded.add(model_.scores, hidden)
    rng = np.random.default_rng(0)
    chance.add(lambda users: rng.random((users.people, users.count)), hidden)
    assert folded.result().sampled_ndcg > 1.2 * chance.result().sampled_ndcg


def test_a_user_without_known_items_gets_popular_ones(pooled):
    listed = pooled.recommend([], k=3)
    assert listed[0].item == int(pooled.popularity_.argmax())
    assert listed[0].score == 1
    strange = int(np.flatnonzero(~pooled.known_)[0])
    assert pooled.recommend([strange], k=3) == listed


def test_a_window_goes_by_the_latest_items_alone(pooled):
    history = SHOPS.parts[0].items[:8]
    narrow = pooled.recommend(history, k=5, window=3)
    wide = pooled.recommend(history[-3:], k=60)
    expected = [one.item for one in wide if one.item not in history][:5]
    assert [one.item for one in narrow] == expected


def test_reasons_sum_to_the_score_and_similar_items_share_kinds(pooled):
    history = SHOPS.parts[0].items[:6]
    best = pooled.recommend(history, k=1)[0]
    assert sum(one.score for one in pooled.explain(history, best.item)) == pytest.approx(best.score)
    shared = [
        bool(SHOPS.kinds[item] @ SHOPS.kinds[one.item])
        for item in pooled.chosen_[:30]
        for one in pooled.similar(int(item), k=5)
    ]
    assert np.mean(shared) > 1.2 * (SHOPS.kinds @ SHOPS.kinds.T > 0).mean()


def test_inverse_propensity_weights_lower_the_popularity_of_what_is_recommended():
    found = []
    for propensity in (0.0, 1.0):
        fitted = model(propensity=propensity, sweeps=5).fit_plain(SHOPS.parts)
        tops = [fitted.recommend(SHOPS.parts[0].history(u), k=5) for u in SHOPS.parts[0].user_keys]
        found.append(np.mean([fitted.popularity_[one.item] for row in tops for one in row]))
    assert found[1] < 0.9 * found[0]


def test_cold_items_get_factors_from_their_features():
    hidden = np.argsort(-Histories.from_interactions(POOLED).raters)[5:15]
    seen = [part.rows(~np.isin(part.items, hidden)) for part in SHOPS.parts]
    fitted = model(min_support=2).fit_plain(seen)
    assert not fitted.known_[hidden].any()
    warm = fitted.with_cold_items(SHOPS.kinds, ridge=1.0)
    assert warm.known_.all()
    assert np.array_equal(warm.factors_[fitted.known_], fitted.factors_[fitted.known_])
    truth = Histories.from_interactions(POOLED).dense()[:, hidden] > 0
    scores = warm.scores(merge(seen))[:, hidden]
    above = [
        (scores[u][truth[u]][:, None] > scores[u][~truth[u]]).mean()
        for u in range(len(truth))
        if 0 < truth[u].sum() < len(hidden)
    ]
    assert np.mean(above) > 0.6
    with pytest.raises(InputError, match="one row of features"):
        fitted.with_cold_items(SHOPS.kinds[1:])


def test_a_state_of_other_parameters_is_refused(pooled):
    with pytest.raises(MisuseError, match="other items or parameters"):
        copy.copy(pooled).load({"ials": {"factors": np.zeros((2, 2))}})
    with pytest.raises(AgreementError, match="chosen"):
        build_task("ials", {"items": 60, "chosen": ["zz"]})
