"""What somebody who is asked to sign sees of privacy, before anything is computed."""

from __future__ import annotations

import json

import pytest
from support.masking import seeded_random
from typer.testing import CliRunner

from protocols.identity import Identity
from securefed.agreement_text import agreement_to_toml
from securefed.budget_plan import budget_plan
from securefed.cli import app
from securefed.cli.privacy_view import bar
from securefed.federation import Federation
from securefed.privacy_goal import PrivacyGoal

NAMES = [f"party-{i}" for i in range(5)]


def agreed(**goal: object):
    random = seeded_random(5)
    identities = {name: Identity(name, random(32)) for name in ["coordinator", *NAMES]}
    lead = Federation(
        "private",
        NAMES,
        privacy=PrivacyGoal(**{"epsilon": 2.0, "delta": 1e-5, **goal}),
    )
    lead.add_task(
        "risk",
        "dp-logistic",
        rounds=24,
        privacy={"clip_norm": 1.0, "people": 5000, "sampling_rate": 0.2},
        features=4,
    )
    lead.add_task(
        "early", "dp-logistic", rounds=6, privacy={"clip_norm": 2.0, "people": 5000}, features=2
    )
    return lead.agreement_for(identities)


def test_the_curve_rises_to_the_planned_epsilon_and_stays_within_the_budget():
    plan = budget_plan(agreed())
    rounds, values = zip(*plan.curve, strict=True)
    assert rounds[-1] == 30
    assert list(values) == sorted(values)
    assert values[-1] == pytest.approx(plan.epsilon_pld)
    assert plan.epsilon_pld <= plan.budget <= 1.02 * plan.epsilon_pld
    assert plan.epsilon_rdp >= plan.epsilon_pld
    assert plan.epsilon_worst_case > plan.epsilon_pld
    # One noise multiplier for both tasks, chosen to meet the goal.
    assert plan.tasks[0].noise_multiplier == plan.tasks[1].noise_multiplier


def test_a_person_at_two_companies_needs_more_noise_for_the_same_promise():
    one, two = budget_plan(agreed()), budget_plan(agreed(companies_per_person=2))
    assert two.epsilon_pld <= 2.0
    assert two.tasks[0].noise_multiplier > 1.5 * one.tasks[0].noise_multiplier


def test_inspect_shows_the_promise_the_noise_and_a_plot(tmp_path):
    file = tmp_path / "agreement.toml"
    file.write_text(agreement_to_toml(agreed()))
    shown = CliRunner().invoke(app, ["inspect", str(file)], env={"COLUMNS": "110"})
    assert shown.exit_code == 0, shown.output
    for words in ("What is promised to every person", "epsilon 1.99", "noise multiplier", "█"):
        assert words in shown.output
    assert "differential privacy is off" not in shown.output


def test_inspect_gives_machines_the_whole_plan(tmp_path):
    file = tmp_path / "agreement.toml"
    file.write_text(agreement_to_toml(agreed()))
    shown = CliRunner().invoke(app, ["inspect", str(file), "--json"])
    plan = json.loads(shown.stdout)["privacy"]
    assert plan["budget"] == 2.0
    assert plan["curve"][-1][0] == 30
    assert {task["name"] for task in plan["tasks"]} == {"risk", "early"}


@pytest.mark.parametrize(
    ("value", "most", "shown"), [(0, 1, "····"), (1, 1, "████"), (2, 1, "████"), (0.5, 1, "██··")]
)
def test_a_bar_is_as_long_as_its_share(value, most, shown):
    assert bar(value, most, 4) == shown
