import itertools
from hashlib import shake_256

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from protocols.errors import AgreementError, InputError, MisuseError, WireError
from securefed import Federation, runtime, simulation
from securefed.agreement_text import agreement_to_toml
from securefed.cli import app
from securefed.data import Data, save_party_data
from securefed.learning import build_task, models, suggest
from securefed.learning.evaluation import compare, mean_score, personalise, predict_proba, score
from securefed.learning.export import export_result
from securefed.learning.heads import Head
from securefed.learning.models import register_model
from securefed.learning.reference import fit, fixed_point_sum
from securefed.learning.state import state_from_bytes, state_to_bytes
from securefed.learning.torch_parameters import limit_threads
from securefed.learning.torch_task import TorchTask

limit_threads(1)

PARAMETERS = {
    "features": 3,
    "max_rows": 100,
    "hidden": [6],
    "standardize": False,
    "local_steps": 10,
    "learning_rate": 0.3,
}
LAST = {"bias": {"model.2.bias"}, "layer": {"model.2.weight", "model.2.bias"}}


@pytest.fixture(autouse=True)
def own_models(monkeypatch):
    monkeypatch.setattr(models, "_MODELS", dict(models._MODELS))


def company(shift, *, rows=40, seed=0):
    """Labels by one rule that all share, and a threshold of each company's own."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 3))
    hidden = 1.5 * np.tanh(2 * features[:, 0]) + features[:, 1] + shift
    return Data(features, (rng.random(rows) < 1 / (1 + np.exp(-2 * hidden))).astype(float))


SHIFTS = (-3.0, -1.0, 1.0, 3.0)
PARTS = [company(shift, seed=seed) for seed, shift in enumerate(SHIFTS)]
TESTS = [company(shift, rows=300, seed=50 + seed) for seed, shift in enumerate(SHIFTS)]


def task_with(head, **changes):
    return build_task("torch", PARAMETERS | {"head": head} | changes)


def contribution(task, state, data, seed=0):
    return task.contribute(state, data, 1, np.random.default_rng(seed))


@pytest.mark.parametrize("head", ["bias", "layer"])
@pytest.mark.parametrize("server", ["average", "adam"])
@pytest.mark.parametrize("more", [{}, {"validation_share": 0.2}, {"standardize": True}])
def test_no_array_of_the_head_is_in_state_or_layout(head, server, more):
    shared = task_with("shared", server=server, **more)
    personal = task_with(head, server=server, **more)
    own = {name.removeprefix("model.") for name in LAST[head]}
    of_head = [name for name in shared.initial_state() if name.partition("2.")[1]]
    gone = {name for name in of_head if any(name.endswith(each) for each in own)}
    assert personal.initial_state().keys() == shared.initial_state().keys() - gone
    assert len(gone) >= len(own)
    shapes, every = dict(personal.layout().shapes), dict(shared.layout().shapes)
    assert shapes.keys() == every.keys() - {f"update.{name}" for name in own}
    end = fit(personal, PARTS, rounds=3).state
    assert end.keys() == personal.initial_state().keys()


def test_a_shared_head_is_the_default_and_fits_nothing(monkeypatch):
    plain, named = build_task("torch", PARAMETERS), task_with("shared")
    monkeypatch.setattr(Head, "fit", lambda *_given, **_more: pytest.fail("a head was fitted"))
    one, two = (fit(task, PARTS, rounds=3).state for task in (plain, named))
    assert plain.layout() == named.layout()
    assert not plain.personal
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert LAST["layer"] <= one.keys()


def test_the_body_moves_by_the_weighted_mean_of_what_the_companies_send():
    task, layout = task_with("layer"), task_with("layer").layout()
    state = task.initial_state()
    parts = [company(-2.0, rows=10), company(2.0, rows=60)]
    sums = [contribution(task, state, part) for part in parts]
    total = layout.flatten(sums[0]) + layout.flatten(sums[1])
    following = task.combine(state, layout.unflatten(total), 1).state
    for name in state:
        update = [each[name.replace("model", "update")] / float(each["weight"]) for each in sums]
        expected = state[name] + (10 * update[0] + 60 * update[1]) / 70
        np.testing.assert_allclose(following[name], expected, atol=1e-6)


def test_the_federated_body_is_that_of_plain_sums():
    task, ring = task_with("layer"), suggest("torch", PARAMETERS | {"head": "layer"}, 4)
    numbers = itertools.count()

    def random(count):
        return shake_256(bytes([next(numbers)])).digest(count)

    masked = fit(task, PARTS, rounds=4, add=fixed_point_sum(ring, parties=4, random=random))
    plain = fit(task, PARTS, rounds=4)
    for name, array in plain.state.items():
        np.testing.assert_allclose(masked.state[name], array, atol=1e-4)


@pytest.mark.parametrize("choice", ["bias", "layer"])
def test_a_head_is_the_minimiser_of_its_own_rows_and_draws_nothing(choice):
    task, ridge = task_with(choice, head_ridge=2.0), 2.0
    state = fit(task, PARTS, rounds=2).state
    torch.manual_seed(1)
    personal = personalise(task, state, PARTS[0])
    torch.manual_seed(2)
    again = personalise(task, state, PARTS[0])
    assert all(np.array_equal(personal[name], again[name]) for name in personal)
    assert personal.keys() - state.keys() == LAST[choice]
    first = build_task("torch", PARAMETERS).initial_state()
    inside = np.maximum(
        PARTS[0].features @ personal["model.0.weight"].T + personal["model.0.bias"], 0
    )
    error = predict_proba(task, personal, PARTS[0].features)[:, 1] - PARTS[0].labels
    slope = {"model.2.weight": error @ inside, "model.2.bias": error.sum()}
    for name in LAST[choice]:
        pull = ridge * (personal[name].astype(float) - first[name]).ravel()
        np.testing.assert_allclose(slope[name] + pull, 0, atol=2e-3)


def test_a_model_without_its_head_predicts_nothing_and_says_what_to_do():
    task = task_with("bias")
    state = fit(task, PARTS, rounds=2).state
    with pytest.raises(MisuseError, match=r"personalise\(task, state, rows\)"):
        predict_proba(task, state, PARTS[0].features)
    with pytest.raises(MisuseError, match="same company"):
        compare("torch", PARAMETERS | {"head": "bias"}, PARTS, TESTS[0], rounds=2)
    shared = task_with("shared")
    with pytest.raises(MisuseError, match="is shared"):
        personalise(shared, shared.initial_state(), PARTS[0])
    counts = build_task("glm-logistic", {"features": 3})
    with pytest.raises(MisuseError, match="glm-logistic"):
        personalise(counts, counts.initial_state(), PARTS[0])


def test_rows_or_states_that_do_not_suit_are_refused():
    task = task_with("layer")
    state = task.initial_state()
    with pytest.raises(InputError, match="columns"):
        personalise(task, state, Data(np.zeros((3, 2)), np.array([0, 1, 0])))
    with pytest.raises(InputError, match="labels"):
        personalise(task, state, Data(np.zeros((3, 3)), np.array([0, 1, 2])))
    with pytest.raises(WireError, match="agreed task"):
        personalise(task, state | {"model.more": np.zeros(1)}, PARTS[0])
    huge = {name: np.full_like(array, 3e38) for name, array in state.items()}
    for act in (contribution, personalise):
        with pytest.raises(InputError, match="not finite"):
            act(task, huge, PARTS[0])


def test_a_company_of_one_class_and_one_of_one_row_get_a_finite_head():
    for rows in (1, 5):
        data = Data(np.ones((rows, 3)), np.ones(rows))
        task = task_with("layer")
        personal = personalise(task, task.initial_state(), data)
        assert 0.5 < predict_proba(task, personal, data.features)[0, 1] < 1
        sums = contribution(task, task.initial_state(), data)
        assert all(np.isfinite(value).all() for value in sums.values())


def test_heads_help_where_companies_differ_by_a_shift_and_a_new_company_gets_one_as_well():
    newcomer, late = company(-2.0, rows=40, seed=99), company(-2.0, rows=300, seed=98)
    found = {}
    for head in ("shared", "bias", "layer"):
        task = task_with(head)
        state = fit(task, PARTS, rounds=8).state
        own = [state if head == "shared" else personalise(task, state, part) for part in PARTS]
        scores = [score(head, task, one, test) for one, test in zip(own, TESTS, strict=True)]
        new = state if head == "shared" else personalise(task, state, newcomer)
        found[head] = mean_score(head, scores), score("new", task, new, late)
    for head in ("bias", "layer"):
        for place in (0, 1):
            assert found[head][place].log_loss < found["shared"][place].log_loss - 0.1
            assert found[head][place].accuracy > found["shared"][place].accuracy + 0.05


class Listener:
    """Hears every message between real nodes, every summed vector, and every head."""

    def __init__(self, monkeypatch):
        self.bodies, self.vectors, self.heads = [], [], []
        network, update, at_home = (
            simulation.MemoryNetwork,
            runtime.LearningTrainer.update,
            TorchTask._at_home,
        )

        def listening(coordinator):
            return network(coordinator, lambda _sender, _receiver, body: self.hear(body))

        def updating(trainer, task, model, round_in_task):
            self.vectors.append(update(trainer, task, model, round_in_task))
            return self.vectors[-1]

        def fitting(task, *given):
            module = at_home(task, *given)
            # Not a copy: after the round the module holds what local training made of the head.
            self.heads.append([module[2].weight, module[2].weight.detach().clone()])
            return module

        monkeypatch.setattr(simulation, "MemoryNetwork", listening)
        monkeypatch.setattr(runtime.LearningTrainer, "update", updating)
        monkeypatch.setattr(TorchTask, "_at_home", fitting)

    def hear(self, body):
        self.bodies.append(bytes(body))
        return body

    def told(self, array):
        """Whether an array, or a float64 of it, was in a message; four bytes can be chance."""
        values = np.asarray(array).ravel()
        raw = [values.astype(kind).tobytes() for kind in ("<f4", "<f8")]
        raw += [value.astype("<f8").tobytes() for value in values]
        return any(each in body for each in raw for body in self.bodies)


@pytest.mark.parametrize("head", ["layer", "shared"])
def test_no_value_of_a_head_is_in_any_message_or_any_vector(monkeypatch, head):
    heard = Listener(monkeypatch)
    lead = Federation("heads", ["north", "south", "west"], privacy=None)
    lead.add_task("net", "torch", rounds=2, **PARAMETERS, head=head)
    result = lead.simulate(dict(zip(lead.parties, PARTS, strict=False)), seed=1)
    body = result.models["net"]
    assert heard.told(body["model.0.weight"])
    assert len(heard.bodies) > 20
    values = [each.detach().numpy() for pair in heard.heads for each in pair]
    assert len(values) == 2 * len(heard.vectors) == 2 * 2 * 3
    if head == "shared":
        assert any(heard.told(each) for each in values)
        return
    first = build_task("torch", PARAMETERS).initial_state()["model.2.weight"]
    assert not any(heard.told(each) for each in [first, *values])
    size = 3 * 6 + 6 + 2
    assert {len(vector) for vector in heard.vectors} == {size}
    sent = np.concatenate(heard.vectors)
    weight = len(PARTS[0]) / PARAMETERS["max_rows"]
    for each in values:
        for value in (each, weight * each, weight * (each - first)):
            gaps = np.abs(sent[:, None] - value.ravel().astype(float)[None])
            assert gaps.min() > 1e-12
    test = TESTS[0]
    assert result.score("net", test, own=PARTS[0]).log_loss < 0.5
    with pytest.raises(MisuseError, match="own=rows"):
        result.score("net", test)


def test_an_exported_body_says_so_and_a_company_puts_its_own_head_into_the_file(tmp_path):
    lead = Federation("heads", ["north", "south", "west"], privacy=None)
    lead.add_task("net", "torch", rounds=2, **PARAMETERS, head="bias", columns=["a", "b", "c"])
    parts = [Data(part.features, part.labels, ("a", "b", "c")) for part in PARTS[:3]]
    result = lead.simulate(dict(zip(lead.parties, parts, strict=True)), seed=1)
    body, full = tmp_path / "net.safetensors", tmp_path / "own.safetensors"
    card = export_result(result, "net", body)
    assert "a body without a head" in card.caveats[-1]
    assert body.read_bytes() == state_to_bytes(result.models["net"])
    with pytest.raises(MisuseError, match="body without a head"):
        export_result(result, "net", tmp_path / "net.onnx")
    save_party_data(tmp_path / "rows.npz", parts[0])
    (tmp_path / "agreement.toml").write_text(agreement_to_toml(result.agreement))
    told = ["--agreement", str(tmp_path / "agreement.toml"), "--own", str(tmp_path / "rows.npz")]
    ran = CliRunner().invoke(app, ["export", str(body), "--to", str(full), *told])
    assert ran.exit_code == 0, ran.output
    own = state_from_bytes(full.read_bytes())
    expected = personalise(task_with("bias"), result.models["net"], parts[0])
    assert own.keys() == expected.keys()
    assert all(np.array_equal(own[name], expected[name]) for name in own)
    assert "stays with that company" in full.with_name(f"{full.name}.card.md").read_text()
    with pytest.raises(InputError, match="columns"):
        export_result(
            result, "net", full, own=Data(PARTS[0].features, PARTS[0].labels, tuple("cab"))
        )


def test_early_stopping_watches_rows_that_no_head_was_fitted_to():
    task = task_with("bias", validation_share=0.25, patience=3)
    end = fit(task, PARTS, rounds=10)
    losses = [metrics["validation_loss"] for metrics in end.history]
    assert min(losses) < losses[0]
    assert score("own", task, personalise(task, end.state, PARTS[0]), TESTS[0]).accuracy > 0.8


def test_a_module_of_ones_own_and_one_of_many_classes_have_heads():
    register_model("own", lambda _: nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 1)))
    task = task_with("layer", model="own")
    assert set(task.initial_state()) == {"model.0.weight", "model.0.bias"}
    many = build_task("torch", PARAMETERS | {"head": "bias", "classes": 3})
    data = Data(PARTS[0].features, np.arange(40) % 3)
    personal = personalise(many, fit(many, [data], rounds=1).state, data)
    assert predict_proba(many, personal, data.features).shape == (40, 3)
    text = {"features": 5, "model": "gru", "classes": 4, "hidden": [3, 3], "standardize": False}
    task = build_task("torch", text | {"head": "layer"})
    codes = Data(np.arange(50).reshape(10, 5) % 4, np.arange(10) % 4)
    end = fit(task, [codes], rounds=1).state
    assert "model.output.weight" in personalise(task, end, codes).keys() - end.keys()


class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.output = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, features):
        return self.output(features) + self.inner(features)


def tied():
    first, last = nn.Linear(3, 3), nn.Linear(3, 3)
    last.weight = first.weight
    return nn.Sequential(last, nn.Tanh(), nn.Sequential(nn.Linear(3, 3), first))


@pytest.mark.parametrize(
    ("factory", "head", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 1)), "layer", "nothing to share"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False)), "bias", "no train"),
        (lambda: nn.Sequential(nn.Linear(3, 1), nn.Tanh()), "bias", "last layer"),
        (Skipping, "layer", "last layer"),
        (tied, "layer", "another layer"),
    ],
)
def test_a_module_whose_head_cannot_be_told_is_refused(factory, head, reason):
    register_model("odd", lambda _: factory())
    with pytest.raises(AgreementError, match=reason) as caught:
        build_task("torch", PARAMETERS | {"model": "odd", "head": head}, name="net")
    assert caught.value.key == "tasks.net.parameters.head"


def test_the_bias_of_a_linear_model_is_a_head():
    task = task_with("bias", model="logistic")
    assert set(task.initial_state()) == {"model.0.weight"}


@pytest.mark.parametrize("given", [{"head": "bias"}, {"head": "shared"}, {"head_ridge": 1.0}])
def test_the_private_task_refuses_heads_by_name(given):
    with pytest.raises(AgreementError, match="not defined") as caught:
        build_task("dp-torch", {"features": 2} | given)
    assert caught.value.key == f"tasks.task.parameters.{next(iter(given))}"
