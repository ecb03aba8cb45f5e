"""Feature tables under differential privacy: scaled by what is public, or by noised moments.

Means and deviations are facts about people. The agreement therefore says from public knowledge
where each column lies and how wide it is (years of age: 45 and 15, say); where that is not
good enough, a first round estimates the moments of some columns through the same noised sum as
everything else, and is charged like any other round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from protocols.errors import WireError
from securefed.learning.full_norm import full_norm, undo_full_norm
from securefed.learning.state import State
from securefed.learning.task import scalar

_MOMENTS, _TRAINING = 0.0, 1.0
_LEAST_VARIANCE: Final = 1e-4
_CHUNK_VALUES: Final = 2**21
"""Values in a chunk of people's vectors: 16 MiB in float64."""


def _one_or_all(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


Columns = Annotated[
    tuple[Annotated[float, Field(strict=True, ge=-1e12, le=1e12)], ...],
    BeforeValidator(_one_or_all),
    Field(strict=False, min_length=1, max_length=2**20),
]
"""One value for all columns, or one for each."""


class PublicTableParameters(BaseModel):
    """Agreement parameters that every private task on a table of features shares.

    Attributes:
        features: number of feature columns.
        feature_center: where a column lies, by public knowledge; one value for all columns, or one
            for each. 0 for columns of zeros and ones.
        feature_unit: its typical deviation from there; 1 for columns of zeros and ones.
        feature_clip: ``(value - center) / unit`` is clipped to this absolute value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    features: Annotated[int, Field(ge=1, le=2**20)]
    feature_center: Columns = (0.0,)
    feature_unit: Columns = (1.0,)
    feature_clip: Annotated[float, Field(gt=0, le=1e3)] = 3.0

    @field_validator("feature_center", "feature_unit")
    @classmethod
    def _one_or_one_each(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        features = info.data.get("features", len(value))
        if len(value) not in (1, features):
            raise ValueError(f"has {len(value)} values; give one, or one for each of {features}")
        if info.field_name == "feature_unit" and min(value) < 1e-12:
            raise ValueError("a unit is above 0")
        return value


class StandardizedTableParameters(PublicTableParameters):
    """Agreement parameters of tasks that may learn a scaling themselves.

    Attributes:
        standardized: numbers of the columns, from 0, whose mean and deviation a first noised round
            estimates; none unless given.
    """

    standardized: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=0)], ...],
        Field(strict=False, max_length=2**20),
    ] = ()

    @field_validator("standardized")
    @classmethod
    def _columns(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if len(set(value)) != len(value) or max(value, default=0) >= info.data.get("features", 0):
            raise ValueError("names a column twice, or one that does not exist")
        return value


def moments_shapes(parameters: StandardizedTableParameters) -> dict[str, tuple[int, ...]]:
    """Return what the round of moments adds to a layout: nothing without such columns."""
    count = len(parameters.standardized)
    return {"moments": (2 * count + 1,)} if count else {}


def initial_scaling(parameters: StandardizedTableParameters) -> State:
    """Return the arrays that a task's first state needs for its table."""
    return {
        "phase": np.array(_MOMENTS if parameters.standardized else _TRAINING),
        "mean": np.zeros(parameters.features),
        "scale": np.ones(parameters.features),
    }


def awaits_moments(parameters: StandardizedTableParameters, state: State) -> bool:
    """Tell whether this round is the one of moments."""
    return bool(parameters.standardized) and scalar(state, "phase") == _MOMENTS


def person_moments(
    parameters: StandardizedTableParameters, features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return value and square of the standardised columns, shape (people, 2k + 1), of full norm."""
    columns = list(parameters.standardized)
    values = public_units(parameters, features)[:, columns] / parameters.feature_clip
    both = np.concatenate([values, values**2], axis=1) / math.sqrt(2 * len(columns))
    return full_norm(both)


def finish_person_moments(
    parameters: StandardizedTableParameters,
    total: NDArray[np.float64],
    *,
    expected_people: float,
    clip_norm: float,
    noise_std: float,
) -> State:
    """Return the scaling that follows from the noisy moments.

    A variance is never taken to be below its own noise: no column is blown up by chance.
    """
    columns = list(parameters.standardized)
    unit = math.sqrt(2 * len(columns)) / expected_people
    moments = undo_full_norm(total, clip_norm) * unit
    noise = noise_std / clip_norm * unit
    mean = np.clip(moments[: len(columns)], -1, 1)
    variance = moments[len(columns) :] - mean**2
    deviation = np.sqrt(np.clip(variance, max(noise, _LEAST_VARIANCE), 1))
    scaling = initial_scaling(parameters)
    scaling["mean"][columns] = mean * parameters.feature_clip
    scaling["scale"][columns] = deviation * parameters.feature_clip
    return scaling | {"phase": np.array(_TRAINING)}


def scaled(
    parameters: StandardizedTableParameters, state: State, features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return features as models see them, shape (rows, features), within the clip.

    Raises:
        WireError: a scale of the coordinator's is not positive.
    """
    if not float(state["scale"].min()) > 0:
        raise WireError("coordinator", "model", "a feature scale is not positive")
    values = public_units(parameters, features)
    if not parameters.standardized:
        return values
    clip = parameters.feature_clip
    with np.errstate(over="ignore"):
        return np.clip((values - state["mean"]) / state["scale"], -clip, clip)


def chunks(rows: int, values: int) -> Iterator[slice]:
    """Yield slices of ``rows`` people whose vectors of ``values`` values fit into 16 MiB."""
    size = max(1, _CHUNK_VALUES // values)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def public_units(
    parameters: PublicTableParameters, features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return features in agreed units, shape (rows, features), within the clip."""
    center, unit = np.array(parameters.feature_center), np.array(parameters.feature_unit)
    clip = parameters.feature_clip
    with np.errstate(over="ignore"):
        units: NDArray[np.float64] = np.clip((features - center) / unit, -clip, clip)
    return units
