"""Means and standard deviations over all parties, by sums that one coarse grid carries exactly.

Raw features differ by many orders of magnitude, one agreed grid serves them all. Each value is
therefore split into limbs of 16 bits: every limb but the last lies on the grid, so that its sum is
exact, and the last one keeps what remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from protocols.errors import InputError, NoResultError, WireError
from securefed.data.table import Data
from securefed.learning.state import FloatArray

LIMBS: Final = 5
LIMB_BITS: Final = 16
MIN_SCALE: Final = float(2**LIMB_BITS)
_UNIT: Final = float(2**LIMB_BITS)
_NEGLIGIBLE: Final = 1e-12


class TableParameters(BaseModel):
    """Agreement parameters that every task on a table of features shares.

    Attributes:
        features: number of feature columns.
        max_rows: most rows that any party may bring.
        standardize: run a first round for global means and standard deviations.
        feature_bound: largest absolute raw feature value; larger data is refused at the party.
            A generous bound costs no precision.
        feature_clip: standardised features are clipped to this absolute value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    features: Annotated[int, Field(ge=1, le=2**20)]
    max_rows: Annotated[int, Field(ge=1, le=10**9)] = 10_000
    standardize: bool = True
    feature_bound: Annotated[float, Field(gt=0, le=1e12)] = 1e6
    feature_clip: Annotated[float, Field(ge=1, le=1e3)] = 16.0


def split_limbs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Split values in [-1, 1], shape (...), into limbs in [-1, 1], shape (LIMBS, ...)."""
    limbs = np.empty((LIMBS, *values.shape))
    rest = values
    for index in range(LIMBS - 1):
        limbs[index] = np.round(rest * _UNIT) / _UNIT
        rest = (rest - limbs[index]) * _UNIT
    limbs[-1] = rest
    return limbs


def join_limbs(limbs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo :func:`split_limbs`, also after limbs were summed over parties."""
    weights = _UNIT ** -np.arange(LIMBS, dtype=np.float64)
    return np.asarray(np.tensordot(weights, limbs, axes=1), dtype=np.float64)


def moments_shape(parameters: TableParameters) -> tuple[int, int]:
    """Shape of the summed array: limbs of sums, of sums of squares, and of the row count."""
    return LIMBS, 2 * parameters.features + 1


def contribute_moments(data: Data, parameters: TableParameters) -> NDArray[np.float64]:
    """Return one party's sums as limbs, shape ``moments_shape(parameters)``.

    Raises:
        InputError: a raw feature is larger than ``feature_bound``; names the column.
    """
    largest = np.abs(data.features).max(axis=0)
    if largest.max() > parameters.feature_bound:
        raise InputError(
            f"features column {int(largest.argmax())} exceeds feature_bound = "
            f"{parameters.feature_bound:g}; change its unit or agree on a larger feature_bound"
        )
    scaled = data.features / parameters.feature_bound
    sums = np.concatenate([scaled.sum(axis=0), (scaled**2).sum(axis=0), [float(len(data))]])
    return split_limbs(sums / parameters.max_rows)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Global means and standard deviations, each of shape (features,), in raw units."""

    mean: FloatArray
    scale: FloatArray

    def apply(self, features: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
        """Return ``clip((features - mean) / scale)``, shape (rows, features).

        Raises:
            WireError: a scale of the coordinator's is not positive.
        """
        if not float(self.scale.min()) > 0:
            raise WireError("coordinator", "model", "a feature scale is not positive")
        with np.errstate(over="ignore"):
            return np.clip((features - self.mean) / self.scale, -clip, clip)


def finish_moments(total: NDArray[np.float64], parameters: TableParameters) -> tuple[Scaling, int]:
    """Return the global scaling and the number of rows from the summed limbs.

    A constant feature gets scale 1, so that it becomes 0 everywhere.

    Raises:
        NoResultError: no row was counted.
    """
    sums = join_limbs(total) * parameters.max_rows
    rows = round(float(sums[-1]))
    if rows < 1:
        raise NoResultError("no party counted a row; check the data of the parties")
    count = parameters.features
    mean = sums[:count] / rows
    square = sums[count : 2 * count] / rows
    # Subtracting the squared mean cancels; what rounding leaves of a constant is no variance.
    variance = square - mean**2
    spread = variance > _NEGLIGIBLE * np.maximum(square, np.finfo(np.float64).tiny)
    scale = np.sqrt(np.where(spread, variance, 1.0))
    unit = parameters.feature_bound
    return Scaling(mean * unit, np.where(spread, scale * unit, 1.0)), rows
