import itertools
from hashlib import shake_256

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from protocols.errors import AgreementError, InputError, MisuseError, WireError
from protocols.privacy.clipping import GridClip, sum_of_people
from securefed.data import Data
from securefed.learning import build_task, models, person_gradients, private_logistic, public_table
from securefed.learning.full_norm import full_norm, undo_full_norm
from securefed.learning.models import register_model
from securefed.learning.private_logistic import raw_coefficients
from securefed.learning.server_steps import Memory, ServerParameters, server_step
from securefed.learning.state import state_from_bytes, state_to_bytes
from securefed.learning.torch_parameters import limit_threads

limit_threads(1)

KINDS = {
    "dp-logistic": {},
    "dp-glm": {},
    "dp-torch": {"hidden": [4]},
}


@pytest.fixture(autouse=True)
def own_models(monkeypatch):
    monkeypatch.setattr(models, "_MODELS", dict(models._MODELS))


def seeded_bytes(seed):
    numbers = itertools.count()
    return lambda count: shake_256(bytes([seed, next(numbers)])).digest(count)


def people(rows=40, features=3, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    return Data(rng.normal(size=(rows, features)), rng.integers(0, classes, rows))


def vectors(task, state, data, seed=0):
    return np.concatenate(list(task.per_person(state, data, 1, np.random.default_rng(seed))))


def moved(task, scale=0.3, seed=1):
    """Return a state whose weights are somewhere else than at the start."""
    state = task.initial_state()
    if task.kind == "dp-glm":
        state = after_curvature(task, people())
    shift = np.random.default_rng(seed).normal(scale=scale, size=state["server.weights"].shape)
    return state | {
        "server.weights": (state["server.weights"] + shift).astype(state["server.weights"].dtype)
    }


def clipped_total(task, state, data, clip_norm=1.0):
    """Return the sum of clipped vectors in float64: a noised sum without noise and grid."""
    rows = vectors(task, state, data)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * np.minimum(1, clip_norm / np.maximum(norms, 1e-300))).sum(axis=0)


def combined(task, state, total, *, expected_people, noise_std=0.0, clip_norm=1.0):
    arrays = task.layout().unflatten(total)
    step = task.combine(state, arrays, expected_people, clip_norm, noise_std, 1)
    return state_from_bytes(state_to_bytes(step.state)), step


def after_curvature(task, data):
    state, total = task.initial_state(), None
    total = clipped_total(task, state, data)
    return combined(task, state, total, expected_people=len(data))[0]


def test_a_logistic_vector_is_the_persons_own_negative_gradient():
    task, data = build_task("dp-logistic", {"features": 3}), people()
    state = moved(task)
    found = vectors(task, state, data)
    for row, (x, y) in enumerate(zip(data.features, data.labels, strict=True)):
        weights = torch.tensor(state["server.weights"], requires_grad=True)
        design = torch.tensor(np.concatenate([[1.0], np.clip(x, -3, 3)]))
        loss = functional.binary_cross_entropy_with_logits(design @ weights, torch.tensor(y))
        (gradient,) = torch.autograd.grad(loss, weights)
        np.testing.assert_allclose(found[row], -gradient.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("classes", "model"), [(2, "mlp"), (3, "mlp"), (2, "logistic"), (4, "logistic")]
)
def test_a_torch_vector_is_the_persons_own_negative_gradient(classes, model):
    task = build_task(
        "dp-torch", {"features": 3, "classes": classes, "model": model, "hidden": [5, 4]}
    )
    data, state = people(classes=classes), moved(task)
    found = vectors(task, state, data)
    for row in range(len(data)):
        module = task._module()
        load(task, module, state)
        one_by_one = gradient_of(module, data.features[row], data.labels[row], classes)
        np.testing.assert_allclose(found[row], -one_by_one, atol=1e-5)


def load(task, module, state):
    tensors = task._tensors(state["server.weights"].astype(np.float64))
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(tensors[name])


def gradient_of(module, features, label, classes):
    row = torch.tensor(np.clip(features, -3, 3)[np.newaxis], dtype=torch.float32)
    logits = module(row)
    if classes == 2:
        target = torch.tensor([[label]], dtype=torch.float32)
        loss = functional.binary_cross_entropy_with_logits(logits, target)
    else:
        loss = functional.cross_entropy(logits, torch.tensor([int(label)]))
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    return np.concatenate([gradient.numpy().ravel() for gradient in gradients])


