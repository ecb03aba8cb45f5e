"""The ceremony in which a Paillier key is made: what anybody knows and checks of it.

Needs the extra ``paillier``. The steps of dealer, trustees and key holder are in
``ceremony_steps.py``, the files in ``ceremony_files.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from parties.key_files import write_new
from parties.paillier_keys import read_share, share_path
from protocols.agreement import Agreement, bring_into_force, validate
from protocols.agreement.members import names
from protocols.errors import AgreementError
from protocols.paillier.dealing_context import SESSION_BYTES, CeremonyContext
from protocols.paillier.key_record import (
    KeyRecord,
    ceremony_context,
    complete_record,
    read_key_record,
)
from protocols.paillier.threshold_key import ThresholdKey
from securefed.ceremony_files import read_envelope, read_record, refuse_existing
from securefed.deployment import SIGNATURES, read_agreement, read_signatures


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What people compare of a key.

    Attributes:
        key: digest of the key, 32 bytes; the same for all who hold one key.
        record: SHA-256 of the whole record, or of the dealing while signatures are missing.
        session: of the ceremony, 32 bytes.
        bits: length of the modulus.
        dealer: who made the key; the key holder itself where there is one.
        trustees: who opens sums.
        threshold: how many of them it takes.
        countersigned: how many have signed.
    """

    key: bytes
    record: bytes
    session: bytes
    bits: int
    dealer: str
    trustees: tuple[str, ...]
    threshold: int
    countersigned: int

    @classmethod
    def of(cls, context: CeremonyContext, record: KeyRecord) -> Self:
        """Read them from a record that was checked."""
        key = ThresholdKey.from_bytes(record.dealing().threshold_key, party=context.dealer.name)
        return cls(
            key.digest(),
            hashlib.sha256(record.to_bytes()).digest(),
            context.session,
            key.public.bits,
            context.dealer.name,
            tuple(one.name for one in context.trustees),
            key.threshold,
            len(record.transcript.countersignatures),
        )

    @classmethod
    def checked(cls, data: bytes, agreement: Agreement, digest: bytes, *, party: str) -> Self:
        """Verify a record against the agreement alone, and read them from it.

        Args:
            data: hostile.
            agreement: a validated one.
            digest: its digest, 32 bytes.
            party: who handed the record over; named when the bytes are no record.

        Raises:
            PeerError: the record is not in force, or not for this agreement.
            AgreementError: nothing is encrypted under it.
        """
        read_key_record(data, agreement, digest, party=party)
        record = KeyRecord.from_bytes(data, party=party)
        return cls.of(ceremony_context(agreement, digest, record.session), record)

    @property
    def held_alone(self) -> bool:
        """Whether one key holder has the whole key."""
        return self.trustees == (self.dealer,)

    def to_plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "key": self.key.hex(),
            "record": self.record.hex(),
            "session": self.session.hex(),
            "key_bits": self.bits,
            "dealer": self.dealer,
            "trustees": list(self.trustees),
            "threshold": self.threshold,
            "countersigned": self.countersigned,
            "held_alone": self.held_alone,
        }


