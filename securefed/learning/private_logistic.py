"""Logistic regression that hides every person: federated gradient steps on noised sums.

Each round sums the clipped gradients of the sampled people; the coordinator takes one step.
Source: DP-SGD, Abadi et al. 2016, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from securefed.data.table import Data, require_columns
from securefed.learning.layout import Arrays, Layout
from securefed.learning.link import logistic, residuals
from securefed.learning.public_table import (
    PublicTableParameters,
    StandardizedTableParameters,
    awaits_moments,
    chunks,
    finish_person_moments,
    initial_scaling,
    moments_shapes,
    person_moments,
    scaled,
)
from securefed.learning.server_steps import Memory, ServerParameters, noise_metrics, server_step
from securefed.learning.state import FloatArray, State, require_like
from securefed.learning.task import Step


class PrivateLogisticParameters(StandardizedTableParameters, ServerParameters):
    """Agreement parameters of ``dp-logistic``.

    Attributes:
        decay: penalty decay/2 * |slopes|^2 on the mean loss, intercept free.
    """

    decay: Annotated[float, Field(ge=0, le=1e3)] = 0.0


@dataclass(frozen=True, slots=True)
class PrivateLogisticRegression:
    """The ``dp-logistic`` task; labels are 0 and 1."""

    parameters: PrivateLogisticParameters
    kind: ClassVar[str] = "dp-logistic"

    def initial_state(self) -> State:
        """Coefficients are zero, intercept first."""
        memory = Memory.start(np.zeros(self.parameters.features + 1))
        average: State = {"coefficients": memory.average}
        return initial_scaling(self.parameters) | memory.arrays(self.parameters) | average

    def layout(self) -> Layout:
        """Direction of descent, intercept first; moments if asked for."""
        shapes: dict[str, tuple[int, ...]] = {"direction": (self.parameters.features + 1,)}
        return Layout.of(shapes | moments_shapes(self.parameters))

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield ``(label - p) * (1, features)`` of each person; zeros for any other label."""
        del round_in_task, rng  # the phase lies in the state, and a gradient draws nothing
        require_like(state, self.initial_state())
        require_columns(data.features, self.parameters.features)
        moments, size = awaits_moments(self.parameters, state), self.layout().size
        for rows in chunks(len(data), size):
            features = data.features[rows]
            vectors = np.zeros((len(features), size))
            if moments:
                vectors[:, self.parameters.features + 1 :] = person_moments(
                    self.parameters, features
                )
            else:
                design = self._design(state, features)
                gaps = residuals(design, state["server.weights"], data.labels[rows])
                vectors[:, : design.shape[1]] = design * gaps[:, np.newaxis]
            yield vectors

    def combine(
        self,
        state: State,
        total: Arrays,
        expected_people: float,
        clip_norm: float,
        noise_std: float,
        round_in_task: int,
    ) -> Step:
        """Take one step, or set the scaling."""
        del round_in_task
        if awaits_moments(self.parameters, state):
            scaling = finish_person_moments(
                self.parameters,
                total["moments"],
                expected_people=expected_people,
                clip_norm=clip_norm,
                noise_std=noise_std,
            )
            return Step(state | scaling, False, {})
        memory = Memory.read(state, state["coefficients"])
        mean, noise = total["direction"] / expected_people, noise_std / expected_people
        pull = self.parameters.decay * memory.weights
        pull[0] = 0.0
        memory = server_step(memory, mean - pull, noise, self.parameters)
        after: State = {"coefficients": memory.average}
        moved = state | memory.arrays(self.parameters) | after
        return Step(moved, False, noise_metrics(mean, noise))

    def predict_proba(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of classes 0 and 1, shape (rows, 2)."""
        require_columns(features, self.parameters.features)
        return logistic(self._design(state, features), state["coefficients"])

    def _design(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        table = scaled(self.parameters, state, features)
        return np.concatenate([np.ones((len(table), 1)), table], axis=1)


def raw_coefficients(state: State, parameters: PublicTableParameters) -> FloatArray:
    """Return intercept and slopes in raw units, shape (features + 1,), of a fitted state.

    They apply to features within the clip: p = logistic(c[0] + features @ c[1:]).
    """
    unit = np.broadcast_to(np.asarray(parameters.feature_unit), (parameters.features,))
    center = np.broadcast_to(np.asarray(parameters.feature_center), (parameters.features,))
    if "scale" in state:
        unit, center = unit * state["scale"], center + state["mean"] * unit
    slopes = state["coefficients"][1:] / unit
    return np.concatenate([[state["coefficients"][0] - slopes @ center], slopes])
