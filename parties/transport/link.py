"""One stream of a session: a reader and a writer that begin and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from parties.transport.flow import Inbox, Outbox
from parties.transport.frames import (
    Ack,
    Chunk,
    Code,
    Frame,
    Goodbye,
    Hello,
    decode,
    encode,
    goodbye,
)
from parties.transport.limits import Limits
from protocols.errors import PeerError, UnexpectedMessageError


class Stream(Protocol):
    """What a link needs of a connection: whole frames, in order, both ways."""

    ending: str
    """Why the stream ended, once it has."""

    async def read(self) -> bytes | None:
        """Return the next frame, or None when the stream has ended."""

    async def write(self, raw: bytes) -> bool:
        """Send one frame; return False when the stream has ended."""

    async def finish(self) -> None:
        """Tell the peer that no more frames follow."""


class Link:
    """Moves frames between one stream and the two halves of a session.

    Attributes:
        finished: set by the owner once the link has run and its end is on record.
        heard: the peer's goodbye, if it said one.
    """

    def __init__(
        self,
        peer: str,
        stream: Stream,
        inbox: Inbox,
        outbox: Outbox,
        *,
        deliver: Callable[[memoryview], None],
        moved: Callable[[], None],
        limits: Limits,
        first: Hello | None = None,
    ) -> None:
        """Prepare a link.

        Args:
            peer: the other node's name.
            stream: the connection.
            inbox: where its chunks go.
            outbox: what to send.
            deliver: called with every whole message.
            moved: called when the outbox shrank or the link ended.
            limits: deadlines.
            first: our hello, if it is still to be sent.
        """
        self._peer, self._stream, self._limits = peer, stream, limits
        self._inbox, self._outbox = inbox, outbox
        self._deliver, self._moved = deliver, moved
        self._first = first
        self._farewell: Goodbye | None = None
        self._work = asyncio.Event()
        self._ending = ""
        self._aborted = False
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._ahead: asyncio.Task[bytes | None] | None = None
        self.finished = asyncio.Event()
        self.heard: Goodbye | None = None

    def wake(self) -> None:
        """Look for something to send."""
        self._work.set()

    def close(self, code: Code, reason: str) -> None:
        """Say goodbye after the frame that is being sent, then end."""
        if self._farewell is None:
            self._farewell = goodbye(code, reason)
            self._ending = reason
        self.wake()

    def abort(self, reason: str) -> None:
        """End without a word: the connection is thought to be dead."""
        self._aborted, self._ending = True, reason
        for task in self._tasks:
            task.cancel()

    async def run(self) -> str:
        """Exchange frames until the stream ends; return why it ended.

        Raises:
            PeerError: the peer broke a rule. It has been told goodbye.
            TransportError: our own spool failed. The peer has been told goodbye.
        """
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        self._tasks = (reader, writer)
        try:
            if not self._aborted:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                await self._part(reader, writer)
        finally:
            tasks = [task for task in (reader, writer, self._ahead) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._moved()
        for task in self._tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if self.heard is not None:
            return f"said goodbye: {self.heard.reason}"
        return self._ending or self._stream.ending

    async def _part(self, reader: asyncio.Task[None], writer: asyncio.Task[None]) -> None:
        """One task has ended: give the other the time that a last frame needs, and no more."""
        rest = reader
        if reader.done():
            error = None if reader.cancelled() else reader.exception()
            if error is None:
                return
            blame = Code.BROKEN_RULE if isinstance(error, PeerError) else Code.FAILED
            self.close(blame, str(error))
            rest = writer
        elif self._farewell is None:
            return
        await asyncio.wait((rest,), timeout=self._limits.goodbye_seconds)

    async def _read(self) -> None:
        # One frame is read ahead: the connection moves on while a large body goes to the spool.
        self._ahead = asyncio.create_task(self._stream.read())
        while (raw := await self._ahead) is not None:
            self._ahead = asyncio.create_task(self._stream.read())
            await asyncio.sleep(0)
            self._handle(decode(self._peer, raw))
            if self.heard is not None:
                return

    def _handle(self, frame: Frame) -> None:
        match frame:
            case Chunk():
                if (body := self._inbox.accept(frame)) is not None:
                    self._deliver(body)
            case Ack():
                self._outbox.acknowledge(frame.taken)
                self._moved()
                self.wake()
            case Goodbye():
                self.heard = frame
            case Hello():
                raise UnexpectedMessageError(self._peer, "stream", "a second hello")

    async def _write(self) -> None:
        while True:
            self._work.clear()
            while (frame := self._next()) is not None:
                try:
                    async with asyncio.timeout(self._limits.write_seconds):
                        alive = await self._stream.write(encode(frame))
                except TimeoutError:
                    self._ending = f"took no data for {self._limits.write_seconds:g} s"
                    return
                if not alive:
                    return
                if isinstance(frame, Goodbye):
                    await self._stream.finish()
                    return
            await self._work.wait()

    def _next(self) -> Frame | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._farewell is not None:
            return self._farewell
        return self._inbox.acknowledgement() or self._outbox.next_chunk()
