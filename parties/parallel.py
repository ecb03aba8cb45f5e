"""Work on ranges of a vector by several threads.

Threads do, without processes: the cipher and numpy release the interpreter lock while they work on
a chunk, and AES-CTR starts at any word, so each thread expands the masks of its own range.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import chain, islice, pairwise
from threading import Lock
from types import TracebackType
from typing import Final, Self, TypeVar

import numpy as np

from protocols.errors import MisuseError
from protocols.prg import CHUNK_BYTES, MASKS_AT_ONCE, Ranges, Words, add_masks

MIN_RANGE: Final = CHUNK_BYTES // 8
"""Words below which another range costs more than it saves: each opens every keystream anew."""

RANGES_PER_WORKER: Final = 2
"""More ranges than threads, so that a thread whose core is taken away does not hold up the rest."""

MASKS_PER_TURN: Final = MASKS_AT_ONCE
"""Masks that a thread takes at a time. Seeds are derived under the interpreter lock, for which the
other threads wait: better seldom and long than for every mask."""

MAX_COPIED_BYTES: Final = 64 << 20
"""Longest vector of which each thread may have its own."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadedRanges:
    """A :data:`protocols.prg.Ranges` on a pool of threads; a context manager that ends them.

    Attributes:
        workers: threads, >= 1.
        min_range: length below which work is not divided any further.
    """

    __slots__ = ("_pool", "min_range", "workers")

    def __init__(self, workers: int, *, min_range: int = MIN_RANGE) -> None:
        """Start no thread yet.

        Args:
            workers: threads, >= 1.
            min_range: length of the shortest range that is worth a thread, >= 1.

        Raises:
            MisuseError: ``workers`` or ``min_range`` is less than 1.
        """
        if workers < 1 or min_range < 1:
            raise MisuseError(f"{workers} workers on ranges from {min_range} do no work")
        self.workers, self.min_range = workers, min_range
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="securefed-ranges")

    def __call__(self, work: Callable[[int, int], None], count: int) -> None:
        """Run ``work(start, stop)`` over consecutive ranges of ``range(count)``.

        Returns when all have ended, also if one of them raised; the first such error is raised.
        """
        most = max(1, count // self.min_range)
        ranges = 1 if self.workers == 1 else min(self.workers * RANGES_PER_WORKER, most)
        if ranges > self.workers:
            ranges -= ranges % self.workers
        edges = [count * index // ranges for index in range(ranges + 1)]
        if ranges == 1:
            if count:
                work(0, count)
            return
        futures = [self._pool.submit(work, start, stop) for start, stop in pairwise(edges)]
        # Nobody may still be writing to the vector when the caller sees an error.
        wait(futures)
        for future in futures:
            future.result()

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """Do what ``map`` does, in the threads and not lazily: an error comes when it is read."""
        return self._pool.map(function, items)

    def add_by_turns(self, target: Words, masks: Iterator[tuple[bytes, bool]]) -> None:
        """Add masks in whichever thread is free, each thread into a vector of its own.

        Returns when all threads have ended, also if one of them raised; the first such error is
        raised.
        """
        lock = Lock()

        def work(total: Words) -> None:
            while True:
                with lock:
                    turn = list(islice(masks, MASKS_PER_TURN))
                if not turn:
                    return
                add_masks(total, turn)

        others = [np.zeros_like(target) for _ in range(self.workers - 1)]
        futures = [self._pool.submit(work, total) for total in (target, *others)]
        wait(futures)
        for future in futures:
            future.result()
        for total in others:
            np.add(target, total, out=target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; idempotent."""
        self._pool.shutdown()


def add_masks_over(ranges: Ranges, target: Words, masks: Sequence[tuple[bytes, bool]]) -> None:
    """Do :func:`protocols.prg.add_masks` on the whole of ``target``, range by range."""

    def work(start: int, stop: int) -> None:
        add_masks(target[start:stop], masks, start=start)

    ranges(work, target.size)


def add_masks_parallel(target: Words, masks: Iterable[tuple[bytes, bool]], workers: int) -> None:
    """Do :func:`protocols.prg.add_masks` on the whole of ``target`` in ``workers`` threads.

    Many masks of a vector of moderate length are divided among the threads, each of which adds its
    own into a vector of its own; seeds that ``masks`` derives on demand are derived meanwhile. Few
    masks, or those of a long vector, are divided by ranges of the vector.

    Args:
        target: the whole vector; contiguous, writable.
        masks: (seed, True to add or False to subtract); taken by one thread at a time.
        workers: threads, >= 1; about one per core that is free.

    Raises:
        MisuseError: as ``add_masks``, or ``workers`` is less than 1. Some masks may be added then.
    """
    with ThreadedRanges(workers) as ranges:
        remaining = iter(masks)
        enough = workers * MASKS_PER_TURN
        while batch := list(islice(remaining, enough)):
            if workers > 1 and len(batch) == enough and target.nbytes <= MAX_COPIED_BYTES:
                ranges.add_by_turns(target, chain(batch, remaining))
            else:
                add_masks_over(ranges, target, batch)
