from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed import PrivacyGoal
from securefed.data import Data, breast_cancer_companies
from securefed.data.table import concatenate
from securefed.federation import Federation
from securefed.learning import FederatedGradientBoosting, build_task, suggest
from securefed.learning.boosting_bins import spread_ranks
from securefed.learning.boosting_trees import SplitRules, best_splits, bin_codes, follow, unpack
from securefed.learning.evaluation import auc
from securefed.learning.incomplete import IncompleteData
from securefed.learning.reference import fit, fixed_point_sum

PARTIES = ("north", "south", "west")
SMALL = {"trees": 4, "depth": 3, "bins": 12, "max_rows": 1000}


def federation(parties=PARTIES):
    return Federation("trees", parties, privacy=None)


def table(seed=0, rows=300, gaps=0.1):
    rng = np.random.default_rng(seed)
    x = np.c_[rng.normal(size=rows), rng.integers(0, 4, rows), rng.exponential(size=rows) * 1e5]
    score = x[:, 0] * (x[:, 1] > 1) + np.where(x[:, 2] > 5e4, 1.0, -0.5)
    x[rng.random(x.shape) < gaps] = np.nan
    return x, score + rng.normal(size=rows) * 0.3


def split_at(features, labels, cuts):
    parts = zip(np.split(features, cuts), np.split(labels, cuts), strict=True)
    return [IncompleteData(x, y) for x, y in parts if len(y)]


def same(one, other):
    return all(np.array_equal(one._state[name], other._state[name]) for name in one._state)


# Bit-identical to pooled


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(1, 149), min_size=1, max_size=6, unique=True).map(sorted),
    objective=st.sampled_from(["logistic", "squared"]),
)
def test_trees_are_those_of_the_pooled_rows_to_the_last_bit(seed, cuts, objective):
    features, target = table(seed, rows=150)
    labels = (target > 0).astype(float) if objective == "logistic" else target
    order = np.random.default_rng(seed).permutation(150)
    asked = FederatedGradientBoosting(objective=objective, **SMALL)
    pooled = clone(asked).fit_plain([IncompleteData(features, labels)])
    # However the rows are dealt, and in whatever order they lie.
    parts = split_at(features[order], labels[order], cuts)
    assert same(pooled, clone(asked).fit_plain(parts))


@pytest.mark.parametrize("objective", ["logistic", "squared"])
def test_trees_over_real_masks_are_the_pooled_ones_to_the_last_bit(objective):
    features, target = table()
    labels = (target > 0).astype(float) if objective == "logistic" else target * 1e4
    asked = FederatedGradientBoosting(objective=objective, **SMALL)
    parts = split_at(features, labels, [40, 140])
    model = clone(asked).fit(federation(), dict(zip(PARTIES, parts, strict=True)))
    pooled = clone(asked).fit_plain([IncompleteData(features, labels)])
    assert same(model, pooled)
    np.testing.assert_array_equal(
        model.decision_function(features), pooled.decision_function(features)
    )
    # A round for each level of each tree, and those that find the edges.
    assert model.n_rounds_ - 4 * 3 <= 23
    assert model.n_trees_ == 4
    assert model.complaints_ == ()


@pytest.mark.parametrize("parties", [2, 10, 1000])
def test_the_suggested_ring_carries_the_histograms_exactly(parties):
    features, target = table()
    [plan] = FederatedGradientBoosting(**SMALL).plan(3, parties)
    ring = suggest(plan.kind, plan.parameters, parties)
    task = build_task(plan.kind, plan.parameters)
    parts = split_at(features, (target > 0).astype(float), [100])
    add = fixed_point_sum(ring, parties=parties, random=bytes)
    ringed = fit(task, parts, rounds=plan.rounds, add=add)
    plain = fit(task, parts, rounds=plan.rounds)
    assert ringed.done
    for name, array in plain.state.items():
        np.testing.assert_array_equal(ringed.state[name], array)


