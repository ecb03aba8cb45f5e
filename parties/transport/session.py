"""One session: numbered messages both ways, over one stream at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from parties.transport.flow import Inbox, Outbox
from parties.transport.frames import Hello
from parties.transport.limits import Limits
from parties.transport.link import Link, Stream
from protocols.errors import MisuseError, OversizedError, TransportError
from protocols.version import PROTOCOL_VERSION

Deliver = Callable[[memoryview, Callable[[], None]], None]
"""Receives a whole message and what to call when the application takes it."""


class Session:
    """Both directions of one session, kept while connections come and go.

    Attributes:
        peer: the other node's name.
        identifier: chosen by the client when its process starts, 16 bytes.
        epoch: chosen by the server when it begins the session, 16 bytes; zeros until then.
        link: the stream that is up, if one is.
    """

    def __init__(
        self,
        peer: str,
        identifier: bytes,
        epoch: bytes,
        *,
        max_message_bytes: int,
        limits: Limits,
        spool: Path,
    ) -> None:
        self.peer, self.identifier, self.epoch = peer, identifier, epoch
        self.link: Link | None = None
        self._limits, self._max_message_bytes = limits, max_message_bytes
        self._spool = spool
        self._moved = asyncio.Event()
        self._turn = asyncio.Lock()
        self._ended = ""
        self.inbox, self.outbox = self._fresh()

    def reset(self) -> None:
        """Forget all messages in both directions, and count from 1 again."""
        self.inbox.close()
        self.inbox, self.outbox = self._fresh()
        self.moved()

    def _fresh(self) -> tuple[Inbox, Outbox]:
        size = self._max_message_bytes
        return (
            Inbox(self.peer, max_message_bytes=size, spool=self._spool),
            Outbox(self.peer, max_message_bytes=size, chunk_bytes=self._limits.chunk_bytes),
        )

    async def send(self, body: bytes | memoryview) -> None:
        """Queue one message; wait for room if the peer is slow.

        Raises:
            MisuseError: the message is empty.
            OversizedError: it is longer than the agreement allows.
            TransportError: the session ended, or the queue stayed full until the deadline.
        """
        size = memoryview(body).nbytes
        if size == 0:
            raise MisuseError("a message has at least one byte")
        if size > self._max_message_bytes:
            raise OversizedError(
                self.peer,
                "send",
                f"our own message of {size} bytes; the agreement allows {self._max_message_bytes}",
            )
        try:
            async with asyncio.timeout(self._limits.send_seconds), self._turn:
                outbox = self.outbox
                await self._until(lambda: outbox is not self.outbox or outbox.has_room(size))
        except TimeoutError:
            raise TransportError(
                f"{self.peer} has taken no message for {self._limits.send_seconds:g} s and "
                "its queue is full"
            ) from None
        if self._ended or outbox is not self.outbox:
            raise TransportError(f"the session with {self.peer} ended: {self._ended or 'lost'}")
        self.outbox.append(body)
        self.wake()

    async def drain(self, seconds: float) -> bool:
        """Wait until the peer took everything or the stream went down; return whether it did."""
        try:
            async with asyncio.timeout(seconds):
                await self._until(lambda: self.outbox.empty or self.link is None)
        except TimeoutError:
            return False
        return self.outbox.empty

    def hello(self, *, agreement: bytes, name: str) -> Hello:
        """Return our first frame on a new stream."""
        self.inbox.resume()
        return Hello(
            version=PROTOCOL_VERSION,
            agreement=agreement,
            name=name,
            session=self.identifier,
            epoch=self.epoch,
            received=self.inbox.received,
            held=self.inbox.held,
            taken=self.inbox.taken,
        )

    def resume(self, hello: Hello) -> None:
        """Go on from where the peer's hello says it stands.

        A peer that does not know this session yet (its welcome was lost) stands at the beginning,
        whatever it counted in an earlier one.

        Raises:
            UnexpectedMessageError: what it says is impossible.
        """
        if hello.epoch == self.epoch:
            self.outbox.resume(received=hello.received, held=hello.held, taken=hello.taken)
        else:
            self.outbox.resume(received=0, held=0, taken=0)
        self.moved()

    def attach(self, stream: Stream, deliver: Deliver, first: Hello | None = None) -> Link:
        """Make the link of a new stream; the last one must have finished."""
        inbox = self.inbox

        def take() -> None:
            inbox.take()
            self.wake()

        self.link = Link(
            self.peer,
            stream,
            inbox,
            self.outbox,
            deliver=lambda body: deliver(body, take),
            moved=self.moved,
            limits=self._limits,
            first=first,
        )
        return self.link

    def detach(self) -> None:
        """The stream is down; messages wait for the next one."""
        self.link = None
        self.moved()

    def wake(self) -> None:
        """Let the stream look for something to send."""
        if self.link is not None:
            self.link.wake()

    def moved(self) -> None:
        """Let every waiter look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    def end(self, reason: str) -> None:
        """Drop everything; whoever waits in :meth:`send` learns the reason."""
        self._ended = self._ended or reason
        self.reset()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (self._ended or condition()):
            await self._moved.wait()
