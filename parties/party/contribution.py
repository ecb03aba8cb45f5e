"""From this party's data to ring words: the one place where an update takes shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from parties.party.trainer import Trainer
from parties.party.training import Failed
from protocols.agreement import Agreement, Task
from protocols.agreement.noise import NoisePlan, noise_plan
from protocols.errors import InputError
from protocols.prg import RandomBytes, Words
from protocols.privacy.private_sum import Vectors, private_words

MOST_REASONS: Final = 8
"""Different failures that are told of one round; their number is nobody's to know."""

TellFailure = Callable[[str], None]
"""Told why people of this party counted as zero, for its own operator alone."""


def _tell_nobody(_reason: str) -> None:
    """Nobody asked."""


def contribution(
    agreement: Agreement,
    task: Task,
    trainer: Trainer,
    *,
    model: bytes,
    round_in_task: int,
    random: RandomBytes,
    failed: TellFailure = _tell_nobody,
) -> Words:
    """Compute what this party masks in one round. CPU-bound: call it off the event loop.

    Under noise no failure that depends on data ends the round: the person, or the company, whose
    data the trainer fails on counts as zero, and the noise is added as ever.

    Args:
        agreement: in force; says how much noise, and what it hides.
        task: of the agreement.
        trainer: computes from our data.
        model: the global model.
        round_in_task: 1 for the task's first round.
        random: secret and cryptographically secure.
        failed: told each kind of failure once, after the last computation.

    Returns:
        Words, shape ``(summed_values(agreement, task),)``.

    Raises:
        InputError: without noise, the update has another shape, is not finite or out of the agreed
            bound.
        SecureFedError: the trainer refuses the model; without noise, whatever it refuses.
    """
    plan = noise_plan(agreement, task, clip_norm=trainer.clip_norm(task, model))
    if plan is None:
        values = _update(trainer, task, model, round_in_task)
        return agreement.codec(task).encode(values, rounding=task.rounding, random=random)
    reasons: dict[str, None] = {}

    def note(error: BaseException) -> None:
        if len(reasons) < MOST_REASONS:
            reasons[Failed.of(error).reason] = None

    if plan.unit == "company":
        vectors, people = _of_company(trainer, task, model, round_in_task, note), 1
    else:
        vectors, people = _of_people(trainer, task, model, round_in_task), trainer.people(task)
    words = _noised(plan, task, vectors, people, random, note)
    for reason in reasons:
        failed(reason)
    return words


def _noised(
    plan: NoisePlan,
    task: Task,
    vectors: Vectors,
    people: int,
    random: RandomBytes,
    note: Callable[[BaseException], None],
) -> Words:
    return private_words(
        vectors,
        people=people,
        sampling_rate=plan.sampling_rate,
        clip=plan.clip,
        share=plan.share,
        modulus_bits=task.modulus_bits,
        random=random,
        failed=note,
    )


def _of_people(trainer: Trainer, task: Task, model: bytes, round_in_task: int) -> Vectors:
    def vectors(chosen: NDArray[np.int64]) -> Iterator[NDArray[np.floating[Any]]]:
        try:
            yield from trainer.person_vectors(task, model, round_in_task, chosen)
        except (Exception, GeneratorExit):
            raise
        except BaseException as error:
            # This thread is the trainer's alone: a row on which its code ends the program is a row
            # that it fails on.
            raise InputError(f"the task raised {type(error).__name__} for a person") from error

    return vectors


def _of_company(
    trainer: Trainer,
    task: Task,
    model: bytes,
    round_in_task: int,
    note: Callable[[BaseException], None],
) -> Vectors:
    """Compute our one vector, whether we are sampled or not, so that no time tells which."""
    try:
        whole = _update(trainer, task, model, round_in_task)
        if not np.isfinite(whole).all():
            note(InputError(f"the update of task {task.name} is not finite"))
    except BaseException as error:  # noqa: BLE001 - any map from our data to a bounded vector is fine
        note(error)
        whole = np.zeros(task.dimension)
    return lambda chosen: [whole[np.newaxis][: chosen.size]]


def _update(trainer: Trainer, task: Task, model: bytes, round_in_task: int) -> NDArray[np.float64]:
    values = trainer.update(task, model, round_in_task)
    if values.shape != (task.dimension,):
        raise InputError(
            f"task {task.name} computed an update of shape {values.shape}; the agreement says "
            f"({task.dimension},)"
        )
    return values
