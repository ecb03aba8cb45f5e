"""Obfuscators of one key, made while a party trains. Needs the extra ``paillier``.

A thread builds the tables at start-up and then fills a pool in portions. Whoever takes waits for
the portion that is being made, never for the rest: what is missing is made at once, on all cores.
"""

from __future__ import annotations

import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition
from types import TracebackType
from typing import Final, Self

from parties.paillier_workers import PaillierWorkers
from protocols.errors import MisuseError
from protocols.paillier.keys import PublicKey
from protocols.paillier.obfuscators import Obfuscator, Powers, make_obfuscators
from protocols.paillier.pool import Pool
from protocols.prg import RandomBytes

PORTION: Final = 128
"""Obfuscators that each worker makes at a time: about 40 ms at 2048 bits, for which a caller may
have to wait."""


class ObfuscatorSupply:
    """The obfuscators of one public key for one party. Any thread may use it.

    None is handed out twice. Without a store none outlives the process, so that nothing is left to
    be handed out again after a crash.

    Attributes:
        key: whose obfuscators.
    """

    def __init__(
        self,
        key: PublicKey,
        *,
        expected: int,
        workers: PaillierWorkers,
        random: RandomBytes = secrets.token_bytes,
        pool: Pool | None = None,
    ) -> None:
        """Begin to build the tables, in the background.

        Args:
            key: whose obfuscators.
            expected: obfuscators wanted in all, such as ciphertexts of a vector times rounds; the
                tables are sized for them. More may be taken.
            workers: where the arithmetic runs; the caller's to close, after this.
            random: asked by one thread at a time.
            pool: of the same key, with a store behind it; by default one in memory.

        Raises:
            MisuseError: ``expected`` is less than 1, or the pool is of another key.
        """
        if expected < 1:
            raise MisuseError(f"a supply of {expected} obfuscators is for none")
        self.key, self._workers, self._random = key, workers, random
        self._pool = Pool(key) if pool is None else pool
        if self._pool.key.digest() != key.digest():
            raise MisuseError("the pool holds obfuscators of another key")
        self._changed = Condition()
        self._wanted = self._takers = 0
        self._busy = self._filling = self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="securefed-obfuscators")
        self._tables: Future[Powers] = self._thread.submit(workers.powers, key, expected)
        self._filled: Future[None] | None = None

    def __repr__(self) -> str:
        return f"ObfuscatorSupply({self.ready} ready)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def ready(self) -> int:
        """Obfuscators that can be taken without making any."""
        with self._changed:
            return len(self._pool)

    def request(self, count: int) -> None:
        """See to it that ``count`` obfuscators get ready, in the background; returns at once.

        The same request again changes nothing, and a larger one replaces a smaller one. Whatever is
        taken counts as having been requested.

        Raises:
            MisuseError: ``count`` is negative, or the supply is closed.
            JournalError: the background has stopped because the store of the pool failed.
        """
        if count < 0:
            raise MisuseError(f"cannot request {count} obfuscators")
        with self._changed:
            self._check()
            self._wanted = max(self._wanted, count)
            if not self._filling and len(self._pool) < self._wanted:
                self._filling = True
                self._filled = self._thread.submit(self._fill)

    def wait(self) -> None:
        """Return when what was requested is ready.

        Raises:
            MisuseError: the supply is closed.
            JournalError: as :meth:`request`.
        """
        filled = self._filled
        if filled is not None:
            filled.result()
        with self._changed:
            self._check()

    def take(self, count: int) -> list[Obfuscator]:
        """Take ``count`` obfuscators for good; those that are missing are made at once.

        May wait for the tables, which are built once.

        Raises:
            MisuseError: ``count`` is negative, or the supply is closed.
            JournalError: as :meth:`request`, or now; what had left the pool is lost then.
        """
        if count < 0:
            raise MisuseError(f"cannot take {count} obfuscators")
        with self._changed:
            self._takers += 1
            try:
                self._changed.wait_for(lambda: not self._busy)
                self._check()
                self._wanted = max(0, self._wanted - count)
                taken = self._pool.take(count)
                if len(taken) == count:
                    return taken
                self._busy = True
            finally:
                self._takers -= 1
                self._changed.notify_all()
        return taken + self._make(count - len(taken))

    def close(self) -> None:
        """Stop making obfuscators, and forget those that are ready unless a store has them.

        Returns when the background has ended; idempotent.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.shutdown()
        with self._changed:
            self._pool = Pool(self.key)

    def _check(self) -> None:
        if self._closed:
            raise MisuseError("this supply of obfuscators is closed")
        if self._filled is not None and self._filled.done():
            self._filled.result()

    def _make(self, count: int, *, keep: bool = False) -> list[Obfuscator]:
        """Make obfuscators, for which ``_busy`` was set, and put them into the pool on demand."""
        made: list[Obfuscator] = []
        try:
            powers = self._tables.result()
            made = make_obfuscators(self.key, count, random=self._random, powers=powers)
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if keep and not self._closed:
                    self._pool.add(made)
        return made

    def _fill(self) -> None:
        while count := self._next_portion():
            self._make(count, keep=True)

    def _next_portion(self) -> int:
        """Wait until nobody is taking; 0 when enough is there, and then this filling ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not (self._takers or self._busy))
            missing = 0 if self._closed else self._wanted - len(self._pool)
            self._busy = self._filling = missing > 0
            return max(0, min(PORTION * self._workers.count, missing))
