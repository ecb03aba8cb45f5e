"""The vectors of some people of a party, which may be nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securefed.data.table import Data
from securefed.learning.person import PersonTask
from securefed.learning.state import State


def sampled_vectors(
    task: PersonTask,
    state: State,
    data: Data,
    chosen: NDArray[np.int64],
    round_in_task: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.floating[Any]]]:
    """Yield blocks with one row for each of the chosen people.

    Of nobody the task is asked for a row of zeros, which is dropped: what it refuses in a state it
    refuses then as well, before anybody is sampled, so that leaving a round tells of nobody.

    Args:
        task: says what a person adds.
        state: the global model.
        data: one row a person.
        chosen: numbers of rows, rising.
        round_in_task: number of the round.
        rng: for tasks that draw.

    Raises:
        SecureFedError: the task refuses the state or the columns.
    """
    if chosen.size:
        yield from task.per_person(state, data.take(chosen), round_in_task, rng)
        return
    nobody = Data(np.zeros((1, data.features.shape[1])), np.zeros(1))
    for _ in task.per_person(state, nobody, round_in_task, rng):
        pass
