"""What a party node needs of the learning layer above it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

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

        Called where the agreement adds no noise, or noise that hides a whole company. Under noise
        whatever it raises counts as zeros; without, it costs this party the round.

        Raises:
            SecureFedError: the data or the model cannot be used; the text says what to do.
        """
        ...

    def clip_norm(self, task: Task, model: bytes) -> float | None:
        """Return the clip norm that a model carries, or ``None`` where the agreement fixes it.

        Raises:
            SecureFedError: the model cannot be used.
        """
        ...

    def people(self, task: Task) -> int:
        """Return how many people this party has; a record is a person with one row."""
        ...

    def person_vectors(
        self, task: Task, model: bytes, round_in_task: int, chosen: NDArray[np.int64]
    ) -> Iterable[NDArray[np.floating[Any]]]:
        """Compute what each of the chosen people contributes, where noise hides a person.

        Called for nobody first in every round, then for everybody who was sampled. If that fails,
        it is called again for fewer and fewer of them, until only those count as zero on whose own
        rows it fails.

        Args:
            task: of the agreement.
            model: the global model.
            round_in_task: 1 for the task's first round.
            chosen: numbers of people, rising. Of none the trainer makes no rows, but refuses the
                models that it would refuse for others.

        Returns:
            Blocks of shape (some people, ``task.dimension``), together one row for each of
            ``chosen``; clipping, rounding and noise are not the trainer's business.

        Raises:
            SecureFedError: the model cannot be used. It costs this party the round where nobody was
                chosen.
        """
        ...

    def finished(self, task: Task, model: bytes) -> None:
        """Keep the final model of a task."""
        ...
