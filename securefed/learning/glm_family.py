"""The three families of generalised linear models, each with its canonical link.

Source: McCullagh and Nelder 1989, table 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, NoResultError
from securefed.data.table import Data, require_classes

FamilyName = Literal["binomial", "gaussian", "poisson"]
_MAX_LOGIT: Final = 60.0
"""Beyond it a probability is 0 or 1 to 26 digits."""
_MAX_FIT: Final = 64.0
"""Largest fitted value of a gaussian model, in units of the label bound."""
_LOG_ROOM: Final = 5.0
"""A fitted rate may exceed the label bound by this factor's exponential."""
_MIN_WEIGHT: Final = 1e-9

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Family:
    """What a row with label y and linear predictor eta contributes, in units of ``unit``.

    Attributes:
        name: of the family.
        unit: labels are divided by this.
        low, high: the predictor is clipped to this range.
        max_weight, max_residual, max_likelihood: largest absolute values of one row.
        mean: from the predictor to the expected label.
        weight: from mean to the variance of a label.
        likelihood: from labels, predictor and mean to each row's log-likelihood, up to a constant.
        check: raises InputError for labels that the family does not have.
    """

    name: FamilyName
    unit: float
    low: float
    high: float
    max_weight: float
    max_residual: float
    max_likelihood: float
    mean: Callable[[Array], Array]
    weight: Callable[[Array], Array]
    likelihood: Callable[[Array, Array, Array], Array]
    check: Callable[[Data], None]

    def predictor(self, design: Array, coefficients: Array) -> Array:
        """Return the clipped predictor, shape (rows,)."""
        return np.clip(design @ coefficients, self.low, self.high)

    def start(self, mean_label: float) -> float:
        """Return the intercept of the model without slopes.

        Args:
            mean_label: over all parties' rows, in units of ``unit``.

        Raises:
            NoResultError: all labels are such that there is nothing to learn.
        """
        if self.name == "binomial":
            if not 0 < mean_label < 1:
                raise NoResultError(
                    "all labels of all parties are equal; there is nothing to learn"
                )
            return math.log(mean_label / (1 - mean_label))
        if self.name == "poisson":
            if mean_label <= 0:
                raise NoResultError("all counts of all parties are 0; there is nothing to learn")
            return math.log(mean_label)
        return mean_label


def family(name: FamilyName, label_bound: float) -> Family:
    """Return a family.

    Args:
        name: of the family.
        label_bound: largest absolute value of a label; without meaning for ``binomial``.
    """
    if name == "binomial":
        return Family(
            name,
            unit=1.0,
            low=-_MAX_LOGIT,
            high=_MAX_LOGIT,
            max_weight=0.25,
            max_residual=1.0,
            max_likelihood=_MAX_LOGIT + 1,
            mean=_logistic,
            weight=lambda mean: np.maximum(mean * (1 - mean), _MIN_WEIGHT),
            likelihood=lambda labels, predictor, _: labels * predictor - np.logaddexp(0, predictor),
            check=lambda data: require_classes(data, 2),
        )
    if name == "poisson":
        high = max(math.log(label_bound), 0.0) + _LOG_ROOM
        rate = math.exp(high)
        return Family(
            name,
            unit=1.0,
            low=-_MAX_LOGIT,
            high=high,
            max_weight=rate,
            max_residual=rate + label_bound,
            max_likelihood=label_bound * max(_MAX_LOGIT, high) + rate,
            mean=np.exp,
            weight=lambda mean: np.maximum(mean, _MIN_WEIGHT),
            likelihood=lambda labels, predictor, mean: labels * predictor - mean,
            check=lambda data: _require_counts(data, label_bound),
        )
    return Family(
        name,
        unit=label_bound,
        low=-_MAX_FIT,
        high=_MAX_FIT,
        max_weight=1.0,
        max_residual=_MAX_FIT + 1,
        max_likelihood=(_MAX_FIT + 1) ** 2 / 2,
        mean=lambda predictor: predictor,
        weight=np.ones_like,
        likelihood=lambda labels, predictor, _: -((labels - predictor) ** 2) / 2,
        check=lambda data: _require_bound(data, label_bound),
    )


def _logistic(predictor: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-predictor)), dtype=np.float64)


def _require_bound(data: Data, bound: float) -> None:
    if np.abs(data.labels).max() > bound:
        raise InputError(
            f"labels exceeds label_bound = {bound:g}; change the unit or agree on a larger bound"
        )


def _require_counts(data: Data, bound: float) -> None:
    _require_bound(data, bound)
    if data.labels.min() < 0:
        raise InputError("labels holds values below 0; a Poisson model takes counts or rates")
