from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masking import MODEL, federation, plain_sum, random_inputs, seeded_random

from protocols.errors import BelowThresholdError
from protocols.graph import plan_graph
from protocols.masking.run import run_round

STEPS = ["advertise", "share", "submit", "confirm", "unmask"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_masked_sum_is_the_plain_sum_for_any_size_ring_and_dropouts(data):
    n = data.draw(st.integers(3, 9), "parties")
    colluders = data.draw(st.integers(0, max(0, n - 3)), "colluders")
    quorum = (n + colluders) // 2 + 1
    dropouts = data.draw(st.integers(0, min(n - quorum, n - 2 - colluders)), "max_dropouts")
    bits = data.draw(st.sampled_from([2, 13, 16, 24, 32, 33, 63, 64]), "bits")
    count = data.draw(st.integers(1, 70), "count")
    threshold = data.draw(st.integers(colluders + 1, n - 1 - dropouts), "threshold")
    made = federation(
        n,
        colluders=colluders,
        max_dropouts=dropouts,
        threshold=threshold,
        modulus_bits=bits,
        count=count,
    )
    gone = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=dropouts), "gone")
    silent = {who: data.draw(st.sampled_from(STEPS), f"step of {who}") for who in gone}
    inputs = random_inputs(made, data.draw(st.integers(0, 999), "seed"))
    try:
        result = run_round(
            made.context,
            made.coordinator,
            made.parties,
            inputs,
            model=MODEL,
            random=seeded_random(5),
            silent_from=silent,
        )
    except BelowThresholdError:
        # Only the graph's own need for threshold + 1 parties can end a tolerated pattern early.
        assert n - len(gone) < made.context.min_roster
        return
    submitted = tuple(
        number for number in range(n) if silent.get(number) in (None, "confirm", "unmask")
    )
    assert result.survivors == submitted
    np.testing.assert_array_equal(result.total, plain_sum(made, inputs, submitted))


@pytest.mark.parametrize("step", STEPS)
def test_one_dropout_too_many_aborts_the_round_and_reveals_nothing(step):
    made = federation(6, colluders=1, max_dropouts=2, threshold=3)
    silent = {0: step, 2: step, 5: step}
    with pytest.raises(BelowThresholdError) as caught:
        run_round(
            made.context,
            made.coordinator,
            made.parties,
            random_inputs(made),
            model=MODEL,
            random=seeded_random(5),
            silent_from=silent,
        )
    assert "nothing" in str(caught.value)


@pytest.mark.parametrize("kind", ["complete", "sparse"])
def test_a_hundred_parties_sum_exactly_with_dropouts_at_every_step(kind):
    n, colluders, dropouts = 100, 5, 10
    plan = plan_graph(n, colluders=colluders, max_dropouts=dropouts)
    degree, threshold = (None, 40) if kind == "complete" else (plan.degree, plan.threshold)
    assert kind == "complete" or degree < n - 1
    made = federation(
        n, colluders=colluders, max_dropouts=dropouts, threshold=threshold, degree=degree, count=5
    )
    inputs = random_inputs(made)
    silent = {who: STEPS[who % 5] for who in range(3, 3 + dropouts)}
    result = run_round(
        made.context,
        made.coordinator,
        made.parties,
        inputs,
        model=MODEL,
        random=seeded_random(5),
        silent_from=silent,
    )
    submitted = tuple(u for u in range(n) if silent.get(u) in (None, "confirm", "unmask"))
    assert result.survivors == submitted
    np.testing.assert_array_equal(result.total, plain_sum(made, inputs, submitted))
