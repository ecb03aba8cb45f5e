from hashlib import shake_256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import AgreementError, NoResultError
from securefed import Federation
from securefed.data import Data
from securefed.learning import build_task, suggest
from securefed.learning.early_stopping import iterate, judge, split_rows, watched
from securefed.learning.reference import fit, fixed_point_sum
from securefed.learning.torch_parameters import limit_threads

limit_threads(1)

PARAMETERS = {
    "features": 2,
    "max_rows": 60,
    "hidden": [16],
    "standardize": False,
    "local_steps": 8,
    "learning_rate": 0.5,
    "validation_share": 0.3,
    "patience": 3,
}


def noisy(seed, rows=40):
    """Labels that are half chance: a network learns them by heart and gets worse."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 2))
    return Data(features, (features[:, 0] + rng.normal(size=rows) > 0).astype(float))


PARTS = [noisy(seed) for seed in range(3)]


def validation_loss(task, state, parts):
    held = [split_rows(part, 0.3, 0)[1] for part in parts]
    losses = []
    for part in held:
        chances = task.predict_proba(state, part.features)
        losses.append(-np.log(chances[np.arange(len(part)), part.labels.astype(int)]))
    return float(np.concatenate(losses).mean())


def test_the_task_ends_after_its_patience_and_the_final_model_is_the_best_one():
    task = build_task("torch", PARAMETERS)
    end = fit(task, PARTS, rounds=60)
    losses = [metrics["validation_loss"] for metrics in end.history]
    best = int(np.argmin(losses))
    assert end.done
    assert end.rounds == best + 1 + 3 < 60
    assert best > 0
    assert losses[-1] > losses[best] + 0.005
    assert validation_loss(task, end.state, PARTS) == pytest.approx(losses[best], abs=1e-6)
    assert validation_loss(task, iterate(end.state), PARTS) != pytest.approx(losses[best], abs=1e-3)


def test_also_a_task_whose_rounds_run_out_ends_with_its_best_model():
    task = build_task("torch", PARAMETERS | {"patience": 1000})
    end = fit(task, PARTS, rounds=12)
    losses = [metrics["validation_loss"] for metrics in end.history]
    assert not end.done
    assert min(losses) < losses[-1]
    assert validation_loss(task, end.state, PARTS) == pytest.approx(min(losses), abs=1e-6)


def test_training_goes_on_from_the_current_weights_not_from_the_best():
    watching = fit(build_task("torch", PARAMETERS | {"patience": 1000}), PARTS, rounds=12)
    plain = {
        name: value
        for name, value in PARAMETERS.items()
        if name not in {"validation_share", "patience"}
    }
    alone = [split_rows(part, 0.3, 0)[0] for part in PARTS]
    without = fit(build_task("torch", plain), alone, rounds=12)
    current = iterate(watching.state)
    for name, array in without.state.items():
        np.testing.assert_allclose(current[name], array, atol=1e-5)


def test_held_out_rows_do_not_move_the_update():
    task = build_task("torch", PARAMETERS)
    kept, held = split_rows(PARTS[0], 0.3, 0)
    flipped = PARTS[0].labels.copy()
    rows = (PARTS[0].features[:, None] == held.features[None]).all(axis=2).any(axis=1)
    assert rows.sum() == len(held) == 12
    flipped[rows] = 1 - flipped[rows]
    first, second = (
        task.contribute(task.initial_state(), data, 1, np.random.default_rng(0))
        for data in (PARTS[0], Data(PARTS[0].features, flipped))
    )
    changed = {name for name in first if not np.array_equal(first[name], second[name])}
    assert changed == {"validation_loss"}
    assert len(kept) == 28


@given(rows=st.integers(1, 200), share=st.floats(0, 0.5), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=60, deadline=None)
def test_a_split_is_fixed_whole_and_never_larger_than_the_share(rows, share, seed):
    data = Data(np.arange(rows)[:, None], np.zeros(rows))
    kept, held = split_rows(data, share, seed)
    again, _ = split_rows(data, share, seed)
    assert np.array_equal(kept.features, again.features)
    out = np.zeros(0) if held is None else held.features[:, 0]
    assert len(out) <= share * rows
    assert sorted([*kept.features[:, 0], *out]) == list(range(rows))


def test_the_split_follows_the_seed_of_the_task():
    splits = {tuple(split_rows(PARTS[0], 0.3, seed)[1].features[:, 0]) for seed in range(4)}
    assert len(splits) == 4


def test_only_an_improvement_by_more_than_the_least_one_counts():
    state = watched({"model.w": np.zeros(1), "model.fixed": np.ones(1)}, ["w"])
    done, best = [], []
    for number, loss in enumerate([1.0, 0.95, 0.85, 0.84, 0.83], start=1):
        moved = {"model.w": np.full(1, float(number)), "server.first.w": np.full(1, -number)}
        state, stop = judge(state, moved, loss, patience=2, min_improvement=0.1)
        done.append(stop)
        best.append(float(state["model.w"][0]))
        assert state["current.w"] == number
        assert state["server.first.w"] == -number
        assert state["model.fixed"] == 1
    assert done == [False, False, False, False, True]
    assert best == [0, 0, 2, 2, 2]


def test_without_a_validation_share_nothing_is_added_to_state_or_vector():
    plain = {"features": 2, "hidden": [3]}
    task, watching = (
        build_task("torch", plain),
        build_task("torch", plain | {"validation_share": 0.1}),
    )
    assert not any(name.startswith(("current", "stopping")) for name in task.initial_state())
    assert iterate(task.initial_state()).keys() == task.initial_state().keys()
    assert watching.layout().size == task.layout().size + 2


def test_every_value_stays_within_the_bound_and_the_grid_keeps_the_loss():
    parameters = PARAMETERS | {"max_rows": 40, "clip_norm": 0.5}
    task, ring = build_task("torch", parameters), suggest("torch", parameters, 3)
    sums = task.contribute(task.initial_state(), PARTS[0], 1, np.random.default_rng(0))
    assert sums["validation_weight"] == 1
    assert max(np.abs(array).max() for array in sums.values()) <= task.numbers().bound
    add = fixed_point_sum(ring, parties=3, random=lambda count: shake_256(b"r").digest(count))
    masked, exact = fit(task, PARTS, rounds=1, add=add), fit(task, PARTS, rounds=1)
    for name in ("loss", "validation_loss"):
        assert masked.history[0][name] == pytest.approx(exact.history[0][name], abs=1e-5)


def test_a_party_with_too_few_rows_holds_none_out_and_one_such_federation_has_no_result():
    task = build_task("torch", PARAMETERS | {"validation_share": 0.1})
    small, large = noisy(1, rows=5), noisy(2, rows=40)
    metrics = fit(task, [small, large], rounds=1).history[0]
    assert metrics["rows"] == 5 + 36
    assert metrics["validation_loss"] > 0
    with pytest.raises(NoResultError, match="validation_share"):
        fit(task, [small, small], rounds=1)


def test_the_moments_are_those_of_the_rows_that_are_trained_on():
    task = build_task("torch", PARAMETERS | {"standardize": True})
    end = fit(task, PARTS, rounds=3)
    kept = np.concatenate([split_rows(part, 0.3, 0)[0].features for part in PARTS])
    np.testing.assert_allclose(end.state["mean"], kept.mean(axis=0), atol=1e-9)
    assert [min(metrics) for metrics in end.history] == ["rows", "loss", "loss"]


@pytest.mark.parametrize("given", [{"patience": 3}, {"min_improvement": 0.1}])
def test_patience_without_anything_to_watch_is_refused(given):
    with pytest.raises(AgreementError, match="no validation loss to watch") as caught:
        build_task("torch", {"features": 2} | given)
    assert caught.value.key == f"tasks.task.parameters.{next(iter(given))}"


@pytest.mark.parametrize(
    "given", [{"validation_share": 0.1}, {"patience": 3}, {"min_improvement": 0.1}]
)
def test_the_private_task_refuses_early_stopping_by_name(given):
    with pytest.raises(AgreementError, match="would have to be charged") as caught:
        build_task("dp-torch", {"features": 2} | given)
    assert caught.value.key == f"tasks.task.parameters.{next(iter(given))}"


def test_a_federation_of_real_nodes_stops_early_and_shows_the_loss_of_all_alone():
    lead = Federation("early", ["north", "south", "west"], privacy=None)
    lead.add_task("net", "torch", rounds=30, **PARAMETERS)
    result = lead.simulate(dict(zip(lead.parties, PARTS, strict=True)), seed=1)
    losses = [record.metrics["validation_loss"] for record in result.records]
    assert len(losses) == int(np.argmin(losses)) + 4 < 30
    task = build_task("torch", PARAMETERS)
    found = validation_loss(task, result.models["net"], PARTS)
    assert found == pytest.approx(min(losses), abs=1e-4)
