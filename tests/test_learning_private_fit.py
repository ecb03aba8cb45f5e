import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import AgreementError, InputError, MisuseError
from protocols.privacy import noised_words, private_sum
from protocols.privacy.accounting import epsilon
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.noise_meter import METER_VALUES
from protocols.privacy.private_sum import private_words
from securefed.data import Data, breast_cancer_companies
from securefed.learning import (
    PersonPrivacy,
    build_task,
    is_private,
    require_plain,
    require_private,
    suggest,
    suggest_private,
)
from securefed.learning.evaluation import compare, score
from securefed.learning.layout import Layout
from securefed.learning.person import grid_scale
from securefed.learning.private_fit import fit_private
from securefed.learning.reference import fit_pooled
from securefed.learning.sampled import sampled_vectors
from securefed.learning.state import state_digest
from securefed.learning.task import Step
from securefed.learning.torch_parameters import limit_threads

limit_threads(1)

KINDS = {"dp-logistic": {}, "dp-glm": {}, "dp-torch": {"hidden": [4]}}
PRIVACY = PersonPrivacy(
    clip_norm=1.0, noise_multiplier=2.0, sampling_rate=0.5, honest=2, delta=1e-5
)


def companies(parties=3, rows=400, seed=0, features=3):
    """Return rows that lie on two sides of a plane, with a little disorder."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=features)
    parts = []
    for _ in range(parties + 1):
        table = rng.normal(size=(rows, features))
        parts.append(Data(table, 3 * table @ truth + rng.logistic(size=rows) > 0))
    return parts[:-1], parts[-1]


def exact_sum(task, state, data, plan, seed=0):
    """Return the integers that a party adds up, before its noise."""
    found, failures = [], []

    def without_noise(total, share, *, modulus_bits, random, ranges=None):
        found.append(total.copy())
        return noised_words.noised_words(total, share, modulus_bits=modulus_bits, random=random)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_sum, "noised_words", without_noise)
        private_words(
            lambda chosen: sampled_vectors(
                task, state, data, chosen, 1, np.random.default_rng(seed)
            ),
            people=len(data),
            sampling_rate=1.0,
            clip=plan.clip,
            share=plan.share,
            modulus_bits=plan.least_modulus_bits,
            random=np.random.default_rng(seed).bytes,
            failed=failures.append,
        )
    assert not failures
    return found[0]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(2, 12),
    wild=st.sampled_from([0.0, 1.0, 1e3, 1e300]),
    label=st.sampled_from([0.0, 1.0, 7.0]),
    seed=st.integers(0, 2**16),
)
def test_one_person_more_or_less_moves_the_integer_sum_by_at_most_delta(
    kind, rows, wild, label, seed
):
    task = build_task(kind, {"features": 3} | KINDS[kind])
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, 3))
    table[-1] *= wild
    data = Data(table, np.append(rng.integers(0, 2, rows - 1), label))
    plan = PRIVACY.plan(task.layout().size, parties=3, people=100)
    state = task.initial_state()
    weights = state["server.weights"]
    state["server.weights"] = (weights + rng.normal(size=weights.shape)).astype(weights.dtype)
    whole = exact_sum(task, state, data, plan)
    without = exact_sum(task, state, data.take(np.arange(rows - 1)), plan)
    moved = whole - without
    assert int(moved @ moved) <= plan.clip.sensitivity**2
    # The bound is no accident of small gradients: somebody comes near to it.
    assert plan.clip.sensitivity < 2**15.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_deterministic_given_its_seed(kind):
    task = build_task(kind, {"features": 3} | KINDS[kind])
    parts, _ = companies(rows=30)
    first = fit_private(task, parts, PRIVACY, rounds=3, seed=1)
    again = fit_private(task, parts, PRIVACY, rounds=3, seed=1)
    other = fit_private(task, parts, PRIVACY, rounds=3, seed=2)
    assert state_digest(first.fit.state) == state_digest(again.fit.state)
    assert state_digest(first.fit.state) != state_digest(other.fit.state)


@pytest.mark.parametrize(
    ("kind", "rounds", "clip_norm", "parameters"),
    [
        ("dp-logistic", 30, 1.0, {}),
        ("dp-logistic", 30, 1.0, {"standardized": [0, 1, 2]}),
        ("dp-logistic", 30, 1.0, {"server": "adam", "learning_rate": 0.1}),
        ("dp-glm", 6, 1.0, {}),
        ("dp-torch", 40, 1.0, {"hidden": [8], "learning_rate": 0.5}),
        ("dp-torch", 40, 2.0, {"hidden": [8], "learning_rate": 0.3, "local_steps": 2}),
    ],
)
def test_a_model_is_learnt_at_epsilon_three(kind, rounds, clip_norm, parameters):
    task = build_task(kind, {"features": 3} | parameters)
    parts, test = companies()
    z = 6.7 * (rounds / 30) ** 0.5
    privacy = PersonPrivacy(clip_norm, z, 1.0, 2, 1e-5)
    done = fit_private(task, parts, privacy, rounds=rounds)
    assert 2.8 < done.epsilon < 3.5
    assert done.epsilon < done.worst_case.epsilon_pld
    assert all(reading.verdict == "as promised" for reading in done.readings)
    best = fit_pooled("glm-logistic", {"features": 3}, parts, rounds=20)
    ceiling = score("pooled", build_task("glm-logistic", {"features": 3}), best.state, test)
    assert score(kind, task, done.fit.state, test).auc > ceiling.auc - 0.02


def test_epsilon_is_that_of_the_configuration_that_ran():
    task = build_task("dp-logistic", {"features": 3})
    parts, _ = companies(rows=30)
    done = fit_private(task, parts, PRIVACY, rounds=7)
    plan = PRIVACY.plan(4, parties=3, people=90)
    noise = SummedNoise(2.0, plan.clip.sensitivity, 2, 4 + METER_VALUES)
    assert done.epsilon == epsilon([noise.release(sampling_rate=0.5, count=7)], 1e-5)
    assert done.guarantee.epsilon_rdp > done.epsilon
    worst = noise.release(sampling_rate=0.5, count=7, sharers=1)
    assert done.worst_case.epsilon_pld == epsilon([worst], 1e-5)


class Recorder:
    """Keeps the totals that it is given."""

    kind = "recorder"

    def __init__(self):
        self.rows = []
        self.totals = []

    def initial_state(self):
        return {"x": np.zeros(1)}

    def layout(self):
        return Layout.of({"x": (5,)})

    def per_person(self, _state, data, _round_in_task, _rng):
        self.rows.append(data.features)
        yield np.ones((len(data), 5))

    def combine(self, state, total, expected_people, *_constants):
        assert expected_people == 1e-9 * 90
        self.totals.append(total["x"].copy())
        return Step(state, done=False, metrics={})


def test_a_round_in_which_nobody_was_sampled_is_noise_alone():
    task = Recorder()
    privacy = PersonPrivacy(1.0, 2.0, 1e-9, 2, 1e-5)
    parts, _ = companies(rows=30)
    done = fit_private(task, parts, privacy, rounds=20)
    assert not np.concatenate(task.rows).any()
    noise = np.concatenate(task.totals)
    assert 0.8 < noise.std() / (2.0 * np.sqrt(3 / 2)) < 1.2
    assert all(reading.verdict == "as promised" for reading in done.readings)


def test_combine_gets_constants_that_do_not_depend_on_who_was_sampled(monkeypatch):
    seen = []
    task = build_task("dp-logistic", {"features": 3})
    kind = type(task)
    plain = kind.combine
    monkeypatch.setattr(
        kind, "combine", lambda self, s, t, *args: seen.append(args) or plain(self, s, t, *args)
    )
    parts, _ = companies(rows=30)
    fit_private(task, parts, PRIVACY, rounds=4, people=100)
    plan = PRIVACY.plan(4, parties=3, people=100)
    assert seen == [(50.0, 1.0, plan.noise_deviation, number) for number in (1, 2, 3, 4)]


def test_a_task_that_gives_another_number_of_vectors_than_people_is_refused(monkeypatch):
    task = build_task("dp-logistic", {"features": 3})
    kind = type(task)
    plain = kind.per_person
    parts, _ = companies(rows=30)

    def repeated(self, *args):
        for chunk in plain(self, *args):
            yield chunk
            yield chunk

    monkeypatch.setattr(kind, "per_person", repeated)
    with pytest.raises(InputError, match="exactly one vector for each person"):
        fit_private(task, parts, PRIVACY, rounds=1)


def test_kinds_that_bound_no_person_are_refused_under_differential_privacy():
    parts, _ = companies(rows=30)
    for kind in ("glm-logistic", "torch"):
        task = build_task(kind, {"features": 3})
        assert not is_private(task)
        assert require_plain(task) is task
        for refuse in (
            lambda task=task: fit_private(task, parts, PRIVACY, rounds=1),
            lambda task=task: require_private(task, name="risk"),
            lambda kind=kind: suggest_private(kind, {"features": 3}, PRIVACY, parties=3, people=90),
        ):
            with pytest.raises(AgreementError, match="nobody bounds a person's share") as caught:
                refuse()
            assert "'dp-logistic'" in caught.value.remedy


def test_private_kinds_are_refused_without_noise():
    parts, test = companies(rows=30)
    for kind, more in KINDS.items():
        parameters = {"features": 3} | more
        task = build_task(kind, parameters)
        assert is_private(task)
        assert require_private(task) is task
        for refuse in (
            lambda task=task: require_plain(task, name="risk"),
            lambda k=kind, p=parameters: suggest(k, p, 3),
            lambda k=kind, p=parameters: (
                fit_pooled(k, p | {}, parts, rounds=1) if "max_rows" in p else suggest(k, p, 3)
            ),
            lambda k=kind, p=parameters: compare(k, p, parts, test, rounds=1),
        ):
            with pytest.raises(AgreementError, match="under differential privacy only"):
                refuse()


def test_a_suggested_ring_holds_everybody_and_all_noise():
    for kind, parameters, people in (
        ("dp-logistic", {"features": 30}, 569),
        ("dp-glm", {"features": 104}, 32_561),
        ("dp-torch", {"features": 104, "hidden": [64, 64]}, 10**6),
    ):
        privacy = PersonPrivacy(0.3, 20.0, 0.1, 3, 1e-5)
        found = suggest_private(kind, parameters, privacy, parties=5, people=people)
        assert found.dimension == build_task(kind, parameters).layout().size
        plan = privacy.plan(found.dimension, parties=5, people=people)
        assert found.scale == plan.clip.scale
        assert found.modulus_bits == plan.least_modulus_bits
        assert 2**14 <= 0.3 * found.scale < 2**15
        reach = people * plan.clip.sensitivity + 12 * plan.noise_deviation * plan.clip.scale
        assert reach < 2 ** (found.modulus_bits - 1)


def test_the_grid_is_fine_enough_that_rounding_costs_nothing():
    for clip_norm in (1e-6, 0.3, 1.0, 1e6):
        for dimension in (1, 10**3, 10**6, 2**28):
            scale = grid_scale(clip_norm, dimension)
            assert np.log2(scale) == round(np.log2(scale))
            privacy = PersonPrivacy(clip_norm, 1.0, 1.0, 2, 1e-5)
            clip = privacy.plan(
                dimension - METER_VALUES if dimension > METER_VALUES else 1, parties=3, people=10
            ).clip
            assert clip.sensitivity <= 1.003 * clip_norm * clip.scale + 1
    with pytest.raises(AgreementError, match="clip_norm"):
        grid_scale(0.0, 5)


def test_noise_that_no_ring_holds_is_refused():
    privacy = PersonPrivacy(1.0, 2.0**24, 1.0, 2, 1e-5)
    with pytest.raises(AgreementError, match="bits"):
        suggest_private("dp-logistic", {"features": 3}, privacy, parties=3, people=2**50)


def test_a_fit_needs_parties_rounds_and_no_more_honest_ones_than_there_are():
    task = build_task("dp-logistic", {"features": 3})
    parts, _ = companies(rows=30)
    for arguments in (([], 1), (parts, 0), (parts[:1], 1)):
        with pytest.raises(MisuseError):
            fit_private(task, arguments[0], PRIVACY, rounds=arguments[1])


def test_more_people_than_agreed_are_refused():
    task = build_task("dp-logistic", {"features": 3})
    parts, _ = companies(rows=30)
    with pytest.raises(InputError, match="agreement allows 29"):
        fit_private(task, parts, PRIVACY, rounds=1, people=29)


def test_without_a_bound_for_the_worst_case_there_is_none():
    task = build_task("dp-logistic", {"features": 3})
    parts, _ = companies(parties=30, rows=20)
    privacy = PersonPrivacy(1.0, 0.7, 1.0, 30, 1e-5)
    assert fit_private(task, parts, privacy, rounds=1).worst_case is None


def test_the_demonstration_data_is_learnt_in_private_at_epsilon_three():
    split = breast_cancer_companies(seed=0)
    columns = np.concatenate([part.features for part in split.parts])
    low, high = columns.min(axis=0), columns.max(axis=0)
    task = build_task(
        "dp-logistic",
        {
            "features": 30,
            "feature_center": ((low + high) / 2).tolist(),
            "feature_unit": ((high - low) / 4).tolist(),
        },
    )
    done = fit_private(task, split.parts, PersonPrivacy(1.0, 8.0, 1.0, 3, 1e-4), rounds=30)
    assert done.epsilon < 3
    assert score("private", task, done.fit.state, split.test).auc > 0.97
