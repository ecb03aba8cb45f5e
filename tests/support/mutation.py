"""Change one field of a message at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

Path = tuple[str | int, ...]


def mutants(message: msgspec.Struct) -> Iterator[tuple[Path, Any]]:
    """Every message that differs in one field, however deep, and its path.

    Integers go up by one and, above zero, down; byte strings change in their first and last byte
    and, where the type may allow it, in length; names and steps become others that are well formed;
    lists lose, repeat and swap their elements.
    """
    for path, value in _leaves(message, ()):
        for other in _others(value):
            yield path, _replaced(message, path, other)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _leaves(getattr(value, name), (*path, name))
    else:
        yield path, value
    if isinstance(value, tuple):
        for index, element in enumerate(value):
            yield from _leaves(element, (*path, index))


def _others(value: Any) -> Iterator[Any]:
    match value:
        case int():
            yield value + 1
            if value > 0:
                yield value - 1
        case bytes():
            if value:
                yield bytes([value[0] ^ 1]) + value[1:]
                yield value[:-1] + bytes([value[-1] ^ 128])
                yield value[:-1]
            yield value + b"\0"
        case str():
            yield value[:-1] if len(value) > 1 else value + value
            yield "party-2" if value == "party-1" else "party-1"
        case tuple():
            if value:
                yield value[:-1]
                yield (*value, value[-1])
            if len(value) > 1:
                yield (value[1], value[0], *value[2:])


def _replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    step, *rest = path
    if isinstance(step, int):
        inner = _replaced(value[step], tuple(rest), new)
        return (*value[:step], inner, *value[step + 1 :])
    inner = _replaced(getattr(value, step), tuple(rest), new)
    return msgspec.structs.replace(value, **{step: inner})
