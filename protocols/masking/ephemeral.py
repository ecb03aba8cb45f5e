"""X25519 key pairs that live for one round (RFC 7748)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NoReturn

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocols.errors import RosterError

PRIVATE_BYTES: Final = 32
_PRIME: Final = 2**255 - 19
_ORDER_8: Final = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
_LOW_ORDER: Final = frozenset({0, 1, _PRIME - 1, *_ORDER_8})


def is_sound(public: bytes) -> bool:
    """Tell whether 32 bytes are the one encoding of a point that yields a secret.

    X25519 ignores the highest bit and reduces modulo p, so that one point has several encodings,
    and the points of order 1, 2, 4 and 8, on the curve or its twist, yield the all-zero secret
    with everybody (RFC 7748 sections 5 and 6.1). No honest party advertises either.
    """
    u = int.from_bytes(public, "little")
    return len(public) == PRIVATE_BYTES and u < _PRIME and u not in _LOW_ORDER


@lru_cache(maxsize=1024)
def _parsed(public: bytes) -> X25519PublicKey:
    # A coordinator meets each survivor's key once for every dropout.
    return X25519PublicKey.from_public_bytes(public)


class EphemeralKey:
    """One key pair. Its ``repr`` shows the public half only."""

    __slots__ = ("_agreed", "_key", "private", "public")

    def __init__(self, private: bytes) -> None:
        """Args: private key, 32 random bytes."""
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.private = private
        self.public = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self._agreed: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"EphemeralKey(public {self.public.hex()[:16]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an EphemeralKey is never serialised")

    def agree(self, public: bytes, peer: str) -> bytes:
        """Return the X25519 secret with the holder of ``public``, 32 bytes, to derive keys from.

        Raises:
            RosterError: a low-order point; names ``peer``.
        """
        secret = self._agreed.get(public)
        if secret is None:
            try:
                secret = self._key.exchange(_parsed(public))
            except ValueError as error:
                raise RosterError(peer, "advertise", "its X25519 key is unsound") from error
            # Two parties deal to each other: both directions come from one exchange.
            self._agreed[public] = secret
        return secret
