"""Logistic regression by exact sums: iteratively reweighted least squares over all parties.

Each round sums X'WX, X'(y - p), the log-likelihood and the row count; the coordinator solves one
small system. The result is the pooled maximum of the ridge-penalised likelihood: the score, which
alone decides where the iteration comes to rest, travels in limbs that the grid carries exactly.
Source: McCullagh and Nelder 1989, section 2.5; ridge as in le Cessie and van Houwelingen 1992.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import NoResultError, WireError
from securefed.data.table import Data, require_classes, require_columns, require_rows
from securefed.learning.layout import Arrays, Layout
from securefed.learning.moments import (
    LIMBS,
    MIN_SCALE,
    Scaling,
    TableParameters,
    contribute_moments,
    finish_moments,
    join_limbs,
    moments_shape,
    split_limbs,
)
from securefed.learning.newton import (
    MAX_COEFFICIENT,
    NewtonSums,
    newton_state,
    newton_step,
    symmetric,
)
from securefed.learning.state import FloatArray, State, require_like
from securefed.learning.task import Contribution, Numbers, Step, scalar

_MOMENTS, _NEWTON = 0.0, 1.0
_MAX_PREDICTOR: Final = 60.0
_MIN_WEIGHT: Final = 1e-9
_GRID_PER_RIDGE: Final = 16.0


class LogisticParameters(TableParameters):
    """Agreement parameters of ``glm-logistic``.

    Attributes:
        features: number of feature columns; the model has one coefficient more.
        ridge: penalty ridge/2 * |slopes|^2 on standardised slopes, intercept free. scikit-learn's
            ``C`` is 1 / ridge.
        tolerance: the fit is done when no coefficient moves by more.
    """

    features: Annotated[int, Field(ge=1, le=10_000)]
    ridge: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0
    tolerance: Annotated[float, Field(ge=1e-9, le=1.0)] = 1e-6


@dataclass(frozen=True, slots=True)
class LogisticRegression:
    """The ``glm-logistic`` task."""

    parameters: LogisticParameters
    kind: ClassVar[str] = "glm-logistic"

    def initial_state(self) -> State:
        """Coefficients are zero, intercept first; features are not scaled yet."""
        size = self.parameters.features + 1
        return {
            "phase": np.array(_MOMENTS if self.parameters.standardize else _NEWTON),
            "mean": np.zeros(size - 1),
            "scale": np.ones(size - 1),
            **newton_state(np.zeros(size)),
        }

    def layout(self) -> Layout:
        """Upper triangle of X'WX; limbs of score, log-likelihood and rows; moments if asked for."""
        size = self.parameters.features + 1
        shapes: dict[str, tuple[int, ...]] = {
            "information": (size * (size + 1) // 2,),
            "exact": (LIMBS, size + 2),
        }
        if self.parameters.standardize:
            shapes["moments"] = moments_shape(self.parameters)
        return Layout.of(shapes)

    def numbers(self) -> Numbers:
        """Every sum is divided by the most that ``max_rows`` rows can reach.

        The grid's error in X'WX stays below the ridge, or Newton's direction would be noise.
        """
        needed = _GRID_PER_RIDGE * self._information_unit() / self.parameters.ridge
        return Numbers(bound=1.0, min_scale=max(MIN_SCALE, 2.0 ** math.ceil(math.log2(needed))))

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Return the sums of one party at the coordinator's candidate coefficients."""
        del round_in_task, rng  # the phase lies in the state, and an exact sum draws nothing
        require_like(state, self.initial_state())
        require_columns(data.features, self.parameters.features)
        require_rows(data, self.parameters.max_rows)
        require_classes(data, 2)
        sums = self.layout().zeros()
        if scalar(state, "phase") == _MOMENTS and self.parameters.standardize:
            sums["moments"] = contribute_moments(data, self.parameters)
            return sums
        if np.abs(state["candidate"]).max() > MAX_COEFFICIENT:
            raise WireError("coordinator", "model", "a coefficient is out of bounds")
        design = self._design(state, data.features)
        information, exact = _newton_sums(design, data.labels, state["candidate"])
        sums["information"] = np.clip(information / self._information_unit(), -1, 1)
        sums["exact"] = split_limbs(exact / self._exact_units())
        return sums

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Take one Newton step, or halve the last one if the likelihood fell."""
        del round_in_task
        if scalar(state, "phase") == _MOMENTS:
            scaling, rows = finish_moments(total["moments"], self.parameters)
            scaled: State = {"phase": np.array(_NEWTON), "mean": scaling.mean}
            return Step(state | scaled | {"scale": scaling.scale}, False, {"rows": float(rows)})
        return self._newton(state, total)

    def predict_proba(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of classes 0 and 1, shape (rows, 2)."""
        require_columns(features, self.parameters.features)
        design = self._design(state, features)
        one = _logistic(_predictor(design, state["coefficients"]))
        return np.stack([1 - one, one], axis=1)

    def _design(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        scaling = Scaling(state["mean"], state["scale"])
        scaled = scaling.apply(features, self.parameters.feature_clip)
        return np.concatenate([np.ones((len(features), 1)), scaled], axis=1)

    def _information_unit(self) -> float:
        # A row adds at most 1/4 clip^2 to an entry of X'WX.
        return self.parameters.max_rows * max(self.parameters.feature_clip**2 / 4, 1.0)

    def _exact_units(self) -> NDArray[np.float64]:
        # A row adds at most clip to the score, 61 to the likelihood and 1 to the count.
        units = np.full(self.parameters.features + 3, self.parameters.feature_clip)
        units[-2:] = _MAX_PREDICTOR + 1, 1.0
        return units * self.parameters.max_rows

    def _newton(self, state: State, total: Arrays) -> Step:
        candidate = state["candidate"].astype(np.float64)
        size = candidate.size
        exact = join_limbs(total["exact"]) * self._exact_units()
        score, likelihood, rows = exact[:size], float(exact[-2]), float(np.round(exact[-1]))
        _require_both_classes(candidate, score, rows)
        penalty = np.full(size, self.parameters.ridge)
        penalty[0] = 0.0
        information = symmetric(total["information"] * self._information_unit(), size)
        return newton_step(
            state,
            NewtonSums(score, information, likelihood, rows),
            penalty,
            tolerance=self.parameters.tolerance,
            metrics={"rows": rows, "log_loss": -likelihood / rows},
        )


def coefficients(state: Mapping[str, FloatArray]) -> NDArray[np.float64]:
    """Return intercept and slopes of a fitted state in raw units, shape (features + 1,).

    They apply to features within the clip: p = logistic(c[0] + features @ c[1:]).
    """
    slopes = state["coefficients"][1:] / state["scale"]
    intercept = state["coefficients"][0] - slopes @ state["mean"]
    return np.concatenate([[intercept], slopes]).astype(np.float64)


def _logistic(predictor: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-predictor))


def _predictor(design: NDArray[np.float64], coefficients_: FloatArray) -> NDArray[np.float64]:
    # Beyond the clip p is 0 or 1 to 26 digits; the likelihood stays within its agreed bound.
    return np.clip(design @ coefficients_, -_MAX_PREDICTOR, _MAX_PREDICTOR)


def _newton_sums(
    design: NDArray[np.float64], labels: NDArray[np.float64], candidate: FloatArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    predictor = _predictor(design, candidate)
    probability = _logistic(predictor)
    # Weights stay away from 0 so that rows fitted perfectly leave the system solvable.
    weight = np.maximum(probability * (1 - probability), _MIN_WEIGHT)
    information = (design * weight[:, np.newaxis]).T @ design
    likelihood = labels * predictor - np.logaddexp(0, predictor)
    exact = np.append(design.T @ (labels - probability), [likelihood.sum(), float(len(labels))])
    return information[np.triu_indices(len(information))], exact


def _require_both_classes(
    candidate: NDArray[np.float64], score: NDArray[np.float64], rows: float
) -> None:
    if rows < 1:
        raise NoResultError("no party counted a row; check the data of the parties")
    if not candidate.any():
        # At zero every fitted probability is 1/2, so the intercept's score counts the ones.
        ones = float(score[0]) + rows / 2
        if not 0.5 < ones < rows - 0.5:
            raise NoResultError("all labels of all parties are equal; there is nothing to learn")
