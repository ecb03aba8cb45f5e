"""Signature checks on every core: a long ledger holds hundreds of thousands of them.

Ed25519 does not get faster by threads here, so that the work goes to processes, in batches and in
order. Memory is bounded: when enough batches are waiting, the reader waits too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import TracebackType
from typing import Final, Self

from parties.auditor.worker import RawCheck, first_failure
from parties.parallel import available_cores
from protocols.errors import LedgerError
from protocols.ledger.checkpoint import SignatureCheck

BATCH_CHECKS: Final = 512
BATCH_BYTES: Final = 1 << 20
WAITING_PER_PROCESS: Final = 4


@dataclass(slots=True)
class _Batch:
    checks: list[RawCheck] = field(default_factory=list)
    refusals: list[Callable[[], LedgerError]] = field(default_factory=list)
    bytes: int = 0
    answer: Future[int | None] | None = None


class PooledChecks:
    """Takes signatures as :func:`protocols.ledger.audit.audit` tells them, and settles them.

    Use as a context manager: ``with PooledChecks() as pool: audit(leaves, check=pool,
    settle=pool.settle)``.
    """

    def __init__(self, processes: int | None = None) -> None:
        """Args: how many processes; as many as there are cores unless given, none for 1 or 0."""
        self._processes = available_cores() if processes is None else processes
        self._pool: ProcessPoolExecutor | None = None
        self._batch = _Batch()
        self._waiting: deque[_Batch] = deque()
        self._failure: LedgerError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __call__(self, check: SignatureCheck, refusal: Callable[[], LedgerError]) -> None:
        """Take one signature.

        Raises:
            LedgerError: that of the first wrong signature, as soon as it is known.
        """
        self._raise()
        batch = self._batch
        batch.checks.append((check.key.raw, check.message, check.signature))
        batch.refusals.append(refusal)
        batch.bytes += len(check.message)
        if len(batch.checks) >= BATCH_CHECKS or batch.bytes >= BATCH_BYTES:
            self._send()
            while self._waiting and (self._full() or self._ready()):
                self._collect()
            self._raise()

    def settle(self) -> None:
        """Return when every signature that was taken holds.

        Raises:
            LedgerError: that of the first one that does not, in the order in which they were taken.
        """
        if self._batch.checks:
            self._send()
        while self._waiting and self._failure is None:
            self._collect()
        self._raise()

    def _full(self) -> bool:
        return len(self._waiting) > WAITING_PER_PROCESS * max(1, self._processes)

    def _ready(self) -> bool:
        answer = self._waiting[0].answer
        return answer is None or answer.done()

    def _send(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._waiting.append(batch)
        if self._processes > 1:
            try:
                batch.answer = self._workers().submit(first_failure, batch.checks)
            except BrokenExecutor:
                batch.answer = None  # the workers are gone; we do it ourselves

    def _workers(self) -> ProcessPoolExecutor:
        # Begun when there is work, and from nothing: a fork would copy whatever runs here.
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._processes, get_context("spawn"))
        return self._pool

    def _collect(self) -> None:
        batch = self._waiting.popleft()
        try:
            failed = batch.answer.result() if batch.answer else first_failure(batch.checks)
        except BrokenExecutor:
            failed = first_failure(batch.checks)
        if failed is not None and self._failure is None:
            self._failure = batch.refusals[failed]()
            self._waiting.clear()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
