"""What others hear of a training that went wrong, and what its own operator hears."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np
from support.lies import read
from support.nodes import GLM, NodeFederation, make_agreement, toy_data
from support.private import PARTIES, nodes, private_federation

from protocols.rounds import Withdrawal

PARTY = "party-1"


def withdrawals(update: Callable[..., np.ndarray]) -> list[Withdrawal]:
    """Run a federation in which one party's training goes wrong; return what it said of it."""
    said = []

    def hook(sender: str, _receiver: str, body: bytes) -> bytes:
        if sender == PARTY and read(body).envelope.step == "withdraw":
            said.append(msgspec.msgpack.decode(read(body).envelope.payload, type=Withdrawal))
        return body

    task = {**GLM, "rounds": 1}
    signed, identities = make_agreement(
        [task], 5, colluders=1, max_dropouts=1, threshold=2, deadline_seconds=0.5
    )
    made = NodeFederation(signed, identities, toy_data(5), hook)
    made.trainers[PARTY].update = update
    asyncio.run(made.run())
    return said


def test_a_training_that_is_late_is_withdrawn_in_the_words_of_one_that_fails():
    ended = threading.Event()

    def late(*_args: object) -> np.ndarray:
        ended.wait(20)
        raise ZeroDivisionError

    def failing(*_args: object) -> np.ndarray:
        raise ZeroDivisionError("the secret value 42")

    try:
        assert (
            withdrawals(late)
            == withdrawals(failing)
            == [Withdrawal("submit", "no update for this round")]
        )
    finally:
        ended.set()


def test_the_operator_of_a_party_is_told_that_rows_failed_and_nobody_else():
    _, identities, agreement = private_federation(rounds=1, sampling_rate=1.0)
    made = nodes(agreement, identities)
    genuine = made.trainers[PARTY].person_vectors

    def broken(task: object, model: bytes, number: int, chosen: np.ndarray) -> object:
        if {7, 9} & set(chosen.tolist()):
            raise ZeroDivisionError("the secret value 42")
        return genuine(task, model, number, chosen)

    made.trainers[PARTY].person_vectors = broken
    report = asyncio.run(made.run())
    assert len(report.records[0].survivors) == PARTIES
    failed = [(who, event.detail) for who, event in made.events if event.name == "training-failed"]
    assert failed == [(PARTY, {"peer": PARTY, "reason": "ZeroDivisionError"})]
    assert made.told(PARTY, "submitted")


def test_an_answer_is_held_back_by_the_node_that_was_told_to():
    _, identities, agreement = private_federation(rounds=1)
    sent = []

    def hook(sender: str, _receiver: str, body: bytes) -> bytes:
        if sender == PARTY:
            sent.append((read(body).envelope.step, time.monotonic()))
        return body

    made = nodes(agreement, identities, hook=hook)
    genuine = made.party

    def holding(name: str) -> object:
        node = genuine(name)
        if name == PARTY:
            node._seat._hold_seconds = 0.3
        return node

    made.party = holding
    asyncio.run(made.run())
    times = dict(sent)
    assert times["submit"] - times["share"] >= 0.3