def test_a_party_that_begins_anew_in_the_middle_sends_the_very_same_sums():
    features, target = table()
    rows = IncompleteData(features, (target > 0).astype(float))
    [plan] = FederatedGradientBoosting(**SMALL).plan(3, 2)
    rng = np.random.default_rng(0)
    task = build_task(plan.kind, plan.parameters)
    half = fit(task, [rows], rounds=fit(task, [rows], rounds=plan.rounds).rounds - 5).state
    assert half["tree"] == 2
    kept = task.contribute(half, rows, 1, rng)
    anew = build_task(plan.kind, plan.parameters).contribute(half, rows, 1, rng)
    for name, array in kept.items():
        np.testing.assert_array_equal(anew[name], array)
    # Nor does it matter what was kept from another run.
    other = dict(half) | {"leaves": half["leaves"] + 0.25, "base": half["base"] + 1}
    changed = task.contribute(other, rows, 1, rng)
    expected = build_task(plan.kind, plan.parameters).contribute(other, rows, 1, rng)
    for name, array in expected.items():
        np.testing.assert_array_equal(changed[name], array)


# Quality


def test_it_is_as_good_as_scikit_learns_boosting():
    split = breast_cancer_companies(seed=0)
    everything = concatenate(split.parts)
    own = FederatedGradientBoosting(trees=60, depth=3).fit_plain(split.parts)
    theirs = GradientBoostingClassifier(n_estimators=60, max_depth=3, random_state=0).fit(
        everything.features, everything.labels
    )
    area = auc(split.test.labels, own.decision_function(split.test.features))
    assert area > 0.98
    reference = auc(split.test.labels, theirs.decision_function(split.test.features))
    assert area > reference - 0.01
    assert own.score(split.test.features, split.test.labels) > 0.93
    probabilities = own.predict_proba(split.test.features)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(own.classes_, [0, 1])
    assert own.feature_importances_.sum() == pytest.approx(1)
    assert own.feature_importances_.min() >= 0


def test_regression_is_as_good_as_scikit_learns():
    features, target = load_diabetes(return_X_y=True)
    train, test = slice(0, 300), slice(300, None)
    own = FederatedGradientBoosting(objective="squared", trees=60, depth=2, label_bound=1e3)
    own.fit_plain([Data(features[train], target[train])])
    theirs = GradientBoostingRegressor(n_estimators=60, max_depth=2, random_state=0)
    theirs.fit(features[train], target[train])
    reference = theirs.score(features[test], target[test])
    assert own.score(features[test], target[test]) > max(0.35, reference - 0.05)
    with pytest.raises(MisuseError, match="predicts no classes"):
        own.predict_proba(features)


def test_a_generous_label_bound_changes_little():
    features, target = load_diabetes(return_X_y=True)
    fits = [
        FederatedGradientBoosting(objective="squared", trees=20, depth=2, label_bound=bound)
        .fit_plain([Data(features, target)])
        .predict(features)
        for bound in (400.0, 1e6)
    ]
    assert np.corrcoef(*fits)[0, 1] > 0.999


# Bins


@settings(max_examples=20, deadline=None)
@given(
    frequent=st.lists(st.integers(-5, 5), min_size=1, max_size=3, unique=True),
    rare=st.lists(st.floats(-8, 8), min_size=1, max_size=20),
)
def test_a_frequent_value_gets_a_bin_of_its_own_and_the_others_share_the_rest(frequent, rare):
    values = np.array([*np.repeat(frequent, 30), *rare, *rare], dtype=float)
    labels = np.arange(len(values)) % 2
    asked = FederatedGradientBoosting(trees=1, depth=1, bins=8, min_support=1)
    model = asked.fit_plain([Data(values[:, np.newaxis], labels)])
    codes = bin_codes(values[:, np.newaxis], model.bin_edges_)[:, 0]
    for one in frequent:
        # Edges are known to a millionth: what lies nearer than that stays together.
        assert np.abs(values[codes == codes[0 + frequent.index(one) * 30]] - one).max() < 1e-5
    assert codes.max() < 8


def test_edges_are_even_where_no_value_is_frequent():
    values = np.random.default_rng(0).normal(size=(4000, 1))
    asked = FederatedGradientBoosting(trees=1, depth=1, bins=16)
    model = asked.fit_plain([Data(values, values[:, 0] > 0)])
    codes = bin_codes(values, model.bin_edges_)[:, 0]
    counts = np.bincount(codes)
    assert len(counts) == 16
    assert np.ptp(counts) <= 16


