"""The logistic link of the private generalised linear models."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MAX_PREDICTOR: Final = 60.0


def _one(design: NDArray[np.float64], coefficients: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        predictor = np.clip(design @ coefficients, -_MAX_PREDICTOR, _MAX_PREDICTOR)
        return np.asarray(1 / (1 + np.exp(-predictor)), dtype=np.float64)


def logistic(design: NDArray[np.float64], coefficients: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probabilities of classes 0 and 1, shape (rows, 2), of a design (rows, size)."""
    one = _one(design, coefficients)
    return np.stack([1 - one, one], axis=1)


def residuals(
    design: NDArray[np.float64], coefficients: NDArray[Any], labels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return label - p of each row, shape (rows,); 0 where the label is neither 0 nor 1.

    To refuse such a row would tell that it was sampled.
    """
    usable = (labels == 0) | (labels == 1)
    return np.where(usable, labels - _one(design, coefficients), 0.0)
