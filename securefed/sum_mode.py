"""How a new federation forms its sums, and under whose key where it encrypts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from protocols.agreement.ciphertexts import ciphertext_bytes, ciphertexts_for
from protocols.encoding import packed_size

Mode = Literal["masking", "paillier", "layered"]
DEFAULT_KEY_BITS: Final = 3072


@dataclass(frozen=True, slots=True)
class SumMode:
    """One of the three modes; ``protocols.agreement`` says which combinations it takes.

    Attributes:
        mode: as in the agreement.
        key_bits: length of the Paillier modulus.
        dealer: name of who deals the key to the parties.
        key_holder: name of who holds the key alone.
    """

    mode: Mode = "masking"
    key_bits: int = DEFAULT_KEY_BITS
    dealer: str | None = None
    key_holder: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Who makes the key; nobody with "masking"."""
        return tuple(name for name in (self.dealer, self.key_holder) if name is not None)

    def to_plain(self, keys: dict[str, dict[str, str]]) -> dict[str, Any]:
        """Return the agreement's ``paillier`` table under that key, or nothing if there is none.

        Args:
            keys: name, public key and TLS fingerprint of dealer and key holder, by name.
        """
        # A table that "masking" has no use for is written all the same: validate says so by name.
        if self.mode == "masking" and not self.names and self.key_bits == DEFAULT_KEY_BITS:
            return {}
        table: dict[str, Any] = {"key_bits": self.key_bits}
        if self.dealer is not None:
            whole = keys[self.dealer]
            table["dealer"] = {key: whole[key] for key in ("name", "public_key")}
        if self.key_holder is not None:
            table["key_holder"] = keys[self.key_holder]
        return {"paillier": table}

    def vector_bytes(self, values: int, modulus_bits: int, parties: int) -> int:
        """Return the bytes of the longest vector that a party sends for a task."""
        masked = packed_size(values, modulus_bits)
        if self.mode == "masking":
            return masked
        count = ciphertexts_for(values, modulus_bits, parties=parties, key_bits=self.key_bits)
        return max(masked, count * ciphertext_bytes(self.key_bits))
