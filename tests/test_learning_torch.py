import itertools
from hashlib import shake_256

import numpy as np
import pytest
import torch
from torch import nn

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError, WireError
from securefed.data import Data, breast_cancer_companies
from securefed.learning import build_task, models, state_digest, suggest
from securefed.learning.demo import NEURAL_NETWORK
from securefed.learning.evaluation import compare, predict_proba, score
from securefed.learning.models import register_model
from securefed.learning.reference import fit, fit_pooled, fixed_point_sum
from securefed.learning.strategies import (
    AdaptiveMoments,
    AdaptiveRates,
    clip_l2,
    federated_adam,
    federated_average,
    federated_yogi,
    l2_norm,
)
from securefed.learning.torch_parameters import limit_threads
from securefed.learning.training import minibatches

limit_threads(1)


@pytest.fixture(autouse=True)
def own_models(monkeypatch):
    monkeypatch.setattr(models, "_MODELS", dict(models._MODELS))


def seeded_bytes(seed):
    numbers = itertools.count()
    return lambda count: shake_256(bytes([seed, next(numbers)])).digest(count)


def blobs(*, rows=40, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = np.array([[2.0, 0], [-2, 0], [0, 3]])
    return Data(centres[labels] + rng.normal(size=(rows, 2)), labels)


def small(**changes):
    return {"features": 2, "max_rows": 100, "hidden": [4], "standardize": False} | changes


def contribution(task, state, data, seed=0):
    return task.contribute(state, data, 1, np.random.default_rng(seed))


def flat(arrays, prefix):
    return np.concatenate([a.ravel() for name, a in arrays.items() if name.startswith(prefix)])


def test_initial_weights_are_the_same_bytes_on_every_machine():
    task = build_task("torch", {"features": 3, "hidden": [5], "seed": 7})
    assert state_digest(task.initial_state()).hex() == (
        "848544b58053272201a746450048c2289eee2628b8354e2389bfc10aa0a9882b"
    )
    torch.manual_seed(123)
    again = build_task("torch", {"features": 3, "hidden": [5], "seed": 7})
    assert state_digest(again.initial_state()) == state_digest(task.initial_state())
    other = build_task("torch", {"features": 3, "hidden": [5], "seed": 8})
    assert state_digest(other.initial_state()) != state_digest(task.initial_state())
    assert np.abs(flat(task.initial_state(), "model.0.weight")).max() <= 1 / np.sqrt(3)


def test_building_and_training_leave_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    task = build_task("torch", small())
    contribution(task, task.initial_state(), blobs())
    assert torch.equal(torch.rand(3), expected)


def test_a_contribution_is_deterministic_given_the_generator():
    task = build_task("torch", small(optimizer="adam"))
    state = task.initial_state()
    first, again = (contribution(task, state, blobs(), seed=1) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    other = contribution(task, state, blobs(), seed=2)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_one_full_batch_step_of_one_party_is_gradient_descent():
    parameters = small(model="logistic", local_steps=1, batch_size=1000, learning_rate=0.5)
    task, data = build_task("torch", parameters), blobs()
    state = task.initial_state()
    end = fit(task, [data], rounds=1).state
    weight, bias = state["model.0.weight"][0].astype(float), state["model.0.bias"][0].astype(float)
    error = 1 / (1 + np.exp(-(data.features @ weight + bias))) - data.labels
    expected = weight - 0.5 * error @ data.features / len(data)
    np.testing.assert_allclose(end["model.0.weight"][0], expected, atol=1e-6)
    np.testing.assert_allclose(end["model.0.bias"][0], bias - 0.5 * error.mean(), atol=1e-6)


def test_parties_weigh_by_their_rows_and_the_weight_travels_inside():
    task = build_task("torch", small())
    state, layout = task.initial_state(), task.layout()
    parts = [blobs(rows=10, seed=1), blobs(rows=60, seed=2)]
    sums = [contribution(task, state, part) for part in parts]
    assert [float(s["weight"]) for s in sums] == [0.1, 0.6]
    total = layout.flatten(sums[0]) + layout.flatten(sums[1])
    step = task.combine(state, layout.unflatten(total), 1)
    assert step.metrics["rows"] == 70
    for name in state:
        update = [s[name.replace("model", "update")] / float(s["weight"]) for s in sums]
        expected = state[name] + (10 * update[0] + 60 * update[1]) / 70
        np.testing.assert_allclose(step.state[name], expected, atol=1e-6)


def test_an_update_never_exceeds_the_clip_norm():
    parameters = small(clip_norm=0.01, learning_rate=1.0, max_rows=40)
    task = build_task("torch", parameters)
    sums = contribution(task, task.initial_state(), blobs())
    assert np.linalg.norm(flat(sums, "update.")) <= 0.01 * (1 + 1e-9)
    assert max(np.abs(a).max() for a in sums.values()) <= task.numbers().bound


def test_fedprox_keeps_the_update_closer_to_the_global_model():
    norms = []
    for mu in (0.0, 1.0, 10.0):
        task = build_task("torch", small(proximal=mu, local_steps=200))
        sums = contribution(task, task.initial_state(), blobs())
        norms.append(np.linalg.norm(flat(sums, "update.")))
    assert norms[0] > 1.5 * norms[1] > 1.5 * norms[2]


@pytest.mark.parametrize("server", ["adam", "yogi"])
def test_adaptive_servers_follow_the_paper_over_three_rounds(server):
    beta1, beta2, eta, tau = 0.9, 0.8, 0.1, 1e-3
    model = {"w": np.array([1.0, -2.0, 0.3])}
    moments = AdaptiveMoments({"w": np.zeros(3)}, {"w": np.full(3, tau**2)})
    step = federated_adam if server == "adam" else federated_yogi
    m, v, x = np.zeros(3), np.full(3, tau**2), model["w"]
    # The second update is smaller than the root of v in two places: there Yogi takes away.
    for d in ([0.5, -0.1, 1e-4], [0.05, 0.01, -0.4], [-0.2, 0.3, 0.0]):
        update = np.array(d)
        model, moments = step(model, {"w": update}, moments, AdaptiveRates(eta, beta1, beta2, tau))
        m = beta1 * m + (1 - beta1) * update
        for i, square in enumerate(update**2):
            if server == "adam":
                v[i] = beta2 * v[i] + (1 - beta2) * square
            elif v[i] > square:
                v[i] -= (1 - beta2) * square
            else:
                v[i] += (1 - beta2) * square
        x = x + eta * m / (np.sqrt(v) + tau)
        np.testing.assert_allclose(model["w"], x)
        np.testing.assert_allclose(moments.second["w"], v)


def test_fedyogi_forgets_a_large_update_more_slowly_than_fedadam():
    rates = AdaptiveRates(0.1, 0.9, 0.9, 1e-3)
    left = []
    for step in (federated_adam, federated_yogi):
        model, moments = {"w": np.zeros(1)}, AdaptiveMoments({"w": np.zeros(1)}, {"w": np.ones(1)})
        for _ in range(50):
            model, moments = step(model, {"w": np.full(1, 0.01)}, moments, rates)
        left.append(float(moments.second["w"][0]))
    assert left[0] < 0.01
    assert 0.99 < left[1] < 1


def test_a_server_rate_of_one_replaces_the_model_by_the_average():
    model, d = {"w": np.array([1.0])}, {"w": np.array([0.5])}
    assert federated_average(model, d, 1.0)["w"] == 1.5
    assert federated_average(model, d, 0.5)["w"] == 1.25


def test_clipping_scales_the_whole_update():
    update = {"a": np.array([3.0]), "b": np.array([[4.0]])}
    assert l2_norm(update) == 5
    clipped = clip_l2(update, 1.0)
    np.testing.assert_allclose([clipped["a"][0], clipped["b"][0, 0]], [0.6, 0.8])
    assert clip_l2(update, 10.0)["a"][0] == 3.0
    assert clip_l2({"a": np.zeros(2)}, 1.0)["a"].sum() == 0
    with pytest.raises(InputError, match="not finite"):
        clip_l2({"a": np.array([np.nan])}, 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"momentum": 0.9, "weight_decay": 1e-4},
        {"proximal": 0.1},
        {"server": "adam", "server_learning_rate": 0.05},
        {"server": "yogi", "server_learning_rate": 0.05},
        {"model": "logistic"},
        {"standardize": True},
    ],
)
def test_every_strategy_learns_two_blobs(changes):
    task = build_task("torch", small(**changes))
    parts = [blobs(seed=1), blobs(rows=20, seed=2)]
    end = fit(task, parts, rounds=12)
    assert score("x", task, end.state, blobs(rows=100, seed=9)).accuracy > 0.93
    losses = [metrics["loss"] for metrics in end.history if "loss" in metrics]
    assert losses[-1] < losses[0]


