"""Reproducible stand-ins for a source of randomness."""

from __future__ import annotations

import hashlib
from typing import NoReturn

from protocols.prg import RandomBytes


def seeded(label: object) -> RandomBytes:
    """Bytes that depend on the label and on how many calls came before."""
    calls = 0

    def random(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"{label}/{calls}".encode()).digest(count)

    return random


def forbidden(count: int) -> NoReturn:
    raise AssertionError(f"{count} random bytes were drawn")


class Counting:
    """Passes bytes on and remembers how many were asked for at each call."""

    def __init__(self, source: RandomBytes) -> None:
        self.source, self.asked = source, list[int]()

    def __call__(self, count: int) -> bytes:
        self.asked.append(count)
        return self.source(count)
