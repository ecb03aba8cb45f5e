"""What one scheme does for a vector, as operations on a sample of its ciphertexts."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time

VALUES = 1_000_000
RING_BITS = 16
LANE_BITS = 24
"""Room for 100 summands of 16 bits, on whole bytes as in the published comparisons."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Some work on ``units`` ciphertexts; ``ready`` makes anew, untimed, what it uses up."""

    work: Callable[[], object]
    units: int
    ready: Callable[[], object] | None = None


@dataclass(slots=True)
class Scheme:
    """One way to encrypt a vector of a million values.

    Attributes:
        name: as it is printed.
        ciphertexts: for the whole vector.
        ciphertext_bytes: of one.
        setup: seconds for key and tables.
        operations: by name.
        seconds: measured CPU seconds of the whole vector, by name of the operation.
    """

    name: str
    ciphertexts: int
    ciphertext_bytes: int
    setup: float
    operations: dict[str, Operation]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def take_turn(self) -> None:
        """Run every operation once, and note what it costs for the whole vector."""
        for name, operation in self.operations.items():
            if operation.ready:
                operation.ready()
            begun = process_time()
            operation.work()
            each = (process_time() - begun) / operation.units
            self.seconds.setdefault(name, []).append(each * self.ciphertexts)


def plaintexts(bits: int, count: int) -> list[int]:
    """Return packed plaintexts with every lane at random, with room for a sum."""
    lanes = (bits - 2) // LANE_BITS
    rows = []
    for _ in range(count):
        words = [secrets.randbelow(1 << RING_BITS) for _ in range(lanes)]
        rows.append(sum(word << LANE_BITS * index for index, word in enumerate(words)))
    return rows


def vector_length(bits: int) -> int:
    """Return the ciphertexts of a million packed values."""
    return -(-VALUES // ((bits - 1) // LANE_BITS))


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of all threads for some work."""
    begun = process_time()
    work()
    return process_time() - begun


def wall(work: Callable[[], object]) -> float:
    """Return the seconds that pass during some work."""
    begun = perf_counter()
    work()
    return perf_counter() - begun
