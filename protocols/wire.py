"""One codec for every message: typed, bounded, canonical msgpack.

Bytes from a peer become a typed object here or they are refused: no field is read before its type,
length and range are known. Each value has exactly one byte string, so digests are well defined.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from protocols.errors import OversizedError, WireError
from protocols.identity import Envelope

T = TypeVar("T")

PACKET_OVERHEAD: Final = 4096
"""Bytes that a packet may need beyond its payload and attachment."""


class Packet(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, eq=False):
    """What one node hands to another: a signed envelope and, beside it, bulk bytes.

    The payload of the envelope holds the SHA-256 digest of the attachment, so that megabytes are
    neither copied into the signature's input nor trusted before they are hashed.

    Attributes:
        envelope: the signed message.
        attachment: a model or a packed masked vector; empty for most steps.
    """

    envelope: Envelope
    attachment: memoryview = memoryview(b"")

    def __repr__(self) -> str:
        return f"Packet({self.envelope!r}, {self.attachment.nbytes} attached bytes)"


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODERS: Final[dict[type, msgspec.msgpack.Decoder[object]]] = {}


def encode(message: msgspec.Struct) -> bytes:
    """Encode a message as canonical msgpack bytes."""
    return _ENCODER.encode(message)


def decode(kind: type[T], data: bytes, *, party: str, step: str, max_bytes: int) -> T:
    """Parse ``data`` from ``party`` as one whole, canonical message of type ``kind``.

    Args:
        kind: a msgspec Struct type with bounded fields.
        data: bytes from the wire.
        party: who is named when the bytes are refused.
        step: protocol step for the same purpose.
        max_bytes: longest message that is looked at.

    Raises:
        OversizedError: ``data`` is longer than ``max_bytes``.
        WireError: not one whole message, a field out of type or bound, or not canonical.
    """
    if len(data) > max_bytes:
        raise OversizedError(party, step, f"{len(data)} bytes, at most {max_bytes} are allowed")
    message = _parse(kind, data, party, step)
    # msgpack offers several encodings of one integer or length; only the shortest is accepted.
    if _ENCODER.encode(message) != data:
        raise WireError(party, step, "the message is not in canonical form")
    return message


def decode_packet(body: bytes | memoryview, *, party: str, max_bytes: int) -> Packet:
    """Parse a packet; the attachment is a view of ``body``, not a copy.

    Raises:
        OversizedError: longer than ``max_bytes``.
        WireError: not one whole packet.
    """
    size = memoryview(body).nbytes
    if size > max_bytes:
        raise OversizedError(party, "packet", f"{size} bytes, at most {max_bytes} are allowed")
    return _parse(Packet, body, party, "packet")


def _parse(kind: type[T], data: bytes | memoryview, party: str, step: str) -> T:
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS.setdefault(kind, msgspec.msgpack.Decoder(kind))
    try:
        message = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The decoder's own text may quote a value from the wire; the type of error is enough.
        raise WireError(party, step, f"not a {kind.__name__} message") from error
    if not isinstance(message, kind):
        raise WireError(party, step, f"not a {kind.__name__} message")
    return message
