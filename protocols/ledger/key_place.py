"""Where the key of the ciphertexts stands in a ledger: right after the agreement, or nowhere."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TypeAlias

from protocols.agreement import SignedAgreement
from protocols.errors import LedgerError

CheckKey: TypeAlias = Callable[[SignedAgreement, bytes], None]
"""Checks the record of a key under an agreement; raises LedgerError ``key-invalid``."""


def same_key(record: bytes | None) -> CheckKey:
    """Return the check of a node: the key is the very one that it was given and has checked."""

    def check(_signed: SignedAgreement, shown: bytes) -> None:
        if record is None or not hmac.compare_digest(record, shown):
            raise LedgerError(
                "key-invalid",
                "the key on record is not the one that we were given; compare the file "
                "paillier.key with everybody's, and start again with the one that was agreed on",
            )

    return check


class KeyPlace:
    """Remembers whether a key is due."""

    def __init__(self, check: CheckKey) -> None:
        """Args: what looks into a record."""
        self._check = check
        self._due: SignedAgreement | None = None

    def after(self, signed: SignedAgreement) -> None:
        """The agreement was taken."""
        self._due = signed if signed.agreement.trustees else None

    def take(self, record: bytes) -> None:
        """Take the key's leaf.

        Raises:
            LedgerError: ``leaf-out-of-place``, or as the check.
        """
        if self._due is None:
            raise LedgerError("leaf-out-of-place", "a key, and none is due")
        self._check(self._due, record)
        self._due = None

    def require(self) -> None:
        """Check that none is due any more.

        Raises:
            LedgerError: ``key-missing``.
        """
        if self._due is not None:
            raise LedgerError("key-missing", "the key of the ciphertexts is not on record")
