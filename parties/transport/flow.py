"""Numbering, windows and resumption, without any I/O: the two halves of one session.

Messages are numbered from 1 in each direction. The receiver acknowledges a message when its
application takes it, so "not yet acknowledged" bounds what a receiver has to hold; both sides
compute the same window, and a sender that goes past it has broken the rules.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

from parties.transport.frames import Ack, Chunk
from parties.transport.spool import MEMORY_BYTES, Assembly
from protocols.errors import (
    DuplicateError,
    OversizedError,
    ReplayError,
    UnexpectedMessageError,
)

WINDOW_MESSAGES: Final = 16
"""Messages that may be on their way or waiting at the receiver's application."""

_STEP: Final = "stream"


class Inbox:
    """Receives one peer's chunks: in order, once, and within the window.

    Attributes:
        received: number of the last whole message.
        taken: number of the last message that our application took.
    """

    def __init__(self, peer: str, *, max_message_bytes: int, spool: Path) -> None:
        self._peer, self._limit, self._spool = peer, max_message_bytes, spool
        self._waiting: deque[tuple[int, int]] = deque()  # (bytes, of them in memory) per message
        self._assembly: Assembly | None = None
        self._in_memory = False
        self._announced = 0
        self.received = self.taken = 0

    @property
    def held(self) -> int:
        """Bytes at hand of the message after :attr:`received`."""
        return self._assembly.held if self._assembly is not None else 0

    def accept(self, chunk: Chunk) -> memoryview | None:
        """Add one chunk; return the message when it is whole.

        Raises:
            DuplicateError, ReplayError: bytes that are already here, or a gap.
            OversizedError: a message past the agreed size, or more than the window allows.
            TransportError: our own spool failed.
        """
        self._check_order(chunk)
        if self._assembly is None:
            self._assembly = self._begin(chunk.total)
        self._assembly.append(chunk.payload)
        if self._assembly.held < self._assembly.total:
            return None
        whole, self._assembly = self._assembly, None
        body = whole.finish()
        self.received += 1
        self._waiting.append((whole.total, whole.total if self._in_memory else 0))
        return body

    def take(self) -> None:
        """Record that the application took the oldest waiting message."""
        self._waiting.popleft()
        self.taken += 1

    def acknowledgement(self) -> Ack | None:
        """Return the acknowledgement that the peer has not been told yet, if there is one."""
        if self.taken <= self._announced:
            return None
        self._announced = self.taken
        return Ack(self.taken)

    def resume(self) -> None:
        """A new stream begins; its hello tells the peer all that we have taken."""
        self._announced = self.taken

    def close(self) -> None:
        """Drop a message that is only partly here."""
        if self._assembly is not None:
            self._assembly.close()
            self._assembly = None

    def _check_order(self, chunk: Chunk) -> None:
        expected = (self.received + 1, self.held)
        if (chunk.number, chunk.offset) < expected:
            raise DuplicateError(self._peer, _STEP, f"{chunk} has been received already")
        if (chunk.number, chunk.offset) > expected:
            raise ReplayError(
                self._peer,
                _STEP,
                f"{chunk} came where message {expected[0]}, byte {expected[1]}, was due",
            )
        if self._assembly is not None and chunk.total != self._assembly.total:
            raise UnexpectedMessageError(
                self._peer, _STEP, f"{chunk} was announced with {self._assembly.total} bytes"
            )

    def _begin(self, total: int) -> Assembly:
        if total > self._limit:
            raise OversizedError(
                self._peer, _STEP, f"a message of {total} bytes, the agreement allows {self._limit}"
            )
        waiting = sum(size for size, _ in self._waiting)
        if len(self._waiting) >= WINDOW_MESSAGES or waiting + total > self._limit:
            raise OversizedError(
                self._peer,
                _STEP,
                f"flooding: {len(self._waiting)} messages of {waiting} bytes wait and {total} "
                f"bytes more were sent; the window is {WINDOW_MESSAGES} messages and "
                f"{self._limit} bytes",
            )
        self._in_memory = sum(memory for _, memory in self._waiting) + total <= MEMORY_BYTES
        return Assembly(total, in_memory=self._in_memory, spool=self._spool)


class Outbox:
    """Sends one peer our messages; keeps each until the peer's application has taken it.

    Attributes:
        acknowledged: number of the last message that the peer's application took.
        last: number of the last message that was queued.
    """

    def __init__(self, peer: str, *, max_message_bytes: int, chunk_bytes: int) -> None:
        self._peer, self._limit, self._chunk_bytes = peer, max_message_bytes, chunk_bytes
        self._bodies: deque[memoryview] = deque()  # messages acknowledged + 1, ... in order
        self._number, self._offset = 1, 0  # what next_chunk sends
        self.acknowledged = self.last = 0

    @property
    def position(self) -> tuple[int, int]:
        """Number and offset of what is sent next."""
        return self._number, self._offset

    @property
    def empty(self) -> bool:
        """Whether the peer's application has taken all that was queued."""
        return not self._bodies

    def has_room(self, size: int) -> bool:
        """Whether a message of ``size`` bytes may be queued: twice what the window lets out."""
        waiting = sum(len(body) for body in self._bodies)
        return len(self._bodies) < 2 * WINDOW_MESSAGES and waiting + size <= 2 * self._limit

    def append(self, body: bytes | memoryview) -> None:
        """Queue one message; its bytes must not change until it is acknowledged."""
        self._bodies.append(memoryview(body).cast("B"))
        self.last += 1

    def next_chunk(self) -> Chunk | None:
        """Return the next piece to send, or None while all is sent or the window is shut."""
        index = self._number - self.acknowledged - 1
        if index >= len(self._bodies) or (self._offset == 0 and not self._open(index)):
            return None
        body = self._bodies[index]
        start = self._offset
        payload = body[start : start + self._chunk_bytes]
        chunk = Chunk(self._number, start, len(body), payload)
        if start + len(payload) == len(body):
            self._number, self._offset = self._number + 1, 0
        else:
            self._offset += len(payload)
        return chunk

    def acknowledge(self, taken: int) -> None:
        """Forget every message up to ``taken``.

        Raises:
            UnexpectedMessageError: taken before it was sent, or acknowledged before.
        """
        if not self.acknowledged < taken < self._number:
            raise UnexpectedMessageError(
                self._peer,
                _STEP,
                f"acknowledges message {taken}; {self.acknowledged} is acknowledged and "
                f"{self._number - 1} sent",
            )
        self._forget(taken)

    def resume(self, *, received: int, held: int, taken: int) -> None:
        """Go back to the first byte that the peer does not hold.

        Raises:
            UnexpectedMessageError: the peer claims what was never sent, or has lost what it took.
        """
        plausible = self.acknowledged <= taken <= received
        plausible &= (received + 1, held) <= (self._number, self._offset)
        if plausible and held > 0:
            plausible = held < len(self._bodies[received - self.acknowledged])
        if not plausible:
            raise UnexpectedMessageError(
                self._peer,
                "hello",
                f"holds {received} messages and {held} bytes and took {taken}; "
                f"{self.last} were sent and {self.acknowledged} acknowledged",
            )
        self._forget(taken)
        self._number, self._offset = received + 1, held

    def _open(self, index: int) -> bool:
        on_their_way = sum(len(self._bodies[i]) for i in range(index))
        return index < WINDOW_MESSAGES and on_their_way + len(self._bodies[index]) <= self._limit

    def _forget(self, taken: int) -> None:
        while self.acknowledged < taken:
            self._bodies.popleft()
            self.acknowledged += 1
