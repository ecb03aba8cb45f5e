"""From this party's data to ring words: the one place where an update takes shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parties.party.trainer import Trainer
from protocols.agreement import Agreement, Task
from protocols.agreement.noise import NoisePlan, noise_plan
from protocols.errors import InputError
from protocols.prg import RandomBytes, Words
from protocols.privacy.private_sum import private_words


def contribution(
    agreement: Agreement,
    task: Task,
    trainer: Trainer,
    *,
    model: bytes,
    round_in_task: int,
    random: RandomBytes,
) -> Words:
    """Compute what this party masks in one round. CPU-bound: call it off the event loop.

    Args:
        agreement: in force; says how much noise, and what it hides.
        task: of the agreement.
        trainer: computes from our data.
        model: the global model.
        round_in_task: 1 for the task's first round.
        random: secret and cryptographically secure.

    Returns:
        Words, shape ``(summed_values(agreement, task),)``.

    Raises:
        InputError: the update has another shape, is not finite or out of the agreed bound.
        SecureFedError: whatever the trainer refuses.
    """
    plan = noise_plan(agreement, task, clip_norm=trainer.clip_norm(task, model))
    if plan is None:
        values = _update(trainer, task, model, round_in_task)
        return agreement.codec(task).encode(values, rounding=task.rounding, random=random)
    return _noised(plan, task, trainer, model, round_in_task, random)


def _noised(
    plan: NoisePlan,
    task: Task,
    trainer: Trainer,
    model: bytes,
    round_in_task: int,
    random: RandomBytes,
) -> Words:
    whole = plan.unit == "company"

    def vectors(chosen: NDArray[np.int64]) -> Iterable[NDArray[np.floating[Any]]]:
        if whole:
            # Computed even when we were not sampled, so that no failure tells.
            return [_update(trainer, task, model, round_in_task)[np.newaxis][: chosen.size]]
        return trainer.person_vectors(task, model, round_in_task, chosen)

    return private_words(
        vectors,
        people=1 if whole else trainer.people(task),
        most_people=plan.people,
        sampling_rate=plan.sampling_rate,
        clip=plan.clip,
        share=plan.share,
        modulus_bits=task.modulus_bits,
        random=random,
    )


def _update(trainer: Trainer, task: Task, model: bytes, round_in_task: int) -> NDArray[np.float64]:
    values = trainer.update(task, model, round_in_task)
    if values.shape != (task.dimension,):
        raise InputError(
            f"task {task.name} computed an update of shape {values.shape}; the agreement says "
            f"({task.dimension},)"
        )
    return values