def test_places_skip_the_rows_of_frequent_values():
    # Of 100 rows, 50 hold one value and 30 the next; the others lie above.
    below, upto = np.array([0, 0, 50, 50, 80.0]), np.array([50, 50, 80, 80, 95.0])
    np.testing.assert_array_equal(spread_ranks(5, below, upto, 100), [50, 80, 85, 90, 95])
    below, upto = np.array([0, 0, 0, 90.0]), np.array([90, 90, 90, 91.0])
    np.testing.assert_array_equal(spread_ranks(4, below, upto, 100), [90, 93, 95, 98])
    # More frequent values than edges: each still ends somewhere, as far as there are edges.
    below, upto = np.array([0.0, 30.0, 60.0]), np.array([20.0, 50.0, 80.0])
    np.testing.assert_array_equal(spread_ranks(3, below, upto, 80), [20, 30, 50])


# Gaps, constants and categories


def test_gaps_go_where_they_fit_and_tell_something():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    labels = (rng.random(400) < 0.5).astype(float)
    x[(labels == 1) & (rng.random(400) < 0.8), 0] = np.nan
    model = FederatedGradientBoosting(trees=5, depth=2).fit_plain([IncompleteData(x, labels)])
    assert model.score(x, labels) > 0.85
    assert model.predict([[np.nan, 0.0]]) == 1
    assert model.feature_importances_[0] > 0.8


def test_where_training_saw_no_gap_one_goes_to_the_heavier_side():
    x = np.r_[np.zeros(90), np.ones(30)][:, np.newaxis]
    model = FederatedGradientBoosting(trees=1, depth=1, bins=2).fit_plain([Data(x, x[:, 0])])
    odds = model.decision_function([[0.0], [1.0], [np.nan]])
    assert odds[2] == odds[0] < odds[1]


def test_constant_and_empty_columns_are_never_split():
    features, target = table(gaps=0)
    wide = np.c_[features, np.full(300, 2.5), np.full(300, np.nan)]
    labels = (target > 0).astype(float)
    model = FederatedGradientBoosting(**SMALL).fit_plain([IncompleteData(wide, labels)])
    np.testing.assert_array_equal(model.feature_importances_[3:], 0)
    without = FederatedGradientBoosting(**SMALL).fit_plain([IncompleteData(features, labels)])
    np.testing.assert_array_equal(
        model.decision_function(wide), without.decision_function(features)
    )
    # A category that was never seen is a number like any other.
    assert np.isfinite(model.decision_function([[0.0, 99.0, 0.0, 2.5, 1.0]])).all()


def test_a_table_that_admits_no_split_gives_the_mean():
    model = FederatedGradientBoosting(objective="squared", trees=3, depth=2)
    model.fit_plain([Data(np.ones((20, 1)), np.arange(20.0))])
    np.testing.assert_allclose(model.predict(np.ones((2, 1))), 9.5, atol=1e-3)
    np.testing.assert_array_equal(model.feature_importances_, 0)
    with pytest.raises(NoResultError, match="labels of all parties are equal"):
        FederatedGradientBoosting().fit_plain([Data(np.ones((20, 1)), np.ones(20))])


# Parts


def test_a_split_found_from_sums_is_the_one_of_brute_force():
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 6, (200, 2)).astype(np.int16)  # bin 5 holds gaps
    g, h = rng.integers(-50, 50, 200).astype(float), rng.integers(1, 9, 200).astype(float)
    sums = [
        np.stack([np.bincount(codes[:, k], each, 6) for k in range(2)])[np.newaxis]
        for each in (g, h)
    ]
    found = best_splits(*sums, SplitRules(1.0, 20.0, 0.0))
    best = (-np.inf, None)
    for feature in range(2):
        for last in range(5):
            for gaps_left in (False, True):
                left = np.where(codes[:, feature] == 5, gaps_left, codes[:, feature] <= last)
                sides = [(g[side].sum(), h[side].sum()) for side in (left, ~left)]
                if min(weight for _, weight in sides) < 20:
                    continue
                gain = sum(a * a / (b + 1) for a, b in sides) - g.sum() ** 2 / (h.sum() + 1)
                if gain > best[0] + 1e-9:
                    best = (gain, (feature, last, gaps_left))
    feature, last, gaps_left = (part[0] for part in unpack(found.codes, 6))
    assert (feature, last, gaps_left) == best[1]
    assert found.gains[0] == pytest.approx(best[0])
    goes_right = follow(codes, found.codes, 1, 6) == 1
    expected = [-g[side].sum() / (h[side].sum() + 1) for side in (~goes_right, goes_right)]
    np.testing.assert_allclose(found.leaves, expected)


