"""Threads for the arithmetic of Paillier's scheme in one node. Needs the extra ``paillier``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from parties.parallel import ThreadedRanges, available_cores
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.integers import mpz
from protocols.paillier.multi_exponentiation import ONE_THREAD, Spread
from protocols.paillier.obfuscators import Powers
from protocols.prg import Ranges

MIN_RANGE: Final = 32
"""Ciphertexts below which handing a range to another thread costs more than it saves: about 0.2 ms
of encrypting or multiplying."""

PowersMaker: TypeAlias = Callable[[FixedBase], Powers]


@dataclass(frozen=True, slots=True)
class PaillierWorkers:
    """Where a node does its arithmetic on big integers. Any thread may use it.

    Attributes:
        count: workers, >= 1.
        ranges: for what takes ``Ranges``: tables, encryption, products.
        spread: for what takes a ``Spread``: partial decryptions, roots, lifts.
        powers: makes the ``Powers`` of one table.
        close: ends the threads; idempotent. Work after it raises RuntimeError.
    """

    count: int
    ranges: Ranges
    spread: Spread
    powers: PowersMaker
    close: Callable[[], None]


def paillier_workers(workers: int | None = None) -> PaillierWorkers:
    """Start no thread yet; one worker means the calling thread.

    Args:
        workers: threads; None: one for each core that this process may use.

    Raises:
        MisuseError: ``workers`` is less than 1.
    """
    ranges = ThreadedRanges(available_cores() if workers is None else workers, min_range=MIN_RANGE)
    spread = ONE_THREAD if ranges.workers == 1 else Spread(ranges.map, ranges.workers)

    def powers(base: FixedBase) -> Powers:
        def raised(exponents: bytes) -> list[mpz]:
            return base.powers(exponents, ranges=ranges)

        return raised

    return PaillierWorkers(ranges.workers, ranges, spread, powers, ranges.close)
