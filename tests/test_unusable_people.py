"""A row on which a task fails is one person less in a sum, and nothing that anybody else sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masking import seeded_random
from support.nodes import NodeFederation
from support.private import PARTIES, company_federation, nodes, private_federation
from support.seeded import forbidden, seeded

from parties.party import contribution as contribution_module
from protocols.agreement.noise import noise_plan
from protocols.errors import InputError, WireError
from protocols.privacy import private_sum
from protocols.privacy.clipping import GridClip
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noised_words import centred
from protocols.privacy.private_sum import private_words

DIMENSION = 3
CLIP = GridClip(clip_norm=1.0, scale=2.0**14, dimension=DIMENSION, indicator=4096)
BITS = 40


def raises(_rows: np.ndarray) -> Iterator[np.ndarray]:
    raise ZeroDivisionError("the secret value 42")


def raises_late(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield rows
    raise MemoryError


def leaves_the_row_out(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield rows[:-1]


def makes_two_rows(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield np.concatenate([rows, rows[-1:]])


def makes_a_longer_row(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield np.zeros((len(rows), DIMENSION + 1))


def makes_integers(rows: np.ndarray) -> Iterator[np.ndarray]:
    yield rows.astype(np.int64)


def makes_no_array(rows: np.ndarray) -> Iterator[list[float]]:
    yield [0.0] * len(rows)


FAILURES = (
    raises,
    raises_late,
    leaves_the_row_out,
    makes_a_longer_row,
    makes_integers,
    makes_no_array,
)


class Crowd:
    """People with vectors on the grid, so that no coin changes them; the task fails on some."""

    def __init__(self, people: int, failing: dict[int, Callable], chunk: int = 4) -> None:
        steps = np.random.default_rng(people).integers(-4000, 4000, (people, DIMENSION))
        self.rows = steps / CLIP.scale
        self.failing, self.chunk = failing, chunk
        self.failed: list[Exception] = []

    def vectors(self, chosen: np.ndarray) -> Iterator[np.ndarray]:
        bad = [person for person in chosen.tolist() if person in self.failing]
        for start in range(0, chosen.size, self.chunk):
            part = chosen[start : start + self.chunk]
            wrong = [person for person in bad if person in part]
            if wrong:
                yield from self.failing[wrong[0]](self.rows[part])
            else:
                yield self.rows[part]

    def total(self, people: int | None = None) -> np.ndarray:
        """The integers that a party adds up before its noise, everybody sampled."""
        found = []

        def without_noise(total: np.ndarray, *_args: object, **_rest: object) -> np.ndarray:
            found.append(total.copy())
            return total

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(private_sum, "noised_words", without_noise)
            private_words(
                self.vectors,
                people=len(self.rows) if people is None else people,
                sampling_rate=1.0,
                clip=CLIP,
                share=DiscreteGaussian.of_deviation(100.0),
                modulus_bits=BITS,
                random=seeded("sum"),
                failed=self.failed.append,
            )
        return found[0]


# A row too few and one too many would make up for each other, which no count of rows can see.
kinds = st.one_of(st.just([makes_two_rows]), st.just(FAILURES))
crowds = st.tuples(st.integers(1, 40), kinds).flatmap(
    lambda chosen: st.tuples(
        st.just(chosen[0]),
        st.dictionaries(st.integers(0, chosen[0] - 1), st.sampled_from(chosen[1])),
        st.integers(1, 50),
    )
)


@settings(max_examples=150, deadline=None)
@given(crowds)
def test_exactly_the_people_on_whose_own_rows_the_task_fails_count_as_zero(crowd):
    people, failing, chunk = crowd
    made = Crowd(people, failing, chunk)
    usable = [person for person in range(people) if person not in failing]
    expected = np.rint(made.rows[usable].sum(axis=0) * CLIP.scale).astype(np.int64)
    total = made.total()
    assert total[:DIMENSION].tolist() == expected.tolist()
    # Who has no vector has none within the clip norm either.
    assert total[-1] == CLIP.indicator * (len(usable) - len(failing))
    assert len(made.failed) == len(failing)


@settings(max_examples=100, deadline=None)
@given(crowds)
def test_a_person_on_whom_the_task_fails_moves_the_sum_by_at_most_delta(crowd):
    people, failing, chunk = crowd
    last = people - 1
    failure = next(iter(failing.values()), raises_late)
    made = Crowd(people, {**failing, last: failure}, chunk)
    moved = (made.total() - made.total(people=last)).tolist()
    assert sum(value * value for value in moved) <= CLIP.sensitivity**2


def test_one_failing_person_costs_a_few_evaluations_and_nobody_elses_vector():
    made = Crowd(4096, {1234: raises}, chunk=4096)
    asked = []
    genuine = made.vectors

    def counting(chosen: np.ndarray) -> Iterator[np.ndarray]:
        asked.append(chosen.size)
        return genuine(chosen)

    made.vectors = counting
    made.total()
    assert len(asked) <= 2 + 2 * 12
    assert sum(asked) <= 4 * 4096
    assert len(made.failed) == 1


def contribute(
    made: NodeFederation, model: bytes | None = None, *, seed: int = 1, **more: object
) -> np.ndarray:
    agreement = made.signed.agreement
    task = agreement.tasks[0]
    given = {"random": seeded_random(seed), **more}
    return contribution_module.contribution(
        agreement,
        task,
        made.trainers["party-0"],
        model=made.strategy.initial_model(task) if model is None else model,
        round_in_task=1,
        **given,
    )


def failing_on(person: int, genuine: Callable, error: BaseException) -> Callable:
    """A trainer's function that raises for one person."""

    def broken(task: object, model: bytes, number: int, chosen: np.ndarray) -> Iterator[np.ndarray]:
        if person in chosen:
            raise error
        return genuine(task, model, number, chosen)

    return broken


