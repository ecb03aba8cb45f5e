"""Logistic regression that hides every person, in few rounds: noised sufficient statistics.

The first rounds sum X'X of bounded rows, which bounds the curvature of the likelihood from above;
the coordinator repairs what noise did to it and publishes coordinates in which the curvature is
at most 1. Every further round sums the score there, where one step goes most of the way.
Source: the curvature bound of Boehning and Lindsay 1988; noisy X'X with eigenvalues clipped and a
ridge that follows from the noise as in AdaSSP, Wang 2018 (arXiv 1803.02596).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from securefed.data.table import Data, require_columns
from securefed.learning.full_norm import full_norm, undo_full_norm
from securefed.learning.layout import Arrays, Layout
from securefed.learning.link import logistic, residuals
from securefed.learning.public_table import PublicTableParameters, chunks, public_units
from securefed.learning.server_steps import Memory, ServerParameters, noise_metrics, server_step
from securefed.learning.state import State, require_like
from securefed.learning.task import Step, scalar

_BOUND: Final = 0.25
"""p (1 - p) is never more."""
_LEAST_RIDGE: Final = 1e-9


class PrivateGlmParameters(PublicTableParameters, ServerParameters):
    """Agreement parameters of ``dp-glm``.

    Attributes:
        features: number of feature columns; vectors have about half its square of values.
        row_norm: rows, with their leading 1, are shortened to this norm in X'X; the root of
            ``features + 1`` unless given. The smaller, the less noise.
        curvature_rounds: rounds that sum X'X.
        noise_ridge: ridge in units of the largest eigenvalue that noise alone has.
        decay: penalty decay/2 * |slopes|^2 on the mean loss, intercept free.
    """

    features: Annotated[int, Field(ge=1, le=4000)]
    row_norm: Annotated[float, Field(ge=1, le=1e5)] | None = None
    curvature_rounds: Annotated[int, Field(ge=1, le=1000)] = 1
    noise_ridge: Annotated[float, Field(ge=0, le=1e3)] = 0.3
    decay: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True, slots=True)
class PrivateGlm:
    """The ``dp-glm`` task; labels are 0 and 1."""

    parameters: PrivateGlmParameters
    kind: ClassVar[str] = "dp-glm"

    def initial_state(self) -> State:
        """Coefficients are zero, intercept first; the curvature is unknown."""
        size = self.parameters.features + 1
        memory = Memory.start(np.zeros(size))
        return memory.arrays(self.parameters) | {
            "rounds": np.array(0.0),
            "second_moments": np.zeros((size, size)),
            "coordinates": np.eye(size),
            "unit": np.array(1.0),
            "average": memory.average,
            "coefficients": np.zeros(size),
        }

    def layout(self) -> Layout:
        """Upper triangle of X'X with what fills up its norm, and the score."""
        size = self.parameters.features + 1
        return Layout.of({"second_moments": (size * (size + 1) // 2 + 1,), "score": (size,)})

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield x x' of each person's row in the first rounds, then its score."""
        del round_in_task, rng  # the phase lies in the state, and a statistic draws nothing
        require_like(state, self.initial_state())
        require_columns(data.features, self.parameters.features)
        curvature, length = self._sums_curvature(state), self.layout().size
        size = self.parameters.features + 1
        for rows in chunks(len(data), length):
            design = self._design(data.features[rows])
            vectors = np.zeros((len(design), length))
            if curvature:
                vectors[:, :-size] = full_norm(self._outer(design))
            else:
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    seen = design @ state["coordinates"]
                    gaps = residuals(seen, state["server.weights"], data.labels[rows])
                    vectors[:, -size:] = seen * (gaps / scalar(state, "unit"))[:, np.newaxis]
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
        """Average X'X, or take one step along the score."""
        del round_in_task
        if self._sums_curvature(state):
            noise = noise_std / clip_norm / expected_people
            moments = undo_full_norm(total["second_moments"], clip_norm) / expected_people
            return Step(state | self._curvature(state, moments, noise), False, {})
        unit = scalar(state, "unit")
        memory = Memory.read(state, state["average"])
        mean, noise = total["score"] / expected_people, noise_std / expected_people
        coordinates = state["coordinates"].astype(np.float64)
        penalty = np.full(len(mean), self.parameters.decay)
        penalty[0] = 0.0
        pull = coordinates.T @ (penalty * (coordinates @ memory.weights))
        memory = server_step(memory, unit * mean - pull, unit * noise, self.parameters)
        moved: State = {
            "average": memory.average,
            "coefficients": coordinates @ memory.average,
        }
        return Step(
            state | memory.arrays(self.parameters) | moved, False, noise_metrics(mean, noise)
        )

    def predict_proba(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of classes 0 and 1, shape (rows, 2)."""
        require_columns(features, self.parameters.features)
        return logistic(self._design(features), state["coefficients"])

    def _sums_curvature(self, state: State) -> bool:
        return scalar(state, "rounds") < self.parameters.curvature_rounds

    def _row_norm(self) -> float:
        return self.parameters.row_norm or math.sqrt(self.parameters.features + 1)

    def _design(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        table = public_units(self.parameters, features)
        return np.concatenate([np.ones((len(table), 1)), table], axis=1)

    def _outer(self, design: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the upper triangles of x x' in units in which their norm is at most 1."""
        norms = np.sqrt(np.einsum("ij,ij->i", design, design))
        bounded: NDArray[np.float64] = design / np.maximum(norms, self._row_norm())[:, np.newaxis]
        rows, columns = np.triu_indices(design.shape[1])
        # An entry off the diagonal stands for two: with the root of 2, the norm is the matrix's.
        units: NDArray[np.float64] = np.where(rows == columns, 1.0, math.sqrt(2))
        vectors: NDArray[np.float64] = bounded[:, rows] * bounded[:, columns] * units
        return vectors

    def _curvature(self, state: State, moments: NDArray[np.float64], noise: float) -> State:
        """Return the state after one more noisy X'X, given as its upper triangle."""
        size, done = self.parameters.features + 1, scalar(state, "rounds")
        rows, columns = np.triu_indices(size)
        square = self._row_norm() ** 2
        matrix = np.zeros((size, size))
        matrix[rows, columns] = moments * np.where(rows == columns, 1.0, math.sqrt(0.5)) * square
        matrix = matrix + np.triu(matrix, 1).T
        average = state["second_moments"] + (matrix - state["second_moments"]) / (done + 1)
        values, vectors = np.linalg.eigh(average)
        values = np.maximum(values, 0)
        # The largest eigenvalue of noise alone: twice the root of the size times the deviation.
        edge = 2 * math.sqrt(size / 2 / (done + 1)) * noise * square
        ridge = self.parameters.noise_ridge * edge + _LEAST_RIDGE * max(float(values.max()), 1.0)
        bound = _BOUND * (values + ridge) + self.parameters.decay
        return {
            "rounds": np.array(done + 1),
            "second_moments": average,
            "coordinates": vectors / np.sqrt(bound),
            "unit": np.array(math.sqrt(max(float((values / bound).sum()), _LEAST_RIDGE))),
        }
