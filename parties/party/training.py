"""Where the trainer's code runs: one thread of its own, which it may block, break or leave."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocols.errors import SecureFedError

THREAD_NAME: Final = "securefed-training"
NO_UPDATE: Final = "no update for this round"
"""All that anybody else is told of a training that failed or came too late."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no update.

    Attributes:
        kind: class of the exception. Its text may quote the data, so nobody is told it.
        error: the exception, if it is one of ours, whose texts never hold data.
    """

    kind: str
    error: SecureFedError | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failed:
        """Describe an exception."""
        return cls(type(error).__name__, error if isinstance(error, SecureFedError) else None)

    @property
    def reason(self) -> str:
        """What this node's own people are told."""
        return self.kind if self.error is None else str(self.error)


Work = Callable[[], tuple[bytes, ...]]
"""Computes the messages to send."""
Outcome = tuple[bytes, ...] | Failed


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A training that was asked for.

    Attributes:
        outcome: what came of it; cancelled when nobody wants it any more.
        ends: monotonic time after which it comes too late for its round.
        due: monotonic time before which nobody is told, so that how long it took does not show.
    """

    outcome: asyncio.Future[Outcome]
    ends: float
    due: float


class TrainingThread:
    """Runs one training after another, never two at a time on the same data.

    A daemon thread: user code that never returns must not keep the process alive.
    """

    def __init__(self) -> None:
        """Start no thread yet."""
        self._waiting: queue.SimpleQueue[tuple[Job, Work] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._running: Job | None = None

    @property
    def overdue(self) -> bool:
        """Whether a training runs on although its round is over: another one could not begin."""
        running = self._running
        return running is not None and time.monotonic() > running.ends

    def start(self, work: Work, seconds: float, hold_seconds: float = 0.0) -> Job:
        """Ask for a training; it begins when the one before has ended.

        Args:
            work: computes the messages to send.
            seconds: after which the outcome is of no use.
            hold_seconds: before which it is held back, whatever it is.
        """
        now = time.monotonic()
        outcome = asyncio.get_running_loop().create_future()
        job = Job(outcome, now + seconds, now + hold_seconds)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._thread.start()
        self._waiting.put((job, work))
        return job

    def close(self) -> None:
        """Let the thread end when its work has; it is not waited for."""
        self._waiting.put(None)

    def _run(self) -> None:
        while self._next_job():
            pass

    def _next_job(self) -> bool:
        """Wait for a job and do it; nothing of it is held while the next one is waited for."""
        asked = self._waiting.get()
        if asked is None:
            return False
        job, work = asked
        if job.outcome.cancelled():
            return True
        self._running = job
        outcome = _attempt(work)
        self._running = None
        with contextlib.suppress(RuntimeError):  # the node ended meanwhile
            job.outcome.get_loop().call_soon_threadsafe(_settle, job, outcome)
        return True


def _attempt(work: Work) -> Outcome:
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - user code may even call sys.exit
        return Failed.of(error)


def _settle(job: Job, outcome: Outcome) -> None:
    held = job.due - time.monotonic()
    if held > 0:
        job.outcome.get_loop().call_later(held, _settle, job, outcome)
    elif not job.outcome.done():
        job.outcome.set_result(outcome)