def test_a_torch_vector_of_several_steps_is_how_far_the_person_alone_would_go():
    rate, steps = 0.2, 3
    task = build_task(
        "dp-torch",
        {"features": 3, "hidden": [4], "local_steps": steps, "local_learning_rate": rate},
    )
    data, state = people(rows=6), moved(task)
    found = vectors(task, state, data)
    for row in range(len(data)):
        module = task._module()
        load(task, module, state)
        start = nn.utils.parameters_to_vector(module.parameters()).detach().numpy().copy()
        optimizer = torch.optim.SGD(module.parameters(), lr=rate)
        for _ in range(steps):
            optimizer.zero_grad()
            logits = module(torch.tensor(np.clip(data.features[row : row + 1], -3, 3)).float())
            target = torch.tensor([[data.labels[row]]]).float()
            functional.binary_cross_entropy_with_logits(logits, target).backward()
            optimizer.step()
        end = nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
        np.testing.assert_allclose(found[row], (end - start) / rate, atol=1e-4)


def test_a_glm_sums_outer_products_first_and_then_scores_in_the_published_coordinates():
    task, data = build_task("dp-glm", {"features": 3}), people()
    design = np.c_[np.ones(len(data)), np.clip(data.features, -3, 3)]
    total = clipped_total(task, task.initial_state(), data)
    state, _ = combined(task, task.initial_state(), total, expected_people=len(data))
    bounded = design / np.maximum(np.linalg.norm(design, axis=1, keepdims=True), 2.0)
    np.testing.assert_allclose(
        state["second_moments"], 4 * bounded.T @ bounded / len(data), atol=1e-12
    )
    # In these coordinates the curvature of the mean loss is at most 1.
    seen = design @ state["coordinates"]
    assert (
        np.linalg.eigvalsh(
            state["coordinates"].T @ state["second_moments"] @ state["coordinates"] / 4
        ).max()
        <= 1 + 1e-9
    )
    found = vectors(task, state, data)[:, -4:]
    np.testing.assert_allclose(
        found, seen * (data.labels - 0.5)[:, np.newaxis] / state["unit"], atol=1e-12
    )


def test_a_glm_without_noise_comes_to_rest_at_the_maximum_of_the_likelihood():
    task = build_task(
        "dp-glm", {"features": 3, "row_norm": 10.0, "noise_ridge": 0.0, "averaging": 1e9}
    )
    data = people(rows=300, seed=3)
    labels = (np.random.default_rng(0).random(300) < 1 / (1 + np.exp(-data.features[:, 0]))) * 1.0
    data = Data(data.features, labels)
    state = task.initial_state()
    for _ in range(60):
        total = clipped_total(task, state, data, clip_norm=1e6)
        state, _ = combined(task, state, total, expected_people=300, clip_norm=1e6)
    design = np.c_[np.ones(300), np.clip(data.features, -3, 3)]
    gaps = labels - task.predict_proba(state, data.features)[:, 1]
    assert np.abs(design.T @ gaps / 300).max() < 1e-6