def test_three_classes_are_learnt():
    task = build_task("torch", small(classes=3, hidden=[8], learning_rate=0.1))
    parts = [blobs(classes=3, rows=60, seed=seed) for seed in (1, 2)]
    state = fit(task, parts, rounds=15).state
    test = blobs(classes=3, rows=90, seed=9)
    probabilities = predict_proba(task, state, test.features)
    assert probabilities.shape == (90, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert score("x", task, state, test).accuracy > 0.85
    assert score("x", task, state, test).auc is None
    with pytest.raises(InputError, match="labels"):
        contribution(task, state, Data(np.zeros((1, 2)), np.array([3])))


def test_minibatches_are_whole_passes_over_the_rows():
    rng = np.random.default_rng(0)
    batches = list(minibatches(10, 3, 7, rng))
    assert all(len(batch) == 3 for batch in batches)
    for start in (0, 3):
        assert len(set(np.concatenate(batches[start : start + 3]))) == 9
    assert [len(batch) for batch in minibatches(2, 32, 2, rng)] == [2, 2]


def test_a_module_of_ones_own_is_trained_and_frozen_weights_stay():
    def factory(parameters):
        frozen = nn.Linear(parameters.features, 6)
        frozen.requires_grad_(requires_grad=False)
        return nn.Sequential(frozen, nn.Dropout(0.2), nn.Tanh(), nn.Linear(6, 1))

    register_model("own", factory)
    with pytest.raises(MisuseError, match="registered already"):
        register_model("own", factory)
    task = build_task("torch", small(model="own"))
    assert task.layout().size == 6 + 1 + 2
    start = task.initial_state()
    end = fit(task, [blobs(seed=1), blobs(seed=2)], rounds=3).state
    np.testing.assert_array_equal(start["model.0.weight"], end["model.0.weight"])
    assert not np.array_equal(start["model.3.weight"], end["model.3.weight"])
    assert build_task("torch", small(model="own")).initial_state().keys() == start.keys()


def test_a_module_that_cannot_be_averaged_is_refused():
    register_model("norm", lambda _: nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)))
    register_model("idle", lambda _: nn.Tanh())
    for model, reason in (("norm", "GroupNorm"), ("idle", "no trainable weight")):
        with pytest.raises(AgreementError, match=reason) as caught:
            build_task("torch", small(model=model), name="net")
        assert caught.value.key == "tasks.net.parameters.model"


