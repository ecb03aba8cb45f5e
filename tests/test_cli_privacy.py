from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from protocols.errors import PrivacyParameterError
from protocols.privacy.accounting import epsilon
from protocols.privacy.releases import Release
from securefed.cli.exit_codes import ExitCode, exit_code
from securefed.cli.privacy import privacy_app

PLAN = ["--sampling-rate", "0.05", "--steps", "500", "--delta", "1e-6"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(privacy_app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def as_json(*arguments: str) -> dict[str, float]:
    [line] = run(*arguments, "--json").splitlines()
    return json.loads(line)


def test_epsilon_prints_one_object_with_both_accountants():
    shown = as_json("epsilon", "--noise-multiplier", "2", *PLAN)
    assert shown["epsilon_pld"] == pytest.approx(2.873, rel=2e-4)
    assert shown["epsilon_rdp"] == pytest.approx(3.102, abs=1e-3)
    assert shown["delta"] == 1e-6
    assert shown["steps"] == 500
    assert shown["epsilon_worst_case"] == shown["epsilon_pld"]


def test_epsilon_shows_what_is_left_when_all_other_sharers_collude():
    shown = as_json("epsilon", "--noise-multiplier", "2", *PLAN, "--honest", "3")
    assert shown["epsilon_pld"] == pytest.approx(2.873, rel=2e-4)
    assert shown["epsilon_worst_case"] == pytest.approx(6.513, rel=1e-3)
    text = run("epsilon", "--noise-multiplier", "2", *PLAN, "--honest", "3")
    assert "2.8727" in text
    assert "3.1019" in text
    assert "if all 2 other sharers of the noise collude" in text


def test_epsilon_of_integer_noise_is_no_lower_than_that_of_continuous_noise():
    integer = ["--sensitivity", "16384", "--dimension", "1000000", "--honest", "3"]
    shown = as_json("epsilon", "--noise-multiplier", "2", *PLAN, *integer)
    continuous = epsilon([Release(2.0, 0.05, 500)], 1e-6)
    assert continuous < shown["epsilon_pld"] < 1.001 * continuous


def test_calibrate_finds_noise_that_never_exceeds_its_target():
    shown = as_json("calibrate", "--target-epsilon", "3", *PLAN, "--honest", "3")
    z = shown["noise_multiplier"]
    assert shown["epsilon_pld"] <= 3 < epsilon([Release(z * 0.999, 0.05, 500)], 1e-6)
    assert shown["epsilon_worst_case"] > 3
    assert "noise multiplier 1.93" in run("calibrate", "--target-epsilon", "3", *PLAN)


def test_calibrate_by_renyi_divergences_takes_more_noise():
    tight = as_json("calibrate", "--target-epsilon", "3", *PLAN)
    loose = as_json("calibrate", "--target-epsilon", "3", *PLAN, "--accountant", "rdp")
    assert loose["noise_multiplier"] > tight["noise_multiplier"]
    assert loose["epsilon_rdp"] <= 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("epsilon", "--noise-multiplier", "0", *PLAN),
        ("epsilon", "--noise-multiplier", "2", *PLAN, "--sensitivity", "1"),
        ("calibrate", "--target-epsilon", "3", *PLAN, "--accountant", "gdp"),
        ("calibrate", "--target-epsilon", "-3", *PLAN),
    ],
    ids=["no noise", "coarse grid", "gdp", "negative target"],
)
def test_what_has_no_answer_is_refused_as_wrong_usage(arguments):
    with pytest.raises(PrivacyParameterError) as caught:
        CliRunner().invoke(privacy_app, list(arguments), catch_exceptions=False)
    assert exit_code(caught.value) is ExitCode.USAGE
