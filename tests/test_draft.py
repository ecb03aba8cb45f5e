"""Agreements as text: a new draft is safe and explained, and any agreement survives TOML."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace

import pytest
from support.agreements import changed, identity_of, make_agreement, plain_agreement

from protocols.agreement import load_agreement, validate
from protocols.agreement.model import Paillier
from protocols.agreement.noise import planned_cost
from protocols.errors import AgreementError, PrivacyParameterError
from securefed.agreement_text import agreement_to_toml, toml_value
from securefed.draft import Draft, DraftMember
from securefed.draft_noise import DraftClip, DraftNoise
from securefed.draft_parameters import PARAMETERS, spell_out
from securefed.federation import MemberKeys
from securefed.learning.registry import build_task


def draft(kind: str, noise: DraftNoise | None, *, n: int = 3, keys: bool = False) -> Draft:
    names = ["hub", *(f"p-{i}" for i in range(n))]
    known = {
        name: MemberKeys(identity_of(name).public.raw.hex(), identity_of(name).public.raw.hex())
        for name in names
    }
    hub, *parties = (DraftMember(name, known[name] if keys else None) for name in names)
    return Draft(
        federation="f",
        coordinator=hub,
        address="hub:1",
        parties=parties,
        task="t",
        kind=kind,
        rounds=3,
        parameters={"features": 2},
        noise=noise,
    )


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 33, 100])
@pytest.mark.parametrize("noise", [None, DraftNoise(people=4000)], ids=["plain", "noised"])
def test_the_numbers_of_a_new_agreement_are_safe_for_any_number_of_parties(
    n: int, noise: DraftNoise | None
) -> None:
    text = draft("dp-logistic" if noise else "glm-logistic", noise, n=n).to_toml()
    assert tomllib.loads(text)["aggregation"]["min_cohort"] >= 2


@pytest.mark.parametrize("kind", ["dp-logistic", "dp-glm", "dp-torch"])
def test_the_noise_of_a_new_agreement_keeps_the_promise_and_is_no_more_than_that(kind: str) -> None:
    noise = DraftNoise(people=4000, epsilon=1.5, delta=1e-5, clip_norm=0.5, sampling_rate=0.25)
    agreement = load_agreement(draft(kind, noise, n=5, keys=True).to_toml())
    validate(agreement)
    cost = planned_cost(agreement)
    assert cost is not None
    assert cost.budget == 1.5
    assert 1.49 < cost.promised.epsilon_pld <= 1.5
    assert agreement.privacy.delta == 1e-5
    told = agreement.tasks[0].privacy
    assert told is not None
    assert (told.clip_norm, told.sampling_rate, told.people) == (0.5, 0.25, 4000)


def test_a_new_agreement_says_how_its_clip_norm_moves_and_at_how_many_parties_a_person_may_be() -> (
    None
):
    clip = DraftClip(0.7, rate=0.3, highest=8.0)
    noise = DraftNoise(people=4000, clip_norm=0.5, companies_per_person=2, adaptive=clip)
    agreement = load_agreement(draft("dp-logistic", noise, keys=True).to_toml())
    validate(agreement)
    assert agreement.privacy.companies_per_person == 2
    [task] = agreement.tasks
    assert task.bound == 8.0
    moves = task.privacy.adaptive
    assert (moves.quantile, moves.rate, moves.lowest, moves.highest) == (0.7, 0.3, 0.01, 8.0)
    assert 2.99 < planned_cost(agreement).promised.epsilon_pld <= 3.0


def test_a_new_agreement_may_hide_whole_companies() -> None:
    noise = DraftNoise(people=5, unit="company", adaptive=DraftClip(0.5))
    agreement = load_agreement(draft("torch", noise, n=5, keys=True).to_toml())
    assert any('"company" with 5 parties' in warning for warning in validate(agreement))
    assert planned_cost(agreement).promised.epsilon_pld <= 3.0


def test_a_new_agreement_without_noise_accepts_that_in_writing() -> None:
    agreement = load_agreement(draft("glm-logistic", None, keys=True).to_toml())
    assert agreement.privacy.mechanism == "none"
    assert agreement.privacy.accept_no_differential_privacy
    assert any("differential privacy is off" in warning for warning in validate(agreement))


@pytest.mark.parametrize("mode", ["paillier", "layered"])
def test_a_new_agreement_may_encrypt_and_explains_the_key(mode: str) -> None:
    names = ("dealer", "key_holder")[: 1 if mode == "paillier" else 2]
    for who in names:
        raw = identity_of(who).public.raw.hex()
        named = DraftMember(who.replace("_", "-"), MemberKeys(raw, raw))
        lead = replace(draft("glm-logistic", None, keys=True), mode=mode, **{who: named})
        text = lead.to_toml()
        agreement = load_agreement(text)
        assert agreement.aggregation.mode == mode
        assert agreement.paillier.key_bits == 3072
        assert load_agreement(agreement_to_toml(agreement)).digest() == agreement.digest()
        lines = text.splitlines()
        field = Paillier.model_fields[who].description
        assert lines[lines.index(f"[paillier.{who}]") - 1] == f"# {field}"
        assert f"# {Paillier.model_fields['key_bits'].description}\nkey_bits = 3072" in text
        assert "# 5. The " in text
    assert "# 5. The " not in draft("glm-logistic", None).to_toml()


def test_keys_of_a_dealer_or_key_holder_that_nobody_knows_yet_are_left_to_be_pasted() -> None:
    lead = replace(
        draft("glm-logistic", None, keys=True), mode="layered", key_holder=DraftMember("keeper")
    )
    text = lead.to_toml()
    keeper = tomllib.loads(text)["paillier"]["key_holder"]
    assert keeper == {
        "name": "keeper",
        "public_key": "PASTE the public key of keeper",
        "tls_fingerprint": "PASTE the TLS fingerprint of keeper",
    }
    with pytest.raises(AgreementError, match="placeholder") as caught:
        load_agreement(text)
    assert caught.value.key.startswith("paillier.key_holder")


def test_a_promise_may_leave_nothing_if_all_others_collude_and_says_so() -> None:
    many = replace(draft("dp-logistic", DraftNoise(people=4000), n=100, keys=True), rounds=25)
    agreement = load_agreement(many.to_toml())
    assert any("epsilon is without bound" in warning for warning in validate(agreement))
    cost = planned_cost(agreement)
    assert cost is not None
    assert cost.worst_case == math.inf
    assert cost.promised.epsilon_pld <= 3.0


def test_too_few_honest_parties_are_refused_with_the_number_that_would_do() -> None:
    lead = replace(draft("dp-logistic", DraftNoise(people=4000)), colluders=2, max_dropouts=2)
    with pytest.raises(AgreementError, match="set it to at most 1"):
        lead.to_toml()


@pytest.mark.parametrize(
    "changes",
    [{"epsilon": 0.0}, {"epsilon": 2000.0}, {"delta": 0.0}, {"delta": 1.0}, {"sampling_rate": 0.0}],
    ids=str,
)
def test_a_promise_that_nothing_keeps_is_no_draft(changes: dict[str, float]) -> None:
    with pytest.raises(PrivacyParameterError, match=next(iter(changes))):
        draft("dp-logistic", DraftNoise(people=4000, **changes)).to_toml()


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_every_parameter_of_every_built_in_kind_is_spelled_out_or_named(kind: str) -> None:
    noise = DraftNoise(people=4000) if kind.startswith("dp-") else None
    text = draft(kind, noise).to_toml()
    [task] = tomllib.loads(text)["tasks"]
    build_task(kind, task["parameters"])
    for name in PARAMETERS[kind].model_fields:
        assert name in task["parameters"] or f"# {name} = …" in text.splitlines()


def test_defaults_are_spelled_out_and_what_was_given_wins() -> None:
    spelled = spell_out("torch", {"features": 3, "hidden": [4, 4], "oops": 1})
    assert spelled["features"] == 3
    assert spelled["hidden"] == [4, 4]
    assert spelled["oops"] == 1
    assert spelled["batch_size"] == 32
    assert spell_out("another", {"x": 1}) == {"x": 1}


@pytest.mark.parametrize("value", ["", 'a"b\\c', "tab\tnew\nline", "\x7f\x00\x1f", "é😀", "'"])
def test_any_text_survives_toml(value: str) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_an_agreement_survives_toml() -> None:
    plain = changed(
        plain_agreement(3),
        "tasks.0.parameters",
        {"a": 'q"\x7f', "b": [1, 2.5, True, "x"], "c": 1e-300, "d": -5, "e": [], "f": 1e22},
    )
    agreement = make_agreement(3).model_validate(plain)
    again = load_agreement(agreement_to_toml(agreement))
    assert again.digest() == agreement.digest()
