from __future__ import annotations

import hashlib
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.framing import opening
from support.nodes import GLM, make_agreement

from protocols.admission import Progress, admit, find_task
from protocols.agreement import Agreement
from protocols.errors import (
    DuplicateError,
    EquivocationError,
    ModelMismatchError,
    PolicyError,
    ReplayError,
    SecureFedError,
)

ROUNDS = (3, 1, 4)
NAMES = ("first", "second", "third")
TASKS = [{**GLM, "name": name, "rounds": n} for name, n in zip(NAMES, ROUNDS, strict=True)]
PLAN: Agreement = make_agreement(TASKS, 3)[0].agreement
INITIAL = {name: hashlib.sha256(name.encode()).digest() for name in NAMES}
OTHER = [hashlib.sha256(bytes([i])).digest() for i in range(3)]
HUB = "coordinator"


def propose(progress: Progress, round_: int, task: str, place: int, model: bytes) -> Progress:
    return admit(progress, PLAN, round_, opening(task, place, model), INITIAL[task]).progress


def begin(round_: int = 1, place: int = 1) -> Progress:
    return propose(Progress(), round_, "first", place, INITIAL["first"] if place == 1 else OTHER[0])


proposals = st.tuples(
    st.just("open"),
    st.integers(0, 12),
    st.sampled_from(NAMES),
    st.integers(1, 6),
    st.sampled_from([*INITIAL.values(), *OTHER]),
)
endings = st.one_of(
    st.just(("abort",)),
    st.tuples(st.just("result"), st.sampled_from(OTHER), st.booleans()),
    st.tuples(st.just("final"), st.integers(0, 2)),
    st.just(("restart",)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(proposals, endings), max_size=40))
def test_no_sequence_admits_a_round_twice_or_beyond_the_plan_or_a_task_backwards(
    steps,
):
    progress = Progress()
    admitted: list[tuple[int, int, int]] = []
    for step in steps:
        before = progress
        try:
            match step:
                case ("open", round_, task, place, model):
                    progress = propose(progress, round_, task, place, model)
                    admitted.append((round_, find_task(PLAN, task), place))
                    assert place > 1 or model == INITIAL[task]
                case ("abort",):
                    progress = progress.aborted(HUB)
                case ("result", model, done):
                    progress = progress.published(HUB, model, done=done)
                case ("final", position):
                    progress = progress.finished(position)
                case ("restart",):
                    stored = msgspec.msgpack.encode(progress)
                    progress = msgspec.msgpack.decode(stored, type=Progress)
        except SecureFedError:
            assert progress is before
        assert progress.over >= before.over
    rounds = [round_ for round_, _, _ in admitted]
    assert rounds == sorted(set(rounds))
    assert all(1 <= round_ <= PLAN.max_rounds for round_ in rounds)
    # Within the plan as well, both the tasks and the rounds in each of them only go forwards.
    places = [(position, place) for _, position, place in admitted]
    assert places == sorted(set(places))
    assert all(place <= ROUNDS[position] for position, place in places)
    # As many rounds lie between two of them as the plan has room for, and never a negative number.
    for (a, task_a, place_a), (b, task_b, place_b) in pairwise(admitted):
        if task_a == task_b:
            assert b - a == place_b - place_a
        else:
            room = ROUNDS[task_a] - place_a + sum(ROUNDS[task_a + 1 : task_b]) + place_b
            assert task_b - task_a - 1 + place_b <= b - a <= room


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_honest_plan_is_admitted_whatever_a_party_misses(data):
    """A party may be away for any rounds and any endings, and restart at any time."""
    progress, number = Progress(), 0
    for position, name in enumerate(NAMES):
        model, done, place = INITIAL[name], False, 0
        while not done and place < ROUNDS[position]:
            number, place = number + 1, place + 1
            here = data.draw(st.booleans(), label=f"here in round {number}")
            if here:
                progress = propose(progress, number, name, place, model)
            aborted = data.draw(st.booleans(), label="aborted")
            done = not aborted and data.draw(st.booleans(), label="done")
            if not aborted:
                model = hashlib.sha256(model).digest()
            if here and data.draw(st.booleans(), label="hears the end"):
                progress = (
                    progress.aborted(HUB)
                    if aborted
                    else progress.published(HUB, model, done=done or place == ROUNDS[position])
                )
        if data.draw(st.booleans(), label="is given the final model"):
            progress = progress.finished(position)


