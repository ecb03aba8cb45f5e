"""What a coordinator node needs of the learning layer above it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.agreement import Task


@dataclass(frozen=True, slots=True)
class Published:
    """What becomes of a sum.

    Attributes:
        model: next global model.
        done: the task needs no further round.
        metrics: finite numbers for people; all follow from the sum.
    """

    model: bytes = field(repr=False)
    done: bool
    metrics: dict[str, float]


class Strategy(Protocol):
    """Turns sums into models. Called off the event loop, one at a time."""

    def initial_model(self, task: Task) -> bytes:
        """Return the model that a task starts from, fixed by the agreement."""
        ...

    def clip_norm(self, task: Task, model: bytes) -> float | None:
        """Return the clip norm that a model carries, or ``None`` where the agreement fixes it."""
        ...

    def combine(
        self,
        task: Task,
        model: bytes,
        total: NDArray[np.float64],
        round_in_task: int,
        indicator: float | None,
        *,
        survivors: int | None = None,
    ) -> Published:
        """Turn the sum over the survivors, shape ``(task.dimension,)``, into the next model.

        ``indicator`` is the noised sum of the people's indicators where the clip norm adapts,
        ``survivors`` how many parties' noise the sum holds; all of them unless given.

        Raises:
            SecureFedError: the sum admits no model; the text says what to do.
        """
        ...
