from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import BudgetExceededError, PolicyError, PrivacyParameterError
from protocols.privacy.accounting import epsilon
from protocols.privacy.budget import Budget
from protocols.privacy.releases import Release

STEP = Release(2.0, 0.05)

releases = st.builds(
    Release,
    noise_multiplier=st.sampled_from([1.0, 2.0, 5.0]),
    sampling_rate=st.sampled_from([0.01, 0.1, 1.0]),
    count=st.integers(1, 30),
)


def test_a_charge_gives_a_new_state_and_leaves_the_old_one():
    before = Budget("north", 3.0, 1e-6)
    after = before.charge(STEP).charge(STEP)
    assert before.spent == ()
    assert before.epsilon == 0
    assert after.spent == (STEP.times(2),)
    assert after.epsilon == epsilon([STEP.times(2)], 1e-6)
    assert after.guarantee().epsilon_pld == after.epsilon


@settings(max_examples=15, deadline=None)
@given(st.lists(releases, min_size=1, max_size=6))
def test_no_sequence_of_charges_ends_above_the_ceiling(wanted):
    budget = Budget("north", 1.5, 1e-5)
    for release in wanted:
        after = epsilon([*budget.spent, release], 1e-5)
        if after > 1.5:
            with pytest.raises(BudgetExceededError) as caught:
                budget.charge(release)
            assert (caught.value.party, caught.value.epsilon) == ("north", after)
            assert caught.value.ceiling == 1.5
        else:
            budget = budget.charge(release)
            assert budget.epsilon == after


def test_a_release_past_the_ceiling_is_refused_by_name_and_costs_nothing():
    budget = Budget("north", 2.873, 1e-6, (STEP.times(500),))
    with pytest.raises(BudgetExceededError, match=r"north: .* past the ceiling of 2.873") as caught:
        budget.charge(STEP)
    assert isinstance(caught.value, PolicyError)
    assert budget.spent == (STEP.times(500),)


def test_what_is_affordable_is_exactly_what_can_be_charged():
    budget = Budget("north", 2.873, 1e-6, (STEP.times(100),))
    left = budget.affordable(STEP)
    assert left == pytest.approx(400, abs=1)
    full = budget.charge(STEP.times(left))
    with pytest.raises(BudgetExceededError):
        full.charge(STEP)
    assert full.affordable(STEP) == 0
    assert budget.affordable(STEP, most=7) == 7
    assert budget.affordable(STEP, most=0) == 0


def test_the_order_in_which_rounds_were_charged_does_not_matter():
    other = Release(5.0, 1.0)
    one = Budget("north", 9.0, 1e-6).charge(STEP).charge(other).charge(STEP)
    two = Budget("north", 9.0, 1e-6).charge(other).charge(STEP.times(2))
    assert one == two
    assert one == Budget("north", 9.0, 1e-6, one.spent[::-1])


def test_a_budget_of_nothing_affords_nothing():
    with pytest.raises(BudgetExceededError):
        Budget("north", 0.0, 1e-6).charge(STEP)


@pytest.mark.parametrize(
    ("ceiling", "delta"), [(-1.0, 1e-6), (math.nan, 1e-6), (1001.0, 1e-6), (1.0, 0.0), (1.0, 1.0)]
)
def test_a_budget_that_bounds_nothing_is_refused(ceiling, delta):
    with pytest.raises(PrivacyParameterError):
        Budget("north", ceiling, delta)
