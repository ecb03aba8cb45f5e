"""The ``sum`` task: declared arrays of every party, added exactly, in one round."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocols.errors import AgreementError, InputError, MisuseError, NoResultError
from securefed.data.table import Data, require_columns, require_rows
from securefed.learning.exact_sum import ExactSum, Summand
from securefed.learning.layout import Arrays, Layout
from securefed.learning.sources import Source, parse_source
from securefed.learning.state import State, require_like
from securefed.learning.task import Contribution, Numbers, Step

Statistic = Callable[[Data], NDArray[Any]]
"""From one party's rows to the array that is summed."""

_STATISTICS: Final[dict[str, Statistic]] = {}
_NAME: Final = re.compile(r"[a-z][a-z0-9_\-]{0,63}")


def register_statistic(name: str, function: Statistic) -> None:
    """Make an array of your own known as the source ``function:name``; every party does the same.

    Args:
        name: a-z, 0-9, hyphens and underscores.
        function: from one party's rows to an array of the declared shape; must not draw.

    Raises:
        MisuseError: the name is malformed or taken.
    """
    if not _NAME.fullmatch(name):
        raise MisuseError(f"{name!r} is no name of a statistic; use a-z, 0-9, '-' and '_'")
    if _STATISTICS.setdefault(name, function) is not function:
        raise MisuseError(f"the statistic {name!r} is registered already; choose another name")


Strings = Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=1000)]
Positive = Annotated[
    tuple[Annotated[float, Field(strict=True, gt=0, le=1e300)], ...], Field(strict=False)
]


class SumParameters(BaseModel):
    """Agreement parameters of ``sum``.

    Attributes:
        features: number of feature columns of every party.
        names: of the arrays.
        sources: where each comes from; see ``docs/estimators.md``.
        bounds: largest absolute value of an entry of one party's array.
        resolutions: what each party rounds its array to.
        shapes: of arrays from functions, such as ``"3"``, ``"2x4"`` or ``""`` for one number; those
            of other arrays follow.
        max_rows: most rows of a party.
        min_support: counts of cells below this are returned as 0; fewer rows in all give no result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    features: Annotated[int, Field(ge=1, le=2**20)]
    names: Strings
    sources: Strings
    bounds: Positive
    resolutions: Positive
    shapes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    max_rows: Annotated[int, Field(ge=1, le=10**9)] = 2**20
    min_support: Annotated[int, Field(ge=1, le=10**9)] = 1

    @model_validator(mode="after")
    def _one_each(self) -> SumParameters:
        count = len(self.names)
        lengths = {len(self.sources), len(self.bounds), len(self.resolutions)}
        if lengths != {count} or len(self.shapes) not in (0, count):
            raise ValueError("give sources, bounds and resolutions one entry for every name")
        if len(set(self.names)) != count or not all(map(_NAME.fullmatch, self.names)):
            raise ValueError("names are unique, of a-z, 0-9, '-' and '_'")
        return self


@dataclass(frozen=True, slots=True)
class SumTask:
    """The ``sum`` task."""

    parameters: SumParameters
    sources: Mapping[str, Source]
    sums: ExactSum
    kind: ClassVar[str] = "sum"

    def initial_state(self) -> State:
        """All sums are zero."""
        return {name: np.asarray(zero) for name, zero in self.sums.zeros().items()}

    def layout(self) -> Layout:
        """The arrays, in words."""
        return self.sums.layout()

    def numbers(self) -> Numbers:
        """Return the ring that holds the words."""
        return self.sums.numbers()

    def check(self, data: Data) -> None:
        """Refuse data that the agreement does not describe; raises InputError."""
        self._encoded(data)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Compute every array of one party."""
        del round_in_task, rng  # one round, and an exact sum draws nothing
        require_like(state, self.initial_state())
        return self._encoded(data)

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Return the sums; small cells are dropped here and leave the coordinator nowhere."""
        del round_in_task
        sums, least = self.sums.decode(total), self.parameters.min_support
        rows = float(sums["rows"])
        if rows < least:
            raise NoResultError(f"all parties together have fewer than min_support = {least} rows")
        for name, source in self.sources.items():
            if source.counts_cells:
                sums[name] = np.where(sums[name] >= least, sums[name], 0.0)
        return Step({**state, **sums}, True, {"rows": rows})

    def _encoded(self, data: Data) -> Arrays:
        require_columns(data.features, self.parameters.features)
        require_rows(data, self.parameters.max_rows)
        values = {name: _compute(source, data) for name, source in self.sources.items()}
        return self.sums.encode({**values, "rows": np.array(float(len(data)))})


def _compute(source: Source, data: Data) -> NDArray[Any]:
    if source.function is None:
        return source.compute(data)
    try:
        return np.asarray(_STATISTICS[source.function](data))
    except KeyError:
        raise InputError(
            f"no statistic {source.function!r} here; call register_statistic before the node starts"
        ) from None


def build_sum_task(parameters: SumParameters) -> SumTask:
    """Build the task.

    Raises:
        AgreementError: a source or shape cannot be read, or a bound needs too many words.
    """
    sources: dict[str, Source] = {}
    summands: dict[str, Summand] = {"rows": Summand((), float(parameters.max_rows))}
    shapes = parameters.shapes or ("",) * len(parameters.names)
    columns = zip(
        parameters.names,
        parameters.sources,
        parameters.bounds,
        parameters.resolutions,
        shapes,
        strict=True,
    )
    for name, text, bound, resolution, shape in columns:
        if name == "rows":
            raise AgreementError("names", "rows is always summed", "choose another name")
        source = parse_source(text, _shape(shape), parameters.features)
        sources[name] = source
        try:
            summands[name] = Summand(source.shape, bound, resolution)
        except MisuseError as error:
            raise AgreementError("resolutions", str(error), "correct the value") from error
    return SumTask(parameters, sources, ExactSum.of(summands))


def _shape(text: str) -> tuple[int, ...]:
    sides = text.split("x") if text else []
    if not all(side.isascii() and side.isdigit() and 0 < len(side) < 8 for side in sides):
        raise AgreementError("shapes", f"{text!r} is no shape", 'write "3", "2x4" or ""')
    shape = tuple(map(int, sides))
    if len(shape) > 4 or math.prod(shape) > 2**26:
        raise AgreementError("shapes", f"{text!r} is too large", "sum fewer values")
    return shape
