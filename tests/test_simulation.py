from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from support.nodes import GLM, toy_data

from parties.party.node import PartyNode
from protocols.errors import NoResultError
from securefed.data.table import Data
from securefed.federation import Federation
from securefed.runtime import LearningTrainer


def federation(data: dict[str, Data], **options: object) -> Federation:
    lead = Federation("test", list(data), privacy=None, **options)
    return lead.add_task("risk", "glm-logistic", rounds=6, **GLM["parameters"])


def test_a_simulation_runs_inside_an_event_loop_as_a_notebook_has_one():
    data = toy_data(3)

    async def cell():
        return federation(data).simulate(data)

    assert np.isfinite(asyncio.run(cell()).models["risk"]["coefficients"]).all()


def test_a_simulation_without_a_result_says_what_went_wrong_at_the_parties():
    data = toy_data(3)
    data["party-1"] = Data(data["party-1"].features[:, :2], data["party-1"].labels)
    data["party-2"] = Data(data["party-2"].features[:, :2], data["party-2"].labels)
    with pytest.raises(NoResultError, match=r"party-1: .*column"):
        federation(data, max_dropouts=0).simulate(data)


def test_a_simulation_with_a_result_says_as_well_what_went_wrong_at_a_party():
    data = toy_data(5)
    lead = federation(data, max_dropouts=1)
    assert lead.simulate(data).complaints == ()
    data["party-1"] = Data(data["party-1"].features[:, :2], data["party-1"].labels)
    [complaint] = lead.simulate(data).complaints
    assert complaint.startswith("party-1: features has 2 columns")


def test_no_party_is_too_slow_for_a_simulation(monkeypatch):
    """However short the agreed deadline, a computation on one machine takes what it takes."""
    data, honest, gate = toy_data(3), LearningTrainer.update, threading.Event()

    def slow(self, task, model, round_in_task):
        if not gate.is_set():
            gate.wait(1.0)  # twice the deadline
            gate.set()
        return honest(self, task, model, round_in_task)

    monkeypatch.setattr(LearningTrainer, "update", slow)
    result = federation(data, deadline_seconds=0.5).simulate(data)
    assert all(len(record.survivors) == 3 for record in result.records)


def test_a_simulation_leaves_no_thread_that_does_anything_behind():
    data, before = toy_data(3), set(threading.enumerate())
    federation(data).simulate(data)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_a_simulation_does_not_wait_for_a_party_that_died_of_a_fault(monkeypatch):
    """Nobody is lost in one process, so a party is waited for as long as an agreement may."""

    class Broken(RuntimeError):
        pass

    honest = PartyNode.run

    async def run(node):
        if node._identity.name == "party-1":
            raise Broken
        return await honest(node)

    monkeypatch.setattr(PartyNode, "run", run)
    data = toy_data(3)
    with pytest.raises(Broken):
        federation(data).simulate(data)
