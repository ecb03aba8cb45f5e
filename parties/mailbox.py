"""Taking events with a time limit without ever losing one."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, Protocol, TypeVar

E_co = TypeVar("E_co", covariant=True)


class Source(Protocol[E_co]):
    """Where events come from: either end of the transport."""

    async def next_event(self) -> E_co: ...


class Mailbox(Generic[E_co]):
    """Keeps one request for the next event open across time limits."""

    def __init__(self, source: Source[E_co]) -> None:
        """Args: whose events are taken; nobody else may take them."""
        self._source = source
        self._request: asyncio.Task[E_co] | None = None

    async def next(self, timeout_seconds: float, *others: asyncio.Future[Any]) -> E_co | None:
        """Return the next event; ``None`` if time is over or one of ``others`` is done first."""
        if self._request is None:
            self._request = asyncio.create_task(self._source.next_event())
        await asyncio.wait(
            {self._request, *others},
            timeout=max(0.0, timeout_seconds),
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not self._request.done():
            return None
        request, self._request = self._request, None
        return request.result()

    async def close(self) -> None:
        """Give up waiting."""
        request, self._request = self._request, None
        if request is not None:
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