def test_what_noise_did_to_the_curvature_is_repaired():
    task = build_task("dp-glm", {"features": 3})
    noise = np.random.default_rng(0).normal(scale=50.0, size=task.layout().size)
    state, _ = combined(task, task.initial_state(), noise, expected_people=40, noise_std=50.0)
    matrix = state["second_moments"]
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() < 0
    # The ridge follows from the known noise: no direction is stretched further than it allows.
    edge = 2 * np.sqrt(4 / 2) * 50.0 / 40 * 4
    assert np.linalg.norm(state["coordinates"], 2) <= 1 / np.sqrt(0.25 * 0.3 * edge) + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_chunking_does_not_change_what_people_add(kind, monkeypatch):
    task, data = build_task(kind, {"features": 3} | KINDS[kind]), people(rows=57)
    state = moved(task)
    whole = list(task.per_person(state, data, 1, np.random.default_rng(0)))
    assert len(whole) == 1
    monkeypatch.setattr(public_table, "_CHUNK_VALUES", 10 * task.layout().size)
    pieces = list(task.per_person(state, data, 1, np.random.default_rng(0)))
    assert [len(piece) for piece in pieces] == [10, 10, 10, 10, 10, 7]
    np.testing.assert_allclose(np.concatenate(pieces), whole[0], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_passes_from_one_person_to_another(kind):
    task, data = build_task(kind, {"features": 3} | KINDS[kind]), people(rows=20)
    state = moved(task)
    together = vectors(task, state, data)
    for row in (0, 7, 19):
        alone = vectors(task, state, data.take(np.array([row])))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_the_work_is_vectorised_over_people(monkeypatch):
    calls = []
    plain = person_gradients.loss_of
    monkeypatch.setattr(person_gradients, "loss_of", lambda *args: calls.append(1) or plain(*args))
    residuals = []
    gaps = private_logistic.residuals
    monkeypatch.setattr(
        private_logistic, "residuals", lambda *args: residuals.append(1) or gaps(*args)
    )
    for rows in (5, 500):
        task = build_task("dp-torch", {"features": 3, "hidden": [4]})
        vectors(task, task.initial_state(), people(rows=rows))
        logistic = build_task("dp-logistic", {"features": 3})
        vectors(logistic, logistic.initial_state(), people(rows=rows))
    assert len(calls) == len(residuals) == 2


def test_memory_is_bounded_whatever_the_number_of_people():
    task = build_task("dp-logistic", {"features": 500})
    data = Data(np.zeros((10_000, 500)), np.zeros(10_000))
    sizes = [chunk.size for chunk in task.per_person(task.initial_state(), data, 1, None)]
    assert sum(sizes) == 10_000 * 501
    assert max(sizes) <= 2**21


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [2.0, -1.0, 0.5])
def test_a_person_whose_label_is_no_class_adds_nothing_and_is_not_reported(kind, label):
    task = build_task(kind, {"features": 3} | KINDS[kind])
    good = people(rows=5)
    labels = good.labels.copy()
    labels[3] = label
    state = moved(task)
    found = vectors(task, state, Data(good.features, labels))
    assert not found[3].any()
    np.testing.assert_array_equal(
        np.delete(found, 3, 0), np.delete(vectors(task, state, good), 3, 0)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_another_width_is_refused_and_a_foreign_state_too(kind):
    task = build_task(kind, {"features": 3} | KINDS[kind])
    with pytest.raises(InputError, match="2 columns"):
        vectors(task, task.initial_state(), people(features=2))
    other = build_task(kind, {"features": 4} | KINDS[kind]).initial_state()
    with pytest.raises(WireError):
        vectors(task, other, people())


@pytest.mark.parametrize("kind", KINDS)
def test_a_coordinators_state_that_overflows_gives_vectors_of_bounded_influence(kind):
    task = build_task(kind, {"features": 3} | KINDS[kind])
    for name in ("server.weights", "coordinates", "unit"):
        state = moved(task)
        if name not in state:
            continue
        huge = np.finfo(state[name].dtype).max if name != "unit" else 0.0
        rows = vectors(task, state | {name: np.full_like(state[name], huge)}, people(rows=4))
        clip = GridClip.of_grid_norm(1.0, task.layout().size)
        total = sum_of_people(rows, clip, seeded_bytes(0)).values
        assert np.abs(total).max() <= 4 * clip.sensitivity


def test_a_scale_that_is_not_positive_is_the_coordinators_fault():
    task = build_task("dp-logistic", {"features": 2, "standardized": [0]})
    state = task.initial_state() | {"phase": np.array(1.0), "scale": np.array([1.0, 0.0])}
    with pytest.raises(WireError, match="not positive"):
        vectors(task, state, people(features=2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_is_the_total_over_the_public_constant(kind):
    task = build_task(kind, {"features": 3} | KINDS[kind])
    state = moved(task)
    total = np.random.default_rng(2).normal(size=task.layout().size)
    once, _ = combined(task, state, total, expected_people=40)
    twice, _ = combined(task, state, 2 * total, expected_people=80)
    for name, array in once.items():
        np.testing.assert_allclose(array, twice[name], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_follow_from_the_noisy_total_alone(kind):
    task = build_task(kind, {"features": 3} | KINDS[kind])
    total = np.zeros(task.layout().size)
    _, step = combined(task, moved(task), total, expected_people=10, noise_std=3.0)
    assert step.metrics["update_norm"] == 0
    size = len(moved(task)["server.weights"])
    assert step.metrics["noise_norm"] == pytest.approx(0.3 * np.sqrt(size))


def test_public_units_scale_what_the_model_sees_and_can_be_undone():
    parameters = {"features": 2, "feature_center": [50.0, 0.0], "feature_unit": [10.0, 1.0]}
    task = build_task("dp-logistic", parameters)
    data = Data(np.array([[60.0, 1.0], [1000.0, -1.0]]), np.array([1.0, 1.0]))
    found = vectors(task, task.initial_state(), data)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.5], [0.5, 1.5, -0.5]])
    state = task.initial_state() | {"coefficients": np.array([0.1, 2.0, -1.0])}
    raw = raw_coefficients(state, task.parameters)
    chance = 1 / (1 + np.exp(-(raw[0] + np.array([60.0, 1.0]) @ raw[1:])))
    assert task.predict_proba(state, data.features)[0, 1] == pytest.approx(chance)


@pytest.mark.parametrize("kind", ["dp-logistic", "dp-torch"])
def test_a_noised_round_of_moments_finds_mean_and_deviation_of_the_columns_asked_for(kind):
    rng = np.random.default_rng(0)
    features = np.c_[rng.normal(52, 4, 5000), rng.integers(0, 2, 5000), rng.normal(7, 1, 5000)]
    parameters = {"features": 3, "feature_center": [40, 0, 0], "feature_unit": [10, 1, 4]}
    task = build_task(kind, parameters | {"standardized": [0, 2]} | KINDS[kind])
    total = clipped_total(task, task.initial_state(), Data(features, np.zeros(5000)), 0.7)
    state, step = combined(task, task.initial_state(), total, expected_people=5000, clip_norm=0.7)
    np.testing.assert_allclose(state["mean"], [1.2, 0, 1.75], atol=0.03)
    np.testing.assert_allclose(state["scale"], [0.4, 1, 0.25], atol=0.03)
    assert not step.done
    assert vectors(task, state, Data(features, np.zeros(5000)))[:, :-5].any()


def test_a_variance_is_never_taken_to_be_below_its_own_noise():
    task = build_task("dp-logistic", {"features": 1, "standardized": [0], "feature_clip": 2.0})
    state, _ = combined(task, task.initial_state(), np.zeros(5), expected_people=100, noise_std=5.0)
    assert state["scale"][0] == pytest.approx(2.0 * np.sqrt(np.sqrt(2) * 5.0 / 100))


def test_statistics_of_any_length_use_the_whole_clip_norm():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows *= np.array([0, 1e-9, 0.3, 0.7, 1.0, 1.0])[:, np.newaxis]
    full = full_norm(rows)
    for clip_norm in (1e-3, 1.0, 1e6):
        clipped = full / np.linalg.norm(full, axis=1, keepdims=True) * clip_norm
        np.testing.assert_allclose(
            undo_full_norm(clipped.sum(axis=0), clip_norm), rows.sum(axis=0), atol=1e-9
        )
    with pytest.raises(MisuseError, match="change the unit"):
        undo_full_norm(full.sum(axis=0), 2.0**41)


def test_adam_takes_the_known_noise_out_of_its_second_moment():
    rng = np.random.default_rng(0)
    parameters = ServerParameters(server="adam", learning_rate=1.0, momentum=0.9)
    signal, noise = np.array([0.5, 0.05]), 1.0
    memory = Memory.start(np.zeros(2))
    for _ in range(4000):
        memory = server_step(memory, signal + rng.normal(size=2) * noise, noise, parameters)
    # Plain Adam would move by 0.5 / sqrt(1.25) and 0.05 / sqrt(1.0025) of the rate.
    assert memory.weights[0] / 4000 > 0.8
    plain = server_step(Memory.start(np.zeros(1)), np.array([2.0]), 0.0, parameters)
    assert plain.weights[0] == pytest.approx(1.0)


def test_adam_takes_out_the_noise_of_each_round_when_parties_are_missing_in_some():
    rng = np.random.default_rng(0)
    parameters = ServerParameters(server="adam", learning_rate=1.0, momentum=0.9)
    memory = Memory.start(np.zeros(1))
    for _ in range(2000):
        for noise in (2.0, 1.0):
            seen = 0.5 + rng.normal(size=1) * noise
            memory = server_step(memory, seen, noise, parameters)
    # With the noise of the last round alone it would keep 1.5 too much, and move by 0.38.
    assert memory.weights[0] / 4000 > 0.7


def test_the_published_average_weighs_late_iterates_more():
    parameters = ServerParameters(learning_rate=1.0, momentum=0.0, averaging=1.0)
    memory = Memory.start(np.zeros(1))
    for _ in range(3):
        memory = server_step(memory, np.ones(1), 0.0, parameters)
    assert memory.weights[0] == 3
    assert memory.average[0] == pytest.approx((1 * 1 + 2 * 2 + 3 * 3) / 6)


def test_dropout_is_off_so_that_nobodys_draws_depend_on_who_else_is_there():
    register_model(
        "dropping",
        lambda p: nn.Sequential(nn.Linear(p.features, 8), nn.Dropout(0.5), nn.Linear(8, 1)),
    )
    task = build_task("dp-torch", {"features": 3, "model": "dropping"})
    data, state = people(rows=10), task.initial_state()
    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)
    first = vectors(task, state, data, seed=1)
    assert torch.equal(torch.rand(2), expected)
    np.testing.assert_array_equal(first, vectors(task, state, data, seed=2))
    np.testing.assert_allclose(
        vectors(task, state, data.take(np.arange(5, 10))), first[5:], atol=1e-6
    )


