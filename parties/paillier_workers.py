"""Where a node does the arithmetic of Paillier's scheme. Needs the extra ``paillier``.

GMP leaves the interpreter lock in its long operations, so that threads do for almost everything.
Powers from tables are many short operations; for them there may be processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from parties.parallel import ThreadedRanges, available_cores
from parties.powers_processes import ProcessPowers
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.keys import PublicKey
from protocols.paillier.multi_exponentiation import ONE_THREAD, Spread
from protocols.paillier.obfuscators import Powers
from protocols.prg import Ranges

MIN_RANGE: Final = 32
"""Ciphertexts below which handing a range to another thread costs more than it saves: about 0.2 ms
of encrypting or multiplying."""

MIN_EXPECTED: Final = 4096
"""Powers below which processes that start and build tables cost more than they save."""

PowersMaker: TypeAlias = Callable[[PublicKey, int], Powers]
"""Builds the tables of a key for an expected number of powers, and returns what answers."""


@dataclass(frozen=True, slots=True)
class PaillierWorkers:
    """What a node passes to the arithmetic on big integers. Any thread may use it.

    Attributes:
        count: workers, >= 1.
        ranges: for what takes ``Ranges``: tables, encryption, products.
        spread: for what takes a ``Spread``: partial decryptions, roots, lifts.
        powers: for ``make_obfuscators``.
        close: ends threads and processes; idempotent. Nothing works after it.
    """

    count: int
    ranges: Ranges
    spread: Spread
    powers: PowersMaker
    close: Callable[[], None]


def paillier_workers(workers: int | None = None, *, processes: bool = False) -> PaillierWorkers:
    """Start nothing yet; one worker means the calling thread.

    Args:
        workers: threads; None: one for each core that this process may use.
        processes: make obfuscators in as many processes when there are enough to make. They import
            the main module of the program once more, so this is for programs that may be imported
            without running, as the commands of ``securefed`` are.

    Raises:
        MisuseError: ``workers`` is less than 1.
    """
    ranges = ThreadedRanges(available_cores() if workers is None else workers, min_range=MIN_RANGE)
    spread = ONE_THREAD if ranges.workers == 1 else Spread(ranges.map, ranges.workers)
    started: list[ProcessPowers] = []

    def powers(key: PublicKey, expected: int) -> Powers:
        if processes and ranges.workers > 1 and expected >= MIN_EXPECTED:
            made = ProcessPowers(key, expected=expected, workers=ranges.workers, ranges=ranges)
            started.append(made)
            return made
        base = FixedBase.build(key, expected=expected, ranges=ranges)
        return partial(base.powers, ranges=ranges)

    def close() -> None:
        for made in started:
            made.close()
        ranges.close()

    return PaillierWorkers(ranges.workers, ranges, spread, powers, close)