def test_hostile_weights_or_a_diverging_rate_never_leave_the_party():
    task = build_task("torch", small(learning_rate=100.0, local_steps=50, clip_norm=1.0))
    state = task.initial_state()
    huge = {name: np.full_like(array, 1e38) for name, array in state.items()}
    with pytest.raises(InputError, match="not finite"):
        contribution(task, huge, blobs())
    with pytest.raises(WireError, match="not a state of the agreed task"):
        contribution(task, state | {"extra": np.zeros(1)}, blobs())


def test_a_sum_without_weight_is_no_result():
    task = build_task("torch", small())
    with pytest.raises(NoResultError, match="weight"):
        task.combine(task.initial_state(), task.layout().zeros(), 1)


def test_the_demonstration_beats_local_models_and_nears_the_pooled_one():
    split, demo = breast_cancer_companies(), NEURAL_NETWORK
    ring = suggest(demo.kind, demo.parameters, 5)
    task = build_task(demo.kind, demo.parameters)
    add = fixed_point_sum(ring, parties=5, random=seeded_bytes(1))
    federated = fit(task, split.parts, rounds=demo.rounds, add=add)
    plain = fit(task, split.parts, rounds=demo.rounds)
    for name, array in plain.state.items():
        np.testing.assert_allclose(federated.state[name], array, atol=5e-3, rtol=1e-4)
    table = compare(
        demo.kind,
        demo.parameters,
        split.parts,
        split.test,
        rounds=demo.rounds,
        federated=federated.state,
    )
    assert table.federated.auc > table.local.auc + 0.01
    assert table.federated.accuracy > table.local.accuracy + 0.02
    assert table.federated.auc > table.pooled.auc - 0.005
    assert "local-only (mean)" in str(table)


def test_standardising_makes_raw_units_trainable():
    split = breast_cancer_companies()
    shared = dict(NEURAL_NETWORK.parameters)
    with_it = fit_pooled("torch", shared, split.parts, rounds=6)
    rows = sum(len(part) for part in split.parts)
    assert with_it.history[0] == {"rows": rows}
    features = np.concatenate([part.features for part in split.parts])
    np.testing.assert_allclose(with_it.state["mean"], features.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(with_it.state["scale"], features.std(axis=0), rtol=1e-6)
    assert with_it.history[-1]["loss"] < 0.3
