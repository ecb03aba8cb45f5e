"""What a learning task is: what a party computes, and what becomes of the sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from securefed.data.table import Data
from securefed.learning.layout import Arrays, Layout
from securefed.learning.state import FloatArray, State

Contribution = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """What the coordinator publishes after a round.

    Attributes:
        state: the next state.
        done: no further round is needed.
        metrics: finite numbers for people, such as ``log_loss``; all follow from the sum.
    """

    state: State = field(repr=False)
    done: bool
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a task needs of the fixed-point ring.

    Attributes:
        bound: the largest absolute value that any coordinate of one party can take.
        modulus_bits: ring size that suits the task, 2 to 64.
        rounding: ``"nearest"`` for exact sums, ``"stochastic"`` for unbiased averages.
        min_scale: fewest grid units per unit, a power of two; with ``min_scale`` above 1 the
            agreed scale must be a power of two as well.
    """

    bound: float
    modulus_bits: int = 64
    rounding: Literal["nearest", "stochastic"] = "nearest"
    min_scale: float = 1.0


class Task(Protocol):
    """One learning task. Everything that it keeps between rounds lies in the state.

    ``round_in_task`` counts from 1 and also counts rounds that were aborted; a task whose rounds
    differ keeps its phase in the state.
    """

    kind: ClassVar[str]

    def initial_state(self) -> State:
        """Return the first state: the same at every party, from the parameters alone."""
        ...

    def layout(self) -> Layout:
        """Return names and shapes of what is summed, the same in every round."""
        ...

    def numbers(self) -> Numbers:
        """Return what the task needs of the ring."""
        ...

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Compute, at a party, what is to be summed; weights travel inside.

        Raises:
            InputError: the data cannot be used; nothing leaves the party.
            WireError: the coordinator's state is none of this task's.
        """
        ...

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Turn the sum into the next state, at the coordinator.

        Raises:
            NoResultError: the sum admits no model; says what to change.
        """
        ...


@runtime_checkable
class Classifier(Protocol):
    """A task whose states predict classes."""

    def predict_proba(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return class probabilities, shape (rows, classes)."""
        ...


@runtime_checkable
class Personal(Protocol):
    """A task that may leave some weights, its head, to each company."""

    @property
    def personal(self) -> bool:
        """Whether this one does."""
        ...

    def fit_head(self, state: State, data: Data) -> State:
        """Return the state together with the head that a company's rows give."""
        ...


def scalar(state: Mapping[str, FloatArray] | Arrays, name: str) -> float:
    """Return a named array of shape () as a float."""
    return float(state[name][()])
