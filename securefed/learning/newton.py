"""Newton's method on sums: one damped step towards a penalised maximum of a likelihood.

Source: McCullagh and Nelder 1989, section 2.5; ridge as in le Cessie and van Houwelingen 1992.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import NoResultError
from securefed.learning.state import State
from securefed.learning.task import Step, scalar

MAX_COEFFICIENT: Final = 1e6
_MAX_STEP: Final = 1e4
_MAX_HALVINGS: Final = 30
_SLACK: Final = 1e-8


@dataclass(frozen=True, slots=True)
class NewtonSums:
    """What all parties together say about the candidate coefficients.

    Attributes:
        score: gradient of the log-likelihood, shape (size,).
        information: X'WX, shape (size, size).
        likelihood: the log-likelihood, up to a constant.
        rows: of the parties in the sum.
    """

    score: NDArray[np.float64]
    information: NDArray[np.float64]
    likelihood: float
    rows: float


def newton_state(coefficients: NDArray[np.float64]) -> State:
    """Return the state of an iteration that begins at the given coefficients, shape (size,)."""
    return {
        "coefficients": coefficients,
        "candidate": coefficients,
        "direction": np.zeros_like(coefficients),
        "objective": np.array(0.0),
        "rows": np.array(0.0),
        "halvings": np.array(0.0),
    }


def newton_step(
    state: State,
    sums: NewtonSums,
    penalty: NDArray[np.float64],
    *,
    tolerance: float,
    metrics: dict[str, float],
) -> Step:
    """Take one Newton step, or halve the last one if the penalised likelihood fell.

    Args:
        state: with the arrays of :func:`newton_state`.
        sums: at the state's candidate.
        penalty: ridge of each coefficient, shape (size,).
        tolerance: done when no coefficient moves by more.
        metrics: to which ``step`` is added.

    Raises:
        NoResultError: the features are collinear, or the coefficients grow without end.
    """
    candidate = state["candidate"].astype(np.float64)
    objective = sums.likelihood - float(penalty @ candidate**2) / 2
    # A party that left or came back changes the likelihood itself: then nothing is compared.
    last = scalar(state, "objective")
    least = last - _SLACK * (abs(last) + 1)
    if sums.rows == scalar(state, "rows") and objective < least:
        return _halve(state, metrics)
    try:
        direction = np.linalg.solve(
            sums.information + np.diag(penalty), sums.score - penalty * candidate
        )
    except np.linalg.LinAlgError as error:
        raise NoResultError("the features are collinear; agree on a larger ridge") from error
    largest = float(np.abs(direction).max())
    # Far from the optimum the weights vanish and a full step may leave every sensible range.
    direction *= _MAX_STEP / max(largest, _MAX_STEP)
    metrics = metrics | {"step": min(largest, _MAX_STEP)}
    done = metrics["step"] <= tolerance
    if np.abs(candidate + direction).max() > MAX_COEFFICIENT:
        raise NoResultError("the coefficients grow without end; agree on a larger ridge")
    accepted: State = {
        "coefficients": candidate + direction if done else candidate,
        "candidate": candidate + direction,
        "direction": direction,
        "objective": np.array(objective),
        "rows": np.array(sums.rows),
        "halvings": np.array(0.0),
    }
    return Step(state | accepted, done, metrics)


def _halve(state: State, metrics: dict[str, float]) -> Step:
    halvings = scalar(state, "halvings") + 1
    step = state["direction"] * 0.5**halvings
    halved: State = {
        "candidate": (state["coefficients"] + step).astype(np.float64),
        "halvings": np.array(halvings),
    }
    told = metrics | {"step": float(np.abs(step).max())}
    return Step(state | halved, halvings >= _MAX_HALVINGS, told)


def symmetric(triangle: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the symmetric matrix of an upper triangle, shape (size, size)."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = triangle
    return np.asarray(matrix + np.triu(matrix, 1).T, dtype=np.float64)
