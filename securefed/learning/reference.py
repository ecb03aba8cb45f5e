"""Run a task in one process: the yardsticks that a federation is compared with.

The code path is the federation's own, task by task and round by round; only the sum differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parties.coordinator.progress import RoundRecord
from protocols.encoding import FixedPoint
from protocols.errors import MisuseError
from protocols.prg import RandomBytes
from securefed.data.table import Data, concatenate
from securefed.learning.person import require_plain
from securefed.learning.registry import Suggestion, build_task
from securefed.learning.state import State, require_like, state_from_bytes, state_to_bytes
from securefed.learning.task import Task

Sum = Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]]
"""From one vector per party, each of shape (d,), to their sum, shape (d,)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a run ended with.

    Attributes:
        state: the last state.
        rounds: rounds that were run.
        done: the task said so itself; else ``rounds`` ran out.
        history: metrics of every round, in order.
    """

    state: State = field(repr=False)
    rounds: int
    done: bool
    history: tuple[dict[str, float], ...] = field(repr=False)

    def records(self, task: str, *, after: int = 0) -> tuple[RoundRecord, ...]:
        """Return the rounds as a coordinator would record them.

        Args:
            task: its name.
            after: rounds of the run before this task's.
        """
        return tuple(
            RoundRecord(after + number, task, number, "completed", metrics=metrics)
            for number, metrics in enumerate(self.history, start=1)
        )


def plain_sum(vectors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Add vectors in float64."""
    total = vectors[0].copy()
    for vector in vectors[1:]:
        total += vector
    return total


def fixed_point_sum(suggestion: Suggestion, *, parties: int, random: RandomBytes) -> Sum:
    """Return a sum over the agreed ring, as the parties and the coordinator compute it.

    Masks cancel, so that this sum has the very bits of the masked one.
    """
    codec = FixedPoint(suggestion.modulus_bits, suggestion.scale, suggestion.bound, parties)

    def add(vectors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        words = [
            codec.encode(vector, rounding=suggestion.rounding, random=random) for vector in vectors
        ]
        total = words[0].copy()
        for word in words[1:]:
            total += word
        return codec.decode(total)

    return add


def fit(
    task: Task, parts: Sequence[Data], *, rounds: int, seed: int = 0, add: Sum = plain_sum
) -> Fit:
    """Run a task over parties in this process.

    Args:
        task: the task.
        parts: one data set per party.
        rounds: most rounds, at least 1.
        seed: seeds every party's generator.
        add: how vectors are summed.

    Raises:
        MisuseError: no party, or no round.
        InputError: as the task.
        WireError: the task returned a state of other arrays than its first one.
    """
    if not parts or rounds < 1:
        raise MisuseError("a fit needs at least one party and one round")
    layout, first = task.layout(), task.initial_state()
    state = first
    generators = [np.random.default_rng([seed, party]) for party in range(len(parts))]
    history: list[dict[str, float]] = []
    done = False
    while not done and len(history) < rounds:
        number = len(history) + 1
        vectors = [
            layout.flatten(task.contribute(state, data, number, rng))
            for data, rng in zip(parts, generators, strict=True)
        ]
        step = task.combine(state, layout.unflatten(add(vectors)), number)
        # Through bytes, as a federation sends it: a task cannot lean on what they do not keep.
        state, done = state_from_bytes(state_to_bytes(step.state)), step.done
        require_like(state, first)
        history.append(step.metrics)
    return Fit(state, len(history), done, tuple(history))


def fit_pooled(
    kind: str, parameters: Mapping[str, Any], parts: Sequence[Data], *, rounds: int, seed: int = 0
) -> Fit:
    """Run a task as if one party held all rows: the ceiling that no federation passes.

    ``max_rows`` grows with the data; it scales what is sent, not what is learnt.

    Raises:
        AgreementError: as :func:`securefed.learning.build_task`, or the kind's sums need noise.
        InputError: as the task.
    """
    data = concatenate(parts)
    largest = max(len(data), int(parameters.get("max_rows", 0)))
    task = require_plain(build_task(kind, {**parameters, "max_rows": largest}))
    return fit(task, [data], rounds=rounds, seed=seed)
