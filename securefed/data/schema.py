"""Named columns with types and ranges: what the companies agree about their tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from protocols.errors import AgreementError, InputError
from securefed.data.table import ADDED, Data, checked_columns

MAX_COLUMNS: Final = 4096
"""As many as a list in an agreement may have."""
ColumnType = Literal["number", "integer", "boolean"]
_TYPES: Final[tuple[str, ...]] = get_args(ColumnType)
_NAMES, _KINDS, _RANGES = "columns", "column_types", "column_ranges"
KEYS: Final = (_NAMES, _KINDS, _RANGES)
"""Task parameters that hold a schema; every kind of task that reads a table takes them."""
_EXPECTED: Final = {"integer": "whole numbers", "boolean": "zeros and ones"}


@dataclass(frozen=True, slots=True)
class Column:
    """One agreed column.

    Attributes:
        name: as in the header of the companies' files.
        type: ``number``, ``integer`` (whole numbers, also codes of categories) or ``boolean``.
        low, high: the smallest and the largest value there may be; open unless given.
    """

    name: str
    type: ColumnType = "number"
    low: float = -math.inf
    high: float = math.inf

    @property
    def range(self) -> str:
        """The range as the agreement has it: ``0..120``, ``0..``, or nothing where it is open."""
        low = "" if math.isinf(self.low) else f"{self.low:.17g}"
        high = "" if math.isinf(self.high) else f"{self.high:.17g}"
        return f"{low}..{high}" if low or high else ""

    def check(self, values: NDArray[np.float64]) -> None:
        """Raise InputError where a value, NaN left out, has another type or lies out of range."""
        present = values[~np.isnan(values)]
        whole = self.type == "number" or bool((present == np.floor(present)).all())
        if not whole or (self.type == "boolean" and ((present != 0) & (present != 1)).any()):
            raise InputError(
                f"features column {self.name!r} is agreed to hold {_EXPECTED[self.type]} and holds "
                "other values; recode it or agree on another type"
            )
        if ((present < self.low) | (present > self.high)).any():
            raise InputError(
                f"features column {self.name!r} holds values outside the agreed range "
                f"{self.range}; check its unit, mend or drop those rows, or agree on another range"
            )


@dataclass(frozen=True, slots=True)
class Schema:
    """The agreed columns of every party, in order.

    Raises:
        AgreementError: no column, a malformed or repeated name, an unknown type, an empty range.
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.columns) <= MAX_COLUMNS:
            raise AgreementError(_NAMES, f"has {len(self.columns)} names", f"1 to {MAX_COLUMNS}")
        try:
            checked_columns(self.names, len(self.columns))
        except InputError as error:
            raise AgreementError(_NAMES, str(error), "correct the names") from error
        for column in self.columns:
            if column.name in ADDED:
                raise AgreementError(_NAMES, f"{column.name} is reserved", "choose another name")
            if column.type not in _TYPES:
                raise AgreementError(
                    _KINDS, f"{str(column.type)[:40]!r} is unknown", f"use {', '.join(_TYPES)}"
                )
            if not column.low <= column.high:
                raise AgreementError(
                    _RANGES, f"{column.range} holds no number", "put the smaller number first"
                )

    @classmethod
    def of(cls, names: Sequence[str]) -> Schema:
        """Return a schema of names alone: columns of any numbers."""
        return cls(tuple(Column(name) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    def parameters(self) -> dict[str, Any]:
        """Return the task parameters that hold this schema."""
        found: dict[str, Any] = {_NAMES: list(self.names)}
        if any(column.type != "number" for column in self.columns):
            found[_KINDS] = [column.type for column in self.columns]
        if any(column.range for column in self.columns):
            found[_RANGES] = [column.range for column in self.columns]
        return found

    def check(self, data: Data) -> None:
        """Refuse rows with other columns, types or values than agreed.

        A last column that an estimator's ``party_data`` added is not looked at.

        Raises:
            InputError: names the column and says what to do; never a value.
        """
        if data.columns is None:
            raise InputError(
                "the agreement names its columns and these rows name none; load them with their "
                f"header, or give columns=..., in this order: {_some(self.names)}"
            )
        self._check_names([name for name in data.columns if name not in ADDED])
        for place, column in enumerate(self.columns):
            column.check(data.features[:, place])

    def _check_names(self, found: Sequence[str]) -> None:
        missing = [name for name in self.names if name not in set(found)]
        if missing:
            raise InputError(
                f"the agreed column {missing[0]!r} is missing; add it to the data "
                f"({len(missing)} of {len(self.names)} agreed columns are missing)"
            )
        extra = [name for name in found if name not in set(self.names)]
        if extra:
            raise InputError(f"the column {extra[0]!r} is not agreed; leave it out of the data")
        for place, (ours, theirs) in enumerate(zip(found, self.names, strict=True)):
            if ours != theirs:
                raise InputError(
                    f"features column {place} is {ours!r} and the agreement says {theirs!r}; "
                    f"bring the columns into the agreed order: {_some(self.names)}"
                )


def read_schema(parameters: Mapping[str, Any]) -> Schema | None:
    """Read the schema among a task's parameters; ``None`` where there is none.

    Raises:
        AgreementError: a malformed one; names the key.
    """
    if _NAMES not in parameters:
        for key in (_KINDS, _RANGES):
            if key in parameters:
                raise AgreementError(key, "is given without columns", "name the columns, too")
        return None
    names = _texts(parameters, _NAMES)
    kinds = _texts(parameters, _KINDS) if _KINDS in parameters else ["number"] * len(names)
    ranges = _texts(parameters, _RANGES) if _RANGES in parameters else [""] * len(names)
    for key, found in ((_KINDS, kinds), (_RANGES, ranges)):
        if len(found) != len(names):
            raise AgreementError(
                key, f"has {len(found)} entries for {len(names)} columns", "give one for each"
            )
    columns = zip(names, kinds, map(_range, ranges), strict=True)
    return Schema(
        tuple(Column(name, cast("ColumnType", kind), *ends) for name, kind, ends in columns)
    )


def split_schema(
    parameters: Mapping[str, Any], own: Collection[str]
) -> tuple[Schema | None, dict[str, Any]]:
    """Part a task's parameters into the schema and what the kind itself understands.

    Args:
        parameters: of the agreement.
        own: parameters of the kind; a key that it uses itself is left to it.

    Raises:
        AgreementError: a malformed schema, or one for a kind that reads no table.
    """
    keys = [key for key in KEYS if key in parameters and key not in own]
    rest = {key: value for key, value in parameters.items() if key not in keys}
    schema = read_schema({key: parameters[key] for key in keys})
    if schema is None:
        return None, rest
    if "features" not in own:
        raise AgreementError(_NAMES, "this kind of task reads no named columns", "leave it out")
    features = parameters.get("features")
    if type(features) is int and features != len(schema.columns):
        raise AgreementError(
            _NAMES, f"has {len(schema.columns)} names", f"name all {features} features, in order"
        )
    return schema, rest


def _texts(parameters: Mapping[str, Any], key: str) -> list[str]:
    found = parameters[key]
    if (
        not isinstance(found, list | tuple)
        or len(found) > MAX_COLUMNS
        or not all(isinstance(one, str) for one in found)
    ):
        raise AgreementError(key, "is no list of texts", f"list at most {MAX_COLUMNS} texts")
    return list(found)


def _range(text: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    try:
        ends = (float(low or "-inf"), float(high or "inf"))
    except ValueError:
        ends = (math.nan, math.nan)
    if (text and not dots) or any(map(math.isnan, ends)):
        raise AgreementError(
            _RANGES, f"{text[:40]!r} is no range", 'write "0..120", "0..", "..120" or ""'
        )
    return ends


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
