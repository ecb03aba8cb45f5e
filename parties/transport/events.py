"""What a transport tells its owner, in the order in which it happened."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from protocols.errors import SecureFedError, TransportError

MAX_WAITING_PER_PEER: Final = 64
"""Control events of one peer that may wait; more of its connections are turned away unseen."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A peer is reachable. Unless ``resumed``, nothing that was sent to it earlier will arrive."""

    peer: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A peer is not reachable any more; messages for it wait until it resumes its session."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message, once and in order. Taking the event acknowledges it to the sender."""

    peer: str
    body: memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """A peer broke a rule and was cut off. At a client it is final: it has stopped trying."""

    peer: str
    error: SecureFedError


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The server restarted: whatever was on its way in either direction is gone."""

    peer: str


ServerEvent = Connected | Disconnected | Message | Refused
ClientEvent = ServerEvent | SessionLost
E = TypeVar("E", bound=ClientEvent)


class EventQueue(Generic[E]):
    """First in, first out. Messages are bounded by their senders' windows, the rest by a count."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[E, Callable[[], None] | None]] = deque()
        self._control: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._closed = ""

    def put(self, event: E, on_taken: Callable[[], None] | None = None) -> None:
        """Add an event; ``on_taken`` is called when the owner takes it."""
        self._waiting.append((event, on_taken))
        if not isinstance(event, Message):
            self._control[event.peer] += 1
        self._changed.set()

    def crowded(self, peer: str) -> bool:
        """Whether the owner is so far behind that this peer may cause no more events."""
        return self._control[peer] >= MAX_WAITING_PER_PEER

    def close(self, reason: str) -> None:
        """Let :meth:`get` raise once it has handed out what is here."""
        self._closed = reason
        self._changed.set()

    async def get(self, seconds: float | None) -> E:
        """Take the next event; wait for one at most so many seconds, None for ever.

        Raises:
            TimeoutError: nothing happened.
            TransportError: nothing is left and the transport is stopped.
        """
        async with asyncio.timeout(seconds):
            while not self._waiting:
                if self._closed:
                    raise TransportError(self._closed)
                self._changed.clear()
                await self._changed.wait()
        event, on_taken = self._waiting.popleft()
        if not isinstance(event, Message):
            self._control[event.peer] -= 1
        if on_taken is not None:
            on_taken()
        return event
