"""Powers of a base by processes, where threads are held up by the interpreter lock.

A power is some two hundred multiplications, after each of which a thread waits for the lock: at
2048 bits a second thread gains half, a second process five sixths. Each process builds tables of
its own. What passes between them stays in memory: exponents, which are secret, and powers.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from functools import cached_property
from itertools import chain
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Final

from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.integers import mpz
from protocols.paillier.keys import PublicKey
from protocols.prg import Ranges

TASK: Final = 32
"""Powers that a process takes at a time."""

_tables: list[FixedBase] = []
"""In a process of the pool: the tables that it has built at its start, one."""


class ProcessPowers:
    """``FixedBase.powers`` of one key on a pool of processes. Any thread may call it.

    The processes import the main module of the program again, as the ``spawn`` method of
    :mod:`multiprocessing` does; they end with the program, however that ends.
    """

    def __init__(self, key: PublicKey, *, expected: int, workers: int, ranges: Ranges) -> None:
        """Start no process yet.

        Args:
            key: whose base.
            expected: powers that will be asked for in all.
            workers: processes, >= 1.
            ranges: divides the work if the processes are lost.
        """
        self._key, self._expected, self._ranges = key, expected, ranges
        facts = (key.n, key.seed, expected)
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, facts)

    def __call__(self, exponents: bytes) -> list[mpz]:
        """Raise the base to exponents, as ``FixedBase.powers`` does, and raising what it raises."""
        step = TASK * self._key.bits // 16
        tasks = [exponents[low : low + step] for low in range(0, len(exponents), step)]
        try:
            return list(chain.from_iterable(map(self._read, self._pool.map(_powers, tasks))))
        except BrokenExecutor:
            return self._own.powers(exponents, ranges=self._ranges)

    def close(self) -> None:
        """End the processes; idempotent."""
        self._pool.shutdown(cancel_futures=True)

    @cached_property
    def _own(self) -> FixedBase:
        return FixedBase.build(self._key, expected=self._expected, ranges=self._ranges)

    def _read(self, powers: bytes) -> list[mpz]:
        size = self._key.ciphertext_bytes
        return [
            mpz.from_bytes(powers[low : low + size], "big") for low in range(0, len(powers), size)
        ]


def _start(n: int, seed: bytes, expected: int) -> None:
    # The terminal sends its interrupt to all; the program decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_program, daemon=True).start()
    # The program has checked the key.
    key = PublicKey(n, seed, allow_small=True)
    _tables.append(FixedBase.build(key, expected=expected))


def _end_with_program() -> None:
    program = parent_process()
    if program is not None:
        program.join()
        os._exit(1)


def _powers(exponents: bytes) -> bytes:
    [base] = _tables
    size = base.key.ciphertext_bytes
    return b"".join([power.to_bytes(size, "big") for power in base.powers(exponents)])