def test_a_repeated_opening_is_a_duplicate_and_a_changed_one_is_an_equivocation():
    progress = begin()
    with pytest.raises(DuplicateError):
        propose(progress, 1, "first", 1, INITIAL["first"])
    with pytest.raises(EquivocationError, match="opened in another way"):
        propose(progress, 1, "first", 1, OTHER[0])
    with pytest.raises(EquivocationError):
        propose(progress, 1, "second", 1, INITIAL["second"])
    later = propose(progress, 2, "first", 2, OTHER[0])
    with pytest.raises(ReplayError, match="round 1 is past"):
        propose(later, 1, "first", 1, INITIAL["first"])


def test_the_first_round_of_a_task_starts_from_the_agreed_model():
    with pytest.raises(ModelMismatchError, match="agreed initial model"):
        propose(Progress(), 1, "first", 1, OTHER[0])


def test_the_next_round_starts_from_the_announced_model_and_after_an_abort_from_the_same():
    known = begin().published(HUB, OTHER[1], done=False)
    with pytest.raises(ModelMismatchError, match="last round announced"):
        propose(known, 2, "first", 2, OTHER[2])
    assert propose(known, 2, "first", 2, OTHER[1]).model is None
    aborted = begin().aborted(HUB)
    with pytest.raises(ModelMismatchError):
        propose(aborted, 2, "first", 2, OTHER[1])
    propose(aborted, 2, "first", 2, INITIAL["first"])


def test_what_is_known_of_the_last_round_outlives_a_restart():
    stored = msgspec.msgpack.encode(begin().published(HUB, OTHER[1], done=False))
    with pytest.raises(ModelMismatchError):
        propose(msgspec.msgpack.decode(stored, type=Progress), 2, "first", 2, OTHER[2])


@pytest.mark.parametrize(
    ("round_", "task", "place"),
    [
        (2, "first", 3),  # a round in the task was jumped
        (3, "first", 2),  # a round number was jumped
        (2, "second", 1),  # the first task goes on after a result that did not finish it
        (6, "second", 1),  # the first task has two rounds left, not four
        (3, "third", 1),  # every task takes one round at least
        (2, "first", 4),  # more rounds than the task may take
    ],
)
def test_a_place_in_the_plan_that_does_not_fit_the_round_number_is_refused(round_, task, place):
    progress = begin().published(HUB, OTHER[0], done=False)
    model = INITIAL[task] if place == 1 else OTHER[0]
    with pytest.raises(PolicyError):
        propose(progress, round_, task, place, model)


def test_rounds_beyond_the_agreement_and_tasks_outside_it_are_refused():
    with pytest.raises(PolicyError, match="beyond the 8 rounds"):
        propose(begin(), 9, "third", 4, OTHER[0])
    with pytest.raises(PolicyError, match="no task 'fourth'"):
        admit(Progress(), PLAN, 1, opening("fourth", 1, OTHER[0]), None)


def test_a_task_that_is_over_is_not_touched_again():
    done = begin().published(HUB, OTHER[0], done=True)
    with pytest.raises(PolicyError, match="is over"):
        propose(done, 2, "first", 2, OTHER[0])
    with pytest.raises(PolicyError, match="is over"):
        propose(Progress().finished(0), 1, "first", 1, INITIAL["first"])
    propose(done, 2, "second", 1, INITIAL["second"])


def test_a_round_ends_once():
    aborted, published = begin().aborted(HUB), begin().published(HUB, OTHER[0], done=False)
    with pytest.raises(DuplicateError):
        aborted.aborted(HUB)
    with pytest.raises(DuplicateError):
        published.published(HUB, OTHER[0], done=False)
    with pytest.raises(EquivocationError):
        aborted.published(HUB, OTHER[0], done=False)
    with pytest.raises(EquivocationError):
        published.aborted(HUB)
    with pytest.raises(EquivocationError):
        published.published(HUB, OTHER[1], done=False)
    with pytest.raises(EquivocationError):
        published.published(HUB, OTHER[0], done=True)