def test_a_row_that_the_task_fails_on_shows_in_no_message_and_no_event_of_the_others():
    _, identities, agreement = private_federation(rounds=3, sampling_rate=1.0)
    sizes: dict[str, list[tuple[str, int]]] = {"broken": [], "whole": []}
    events = {}
    for name, kept in sizes.items():
        made = nodes(
            agreement,
            identities,
            hook=lambda sender, receiver, body, kept=kept: (
                kept.append((f"{sender}>{receiver}", len(body))) or body
            ),
        )
        if name == "broken":
            trainer = made.trainers["party-1"]
            trainer.person_vectors = failing_on(
                7, trainer.person_vectors, ZeroDivisionError("the secret value 42")
            )
        report = asyncio.run(made.run())
        assert all(len(record.survivors) == PARTIES for record in report.records)
        assert all(record.noise_verdict == "as promised" for record in report.records)
        events[name] = sorted(
            (event.name, event.round) for who, event in made.events if who != "party-1"
        )
        assert "secret value" not in repr(made.events)
    assert sorted(sizes["broken"]) == sorted(sizes["whole"])
    assert events["broken"] == events["whole"]


@pytest.mark.parametrize(
    "error", [ValueError("row 42"), MemoryError(), SystemExit(3), KeyboardInterrupt()], ids=repr
)
def test_whatever_a_task_raises_for_a_person_only_our_own_operator_is_told_and_not_for_whom(error):
    _, identities, agreement = private_federation(sampling_rate=1.0)
    made = nodes(agreement, identities)
    trainer = made.trainers["party-0"]
    trainer.person_vectors = failing_on(7, trainer.person_vectors, error)
    told: list[str] = []
    words = contribute(made, failed=told.append)
    assert words.size == noise_plan(agreement, agreement.tasks[0]).values
    [reason] = told
    assert type(error).__name__ in reason
    assert not any(digit in reason for digit in "0123456789")


def test_many_different_failures_are_told_of_by_a_few():
    _, identities, agreement = private_federation(sampling_rate=1.0)
    made = nodes(agreement, identities)

    def all_broken(
        _task: object, _model: bytes, _number: int, chosen: np.ndarray
    ) -> list[np.ndarray]:
        if chosen.size:
            raise InputError(f"column {chosen[0]} is too large")
        return []

    made.trainers["party-0"].person_vectors = all_broken
    told: list[str] = []
    contribute(made, failed=told.append)
    assert len(told) == contribution_module.MOST_REASONS


def test_a_model_is_refused_before_anybody_is_sampled():
    _, identities, agreement = private_federation()
    made = nodes(agreement, identities)
    with pytest.raises(WireError):
        contribute(made, model=b"no model", random=forbidden)

    def refusing(*_args: object) -> list[np.ndarray]:
        raise InputError("the columns do not suit")

    made.trainers["party-0"].person_vectors = refusing
    with pytest.raises(InputError, match="columns"):
        contribute(made, random=forbidden)


def test_a_vector_for_nobody_is_a_broken_trainer_and_refused_before_anybody_is_sampled():
    _, identities, agreement = private_federation()
    made = nodes(agreement, identities)
    made.trainers["party-0"].person_vectors = lambda *_args: [np.zeros((1, 4))]
    with pytest.raises(InputError, match="for nobody"):
        contribute(made, random=forbidden)


def of_another_shape(*_args: object) -> np.ndarray:
    return np.zeros(1)


def not_finite(task: object, *_args: object) -> np.ndarray:
    return np.full(task.dimension, np.nan)


def dividing_by_zero(*_args: object) -> np.ndarray:
    raise ZeroDivisionError("the secret value 42")


def ending_the_program(*_args: object) -> np.ndarray:
    raise SystemExit(1)


@pytest.mark.parametrize(
    "broken", [of_another_shape, not_finite, dividing_by_zero, ending_the_program]
)
@pytest.mark.parametrize("sampling_rate", [1.0, 0.5])
def test_a_company_whose_update_fails_sends_noise_alone_and_tells_its_own_operator(
    broken, sampling_rate
):
    _, identities, agreement = company_federation(sampling_rate)
    made = nodes(agreement, identities)
    made.trainers["party-0"].update = broken
    task = agreement.tasks[0]
    told: list[str] = []
    words = contribute(made, failed=told.append)
    assert len(told) == 1
    assert "secret value" not in told[0]
    plan = noise_plan(agreement, task)
    noise = centred(words, task.modulus_bits)
    assert noise.size == plan.values
    assert np.abs(noise).max() < 8 * float(plan.noise.share_variance) ** 0.5
