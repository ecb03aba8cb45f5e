"""Taking events with a time limit without ever losing one."""

from __future__ import annotations

import asyncio

from parties.coordinator.ports import CoordinatorLink, ServerEvent


class Mailbox:
    """Keeps one request for the next event open across time limits."""

    def __init__(self, link: CoordinatorLink) -> None:
        """Args: the link whose events are taken; nobody else may take them."""
        self._link = link
        self._request: asyncio.Task[ServerEvent] | None = None

    async def next(self, timeout_seconds: float) -> ServerEvent | None:
        """Return the next event, or ``None`` when the time limit passes first."""
        if self._request is None:
            self._request = asyncio.create_task(self._link.next_event())
        done, _ = await asyncio.wait({self._request}, timeout=max(0.0, timeout_seconds))
        if not done:
            return None
        request, self._request = self._request, None
        return request.result()

    async def close(self) -> None:
        """Give up waiting."""
        request, self._request = self._request, None
        if request is not None:
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
