"""When the outcome of a training leaves its thread, and what it tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from parties.party.seat import Seat
from parties.party.training import Failed, Outcome, TrainingThread
from protocols.errors import InputError, MisuseError

HOLD = 0.3


def quick() -> bytes:
    return b"update"


def failing() -> bytes:
    raise ZeroDivisionError("the secret value 42")


def slow() -> bytes:
    time.sleep(HOLD / 2)
    return b"update"


async def timed(work: Callable[[], bytes], hold: float = HOLD) -> tuple[Outcome, float]:
    thread = TrainingThread()
    started = time.monotonic()
    try:
        return await thread.start(work, 10.0, hold).outcome, time.monotonic() - started
    finally:
        thread.close()


@pytest.mark.parametrize("work", [quick, failing, slow])
def test_no_answer_and_no_refusal_leaves_before_it_is_due_however_soon_the_training_ends(work):
    outcome, seconds = asyncio.run(timed(work))
    assert isinstance(outcome, Failed if work is failing else bytes)
    assert seconds >= HOLD


def test_an_answer_that_is_not_held_back_leaves_at_once():
    _, seconds = asyncio.run(timed(quick, hold=0.0))
    assert seconds < HOLD


def test_the_next_training_begins_while_an_answer_is_held_back():
    async def two() -> tuple[Outcome, bool]:
        thread = TrainingThread()
        first = thread.start(quick, 10.0, hold_seconds=10.0)
        outcome = await thread.start(quick, 10.0).outcome
        thread.close()
        return outcome, first.outcome.done()

    assert asyncio.run(two()) == (b"update", False)


def test_a_round_that_was_left_gets_no_answer_that_was_held_back():
    async def left() -> bool:
        thread = TrainingThread()
        job = thread.start(quick, 10.0, HOLD)
        await thread.start(quick, 10.0).outcome  # the first has ended, and waits
        job.outcome.cancel()
        await asyncio.sleep(1.1 * HOLD)
        thread.close()
        return job.outcome.cancelled()

    assert asyncio.run(left())


def test_holding_answers_back_beyond_the_deadline_is_refused():
    for seconds in (-1.0, 5.0, float("nan")):
        with pytest.raises(MisuseError, match="too late"):
            Seat(None, 5.0, seconds)


def test_a_failure_quotes_nothing_but_our_own_errors():
    assert Failed.of(ValueError("the secret value 42")).reason == "ValueError"
    assert Failed.of(InputError("give every row a label")).reason == "give every row a label"
