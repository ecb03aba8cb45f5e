"""What a party node needs of the learning layer above it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.agreement import Task


class Trainer(Protocol):
    """Computes updates from this party's data. Called in a thread of its own, one at a time."""

    def initial_model(self, task: Task) -> bytes | None:
        """Return the task's initial model, or ``None`` if the agreement does not fix it."""
        ...

    def update(self, task: Task, model: bytes, round_in_task: int) -> NDArray[np.float64]:
        """Compute what is summed, shape ``(task.dimension,)``, float64, in model units.

        Raises:
            SecureFedError: the data or the model cannot be used; the text says what to do.
        """
        ...

    def finished(self, task: Task, model: bytes) -> None:
        """Keep the final model of a task."""
        ...
