"""The ``glm`` task: logistic, linear and Poisson regression by exact sums.

The first round sums what scaling and the starting intercept need; each further round sums X'WX,
the score and the log-likelihood at the candidate, and the coordinator takes a Newton step. What is
summed is exact far beyond float64, so that the model is that of the pooled rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from protocols.errors import InputError, NoResultError, WireError
from securefed.data.table import Data, require_columns, require_rows
from securefed.learning.exact_sum import ExactSum, Summand
from securefed.learning.glm_family import Family, FamilyName, family
from securefed.learning.incomplete import require_bounded, require_no_gaps
from securefed.learning.layout import Arrays, Layout
from securefed.learning.newton import (
    MAX_COEFFICIENT,
    NewtonSums,
    newton_state,
    newton_step,
    symmetric,
)
from securefed.learning.state import State, require_like
from securefed.learning.task import Contribution, Numbers, Step, scalar

_MOMENTS, _NEWTON = 0.0, 1.0
_CLIP: Final = 4096.0
"""No standardised value of up to 2^24 rows is larger: its square is below the number of rows."""
_NEGLIGIBLE: Final = 1e-12
_MAX_CONDITION: Final = 1e13


class LinearParameters(BaseModel):
    """Agreement parameters of ``glm``.

    Attributes:
        family: ``binomial`` (logit link), ``gaussian`` (identity) or ``poisson`` (log).
        features: number of feature columns of the model.
        companies: 0 for one intercept; else the number of parties, each with an intercept of its
            own, and a party's rows carry its number in one more column at the end.
        ridge: penalty ridge/2 * |slopes|^2, on standardised slopes where ``standardize`` holds.
        intercept_ridge: the same on how each party's intercept differs from the common one.
        tolerance: the fit is done when no coefficient moves by more.
        standardize: scale features by the mean and standard deviation of all rows.
        max_rows: most rows of a party.
        feature_bound: larger feature values are refused at the party.
        label_bound: larger labels are refused at the party; unused by ``binomial``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    family: FamilyName
    features: Annotated[int, Field(ge=1, le=4000)]
    companies: Annotated[int, Field(ge=0, le=1000)] = 0
    ridge: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    intercept_ridge: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0
    tolerance: Annotated[float, Field(ge=1e-10, le=1.0)] = 1e-7
    standardize: bool = True
    max_rows: Annotated[int, Field(ge=1, le=2**30)] = 2**20
    feature_bound: Annotated[float, Field(gt=0, le=1e12)] = 1e6
    label_bound: Annotated[float, Field(gt=0, le=1e12)] = 1e4

    @property
    def size(self) -> int:
        """Coefficients: the common intercept, those of the companies, the slopes."""
        return 1 + self.companies + self.features


