from hashlib import shake_256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression as SklearnLogistic

from protocols.errors import InputError, NoResultError, WireError
from securefed.data import Data, dirichlet_split, load_breast_cancer, train_test_split
from securefed.data.table import concatenate
from securefed.learning import Suggestion, build_task, suggest
from securefed.learning.glm import coefficients
from securefed.learning.moments import (
    TableParameters,
    contribute_moments,
    finish_moments,
    join_limbs,
    split_limbs,
)
from securefed.learning.reference import fit, fit_pooled, fixed_point_sum

KIND = "glm-logistic"


def no_bytes(_count):
    raise AssertionError("nearest rounding asks for no randomness")


@pytest.fixture(scope="module")
def parts():
    data, _ = train_test_split(load_breast_cancer(), test_fraction=0.3, seed=0)
    return dirichlet_split(data, companies=5, alpha=0.5, min_per_class=8, seed=1)


def small_parts(*, rows=40, companies=3, features=2, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(companies):
        x = rng.normal(size=(rows, features)) * [1e-3, 1e3] + [5, -200]
        chance = 1 / (1 + np.exp(-((x - [5, -200]) / [1e-3, 1e3]) @ [1.0, -2.0]))
        parts.append(Data(x, rng.random(rows) < chance))
    return parts


@pytest.mark.parametrize(
    "parameters",
    [
        {"features": 30},
        {"features": 30, "max_rows": 1_000_000, "feature_bound": 1e9},
        {"features": 30, "ridge": 1e-3, "max_rows": 1000},
        {"features": 30, "ridge": 100.0, "feature_clip": 4.0},
    ],
)
def test_coefficients_through_the_ring_equal_the_pooled_ones(parts, parameters):
    ring = suggest(KIND, parameters, 5)
    add = fixed_point_sum(ring, parties=5, random=no_bytes)
    federated = fit(build_task(KIND, parameters), parts, rounds=30, add=add)
    pooled = fit_pooled(KIND, parameters, parts, rounds=30)
    assert federated.done
    assert pooled.done
    assert federated.rounds <= 20
    gap = np.abs(federated.state["coefficients"] - pooled.state["coefficients"]).max()
    assert gap < 1e-6
    np.testing.assert_allclose(federated.state["mean"], pooled.state["mean"], rtol=1e-9)
    np.testing.assert_allclose(federated.state["scale"], pooled.state["scale"], rtol=1e-7)


def test_pooled_coefficients_are_those_of_scikit_learn(parts):
    features = concatenate(parts).features
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    for ridge in (0.5, 10.0):
        reference = SklearnLogistic(C=1 / ridge, tol=1e-12, max_iter=10_000)
        reference.fit(scaled, concatenate(parts).labels)
        pooled = fit_pooled(KIND, {"features": 30, "ridge": ridge}, parts, rounds=30)
        expected = np.concatenate([reference.intercept_, reference.coef_[0]])
        np.testing.assert_allclose(pooled.state["coefficients"], expected, atol=5e-6)


def test_coefficients_in_raw_units_predict_the_same(parts):
    task = build_task(KIND, {"features": 30})
    state = fit(task, parts, rounds=20).state
    raw = coefficients(state)
    features = parts[0].features
    expected = 1 / (1 + np.exp(-(raw[0] + features @ raw[1:])))
    np.testing.assert_allclose(task.predict_proba(state, features)[:, 1], expected, atol=1e-9)
    np.testing.assert_allclose(task.predict_proba(state, features).sum(axis=1), 1)


def test_separable_data_converges_to_finite_coefficients():
    x = np.linspace(-1, 1, 20)[:, None]
    parts = [Data(x, x[:, 0] > 0), Data(x * 2, x[:, 0] > 0)]
    for ridge, most in ((1.0, 3), (1e-3, 50), (1e-6, 1000)):
        end = fit(build_task(KIND, {"features": 1, "ridge": ridge}), parts, rounds=60)
        assert end.done
        assert 0 < np.abs(end.state["coefficients"]).max() < most


def test_a_step_that_lowers_the_likelihood_is_halved():
    # A start far from the optimum makes the full Newton step overshoot.
    task = build_task(KIND, {"features": 1, "standardize": False, "ridge": 1e-3})
    x = np.array([[-1.0], [-0.5], [0.5], [1.0], [0.2]])
    data = Data(x, np.array([0, 0, 1, 1, 0]))
    layout, rng = task.layout(), np.random.default_rng(0)
    state = task.initial_state() | {"candidate": np.array([0.0, 9.0])}
    objectives, halved = [], 0.0
    for number in range(1, 40):
        total = layout.unflatten(layout.flatten(task.contribute(state, data, number, rng)))
        step = task.combine(state, total, number)
        halved = max(halved, float(step.state["halvings"]))
        state = step.state
        if state["halvings"] == 0:
            objectives.append(float(state["objective"]))
        if step.done:
            break
    else:
        pytest.fail("did not converge")
    assert halved >= 1
    assert np.all(np.diff(objectives) >= -1e-7)


def test_a_party_that_drops_out_and_returns_does_not_stop_the_fit(parts):
    parameters = {"features": 30}
    task, layout = build_task(KIND, parameters), build_task(KIND, parameters).layout()
    state, rng = task.initial_state(), np.random.default_rng(0)
    for number in range(1, 30):
        present = parts[1:] if number in (3, 5, 8) else parts
        vectors = [layout.flatten(task.contribute(state, p, number, rng)) for p in present]
        step = task.combine(state, layout.unflatten(np.sum(vectors, axis=0)), number)
        state = step.state
        if step.done:
            break
    pooled = fit_pooled(KIND, parameters, parts, rounds=30)
    np.testing.assert_allclose(state["coefficients"], pooled.state["coefficients"], atol=1e-6)


def test_equal_labels_everywhere_end_with_a_reason():
    data = Data(np.arange(6.0)[:, None], np.ones(6))
    with pytest.raises(NoResultError, match="labels of all parties are equal"):
        fit(build_task(KIND, {"features": 1}), [data, data], rounds=5)


def test_a_constant_feature_gets_no_weight():
    parts = [Data(np.c_[p.features, np.full(len(p), 1e5 / 3)], p.labels) for p in small_parts()]
    state = fit(build_task(KIND, {"features": 3}), parts, rounds=30).state
    assert state["scale"][2] == 1.0
    assert abs(state["coefficients"][3]) < 1e-6


def test_features_of_any_magnitude_share_one_grid():
    parts = small_parts(rows=60)
    parameters = TableParameters(features=2, max_rows=100_000)
    ring = suggest(KIND, {"features": 2, "max_rows": 100_000}, 3)
    add = fixed_point_sum(ring, parties=3, random=no_bytes)
    limbs = [contribute_moments(part, parameters) for part in parts]
    total = add([limb.ravel() for limb in limbs]).reshape(limbs[0].shape)
    scaling, rows = finish_moments(total, parameters)
    features = concatenate(parts).features
    assert rows == len(features)
    np.testing.assert_allclose(scaling.mean, features.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(scaling.scale, features.std(axis=0), rtol=1e-6)


def test_limbs_restore_what_they_split():
    values = np.random.default_rng(0).uniform(-1, 1, 1000) ** 9
    values[:3] = [-1, 0, 1]
    limbs = split_limbs(values)
    assert np.abs(limbs).max() <= 1
    np.testing.assert_array_equal(join_limbs(limbs), values)
    on_grid = limbs[:-1] * 2**16
    np.testing.assert_array_equal(on_grid, np.round(on_grid))


def test_unusable_data_is_refused_before_anything_leaves():
    task, rng = build_task(KIND, {"features": 2, "max_rows": 3}), np.random.default_rng(0)
    state = task.initial_state()
    for data, reason in (
        (Data(np.zeros((2, 3)), np.zeros(2)), "columns"),
        (Data(np.zeros((4, 2)), np.zeros(4)), "max_rows"),
        (Data(np.zeros((2, 2)), np.array([0, 2])), "labels"),
        (Data(np.array([[0, 1], [0, 2e6]]), np.array([0, 1])), "column 1 exceeds feature_bound"),
    ):
        with pytest.raises(InputError, match=reason):
            task.contribute(state, data, 1, rng)


def test_a_state_of_another_task_is_refused():
    task, rng = build_task(KIND, {"features": 2}), np.random.default_rng(0)
    other = build_task(KIND, {"features": 3}).initial_state()
    data = Data(np.zeros((2, 2)), np.array([0, 1]))
    with pytest.raises(WireError, match="not a state of the agreed task"):
        task.contribute(other, data, 1, rng)
    ours = task.initial_state() | {"phase": np.array(1.0)}
    for bad, reason in (
        ({"candidate": np.full(3, 1e9)}, "coefficient"),
        ({"scale": np.zeros(2)}, "scale"),
    ):
        with pytest.raises(WireError, match=reason):
            task.contribute(ours | bad, data, 1, rng)


def test_a_contribution_never_exceeds_the_agreed_bound():
    parameters = {"features": 2, "max_rows": 4, "feature_clip": 1.0, "standardize": False}
    task, rng = build_task(KIND, parameters), np.random.default_rng(0)
    data = Data(np.full((4, 2), 1e5), np.zeros(4))
    for candidate in (np.zeros(3), np.full(3, 1e6)):
        sums = task.contribute(task.initial_state() | {"candidate": candidate}, data, 1, rng)
        assert max(np.abs(array).max() for array in sums.values()) <= task.numbers().bound


def test_a_coarse_ring_of_32_bits_still_finds_the_pooled_coefficients(parts):
    ring = Suggestion(suggest(KIND, {"features": 30}, 5).dimension, 1.0, 2.0**27, 32, "stochastic")
    add = fixed_point_sum(ring, parties=5, random=lambda count: shake_256(b"coins").digest(count))
    federated = fit(build_task(KIND, {"features": 30}), parts, rounds=30, add=add)
    pooled = fit_pooled(KIND, {"features": 30}, parts, rounds=30)
    gap = np.abs(federated.state["coefficients"] - pooled.state["coefficients"]).max()
    assert federated.done
    assert gap < 1e-6


@given(seed=st.integers(0, 2**32), features=st.integers(1, 6), parties=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_any_split_of_the_rows_gives_the_pooled_coefficients(seed, features, parties):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, features)) * 10.0 ** rng.integers(-4, 5, size=features)
    data = Data(x, rng.random(60) < 0.5)
    owners = rng.integers(parties, size=60)
    parts = [data.take(np.flatnonzero(owners == party)) for party in np.unique(owners)]
    parameters = {"features": features, "ridge": 0.1}
    ring = suggest(KIND, parameters, len(parts))
    add = fixed_point_sum(ring, parties=len(parts), random=no_bytes)
    federated = fit(build_task(KIND, parameters), parts, rounds=40, add=add)
    pooled = fit_pooled(KIND, parameters, parts, rounds=40)
    assert federated.done
    gap = np.abs(federated.state["coefficients"] - pooled.state["coefficients"]).max()
    assert gap < 1e-7


def test_predicting_with_other_columns_is_refused():
    task = build_task(KIND, {"features": 2})
    with pytest.raises(InputError, match="3 columns and the agreement says 2"):
        task.predict_proba(task.initial_state(), np.zeros((1, 3)))
