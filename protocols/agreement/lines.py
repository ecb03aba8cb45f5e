"""Where in the text of an agreement a key stands, so that an error can name the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")
_LAST: Final = re.compile(r"(\.?[^.\[\]]+|\[\d+\])$")
_KEY: Final = re.compile(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=")


def line_of(text: str, key: str) -> int | None:
    """Return the number of the line, from 1, that holds a key or the table that lacks it.

    Only plain headers and keys are found, as ``securefed init`` writes them; of inline tables and
    dotted keys the line of what surrounds them.

    Args:
        text: the TOML text.
        key: path such as ``tasks[0].rounds``.
    """
    table = ""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            brackets, name = header.groups()
            table = _place(name, counts, another=brackets == "[[")
            found.setdefault(table, number)
        elif entry := _KEY.match(line):
            found.setdefault(f"{table}.{entry[1]}".lstrip("."), number)
    for path in _outwards(key):
        if path in found:
            return found[path]
    return None


def _outwards(key: str) -> Iterator[str]:
    """Yield a path, then the paths of the tables around it. Quoted keys end the search."""
    while key:
        yield key
        outer = _LAST.sub("", key)
        if outer == key:
            return
        key = outer


def _place(name: str, counts: dict[str, int], *, another: bool) -> str:
    """Return the path of a table; arrays of tables on the way get the number of their last one."""
    path = ""
    parts = name.split(".")
    for depth, part in enumerate(parts):
        path = f"{path}.{part}".lstrip(".")
        if another and depth == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path += f"[{counts[path]}]"
    return path
