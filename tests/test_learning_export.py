import json
from collections import Counter
from hashlib import sha256

import numpy as np
import onnxruntime
import pytest
import torch
from support.ledgers import small_agreement
from support.nodes import GLM, toy_data
from typer.testing import CliRunner

from parties.coordinator.progress import RoundRecord
from protocols.agreement.noise import composed_epsilon
from protocols.errors import MisuseError, WireError
from securefed.agreement_text import agreement_to_toml
from securefed.cli import app
from securefed.data.table import Data
from securefed.federation import Federation
from securefed.learning import build_task
from securefed.learning.export import export_model, export_result
from securefed.learning.model_card import model_card
from securefed.learning.onnx_graph import onnx_graph
from securefed.learning.reference import fit
from securefed.learning.state import state_to_bytes
from securefed.learning.torch_graph import Predictor
from securefed.learning.torch_parameters import limit_threads

limit_threads(1)


def table(labels, *, rows=30, features=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, size=(rows, features))
    return Data(x, labels(rng, x))


def classes(count):
    return lambda _, x: np.digitize(x[:, 0], [3, 5][: count - 1])


def run_onnx(graph, features):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"features": features})[0]


@pytest.fixture(scope="module")
def simulated():
    data = toy_data(3)
    lead = Federation("banks", list(data), privacy=None)
    lead.add_task("risk", "glm-logistic", rounds=6, **GLM["parameters"])
    return lead.simulate(data), data


@pytest.mark.parametrize(
    ("kind", "parameters", "count"),
    [
        ("glm-logistic", {"features": 2, "feature_clip": 1.0}, 2),
        ("glm", {"features": 2, "family": "binomial", "ridge": 1.0}, 2),
        ("torch", {"features": 2, "hidden": [4]}, 2),
    ],
)
def test_an_onnx_graph_predicts_what_the_task_predicts(kind, parameters, count):
    task, data = build_task(kind, parameters), table(classes(count))
    state = fit(task, [data], rounds=3).state
    features = np.random.default_rng(1).normal(3, 4, size=(7, 2))
    found = run_onnx(onnx_graph(task, state), features)
    if kind == "glm":
        design = task.design(state, features)
        one = task.family().mean(task.family().predictor(design, state["coefficients"]))
        expected = np.stack([1 - one, one], axis=1)
    else:
        expected = task.predict_proba(state, features)
    assert found.shape == (7, count)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_torch_traces_gives_every_class_without_scaling_too():
    task = build_task("torch", {"features": 2, "classes": 3, "hidden": [4], "standardize": False})
    state, features = task.initial_state(), np.random.default_rng(1).normal(size=(7, 2))
    found = Predictor(task, state).eval()(torch.from_numpy(features)).detach().numpy()
    np.testing.assert_allclose(found, task.predict_proba(state, features), atol=1e-6)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_an_onnx_graph_of_a_regression_predicts_in_the_labels_own_units(family):
    task = build_task("glm", {"features": 2, "family": family, "ridge": 1.0, "label_bound": 50.0})
    data = table(lambda rng, x: rng.poisson(np.exp(x[:, 0] / 4)))
    state = fit(task, [data], rounds=5).state
    predictor = task.family().predictor(task.design(state, data.features), state["coefficients"])
    expected = task.family().mean(predictor) * task.family().unit
    found = run_onnx(onnx_graph(task, state), data.features)
    assert found.shape == (30,)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_kinds_without_an_onnx_form_are_refused_by_name():
    many = {"features": 2, "family": "binomial", "companies": 2}
    for kind, parameters in (("glm", many), ("column-moments", {"features": 2})):
        task = build_task(kind, parameters)
        with pytest.raises(MisuseError, match="export safetensors"):
            onnx_graph(task, task.initial_state())


def test_an_export_copies_the_model_and_its_card_says_where_it_comes_from(simulated, tmp_path):
    result, _ = simulated
    path = tmp_path / "risk.safetensors"
    card = export_result(result, "risk", path)
    assert path.read_bytes() == state_to_bytes(result.models["risk"])
    plain = json.loads((tmp_path / "risk.safetensors.card.json").read_text())
    assert plain == json.loads(json.dumps(card.to_plain()))
    assert plain["file_sha256"] == plain["model_sha256"] == sha256(path.read_bytes()).hexdigest()
    assert plain["agreement_digest"] == result.agreement.digest().hex()
    assert plain["rounds"] == len(result.records)
    assert plain["privacy"] is None
    assert plain["metrics"] == result.records[-1].metrics
    page = (tmp_path / "risk.safetensors.card.md").read_text()
    assert "**No differential privacy.**" in page
    assert plain["file_sha256"] in page
    with pytest.raises(MisuseError, match="names no format"):
        export_result(result, "risk", tmp_path / "risk.pkl")
    with pytest.raises(MisuseError, match="no task 'other'"):
        export_result(result, "other", path)
    other = state_to_bytes({"x": np.zeros(1)})
    with pytest.raises(WireError, match="not a state of the agreed task"):
        export_model(other, result.agreement, "risk", path)


def test_the_command_binds_a_card_to_the_ledger_that_ends_in_this_model(simulated, tmp_path):
    result, _ = simulated
    model, bundle = tmp_path / "risk.safetensors", tmp_path / "run.ledger"
    model.write_bytes(state_to_bytes(result.models["risk"]))
    result.write_bundle(bundle)
    agreement = tmp_path / "agreement.toml"
    agreement.write_text(agreement_to_toml(result.agreement))
    words = ["export", str(model), "--agreement", str(agreement), "--ledger", str(bundle)]
    run = CliRunner().invoke(app, [*words, "--to", str(tmp_path / "risk.onnx"), "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.output)["rounds"] == len(result.records)
    changed = {name: array + 1 for name, array in result.models["risk"].items()}
    model.write_bytes(state_to_bytes(changed))
    run = CliRunner().invoke(app, [*words, "--to", str(tmp_path / "other.onnx")])
    assert isinstance(run.exception, MisuseError)
    assert "another model" in str(run.exception)
    assert not (tmp_path / "other.onnx").exists()


def test_a_card_carries_the_epsilon_that_was_spent_or_else_the_most_that_was_agreed():
    agreement = small_agreement()
    task = agreement.tasks[0]
    once = RoundRecord(round=1, task=task.name, round_in_task=1, outcome="aborted")
    spent = model_card(agreement, task.name, [once]).privacy
    most = model_card(agreement, task.name).privacy
    every = {one.name: one.rounds for one in agreement.tasks}
    assert spent.epsilon == composed_epsilon(agreement, Counter({task.name: 1}))
    assert most.epsilon == composed_epsilon(agreement, every)
    assert 0 < spent.epsilon < most.epsilon <= agreement.privacy.epsilon
    page = model_card(agreement, task.name, [once]).to_markdown()
    assert f"Epsilon {spent.epsilon:.3f} at delta {agreement.privacy.delta:g}" in page
    assert "No differential privacy" not in page
