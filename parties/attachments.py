"""The bulk bytes beside a signed message: as they were signed, or not there at all."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

from protocols.errors import WireError
from protocols.wire import Packet


async def read_attachment(packet: Packet, digest: bytes) -> bytes:
    """Return a packet's attachment as bytes of our own.

    Hashing is done in a thread: a model may have hundreds of megabytes.

    Args:
        packet: its envelope verified.
        digest: SHA-256 that the envelope names, 32 bytes.

    Raises:
        WireError: the attachment is another one.
    """
    content, found = await asyncio.to_thread(_copy, packet.attachment)
    if not hmac.compare_digest(found, digest):
        envelope = packet.envelope
        raise WireError(envelope.sender, envelope.step, "the attachment is not what was signed")
    return content


def _copy(attachment: memoryview) -> tuple[bytes, bytes]:
    content = bytes(attachment)
    return content, hashlib.sha256(content).digest()


def require_bare(packet: Packet) -> None:
    """Check that a message that carries nothing has nothing attached.

    Raises:
        WireError: it has.
    """
    if packet.attachment.nbytes:
        envelope = packet.envelope
        raise WireError(
            envelope.sender,
            envelope.step,
            f"{packet.attachment.nbytes} bytes attached to a message that carries none",
        )
