"""Work on ranges of a vector by several threads.

Threads do, without processes: the cipher and numpy release the interpreter lock while they work on
a chunk, and AES-CTR starts at any word, so each thread expands the masks of its own range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from types import TracebackType
from typing import Final, Self

from protocols.errors import MisuseError
from protocols.prg import CHUNK_BYTES, Ranges, Words, add_masks

MIN_RANGE: Final = CHUNK_BYTES // 4
"""Words below which another range costs more than it saves."""

RANGES_PER_WORKER: Final = 4
"""More ranges than threads, so that a thread whose core is taken away does not hold up the rest."""


class ThreadedRanges:
    """A :data:`protocols.prg.Ranges` on a pool of threads; a context manager that ends them.

    Attributes:
        workers: threads, >= 1.
    """

    __slots__ = ("_pool", "workers")

    def __init__(self, workers: int) -> None:
        """Start no thread yet.

        Raises:
            MisuseError: ``workers`` is less than 1.
        """
        if workers < 1:
            raise MisuseError(f"{workers} workers do no work")
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="securefed-ranges")

    def __call__(self, work: Callable[[int, int], None], count: int) -> None:
        """Run ``work(start, stop)`` over consecutive ranges of ``range(count)``.

        Returns when all have ended, also if one of them raised; the first such error is raised.
        """
        most = max(1, count // MIN_RANGE)
        ranges = 1 if self.workers == 1 else min(self.workers * RANGES_PER_WORKER, most)
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


def add_masks_parallel(target: Words, masks: Sequence[tuple[bytes, bool]], workers: int) -> None:
    """Do :func:`protocols.prg.add_masks` on the whole of ``target`` in ``workers`` threads.

    Args:
        target: the whole vector; contiguous, writable.
        masks: (seed, True to add or False to subtract).
        workers: threads, >= 1; about one per core that is free.

    Raises:
        MisuseError: as ``add_masks``, or ``workers`` is less than 1.
    """
    with ThreadedRanges(workers) as ranges:
        add_masks_over(ranges, target, masks)