@dataclass(frozen=True, slots=True)
class LinearTask:
    """The ``glm`` task."""

    parameters: LinearParameters
    kind: ClassVar[str] = "glm"

    def initial_state(self) -> State:
        """Coefficients are zero; labels are divided by the family's unit."""
        told = self.parameters
        return {
            "phase": np.array(_MOMENTS),
            "mean": np.zeros(told.features),
            "scale": np.ones(told.features),
            "information": np.zeros((told.size, told.size)),
            "likelihood": np.array(0.0),
            "converged": np.array(0.0),
            **newton_state(np.zeros(told.size)),
        }

    def layout(self) -> Layout:
        """Moments, upper triangle of X'WX, score, log-likelihood and rows, in words."""
        return self._sums().layout()

    def numbers(self) -> Numbers:
        """Return the ring that holds the words."""
        return self._sums().numbers()

    def check(self, data: Data) -> None:
        """Refuse data that the agreement does not describe; raises InputError."""
        told = self.parameters
        require_columns(data.features, told.features + (told.companies > 0))
        require_rows(data, told.max_rows)
        require_no_gaps(data)
        require_bounded(data.features[:, : told.features], told.feature_bound)
        self.family().check(data)
        if told.companies:
            numbers = data.features[:, -1]
            if np.any((numbers < 0) | (numbers >= told.companies) | (numbers % 1 != 0)):
                raise InputError(
                    f"the last features column is no party number from 0 to {told.companies - 1}; "
                    "prepare the rows with the estimator's party_data"
                )

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Return the sums of one party at the coordinator's candidate coefficients."""
        del round_in_task, rng  # the phase lies in the state, and an exact sum draws nothing
        require_like(state, self.initial_state())
        self.check(data)
        sums, fit = self._sums(), self.family()
        values = sums.zeros()
        values["rows"] = np.array(float(len(data)))
        labels = data.labels / fit.unit
        if scalar(state, "phase") == _MOMENTS:
            features = data.features[:, : self.parameters.features]
            values["moments"] = np.stack([features.sum(axis=0), (features**2).sum(axis=0)])
            values["likelihood"] = np.asarray(labels.sum())
            return sums.encode(values)
        candidate = state["candidate"].astype(np.float64)
        if np.abs(candidate).max() > MAX_COEFFICIENT:
            raise WireError("coordinator", "model", "a coefficient is out of bounds")
        design = self.design(state, data.features)
        predictor = fit.predictor(design, candidate)
        mean = fit.mean(predictor)
        weighted = design * fit.weight(mean)[:, np.newaxis]
        values["information"] = (weighted.T @ design)[np.triu_indices(design.shape[1])]
        values["score"] = design.T @ (labels - mean)
        values["likelihood"] = np.asarray(fit.likelihood(labels, predictor, mean).sum())
        return sums.encode(values)

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Set scaling and start, then take Newton steps."""
        del round_in_task
        sums = self._sums().decode(total)
        rows = float(sums["rows"])
        if rows < 1:
            raise NoResultError("no party counted a row; check the data of the parties")
        if scalar(state, "phase") == _MOMENTS:
            return self._begin(state, sums, rows)
        told = self.parameters
        information = symmetric(sums["information"], told.size)
        penalty = np.full(told.size, told.ridge)
        penalty[0] = 0.0
        penalty[1 : 1 + told.companies] = told.intercept_ridge
        _require_regular(information, penalty)
        likelihood = float(sums["likelihood"])
        # A column that is constant has information 0: its coefficient stays 0, whatever is left
        # of it after subtracting a rounded mean.
        idle = np.diag(information) + penalty == 0
        # Labels of a gaussian have any unit, and one step is exact: tolerance is relative there.
        size = float(np.abs(state["candidate"]).max())
        unit = size if told.family == "gaussian" else max(size, 1.0)
        step = newton_step(
            state,
            NewtonSums(np.where(idle, 0.0, sums["score"]), information, likelihood, rows),
            penalty + idle,
            tolerance=told.tolerance * unit,
            metrics={"rows": rows, "loss": -likelihood / rows},
        )
        after: State = {
            "information": information,
            "likelihood": np.array(likelihood),
            "converged": np.array(float(step.done and not scalar(step.state, "halvings"))),
        }
        return Step({**step.state, **after}, step.done, step.metrics)

    def family(self) -> Family:
        """Return the family, in units of the agreed label bound."""
        return family(self.parameters.family, self.parameters.label_bound)

    def design(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (1, indicators of the companies, scaled features), shape (rows, size)."""
        if not float(state["scale"].min()) > 0:
            raise WireError("coordinator", "model", "a feature scale is not positive")
        told = self.parameters
        with np.errstate(over="ignore"):
            scaled = (features[:, : told.features] - state["mean"]) / state["scale"]
        bound = self.design_bound()
        blocks = [np.ones((len(features), 1)), np.clip(scaled, -bound, bound)]
        if told.companies:
            blocks.insert(1, (features[:, [-1]] == np.arange(told.companies)).astype(np.float64))
        return np.concatenate(blocks, axis=1)

    def _begin(self, state: State, sums: Arrays, rows: float) -> Step:
        mean, square = sums["moments"] / rows
        variance = square - mean**2
        spread = variance > _NEGLIGIBLE * np.maximum(square, np.finfo(np.float64).tiny)
        start = np.zeros(self.parameters.size)
        start[0] = self.family().start(float(sums["likelihood"]) / rows)
        begun: State = {
            **newton_state(start),
            "phase": np.array(_NEWTON),
        }
        if self.parameters.standardize:
            begun["mean"] = np.asarray(mean, dtype=np.float64)
            begun["scale"] = np.where(spread, np.sqrt(np.where(spread, variance, 1.0)), 1.0)
        return Step({**state, **begun}, False, {"rows": rows})

    def design_bound(self) -> float:
        """Return what scaled features are clipped to."""
        return _CLIP if self.parameters.standardize else max(1.0, self.parameters.feature_bound)

    def _sums(self) -> ExactSum:
        told, fit = self.parameters, self.family()
        rows, bound = float(told.max_rows), self.design_bound()
        information = rows * bound**2 * fit.max_weight
        score = rows * bound * fit.max_residual
        # In the first round this carries the sum of the labels.
        likelihood = rows * max(fit.max_likelihood, told.label_bound / fit.unit, 1.0)
        moments = rows * max(told.feature_bound**2, told.feature_bound)
        triangle = told.size * (told.size + 1) // 2
        # Raw columns far from zero nearly cancel against the intercept: as many words as the score.
        fine = 2.0**-36 if told.standardize else information * 2.0**-118
        return ExactSum.of(
            {
                "rows": Summand((), rows),
                "moments": Summand((2, told.features), moments, moments * 2.0**-118),
                "information": Summand((triangle,), information, fine),
                "score": Summand((told.size,), score, score * 2.0**-118),
                "likelihood": Summand((), likelihood, likelihood * 2.0**-118),
            }
        )


def _require_regular(information: NDArray[np.float64], penalty: NDArray[np.float64]) -> None:
    matrix = information + np.diag(penalty)
    unit = np.sqrt(np.diag(matrix))
    used = unit > 0
    scaled = matrix[np.ix_(used, used)] / np.outer(unit[used], unit[used])
    values = np.linalg.eigvalsh(scaled)
    if values[0] * _MAX_CONDITION < values[-1]:
        raise NoResultError(
            "the features are collinear, or there are fewer rows than coefficients; "
            "leave columns out or agree on a ridge above 0"
        )
