"""What the coordinator says, one queue a party: one that takes nothing holds up nobody else."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from parties.coordinator.ports import CoordinatorLink
from protocols.errors import SecureFedError

MAX_QUEUED: Final = 64
"""Messages that may wait for one party: a round has six, and a task one more at its end."""


class _Line:
    """What waits for one party, and the task that sends it."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, ...]] = deque()
        self.since: float | None = None
        self.sender: asyncio.Task[None] | None = None


class Outbound:
    """Posts messages without waiting; those of one party leave in order."""

    def __init__(
        self,
        link: CoordinatorLink,
        failed: Callable[[str, str], None],
        *,
        most_queued: int = MAX_QUEUED,
    ) -> None:
        """Args: the streams; told who cannot be reached and why; messages that may wait for one."""
        self._link, self._failed, self._most = link, failed, most_queued
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: Exception | None = None

    def post(self, name: str, *bodies: bytes) -> None:
        """Queue one message, or several that count as one: a long log comes in many.

        Raises what broke an earlier sending, if that was no peer's doing.
        """
        if self._broken is not None:
            raise self._broken
        line = self._lines.setdefault(name, _Line())
        if len(line.waiting) >= self._most:
            self.forget(name)
            self._failed(name, f"{self._most} messages wait for it")
            return
        line.waiting.append(bodies)
        if line.sender is None:
            line.sender = asyncio.create_task(self._send_all(name, line))
            self._tasks.add(line.sender)
            line.sender.add_done_callback(self._tasks.discard)

    def forget(self, name: str) -> None:
        """Drop what waits for a party: it has lost what came before."""
        line = self._lines.pop(name, None)
        if line is not None and line.sender is not None:
            line.sender.cancel()

    def stuck_seconds(self, name: str) -> float:
        """Return for how long a party has not taken the message that is its turn."""
        line = self._lines.get(name)
        return 0.0 if line is None or line.since is None else time.monotonic() - line.since

    async def drain(self, seconds: float, *, stuck_seconds: float) -> None:
        """Wait until everything is with the transport.

        Args:
            seconds: longest wait.
            stuck_seconds: who has taken nothing for so long is not waited for.
        """
        names = [name for name in self._lines if self.stuck_seconds(name) < stuck_seconds]
        senders = [self._lines[name].sender for name in names]
        waited = [sender for sender in senders if sender is not None]
        if waited:
            await asyncio.wait(waited, timeout=seconds)

    async def close(self) -> None:
        """Stop sending."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, name: str, line: _Line) -> None:
        try:
            while line.waiting:
                for body in line.waiting.popleft():
                    line.since = time.monotonic()
                    await self._link.send(name, body)
        except SecureFedError as error:
            line.waiting.clear()
            self._failed(name, str(error))
        except Exception as error:  # noqa: BLE001 - a bug of ours ends the run at the next post
            self._broken = error
        finally:
            line.since = line.sender = None
