"""What becomes of a noisy mean update: momentum or Adam, and an average of the iterates.

All of it is post-processing of noised sums and costs no privacy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from securefed.learning.state import FloatArray, State
from securefed.learning.task import scalar


class ServerParameters(BaseModel):
    """Agreement parameters of the coordinator's optimiser.

    Attributes:
        server: ``"momentum"`` or ``"adam"``.
        learning_rate: step along the mean update.
        momentum: decay of the first moment.
        second_decay: of Adam's second moment.
        adam_floor: least root of Adam's second moment once the noise is taken out of it.
        averaging: the published model is a running average in which iterate s weighs about
            s^averaging; large values publish the last iterate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    server: Literal["momentum", "adam"] = "momentum"
    learning_rate: Annotated[float, Field(gt=0, le=1e4)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    second_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    adam_floor: Annotated[float, Field(gt=0, le=1e3)] = 1e-3
    averaging: Annotated[float, Field(ge=0, le=1e9)] = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """The optimiser between two rounds; vectors of shape (size,).

    Attributes:
        weights: the iterate, at which people compute their vectors.
        average: the model that is published for use.
        first: velocity, or Adam's first moment.
        second: Adam's second moment rid of the noise, so that it may be negative; zeros with
            momentum.
        steps: updates so far. The state counts them itself: aborted rounds are none.
    """

    weights: NDArray[np.float64] = field(repr=False)
    average: NDArray[np.float64] = field(repr=False)
    first: NDArray[np.float64] = field(repr=False)
    second: NDArray[np.float64] = field(repr=False)
    steps: int

    @classmethod
    def start(cls, weights: NDArray[np.float64]) -> Memory:
        """Begin at the given weights."""
        return cls(weights, weights, np.zeros_like(weights), np.zeros_like(weights), 0)

    @classmethod
    def read(cls, state: Mapping[str, FloatArray], average: NDArray[Any]) -> Memory:
        """Read what :meth:`arrays` wrote; the average is kept by the task, in a form of its own."""
        weights = state["server.weights"].astype(np.float64)
        second = state.get("server.second")
        return cls(
            weights,
            average.astype(np.float64),
            state["server.first"].astype(np.float64),
            np.zeros_like(weights) if second is None else second.astype(np.float64),
            round(scalar(state, "server.steps")),
        )

    def arrays(self, parameters: ServerParameters, *, short: bool = False) -> State:
        """Return the arrays of the state, without the average; ``short`` for float32."""
        vectors = {"server.weights": self.weights, "server.first": self.first}
        if parameters.server == "adam":
            vectors["server.second"] = self.second
        state: State = {"server.steps": np.array(float(self.steps))}
        for name, vector in vectors.items():
            state[name] = vector.astype(np.float32) if short else vector
        return state


def server_step(
    memory: Memory, mean: NDArray[np.float64], noise_std: float, parameters: ServerParameters
) -> Memory:
    """Move along a noisy mean update.

    Args:
        memory: of the rounds before.
        mean: noisy mean of the people's vectors, a direction of descent, shape (size,).
        noise_std: standard deviation of its noise.
        parameters: rates.

    Source: Adam, Kingma and Ba 2015, algorithm 1, its second moment rid of the known noise variance
    as in DP-AdamBC (Tang, Shpilevskiy and Lecuyer 2024, arXiv 2312.14334), round by round; the
    average: polynomial decay, Shamir and Zhang 2013.
    """
    steps, beta = memory.steps + 1, parameters.momentum
    if parameters.server == "momentum":
        first, second = beta * memory.first + mean, memory.second
        move = first
    else:
        decay = parameters.second_decay
        first = beta * memory.first + (1 - beta) * mean
        # The noise of this very round: its size changes with the clip norm and with who is missing.
        second = decay * memory.second + (1 - decay) * (mean**2 - noise_std**2)
        root = np.sqrt(np.maximum(second / (1 - decay**steps), parameters.adam_floor**2))
        move = first / (1 - beta**steps) / root
    weights = memory.weights + parameters.learning_rate * move
    share = (parameters.averaging + 1) / (steps + parameters.averaging)
    average = memory.average + share * (weights - memory.average)
    return Memory(weights, average, first, second, steps)


def noise_metrics(mean: NDArray[np.float64], noise_std: float) -> dict[str, float]:
    """Return how long a noisy mean is, and how long noise alone would be; model units."""
    return {
        "update_norm": float(np.linalg.norm(mean)),
        "noise_norm": noise_std * float(np.sqrt(mean.size)),
    }