@dataclass(frozen=True, slots=True)
class Ceremony:
    """The ceremonies of one agreement. Made by :meth:`of_signed` or :meth:`of_any`.

    Attributes:
        agreement: a validated one, under which vectors are encrypted.
        digest: its digest, 32 bytes.
    """

    agreement: Agreement
    digest: bytes

    @classmethod
    def of_signed(cls, path: Path, signatures: Path | None = None) -> Self:
        """Read an agreement that every party has signed; no key is made for another.

        Args:
            path: the TOML file.
            signatures: directory of ``<name>.sig``; by default ``signatures`` beside the file.

        Raises:
            AgreementError: unsafe, not signed by all, or nothing is encrypted under it.
            KeyFileError: a file cannot be read.
        """
        found = read_signatures(signatures or path.parent / SIGNATURES)
        signed = bring_into_force(read_agreement(path), found)
        return cls._checked(signed.agreement, signed.digest)

    @classmethod
    def of_any(cls, path: Path) -> Self:
        """Read an agreement, signed or not: a record says itself for which one it was made.

        Raises:
            AgreementError: unsafe, or nothing is encrypted under it.
            KeyFileError: the file cannot be read.
        """
        agreement = read_agreement(path)
        validate(agreement)
        return cls._checked(agreement, agreement.digest())

    @classmethod
    def _checked(cls, agreement: Agreement, digest: bytes) -> Self:
        made = cls(agreement, digest)
        made.context(bytes(SESSION_BYTES))
        return made

    def context(self, session: bytes) -> CeremonyContext:
        """Return the facts of one session."""
        return ceremony_context(self.agreement, self.digest, session)

    def require_dealer(self, name: str | None = None) -> None:
        """Refuse an agreement without a dealer, and anybody else in its place.

        Raises:
            AgreementError: a key holder is named instead, or another dealer.
        """
        dealer = None if self.agreement.paillier is None else self.agreement.paillier.dealer
        if dealer is None:
            raise AgreementError(
                "paillier.dealer",
                "is not there: a key holder makes its key alone",
                "let it run securefed keyholder keygen",
            )
        if name not in (None, dealer.name):
            raise AgreementError(
                "paillier.dealer", f"is {dealer.name}, not {name}", f"use the keys of {dealer.name}"
            )

    def require_holder(self, name: str) -> None:
        """Refuse an agreement without a key holder, and anybody else in its place.

        Raises:
            AgreementError: a dealer is named instead, or another key holder.
        """
        holder = None if self.agreement.paillier is None else self.agreement.paillier.key_holder
        if holder is None:
            raise AgreementError(
                "paillier.key_holder",
                "is not there: the parties share the key",
                "hold a ceremony with securefed ceremony",
            )
        if name != holder.name:
            raise AgreementError(
                "paillier.key_holder",
                f"is {holder.name}, not {name}",
                f"use the keys of {holder.name}",
            )

    def require_trustee(self, name: str) -> None:
        """Refuse anybody who gets no share.

        Raises:
            AgreementError: it is none of those who open sums.
        """
        trustees = self.agreement.trustees
        if name not in {one.name for one in trustees}:
            raise AgreementError(
                "paillier", f"gives {name} no share of the key", f"use one of {names(trustees)}"
            )

    def finish(self, dealing: Path, countersigned: Sequence[Path], out: Path) -> KeyFacts:
        """Put every trustee's countersignature beside the dealing: the key is in force.

        Anybody can do this, and all get the same bytes.

        Raises:
            QuorumError: a trustee has not countersigned, or not this dealing; names it.
            PeerError: any other refusal.
            KeyFileError: a file cannot be read or written.
        """
        self.require_dealer()
        refuse_existing(out)
        _, record = read_record(dealing)
        context = self.context(record.session)
        envelopes = [read_envelope(path, "deal-confirm") for path in countersigned]
        whole = complete_record(context, record.transcript.dealing, envelopes)
        data = whole.to_bytes()
        read_key_record(data, self.agreement, self.digest, party=dealing.name)
        write_new(out, data, private=False)
        return KeyFacts.of(context, whole)

    def check(self, path: Path) -> KeyFacts:
        """Verify a record against the agreement, as every node and auditor does.

        Raises:
            PeerError: it is not in force, or not for this agreement.
            KeyFileError: it cannot be read.
        """
        data, _ = read_record(path)
        return KeyFacts.checked(data, self.agreement, self.digest, party=path.name)

    def check_share(self, path: Path, name: str, keys: Path, passphrase: bytes) -> Path:
        """Make sure that our share opens and belongs to a record; return its file.

        Args:
            path: the record.
            name: ours.
            keys: directory of our keys.
            passphrase: of our keys.

        Raises:
            AgreementError: we are no trustee.
            KeyFileError: the share is missing, damaged, or under another passphrase.
            PeerError: the record is not in force.
        """
        self.require_trustee(name)
        data, _ = read_record(path)
        share = share_path(keys, name, data)
        read_share(share, name, data, self.agreement, self.digest, passphrase)
        return share
