"""Logistic, linear and Poisson regression over a federation: the pooled model, with its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import AgreementError, MisuseError
from securefed.data.table import Data, checked, require_classes
from securefed.learning.estimator import TaskPlan
from securefed.learning.evaluation import accuracy
from securefed.learning.glm_family import FamilyName
from securefed.learning.incomplete import require_no_gaps
from securefed.learning.linear_model import (
    FederatedLinearModel,
    Intercepts,
    explained,
    poisson_deviance,
)
from securefed.learning.private_glm import PrivateGlm, PrivateGlmParameters
from securefed.learning.private_logistic import (
    PrivateLogisticParameters,
    PrivateLogisticRegression,
    raw_coefficients,
)
from securefed.learning.state import State


class FederatedLogisticRegression(FederatedLinearModel):
    """Logistic regression of labels 0 and 1; scikit-learn's ``C`` is 1 / ridge.

    With ``noise`` it is fitted under differential privacy, by the task ``dp-glm`` or
    ``dp-logistic``; the federation then needs a privacy goal. Such a model has no standard errors.

    Attributes:
        coef_: shape (1, features), raw units.
        intercept_: shape (1,).
        classes_: 0 and 1.
    """

    default_name = "logistic-regression"
    family: ClassVar[FamilyName] = "binomial"
    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]
    classes_: NDArray[np.int64]
    _task: PrivateGlm | PrivateLogisticRegression
    _state: State

    def __init__(
        self,
        *,
        ridge: float = 1.0,
        intercepts: Intercepts = "common",
        intercept_ridge: float = 1.0,
        standardize: bool = True,
        tolerance: float = 1e-7,
        feature_bound: float = 1e6,
        max_rows: int = 2**20,
        noise: Mapping[str, Any] | None = None,
        private_kind: str = "dp-glm",
        private_rounds: int = 20,
        private: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe a model.

        Args:
            ridge: penalty ridge/2 * |slopes|^2, on standardised slopes where ``standardize`` holds;
                0 for plain maximum likelihood.
            intercepts: ``common``, or ``per-party`` for one more intercept at each party.
            intercept_ridge: penalty on how those differ from the common one.
            standardize: scale by the mean and deviation of all parties' rows.
            tolerance: done when no coefficient moves by more.
            feature_bound: largest absolute value of a feature.
            max_rows: most rows of a party.
            noise: ``clip_norm``, ``people`` and more, as ``Federation.add_task`` takes it.
            private_kind: the task that is run with noise.
            private_rounds: its rounds.
            private: its other parameters, such as ``feature_center`` and ``feature_unit``.
        """
        self.ridge, self.intercepts, self.intercept_ridge = ridge, intercepts, intercept_ridge
        self.standardize, self.tolerance = standardize, tolerance
        self.feature_bound, self.max_rows = feature_bound, max_rows
        self.noise, self.private_kind = noise, private_kind
        self.private_rounds, self.private = private_rounds, private

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task, exact or with noise.

        Raises:
            MisuseError: own intercepts and noise, which no private task has yet.
            AgreementError: a parameter is unknown.
        """
        if self.noise is None:
            return super().plan(features, parties)
        if self.intercepts != "common":
            raise MisuseError(
                "intercepts of each party have no differentially private form yet; use "
                'intercepts="common" with noise'
            )
        if self.private_kind not in ("dp-glm", "dp-logistic"):
            raise AgreementError(
                "private_kind", f"{self.private_kind!r} is unknown", "use dp-glm or dp-logistic"
            )
        parameters = {"features": features, **(self.private or {})}
        return (TaskPlan("", self.private_kind, self.private_rounds, parameters, self.noise),)

    def party_data(self, data: Data, party: int) -> Data:
        """Return the rows; under noise nobody else would tell of rows that count as nobody."""
        if self.noise is not None:
            require_no_gaps(data)
            require_classes(data, 2)
        return super().party_data(data, party)

    def _private_form(self) -> str:
        return (
            "an exact fit needs a federation with privacy=None, a private one noise=... and a goal"
        )

    def read(self, states: Mapping[str, State]) -> None:
        """Set coefficients; see :class:`FederatedLinearModel`."""
        self.classes_ = np.array([0, 1])
        if self.noise is None:
            super().read(states)
            self.coef_ = self.slopes_[np.newaxis, :]
            self.intercept_ = np.array([self.common_intercept_])
        else:
            self._read_private(states[""])

    def _read_private(self, state: State) -> None:
        self.n_features_in_ = len(state["coefficients"]) - 1
        [plan] = self.plan(self.n_features_in_, 0)
        told: PrivateGlmParameters | PrivateLogisticParameters
        if plan.kind == PrivateGlm.kind:
            self._task = PrivateGlm(told := PrivateGlmParameters.model_validate(plan.parameters))
        else:
            told = PrivateLogisticParameters.model_validate(plan.parameters)
            self._task = PrivateLogisticRegression(told)
        raw = raw_coefficients(state, told).astype(np.float64)
        self.slopes_, self.common_intercept_ = raw[1:], float(raw[0])
        self.party_intercepts_, self._state = np.empty(0), state
        self.coef_, self.intercept_ = self.slopes_[np.newaxis], np.array([self.common_intercept_])

    def decision_function(
        self, features: ArrayLike, *, party: int | None = None
    ) -> NDArray[np.float64]:
        """Return log odds of label 1, shape (rows,); arguments of ``linear_predictor``."""
        return self.linear_predictor(features, party=party)

    def predict_proba(
        self, features: ArrayLike, *, party: int | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of 0 and 1, shape (rows, 2).

        A private model clips features to the agreed range first, as it was fitted.
        """
        odds = self.linear_predictor(features, party=party)
        if self.noise is not None:
            return self._task.predict_proba(self._state, checked("features", features, ndim=2))
        one = np.exp(-np.logaddexp(0, -odds))
        return np.stack([np.exp(-np.logaddexp(0, odds)), one], axis=1)

    def predict(self, features: ArrayLike, *, party: int | None = None) -> NDArray[np.float64]:
        """Return the more probable label of each row."""
        likely = self.predict_proba(features, party=party)
        return np.asarray(np.argmax(likely, axis=1), dtype=np.float64)

    def score(self, features: ArrayLike, labels: ArrayLike, *, party: int | None = None) -> float:
        """Return the share of rows whose label is predicted."""
        likely = self.predict_proba(features, party=party)
        return accuracy(self._labels(labels, len(likely)), likely)


