"""Types of single agreement fields: one normal form each, so that one meaning has one digest."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from protocols.identity import MAX_NAME_LENGTH, NAME_PATTERN

PLACEHOLDER: Final = "PASTE"
"""How a value starts that ``securefed init`` could not know; never valid."""
HEX_32_PATTERN: Final = "^[0-9a-f]{64}$"
KIND_PATTERN: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
PARAMETER_PATTERN: Final = r"^[a-z][a-z0-9_]{0,63}$"
MAX_TEXT: Final = 4096
"""Longest string parameter, in characters."""
MAX_ITEMS: Final = 4096
"""Longest list parameter."""
MAX_PARAMETERS: Final = 64

_HOST_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_MAX_HOST: Final = 253


def _not_a_placeholder(value: object) -> object:
    if isinstance(value, str) and value.startswith(PLACEHOLDER):
        raise PydanticCustomError("placeholder", "is still the placeholder of `securefed init`")
    return value


def _plain_hex(value: object) -> object:
    # openssl prints fingerprints as AA:BB:..; both spellings mean the same bytes.
    if isinstance(value, str) and not value.startswith(PLACEHOLDER):
        return value.replace(":", "").lower()
    return _not_a_placeholder(value)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _positive_zero(value: object) -> object:
    # One number, one byte string: -0.0 + 0.0 is 0.0.
    return value + 0.0 if isinstance(value, float) else value


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 0xFFFF):
        raise PydanticCustomError("address", "is not host:port with a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            raise PydanticCustomError("address", "is not an IPv6 address in brackets") from None
    elif len(host) > _MAX_HOST or not all(map(_HOST_LABEL.fullmatch, host.split("."))):
        raise PydanticCustomError("address", "does not start with a host name or an IP address")
    return f"{host.lower()}:{int(port)}"


def _neighbours(value: object) -> object:
    if value == "complete" or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("neighbours", 'is neither "complete" nor a whole number')


def _scalar(value: object) -> object:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return _positive_zero(value)
    raise PydanticCustomError(
        "parameter", "is not a string, a boolean, a 64-bit whole number or a finite number"
    )


def _parameter(value: object) -> object:
    if not isinstance(value, list | tuple):
        return _scalar(value)
    if len(value) > MAX_ITEMS:
        raise PydanticCustomError("parameter", f"is a list of more than {MAX_ITEMS} items")
    return tuple(_scalar(item) for item in value)


def _freeze(value: Mapping[str, Parameter]) -> Mapping[str, Parameter]:
    # A frozen model that holds a plain dict could be changed after it was signed.
    return MappingProxyType(dict(value))


def _thaw(value: Mapping[str, Parameter]) -> dict[str, object]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}


# Constraints come first: pydantic then puts them on the string itself, inside the other checks.
PartyName = Annotated[
    str,
    Field(pattern=NAME_PATTERN, max_length=MAX_NAME_LENGTH),
    BeforeValidator(_not_a_placeholder),
]
Kind = Annotated[str, Field(pattern=KIND_PATTERN, max_length=MAX_NAME_LENGTH)]
Hex32 = Annotated[str, Field(pattern=HEX_32_PATTERN), BeforeValidator(_plain_hex)]
Address = Annotated[
    str, Field(max_length=300), BeforeValidator(_not_a_placeholder), AfterValidator(_address)
]
Neighbours = Annotated[
    Annotated[int, Field(ge=1, lt=1000)] | Literal["complete"], BeforeValidator(_neighbours)
]
PositiveZero = BeforeValidator(_positive_zero)
"""Gives both zeros of float64 one byte string."""
AsTuple = BeforeValidator(_as_tuple)
"""TOML knows arrays only; a frozen model holds tuples."""

Scalar = Annotated[str, Field(max_length=MAX_TEXT)] | bool | int | float
Parameter = Scalar | tuple[Scalar, ...]
_SCALAR_SCHEMA: Final = {"type": ["string", "boolean", "integer", "number"]}
Parameters = Annotated[
    Mapping[
        Annotated[str, Field(pattern=PARAMETER_PATTERN)],
        Annotated[
            Parameter,
            BeforeValidator(_parameter),
            WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA}]}),
        ],
    ],
    Field(max_length=MAX_PARAMETERS),
    AfterValidator(_freeze),
    PlainSerializer(_thaw),
]
