"""Frames: what one gRPC message carries. Tagged msgpack arrays, canonical and bounded.

A message of any size travels as chunks with its number and offset, so that a cut connection
resumes at the first byte that the receiver does not hold. Payloads are raw bytes, never parsed.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from protocols.errors import OversizedError, WireError
from protocols.identity import Digest, Name

MAX_CHUNK_BYTES: Final = 4 * 2**20
MIN_CHUNK_BYTES: Final = 64 * 2**10
"""Only the last chunk of a message may be shorter: nobody can make us handle one-byte frames."""
MAX_FRAME_BYTES: Final = MAX_CHUNK_BYTES + 64
SESSION_BYTES: Final = 16
MAX_REASON_LENGTH: Final = 300
NO_EPOCH: Final = bytes(SESSION_BYTES)
"""Epoch in the hello of a client that does not know its server yet."""

_STEP: Final = "frame"
Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
SessionId = Annotated[bytes, msgspec.Meta(min_length=SESSION_BYTES, max_length=SESSION_BYTES)]


class Code(StrEnum):
    """Why a side says goodbye. The first three are for good, after the others one may retry."""

    AGREEMENT = "agreement"
    VERSION = "version"
    IDENTITY = "identity"
    BUSY = "busy"
    BROKEN_RULE = "broken-rule"
    STOPPING = "stopping"
    FAILED = "failed"


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """First frame on a stream in both directions: who speaks, under which agreement, and how far.

    Attributes:
        version: protocol version.
        agreement: digest of the signed agreement, 32 bytes.
        name: name of the sender in the agreement; must be the one that its certificate proves.
        session: chosen by the client when its process starts, 16 random bytes.
        epoch: chosen by the server when it begins a session; zeros while the client knows none.
        received: number of the last message that the sender of this frame holds whole.
        held: bytes that it holds of the message after that one.
        taken: number of the last message that its application has taken.
    """

    version: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    agreement: Digest
    name: Name
    session: SessionId
    epoch: SessionId
    received: Count
    held: Count
    taken: Count


class Chunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """A piece of message ``number``: ``payload`` at ``offset`` of ``total`` bytes."""

    number: Number
    offset: Count
    total: Number
    payload: memoryview

    def __repr__(self) -> str:
        end = self.offset + len(self.payload)
        return f"Chunk(message {self.number}, bytes {self.offset} to {end} of {self.total})"


class Ack(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """The application has taken every message up to ``taken``; their senders may forget them."""

    taken: Number


class Goodbye(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Last frame on a stream: why it ends, in a code for programs and a sentence for people."""

    code: Code
    # It ends in an operator's terminal: no control characters.
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON_LENGTH, pattern=r"^[ -~]*\Z")]


Frame = Hello | Chunk | Ack | Goodbye

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Return the one byte string of a frame; a chunk's payload is copied once."""
    return _encoder.encode(frame)


def goodbye(code: Code, reason: str) -> Goodbye:
    """Make a goodbye whose reason is printable ASCII and not too long, whatever it was made of."""
    return Goodbye(code, re.sub(r"[^ -~]", "?", reason)[:MAX_REASON_LENGTH])


def decode(party: str, raw: bytes) -> Frame:
    """Read one hostile frame. A chunk's payload is a view into ``raw``, not a copy.

    Args:
        party: whom to blame.
        raw: one gRPC message.

    Raises:
        OversizedError: the frame is longer than any frame may be.
        WireError: not exactly one canonical frame, or a chunk whose bounds make no sense.
    """
    if len(raw) > MAX_FRAME_BYTES:
        raise OversizedError(
            party, _STEP, f"a frame of {len(raw)} bytes, at most {MAX_FRAME_BYTES} are allowed"
        )
    try:
        frame: Frame = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(party, _STEP, "the bytes are not a frame of this version") from error
    if isinstance(frame, Chunk):
        _check_chunk(party, frame, raw)
    elif encode(frame) != raw:
        raise WireError(party, _STEP, "the frame is not in its canonical form")
    return frame


def _check_chunk(party: str, chunk: Chunk, raw: bytes) -> None:
    size = len(chunk.payload)
    if size == 0 or size > MAX_CHUNK_BYTES or chunk.offset + size > chunk.total:
        raise WireError(party, _STEP, "a chunk that is empty or reaches past its message")
    if size < MIN_CHUNK_BYTES and chunk.offset + size != chunk.total:
        raise WireError(
            party,
            _STEP,
            f"a chunk of {size} bytes that is not the last; {MIN_CHUNK_BYTES} at least",
        )
    # The canonical head costs a microsecond; encoding the whole chunk again would copy the payload.
    empty = _encoder.encode(Chunk(chunk.number, chunk.offset, chunk.total, memoryview(b"")))
    head = empty[:-2] + _binary_head(size)
    if len(raw) != len(head) + size or not raw.startswith(head):
        raise WireError(party, _STEP, "the chunk is not in its canonical form")


def _binary_head(size: int) -> bytes:
    """Return the msgpack header of ``size`` raw bytes (msgpack specification, bin format)."""
    if size < 2**8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 2**16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")