class FederatedLinearRegression(FederatedLinearModel):
    """Least squares, with Student's t for p-values and intervals.

    Attributes:
        coef_: shape (features,), raw units.
        intercept_: a number.
        sigma_: residual standard deviation, n - coefficients degrees of freedom.
    """

    default_name = "linear-regression"
    family: ClassVar[FamilyName] = "gaussian"
    coef_: NDArray[np.float64]
    intercept_: float
    sigma_: float

    def __init__(
        self,
        *,
        ridge: float = 0.0,
        intercepts: Intercepts = "common",
        intercept_ridge: float = 1.0,
        standardize: bool = True,
        tolerance: float = 1e-7,
        feature_bound: float = 1e6,
        label_bound: float = 1e6,
        max_rows: int = 2**20,
    ) -> None:
        """Describe a model; arguments as of :class:`FederatedLogisticRegression`.

        Args:
            ridge: penalty ridge/2 * |slopes|^2 on half the sum of squares.
            intercepts: ``common`` or ``per-party``.
            intercept_ridge: penalty on how those differ from the common one.
            standardize: scale by the mean and deviation of all parties' rows.
            tolerance: relative to the largest coefficient.
            feature_bound: largest absolute value of a feature.
            label_bound: largest absolute value of a label; costs no precision.
            max_rows: most rows of a party.
        """
        self.ridge, self.intercepts, self.intercept_ridge = ridge, intercepts, intercept_ridge
        self.standardize, self.tolerance = standardize, tolerance
        self.feature_bound, self.label_bound, self.max_rows = feature_bound, label_bound, max_rows

    def _label_bound(self) -> float:
        """Return the largest absolute value of a label."""
        return self.label_bound

    def read(self, states: Mapping[str, State]) -> None:
        """Set coefficients; see :class:`FederatedLinearModel`."""
        super().read(states)
        self.coef_, self.intercept_ = self.slopes_, self.common_intercept_
        degrees = self.coefficients_.degrees
        left = -2 * self.log_likelihood_
        self.sigma_ = float(np.sqrt(left / degrees)) if degrees > 0 else float("nan")

    def predict(self, features: ArrayLike, *, party: int | None = None) -> NDArray[np.float64]:
        """Return the expected label of each row."""
        return self.linear_predictor(features, party=party)

    def score(self, features: ArrayLike, labels: ArrayLike, *, party: int | None = None) -> float:
        """Return the coefficient of determination."""
        predicted = self.predict(features, party=party)
        return explained(self._labels(labels, len(predicted)), predicted)


class FederatedPoissonRegressor(FederatedLinearModel):
    """Poisson regression of counts or rates, log link; its dispersion is taken to be 1.

    Attributes:
        coef_: shape (features,), raw units.
        intercept_: a number.
    """

    default_name = "poisson-regression"
    family: ClassVar[FamilyName] = "poisson"
    coef_: NDArray[np.float64]
    intercept_: float

    def __init__(
        self,
        *,
        ridge: float = 0.0,
        intercepts: Intercepts = "common",
        intercept_ridge: float = 1.0,
        standardize: bool = True,
        tolerance: float = 1e-7,
        feature_bound: float = 1e6,
        label_bound: float = 1e4,
        max_rows: int = 2**20,
    ) -> None:
        """Describe a model; arguments as of :class:`FederatedLinearRegression`.

        Args:
            ridge: penalty ridge/2 * |slopes|^2 on the log-likelihood of all rows.
            intercepts: ``common`` or ``per-party``.
            intercept_ridge: penalty on how those differ from the common one.
            standardize: scale by the mean and deviation of all parties' rows.
            tolerance: relative to the largest coefficient.
            feature_bound: largest absolute value of a feature.
            label_bound: largest count; fitted rates are held below 148 times as much.
            max_rows: most rows of a party.
        """
        self.ridge, self.intercepts, self.intercept_ridge = ridge, intercepts, intercept_ridge
        self.standardize, self.tolerance = standardize, tolerance
        self.feature_bound, self.label_bound, self.max_rows = feature_bound, label_bound, max_rows

    def _label_bound(self) -> float:
        """Return the largest count."""
        return self.label_bound

    def read(self, states: Mapping[str, State]) -> None:
        """Set coefficients; see :class:`FederatedLinearModel`."""
        super().read(states)
        self.coef_, self.intercept_ = self.slopes_, self.common_intercept_

    def predict(self, features: ArrayLike, *, party: int | None = None) -> NDArray[np.float64]:
        """Return the expected count of each row."""
        return np.asarray(np.exp(self.linear_predictor(features, party=party)), dtype=np.float64)

    def score(self, features: ArrayLike, labels: ArrayLike, *, party: int | None = None) -> float:
        """Return the share of the deviance that is explained, as in scikit-learn."""
        predicted = self.predict(features, party=party)
        counts = self._labels(labels, len(predicted))
        null = poisson_deviance(counts, np.full(len(counts), counts.mean()))
        return 1 - poisson_deviance(counts, predicted) / null if null > 0 else 0.0
