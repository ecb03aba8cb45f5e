"""Differential privacy through real nodes: noise in every sum, budgets that nobody passes."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from support.lies import read
from support.masking import seeded_random
from support.nodes import toy_data
from support.private import PARTIES, ROUNDS, company_federation, nodes, private_federation
from support.seeded import forbidden

from parties.embedded import MemoryJournal
from parties.party import contribution as contribution_module
from parties.party.purse import Purse
from protocols.agreement import Agreement, validate
from protocols.agreement.noise import composed_epsilon, noise_plan
from protocols.errors import (
    AgreementError,
    BudgetExceededError,
    InputError,
    JournalError,
    NoResultError,
    PolicyError,
    PrivacyParameterError,
    WireError,
)
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noise_meter import METER_VALUES
from securefed.clip_state import unpack_state
from securefed.data.table import Data
from securefed.federation import Federation
from securefed.learning.state import state_to_bytes
from securefed.runtime import LearningStrategy, LearningTrainer


def test_every_round_carries_the_promised_noise_and_says_what_it_cost():
    _, identities, agreement = private_federation()
    made = nodes(agreement, identities)
    report = asyncio.run(made.run())
    assert [record.outcome for record in report.records] == ["completed"] * ROUNDS
    assert all(record.noise_verdict == "as promised" for record in report.records)
    told = made.told("coordinator", "round-completed")
    spent = [event.detail["epsilon"] for event in told]
    assert spent == sorted(spent)
    assert spent[0] > 0
    assert spent[-1] <= 3.0
    # The plan was sized so that all rounds just use the budget.
    assert spent[-1] == pytest.approx(3.0, rel=0.01)


def test_the_sum_of_two_runs_differs_by_fresh_noise_of_the_agreed_size():
    _, identities, agreement = private_federation(rounds=1)
    plan = noise_plan(agreement, agreement.tasks[0])
    totals = []
    for attempt in range(2):
        made = nodes(agreement, identities)
        random = seeded_random(100 + attempt)
        words = [
            contribution_module.contribution(
                agreement,
                agreement.tasks[0],
                made.trainers[f"party-{i}"],
                model=made.strategy.initial_model(agreement.tasks[0]),
                round_in_task=1,
                random=random,
            )
            for i in range(PARTIES)
        ]
        assert all(one.shape == (plan.clip.length + METER_VALUES,) for one in words)
        totals.append(sum(one.astype(np.int64) for one in words))
    meter = (totals[0] - totals[1])[plan.clip.length :]
    wrap = 2 ** agreement.tasks[0].modulus_bits
    meter = (meter + wrap // 2) % wrap - wrap // 2
    expected = 2 * PARTIES * float(plan.noise.share_variance)
    assert np.var(meter) == pytest.approx(expected, rel=0.15)


def test_a_party_that_adds_no_noise_is_noticed_in_one_round(monkeypatch):
    _, identities, agreement = private_federation(rounds=1)
    made = nodes(agreement, identities)
    genuine = contribution_module.private_words
    calls = 0

    def lazy(vectors: object, *, share: DiscreteGaussian, **rest: object) -> object:
        nonlocal calls
        calls += 1
        least = DiscreteGaussian(Fraction(1, 16)) if calls == 1 else share
        return genuine(vectors, share=least, **rest)

    monkeypatch.setattr(contribution_module, "private_words", lazy)
    report = asyncio.run(made.run())
    assert report.records[0].noise_verdict == "too little"
    assert report.records[0].noise_meter == pytest.approx(0.8, abs=0.1)


def test_a_round_with_too_few_survivors_for_the_promised_noise_is_aborted():
    _, identities, agreement = private_federation(rounds=1)
    made = nodes(agreement, identities)

    def broken(*_args: object) -> object:
        raise InputError("the rows are gone")

    for name in ("party-1", "party-2"):
        made.trainers[name].person_vectors = broken
    with pytest.raises(NoResultError):
        asyncio.run(made.run())
    aborted = made.told("coordinator", "round-aborted")
    assert aborted
    # What was opened is charged although it came to nothing.
    assert Purse(agreement, "party-0", made.journals["party-0"]).charged == {"risk": 1}


def test_a_party_stops_at_its_own_lower_ceiling_and_names_it():
    _, _, agreement = private_federation(rounds=6)
    journal = MemoryJournal()
    ceiling = composed_epsilon(agreement, {"risk": 3}) + 1e-6
    purse = Purse(agreement, "party-0", journal, ceiling)
    for _ in range(3):
        purse.charge(agreement.tasks[0])
    with pytest.raises(BudgetExceededError, match="party-0") as caught:
        purse.charge(agreement.tasks[0])
    assert caught.value.ceiling == ceiling
    assert purse.charged == {"risk": 3}


def test_what_was_charged_survives_a_restart_and_is_never_given_back():
    _, _, agreement = private_federation(rounds=6)
    journal = MemoryJournal()
    ceiling = composed_epsilon(agreement, {"risk": 3}) + 1e-6
    for charged in range(3):
        purse = Purse(agreement, "party-0", journal, ceiling)
        assert purse.charged.get("risk", 0) == charged
        purse.charge(agreement.tasks[0])
    with pytest.raises(BudgetExceededError):
        Purse(agreement, "party-0", journal, ceiling).charge(agreement.tasks[0])


def test_charges_beyond_the_plan_leave_no_room_for_the_rest_of_it():
    lead, identities, _ = private_federation(epsilon=8.0, noise_multiplier=4.0)
    told = {"clip_norm": 1.0, "people": 1000, "sampling_rate": 0.5, "noise_multiplier": 4.0}
    lead.add_task("more", "dp-logistic", rounds=ROUNDS, privacy=told, features=3)
    agreement = lead.agreement_for(identities)
    ceiling = composed_epsilon(agreement, {"risk": ROUNDS, "more": ROUNDS}) + 1e-6
    journal = MemoryJournal()
    journal.put("spent", msgspec.msgpack.encode({"risk": ROUNDS + 2}))
    purse = Purse(agreement, "party-0", journal, ceiling)
    purse.charge(agreement.tasks[1])
    purse.charge(agreement.tasks[1])
    with pytest.raises(BudgetExceededError):
        purse.charge(agreement.tasks[1])
    assert purse.epsilon <= ceiling


def test_a_ceiling_that_is_no_number_is_refused_and_not_ignored():
    _, _, agreement = private_federation()
    with pytest.raises(PrivacyParameterError):
        Purse(agreement, "party-0", MemoryJournal(), float("nan"))


@pytest.mark.parametrize("rows", [1, 60])
def test_a_model_that_is_refused_does_not_tell_whether_anybody_was_sampled(rows):
    _, _, agreement = private_federation(sampling_rate=0.1)
    task, data = agreement.tasks[0], toy_data(1)["party-0"]
    few = data.take(np.arange(rows))
    trainer = LearningTrainer(agreement, few, keep=lambda _name, _model: None)
    refused = {**unpack_state(task, trainer.initial_model(task))[0], "scale": np.zeros(3)}
    model = state_to_bytes(refused)
    with pytest.raises(WireError):
        contribution_module.contribution(
            agreement, task, trainer, model=model, round_in_task=1, random=forbidden
        )


@pytest.mark.parametrize("server", ["momentum", "adam"])
def test_a_sum_with_fewer_survivors_is_known_to_hold_less_noise(server):
    lead, identities, _ = private_federation()
    lead.add_task(
        "more",
        "dp-logistic",
        rounds=1,
        privacy={"clip_norm": 1.0, "people": 1000},
        features=3,
        server=server,
    )
    agreement = lead.agreement_for(identities)
    task, strategy = agreement.tasks[1], LearningStrategy(agreement)
    plan = noise_plan(agreement, task)
    model, total = strategy.initial_model(task), np.full(task.dimension, 100.0)
    made = {
        survivors: strategy.combine(task, model, total, 1, survivors=survivors)
        for survivors in (None, PARTIES, 4)
    }
    assert made[None].model == made[PARTIES].model
    assert (made[4].model != made[PARTIES].model) is (server == "adam")
    noise = {survivors: step.metrics["noise_norm"] for survivors, step in made.items()}
    assert noise[4] == pytest.approx(noise[PARTIES] * (4 / PARTIES) ** 0.5)
    assert plan.deviation_of(PARTIES) == plan.noise_deviation > plan.deviation_of(4)


def test_a_charge_that_cannot_be_written_down_stops_the_round():
    _, _, agreement = private_federation()

    class Full(MemoryJournal):
        def put(self, _key: str, _value: bytes) -> None:
            raise JournalError("the disk is full; free some space and start again")

    purse = Purse(agreement, "party-0", Full())
    with pytest.raises(JournalError):
        purse.charge(agreement.tasks[0])
    assert purse.charged == {}


def test_a_party_with_more_people_than_agreed_is_told_before_anybody_hears_of_it():
    _, _, agreement = private_federation(people=60)
    rows = toy_data(1, rows=61)["party-0"]

    def keep(_name: str, _model: bytes) -> None:
        raise AssertionError("nothing was learnt")

    LearningTrainer(agreement, rows.take(np.arange(60)), keep=keep)
    with pytest.raises(InputError, match=r"61 people .* allows 60"):
        LearningTrainer(agreement, rows, keep=keep)
    with pytest.raises(InputError, match="no data"):
        LearningTrainer(agreement, {"another": rows}, keep=keep)


def test_a_party_whose_people_grew_past_the_agreed_number_does_not_leave_the_round_for_it():
    _, identities, agreement = private_federation(rounds=1, people=100)
    made = nodes(agreement, identities)
    made.trainers["party-0"]._data["risk"] = toy_data(1, rows=101)["party-0"]
    report = asyncio.run(made.run())
    assert "party-0" in report.records[0].survivors


def test_nobody_learns_how_many_people_were_sampled():
    _, identities, agreement = private_federation(rounds=3)
    sizes: dict[str, list[int]] = {}

    def hook(sender: str, _receiver: str, body: bytes) -> bytes:
        if sender == "party-0":
            sizes.setdefault(read(body).envelope.step, []).append(len(body))
        return body

    made = nodes(agreement, identities, hook=hook)
    asked: list[int] = []
    genuine = made.trainers["party-0"].person_vectors

    def watching(task: object, model: bytes, number: int, chosen: np.ndarray) -> object:
        if chosen.size:  # the model is checked first, with nobody
            asked.append(len(chosen))
        return genuine(task, model, number, chosen)

    made.trainers["party-0"].person_vectors = watching
    asyncio.run(made.run())
    assert len(set(asked)) > 1  # the samples differ in size
    for step in ("advertise", "share", "submit", "confirm", "unmask"):
        assert len(sizes[step]) == len(asked)
        assert len(set(sizes[step])) == 1  # the messages do not
    told = {key for who, event in made.events if who == "party-0" for key in event.detail}
    assert not {key for key in told if "people" in key or "batch" in key or "sampl" in key}


def test_a_task_without_a_per_person_form_cannot_run_under_noise_nor_the_reverse():
    lead, identities, _ = private_federation()
    told = {"clip_norm": 1.0, "people": 1000}
    lead.add_task("exact", "glm-logistic", rounds=3, privacy=told, features=3, max_rows=100)
    with pytest.raises(AgreementError, match="nobody bounds a person's share"):
        lead.agreement_for(identities)
    plain = Federation("plain", ["a", "b", "c"], privacy=None)
    with pytest.raises(AgreementError, match="differential privacy"):
        plain.add_task("risk", "dp-logistic", rounds=3, features=3)


def test_a_budget_too_small_for_the_plan_is_refused_with_the_noise_that_would_do():
    with pytest.raises(AgreementError, match=r"privacy\.epsilon") as caught:
        private_federation(noise_multiplier=0.8)
    enough = float(caught.value.remedy.split("risk: ")[1].split(")")[0])
    _, _, agreement = private_federation(noise_multiplier=enough)
    assert composed_epsilon(agreement, {"risk": ROUNDS}) <= 3.0


def test_a_private_model_is_learnt_that_beats_chance():
    lead, _, _ = private_federation(epsilon=8.0, rounds=15)
    data = toy_data(PARTIES, rows=200)
    result = lead.simulate(data, seed=3)
    everything = Data(
        np.concatenate([one.features for one in data.values()]),
        np.concatenate([one.labels for one in data.values()]),
    )
    assert result.score("risk", everything).auc > 0.6
    assert result.privacy is not None
    assert 7.9 < result.privacy.epsilon <= 8.0
    assert result.privacy.noise_alarms == 0


def adaptive_federation(start: float, **privacy: object) -> tuple[Federation, Agreement]:
    lead, _, agreement = private_federation(
        epsilon=20.0,
        rounds=12,
        clip_norm=start,
        sampling_rate=1.0,
        adaptive={"quantile": 0.5, "rate": 0.5, "lowest": 0.01, "highest": 64.0},
        **privacy,
    )
    return lead, agreement


@pytest.mark.parametrize("start", [0.02, 30.0])
def test_an_adaptive_clip_norm_finds_the_quantile_of_the_norms_from_either_side(start):
    lead, _ = adaptive_federation(start)
    result = lead.simulate(toy_data(PARTIES, rows=180), seed=5)
    norms = [record.metrics["clip_norm"] for record in result.records]
    # Gradients of a logistic regression on these rows are about one long.
    assert abs(np.log(norms[-1])) < abs(np.log(start)) / 2
    assert all(record.noise_verdict == "as promised" for record in result.records)
    assert set(result.models["risk"]).isdisjoint({"privacy.clip_norm"})


def test_adapting_the_clip_norm_never_changes_what_a_round_costs():
    _, agreement = adaptive_federation(1.0)
    task = agreement.tasks[0]
    first = noise_plan(agreement, task)
    assert first.clip.indicator > 0
    for norm in np.geomspace(0.01, 64.0, 40):
        later = noise_plan(agreement, task, clip_norm=float(norm))
        assert later.clip.sensitivity <= first.noise.sensitivity
        assert later.noise == first.noise
        assert later.release() == first.release()


def test_a_clip_norm_outside_of_the_agreed_range_is_refused_by_the_party():
    _, agreement = adaptive_federation(1.0)
    for norm in (0.009, 64.1, float("nan")):
        with pytest.raises(PolicyError):
            noise_plan(agreement, agreement.tasks[0], clip_norm=norm)
    _, _, fixed = private_federation()
    with pytest.raises(PolicyError, match="fixed by the agreement"):
        noise_plan(fixed, fixed.tasks[0], clip_norm=2.0)


def test_noise_that_hides_a_whole_company_runs_and_validate_says_what_it_costs():
    lead, _, _ = company_federation()
    # So many rows that their noised number is above zero but for six standard deviations.
    result = lead.simulate(toy_data(PARTIES, rows=900), seed=1)
    assert all(record.noise_verdict == "as promised" for record in result.records)
    assert any("company" in warning for warning in validate(result.agreement))
    plan = noise_plan(result.agreement, result.agreement.tasks[0])
    # One vector a company, whatever its number of people.
    assert plan.people == PARTIES
