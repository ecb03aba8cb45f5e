"""Everybody whom an agreement names, with the keys that they are known by."""

from __future__ import annotations

from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from protocols.agreement.fields import Address, Hex32, PartyName
from protocols.identity import VerifyKey


class Table(BaseModel):
    """A table of the file: frozen, strict, and without keys that nobody knows."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Member(Table):
    """Anybody whom the agreement names."""

    name: PartyName
    """its name: a-z, 0-9 and inner hyphens, at most 64 characters"""
    public_key: Hex32
    """its Ed25519 identity, 64 hexadecimal digits, printed by `securefed keygen`"""

    def verify_key(self) -> VerifyKey:
        """Return the public key under this name.

        Raises:
            SignatureError: it is no Ed25519 key.
        """
        return _verify_key(self.name, self.public_key)


class Party(Member):
    """One company that takes part with its own data. Its position is its number, from 0."""

    tls_fingerprint: Hex32
    """SHA-256 of its TLS certificate in DER, 64 hexadecimal digits"""


class Coordinator(Member):
    """Who runs the rounds. Nobody has to trust it for privacy."""

    tls_fingerprint: Hex32
    """SHA-256 of its TLS certificate in DER, 64 hexadecimal digits"""
    address: Address
    """where parties connect to, "host:port"; parties open outbound connections only"""


class Auditor(Member):
    """Who may check the record afterwards. Takes no part in any round."""


class Dealer(Member):
    """Who makes the Paillier key, shares it among the parties and forgets it. In no round."""


class KeyHolder(Member):
    """Who opens sums that are still masked. Takes part in rounds, and has no data."""

    tls_fingerprint: Hex32
    """SHA-256 of its TLS certificate in DER, 64 hexadecimal digits"""


@lru_cache(maxsize=4096)
def _verify_key(name: str, public_key: str) -> VerifyKey:
    return VerifyKey(name, bytes.fromhex(public_key))


def names(members: tuple[Member, ...]) -> str:
    """Return the first names for a message, so that it stays one line at 1000 parties."""
    shown = ", ".join(member.name for member in members[:8])
    return shown if len(members) <= 8 else f"{shown}, … ({len(members)} in all)"
