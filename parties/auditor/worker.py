"""What a worker process of the auditor does: signatures, and nothing that takes long to import."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

RawCheck = tuple[bytes, bytes, bytes]
"""Public key, message and signature."""


def first_failure(checks: Sequence[RawCheck]) -> int | None:
    """Return the position of the first Ed25519 signature that does not hold; ``None`` if all do.

    Args:
        checks: with keys that :class:`protocols.identity.VerifyKey` took.
    """
    for position, (raw, message, signature) in enumerate(checks):
        try:
            _key(raw).verify(signature, message)
        except InvalidSignature:
            return position
    return None


@lru_cache(maxsize=2048)
def _key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)
