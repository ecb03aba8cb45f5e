from __future__ import annotations

import asyncio

import numpy as np
import pytest
from support.nodes import GLM, NodeFederation, make_agreement, toy_data

from protocols.errors import BelowThresholdError, InputError, NoResultError
from protocols.wire import decode_packet
from securefed.learning.glm import coefficients
from securefed.learning.reference import fit_pooled
from securefed.learning.state import state_from_bytes


def step_of(body: bytes) -> str:
    return decode_packet(body, party="test", max_bytes=1 << 24).envelope.step


def test_an_honest_federation_computes_the_pooled_model():
    signed, identities = make_agreement([GLM], 3)
    data = toy_data(3)
    made = NodeFederation(signed, identities, data)
    report = asyncio.run(made.run())
    pooled = fit_pooled("glm-logistic", GLM["parameters"], list(data.values()), rounds=15)
    found = coefficients(state_from_bytes(report.models["risk"]))
    assert np.abs(found - coefficients(pooled.state)).max() < 1e-6
    assert all(record.outcome == "completed" for record in report.records)
    # Every party was given the very model that the coordinator reports.
    assert all(kept["risk"] == report.models["risk"] for kept in made.models.values())
    assert set(report.bytes_up) == set(data)


@pytest.mark.parametrize("step", ["advertise", "share", "submit", "confirm", "unmask"])
def test_a_party_that_falls_silent_at_any_step_misses_one_round_and_comes_back(step):
    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        envelope = decode_packet(body, party="test", max_bytes=1 << 24).envelope
        lost = sender == "party-4" and envelope.round == 1 and envelope.step == step
        return None if lost else body

    signed, identities = make_agreement(
        [GLM], 5, colluders=1, max_dropouts=1, threshold=2, deadline_seconds=1.5
    )
    made = NodeFederation(signed, identities, toy_data(5), hook)
    report = asyncio.run(made.run())
    assert all(record.outcome == "completed" for record in report.records)
    assert ("party-4" in report.records[0].survivors) is (step in {"confirm", "unmask"})
    assert all("party-4" in record.survivors for record in report.records[1:])


def test_a_run_in_which_no_party_delivers_fails_and_says_why():
    signed, identities = make_agreement([GLM], 3, deadline_seconds=0.5)
    made = NodeFederation(signed, identities, toy_data(3))

    def broken(*_args: object) -> np.ndarray:
        raise InputError("features holds NaN; clean the rows")

    for trainer in made.trainers.values():
        trainer.update = broken
    with pytest.raises(NoResultError, match="rounds in a row were aborted"):
        asyncio.run(made.run())
    assert made.told("coordinator", "run-ended")[0].detail["outcome"] == "failed"
    assert not any(made.models.values())


def test_training_code_that_raises_anything_costs_only_its_own_party():
    signed, identities = make_agreement(
        [GLM], 5, colluders=1, max_dropouts=1, threshold=2, deadline_seconds=1.5
    )
    made = NodeFederation(signed, identities, toy_data(5))

    def broken(*_args: object) -> np.ndarray:
        raise ZeroDivisionError("secret value 42")

    made.trainers["party-2"].update = broken
    report = asyncio.run(made.run())
    assert all("party-2" not in record.survivors for record in report.records)
    # What the foreign exception said may quote the data: it is told to nobody.
    assert "secret value" not in repr(made.events)


def test_too_few_connected_parties_end_the_run_with_a_reason():
    signed, identities = make_agreement([GLM], 4, deadline_seconds=0.5)
    made = NodeFederation(signed, identities, toy_data(4), patience_seconds=0.5)
    with pytest.raises(BelowThresholdError, match="connect"):
        asyncio.run(made.run(["party-0", "party-1"]))


def test_a_party_that_sends_garbage_is_left_out_and_named():
    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        return b"\xc1garbage" if sender == "party-1" and step_of(body) == "submit" else body

    signed, identities = make_agreement(
        [GLM], 5, colluders=1, max_dropouts=1, threshold=2, deadline_seconds=1.5
    )
    made = NodeFederation(signed, identities, toy_data(5), hook)
    report = asyncio.run(made.run())
    assert all("party-1" not in record.survivors for record in report.records)
    refused = made.told("coordinator", "refused")
    assert refused[0].detail["peer"] == "party-1"