class Drawing(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features, 1)

    def forward(self, rows):
        return self.layer(rows + torch.rand_like(rows))


class Branching(Drawing):
    def forward(self, rows):
        return self.layer(rows) if rows.sum().item() > 0 else -self.layer(rows)


@pytest.mark.parametrize("module", [Drawing, Branching])
def test_a_module_that_draws_or_cannot_run_for_many_at_once_is_refused(module):
    register_model("odd", lambda p: module(p.features))
    task = build_task("dp-torch", {"features": 3, "model": "odd"})
    with pytest.raises(MisuseError, match="'odd' does not run for many people at once"):
        vectors(task, task.initial_state(), people())


def test_a_batch_statistic_sees_one_person_alone():
    class Centred(Drawing):
        def forward(self, rows):
            return self.layer(rows - rows.mean(dim=0) + 1)

    register_model("centred", lambda p: Centred(p.features))
    task = build_task("dp-torch", {"features": 3, "model": "centred"})
    found = np.abs(vectors(task, task.initial_state(), people()))
    # Alone in its batch, every person is its mean: all rows look like ones.
    np.testing.assert_allclose(found, np.repeat(found[:, -1:], 4, axis=1), atol=1e-6)


def test_frozen_weights_stay_and_are_not_sent():
    def half(parameters):
        module = nn.Sequential(nn.Linear(parameters.features, 4), nn.ReLU(), nn.Linear(4, 1))
        for weight in module[0].parameters():
            weight.requires_grad_(False)
        return module

    register_model("half", half)
    task = build_task("dp-torch", {"features": 3, "model": "half"})
    assert task.layout().size == 5
    assert vectors(task, task.initial_state(), people()).shape == (40, 5)


def test_wrong_parameters_name_their_key():
    for kind, parameters, key in (
        ("dp-logistic", {"features": 2, "feature_center": [1.0, 2.0, 3.0]}, "feature_center"),
        ("dp-logistic", {"features": 2, "feature_unit": 0.0}, "feature_unit"),
        ("dp-logistic", {"features": 2, "standardized": [2]}, "standardized"),
        ("dp-logistic", {"features": 2, "standardized": [1, 1]}, "standardized"),
        ("dp-logistic", {"features": 2, "learning_rate": 0}, "learning_rate"),
        ("dp-glm", {"features": 2, "standardized": [1]}, "standardized"),
        ("dp-glm", {"features": 2, "row_norm": 0.5}, "row_norm"),
        ("dp-torch", {"features": 2, "batch_size": 5}, "batch_size"),
        ("dp-torch", {"features": 2, "model": "none"}, "model"),
    ):
        with pytest.raises(AgreementError) as caught:
            build_task(kind, parameters, name="risk")
        assert caught.value.key == f"tasks.risk.parameters.{key}"
