"""Agreements as text: a new draft is safe and explained, and any agreement survives TOML."""

from __future__ import annotations

import tomllib

import pytest
from support.agreements import changed, make_agreement, plain_agreement

from protocols.agreement import load_agreement
from securefed.agreement_text import agreement_to_toml, toml_value
from securefed.draft import Draft, DraftMember, spell_out


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 33, 100])
def test_the_numbers_of_a_new_agreement_are_safe_for_any_number_of_parties(n: int) -> None:
    text = Draft(
        federation="f",
        coordinator=DraftMember("hub"),
        address="hub:1",
        parties=[DraftMember(f"p-{i}") for i in range(n)],
        task="t",
        kind="glm-logistic",
        rounds=3,
        parameters={"features": 2},
    ).to_toml()
    assert tomllib.loads(text)["aggregation"]["min_cohort"] >= 2


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
