"""The key of a run that encrypts, as an auditor checks it: its whole ceremony, from its record."""

from __future__ import annotations

from typing import Any

from protocols.agreement import Agreement, SignedAgreement
from protocols.errors import LedgerError, PeerError
from securefed.extras import paillier_extra


def key_facts(agreement: Agreement, digest: bytes, record: bytes) -> dict[str, Any]:
    """Check the record of a key in full, and return what people compare of it.

    These are the signatures of dealer and trustees, the proofs of the modulus, and that the
    verification keys share what decrypts.

    Args:
        agreement: a validated one, under which vectors are encrypted.
        digest: its digest, 32 bytes.
        record: hostile.

    Returns:
        The plain values of :class:`securefed.ceremony.KeyFacts`.

    Raises:
        LedgerError: ``key-invalid``.
        MisuseError: the extra that checks keys is not installed; names it.
    """
    with paillier_extra():
        from securefed.ceremony import KeyFacts  # noqa: PLC0415 - an extra
    try:
        facts = KeyFacts.checked(record, agreement, digest, party="the ledger")
    except PeerError as error:
        # Nobody is at fault for certain: whoever wrote the file can have put it together.
        raise LedgerError(
            "key-invalid", f"the record of its ceremony fails at {error.step}: {error.reason}"
        ) from error
    return facts.to_plain()


class KeyCheck:
    """Checks the key of one ledger as its audit comes to it.

    Attributes:
        facts: as :func:`key_facts`, of the key that was found in force; ``None`` before it.
    """

    def __init__(self) -> None:
        self.facts: dict[str, Any] | None = None

    def __call__(self, signed: SignedAgreement, record: bytes) -> None:
        """Check it; see :data:`protocols.ledger.key_place.CheckKey`.

        Raises:
            LedgerError: ``key-invalid``.
            MisuseError: the extra that checks keys is not installed; names it.
        """
        self.facts = key_facts(signed.agreement, signed.digest, record)
