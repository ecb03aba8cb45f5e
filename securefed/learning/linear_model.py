"""Base of the linear estimators: from the state of a ``glm`` task to coefficients in raw units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import AgreementError, InputError, MisuseError
from securefed.data.table import PARTY_COLUMN, Data, checked
from securefed.learning.estimator import FederatedEstimator, TaskPlan
from securefed.learning.glm_family import FamilyName
from securefed.learning.incomplete import require_no_gaps
from securefed.learning.inference import CoefficientTable, covariance, raw_transform
from securefed.learning.linear_task import LinearParameters, LinearTask
from securefed.learning.state import State

Intercepts = Literal["common", "per-party"]
ROUNDS = 30


class FederatedLinearModel(FederatedEstimator):
    """A generalised linear model that equals the one of the pooled rows.

    Attributes:
        party_intercepts_: intercept of each party, shape (parties,); empty with a common one.
        coefficients_: estimates with standard errors, p-values and intervals.
        covariance_: of the coefficients, in the order of ``coefficients_``.
        converged_: the last step was below the tolerance.
        n_samples_: rows of all parties.
        log_likelihood_: up to a constant of the data.
        parties_: names of the parties, in order, where known.
    """

    family: ClassVar[FamilyName]
    ridge: float
    intercepts: Intercepts
    intercept_ridge: float
    tolerance: float
    standardize: bool
    max_rows: int
    feature_bound: float

    party_intercepts_: NDArray[np.float64]
    coefficients_: CoefficientTable
    covariance_: NDArray[np.float64]
    converged_: bool
    n_samples_: int
    log_likelihood_: float
    slopes_: NDArray[np.float64]
    common_intercept_: float

    def _label_bound(self) -> float:
        """Return the largest absolute value of a label."""
        return 1.0

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task: a round for scaling, and Newton's.

        Raises:
            AgreementError: no such kind of intercepts.
        """
        if self.intercepts not in ("common", "per-party"):
            raise AgreementError(
                "intercepts", f"{self.intercepts!r} is unknown", "use common or per-party"
            )
        parameters = {
            "family": self.family,
            "features": features,
            "companies": parties if self.intercepts == "per-party" else 0,
            "ridge": float(self.ridge),
            "intercept_ridge": float(self.intercept_ridge),
            "tolerance": float(self.tolerance),
            "standardize": self.standardize,
            "max_rows": self.max_rows,
            "feature_bound": float(self.feature_bound),
            "label_bound": float(self._label_bound()),
        }
        return (TaskPlan("", LinearTask.kind, ROUNDS, parameters),)

    def party_data(self, data: Data, party: int) -> Data:
        """Return the rows, with the party's number in one more column for own intercepts."""
        if self.intercepts != "per-party":
            return data
        require_no_gaps(data)
        number = np.full((len(data), 1), float(party))
        columns = None if data.columns is None else (*data.columns, PARTY_COLUMN)
        return Data(np.concatenate([data.features, number], axis=1), data.labels, columns)

    def read(self, states: Mapping[str, State]) -> None:
        """Set coefficients in raw units and what is known of their errors."""
        state = states[""]
        features = len(state["mean"])
        companies = len(state["coefficients"]) - 1 - features
        parameters = LinearParameters(**self.plan(features, companies)[0].parameters)
        task = LinearTask(parameters)
        unit = task.family().unit
        penalty = np.full(task.parameters.size, task.parameters.ridge)
        penalty[0], penalty[1 : 1 + companies] = 0.0, task.parameters.intercept_ridge
        mean, scale = (state[name].astype(np.float64) for name in ("mean", "scale"))
        transform = raw_transform(mean, scale, companies) * unit
        raw = transform @ state["coefficients"]
        information = state["information"].astype(np.float64)
        spread = covariance(information, penalty, transform)
        degrees = np.inf
        self.n_features_in_, self.n_samples_ = features, round(float(state["rows"]))
        self.log_likelihood_ = float(state["likelihood"])
        if self.family == "gaussian":
            degrees = float(self.n_samples_ - int((~np.isnan(np.diag(spread))).sum()))
            left = -2 * float(state["likelihood"])
            spread = spread * (left / degrees if degrees > 0 else np.nan)
            self.log_likelihood_ *= unit**2
        errors = np.sqrt(np.diag(spread))
        self.covariance_, self.converged_ = spread, bool(state["converged"] > 0)
        names = ["intercept", *(f"intercept[{k}]" for k in range(companies))]
        names += [f"x{column}" for column in range(features)]
        self.coefficients_ = CoefficientTable(tuple(names), raw, errors, degrees)
        self.common_intercept_ = float(raw[0])
        self.party_intercepts_ = raw[0] + raw[1 : 1 + companies]
        self.slopes_ = raw[1 + companies :]

    def linear_predictor(
        self, features: ArrayLike, *, party: int | None = None
    ) -> NDArray[np.float64]:
        """Return intercept and slopes applied to raw features, shape (rows,).

        Args:
            features: shape (rows, features), finite.
            party: number of the party whose intercept is used; the common one unless given.

        Raises:
            MisuseError: not fitted yet.
            InputError: not such a table, or no such party.
        """
        self._require_fitted()
        table = checked("features", self._table(checked("features", features, ndim=2)), ndim=2)
        intercept = self.common_intercept_
        if party is not None:
            if not 0 <= party < len(self.party_intercepts_):
                raise InputError(
                    f"no intercept of party {party}; there are {len(self.party_intercepts_)}"
                )
            intercept = float(self.party_intercepts_[party])
        return np.asarray(table @ self.slopes_ + intercept, dtype=np.float64)

    def conf_int(self, level: float = 0.95) -> NDArray[np.float64]:
        """Return confidence intervals in the order of ``coefficients_``, shape (size, 2)."""
        self._require_fitted()
        if not hasattr(self, "coefficients_"):
            raise MisuseError("a model under differential privacy has no confidence intervals yet")
        return self.coefficients_.interval(level)

    def _labels(self, labels: ArrayLike, rows: int) -> NDArray[np.float64]:
        found = checked("labels", labels, ndim=1)
        if len(found) != rows:
            raise InputError(f"features has {rows} rows and labels {len(found)}")
        return found


def explained(labels: NDArray[Any], predicted: NDArray[np.float64]) -> float:
    """Return the coefficient of determination: 1 is perfect, 0 as good as the labels' mean."""
    total = float(((labels - labels.mean()) ** 2).sum())
    left = float(((labels - predicted) ** 2).sum())
    return 1 - left / total if total > 0 else float(left == 0)


def poisson_deviance(counts: NDArray[np.float64], rates: NDArray[np.float64]) -> float:
    """Return the deviance of counts from rates above 0, both of shape (rows,)."""
    logs = np.log(np.where(counts > 0, counts, 1.0) / rates)
    return float(2 * (np.where(counts > 0, counts * logs, 0.0) - counts + rates).sum())