def test_bins_are_closed_above_and_gaps_have_their_own():
    edges = np.array([[0.0, 1.0, 1.0]])
    values = np.array([[-1.0], [0.0], [0.5], [1.0], [2.0], [np.nan]])
    np.testing.assert_array_equal(bin_codes(values, edges)[:, 0], [0, 0, 1, 1, 3, 4])


# Bad data and hostile states


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Data(np.ones((5, 2)), np.ones(5)), "features has 2 columns"),
        (Data(np.ones((5, 3)), np.full(5, 2.0)), "labels holds values outside"),
        (Data(np.ones((1001, 3)), np.ones(1001)), "allows max_rows = 1000"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_sent(bad, message):
    features, target = table()
    good = IncompleteData(features, (target > 0).astype(float))
    with pytest.raises(InputError, match=f"west: .*{message}"):
        FederatedGradientBoosting(**SMALL).fit(
            federation(), {"north": good, "south": good, "west": bad}
        )


def test_a_party_with_one_class_takes_part():
    features, target = table()
    labels = (target > 0).astype(float)
    order = np.argsort(labels, kind="stable")
    parts = split_at(features[order], labels[order], [50, 250])
    model = FederatedGradientBoosting(**SMALL).fit(
        federation(), dict(zip(PARTIES, parts, strict=True))
    )
    assert set(parts[0].labels) == {0.0}
    assert model.score(features, labels) > 0.8


def test_a_state_out_of_range_is_refused_at_the_party():
    features, target = table()
    rows = IncompleteData(features, (target > 0).astype(float))
    [plan] = FederatedGradientBoosting(**SMALL).plan(3, 2)
    whole = fit(build_task(plan.kind, plan.parameters), [rows], rounds=plan.rounds)
    state = fit(build_task(plan.kind, plan.parameters), [rows], rounds=whole.rounds - 5).state
    build_task(plan.kind, plan.parameters).contribute(state, rows, 1, np.random.default_rng(0))
    for change in (
        {"tree": np.array(4.0)},
        {"level": np.array(0.5)},
        {"level": np.array(-1.0)},
        {"splits": np.full_like(state["splits"], 1e6)},
        {"splits": np.full_like(state["splits"], -2)},
        {"high": state["high"][:, ::-1].copy()},
        {"high": np.full_like(state["high"], 1e15)},
    ):
        task = build_task(plan.kind, plan.parameters)
        with pytest.raises(WireError, match=r"out of (range|order)"):
            task.contribute(dict(state) | change, rows, 1, np.random.default_rng(0))


def test_parameters_are_checked_and_privacy_is_refused_by_name():
    for change in ({"depth": 11}, {"bins": 1}, {"min_support": 0}):
        [key] = change
        with pytest.raises(AgreementError, match=key):
            FederatedGradientBoosting(**change).add_to(federation(), features=3)
    private = Federation("trees", PARTIES, privacy=PrivacyGoal(epsilon=1.0, delta=1e-6))
    with pytest.raises(MisuseError, match=r"FederatedGradientBoosting .*no differentially private"):
        FederatedGradientBoosting().add_to(private, features=3)
    with pytest.raises(MisuseError, match="not fitted yet"):
        FederatedGradientBoosting().predict([[1.0]])
    with pytest.raises(MisuseError, match="not fitted yet"):
        FederatedGradientBoosting().predict_proba([[1.0]])


def test_a_deployed_model_is_loaded_from_its_state():
    features, target = table()
    labels = (target > 0).astype(float)
    asked = FederatedGradientBoosting(**SMALL)
    lead = asked.add_to(federation(), "risk", features=3)
    parts = dict(zip(PARTIES, split_at(features, labels, [40, 140]), strict=True))
    loaded = clone(asked).load(lead.simulate(parts).models, "risk")
    fitted = clone(asked).fit_plain(list(parts.values()))
    np.testing.assert_array_equal(loaded.predict(features), fitted.predict(features))
    with pytest.raises(InputError, match="fitted on 3"):
        loaded.predict(features[:, :2])
    with pytest.raises(InputError, match="300 rows and labels 2"):
        loaded.score(features, labels[:2])
    with pytest.raises(WireError, match="not a state of the agreed task"):
        clone(asked).set_params(depth=2).load({"boosting": loaded._state})
