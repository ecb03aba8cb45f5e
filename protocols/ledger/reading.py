"""Who may have said what the log holds, whether they did, and what it says: in this order.

Signatures are not checked here but told to a callback, which checks them now or, many at once,
later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from protocols.agreement import SignedAgreement
from protocols.errors import LedgerError, WireError
from protocols.identity import Envelope, VerifyKey, signed_bytes
from protocols.ledger.checkpoint import (
    SignatureCheck,
    coordinator_check,
    cosignature_checks,
    origin_of,
    parse_note,
)
from protocols.ledger.facts import CheckpointFacts
from protocols.version import PROTOCOL_VERSION
from protocols.wire import decode

M = TypeVar("M")

CheckSignature = Callable[[SignatureCheck, Callable[[], LedgerError]], None]
"""Is told a signature and what to raise if it does not hold."""

EARLIEST: Final = 946_684_800
"""The beginning of the year 2000, Unix seconds: no witness can have signed before."""
LATEST: Final = 7_258_118_400
"""The beginning of the year 2200."""


def is_plausible_time(timestamp: int) -> bool:
    """Tell whether a witness can have signed then; a checkpoint with another time is refused."""
    return EARLIEST <= timestamp <= LATEST


def check_now(check: SignatureCheck, refusal: Callable[[], LedgerError]) -> None:
    """Check a signature at once."""
    if not check.holds():
        raise refusal()


def unchecked(check: SignatureCheck, refusal: Callable[[], LedgerError]) -> None:
    """Check nothing: for a node that reads back what it checked before it wrote it."""


class LogReader:
    """Opens leaves under one agreement in force."""

    def __init__(self, signed: SignedAgreement, check: CheckSignature) -> None:
        """Args: the agreement of leaf 0; where signatures go."""
        agreement = self.agreement = signed.agreement
        self.check = check
        self.digest = signed.digest
        self.coordinator = agreement.verify_key(agreement.coordinator.name)
        self.keys = {party.name: party.verify_key() for party in agreement.parties}
        self.names = tuple(self.keys)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._origin = origin_of(agreement.federation, signed.digest)
        self._quorum = agreement.quorum
        self._max_bytes = agreement.aggregation.max_message_bytes

    def check_binding(self, envelope: Envelope) -> None:
        """Check that a message is of this protocol and this agreement.

        Raises:
            LedgerError: ``other-version`` or ``another-agreement``.
        """
        if envelope.version != PROTOCOL_VERSION:
            raise LedgerError("other-version", f"it is of protocol version {envelope.version}")
        if envelope.agreement != self.digest:
            raise LedgerError("another-agreement", "it was signed under another agreement")

    def by_coordinator(
        self,
        envelope: Envelope,
        kind: type[M],
        round_: int,
        position: int,
        *,
        finding: str = "wrong-round",
    ) -> M:
        """Return what the coordinator said.

        Args:
            envelope: of a leaf, its binding checked.
            kind: of message that its step carries.
            round_: to which it must belong.
            position: of the leaf.
            finding: name of what is wrong if it belongs to another.

        Raises:
            LedgerError: ``wrong-sender``; else as :meth:`by_party`.
        """
        if envelope.sender != self.coordinator.name:
            raise LedgerError("wrong-sender", f"{envelope.sender!r} cannot say {envelope.step!r}")
        return self._open(envelope, kind, self.coordinator, round_, position, finding)

    def by_party(
        self, envelope: Envelope, kind: type[M], round_: int, position: int
    ) -> tuple[int, M]:
        """Return the number of a party and what it said.

        Raises:
            LedgerError: ``wrong-sender``, ``wrong-round``, ``signature-invalid`` or
                ``payload-unreadable``.
        """
        number = self._numbers.get(envelope.sender)
        if number is None:
            raise LedgerError(
                "wrong-sender", f"{envelope.sender!r} says {envelope.step!r} and is no party"
            )
        key = self.keys[envelope.sender]
        return number, self._open(envelope, kind, key, round_, position, "wrong-round")

    def _open(
        self,
        envelope: Envelope,
        kind: type[M],
        key: VerifyKey,
        round_: int,
        position: int,
        finding: str,
    ) -> M:
        if envelope.round != round_:
            raise LedgerError(finding, f"it belongs to round {envelope.round}, not {round_}")
        self.check(
            SignatureCheck(key, signed_bytes(envelope), envelope.signature),
            partial(_forged, position, round_, key.name, envelope.step),
        )
        try:
            return decode(
                kind,
                envelope.payload,
                party=key.name,
                step=envelope.step,
                max_bytes=self._max_bytes,
            )
        except WireError as error:
            raise LedgerError("payload-unreadable", error.reason, party=key.name) from error

    def checkpoint(self, text: bytes, position: int, root: bytes) -> CheckpointFacts:
        """Check a checkpoint leaf.

        Args:
            text: its note.
            position: of the leaf, which is how many leaves its tree must have.
            root: over the leaves before it, 32 bytes.

        Raises:
            LedgerError: as :func:`protocols.ledger.checkpoint.parse_note`, ``coordinator_check``
                and ``cosignature_checks``; ``signature-invalid``; ``checkpoint-another-log``;
                ``checkpoint-size``; ``checkpoint-root``; ``checkpoint-time``;
                ``witnesses-too-few``.
        """
        coordinator = self.coordinator.name
        note = parse_note(text, party="")
        head = note.checkpoint
        if head.origin != self._origin:
            raise LedgerError("checkpoint-another-log", f"it is of {head.origin}")
        own, lines = coordinator_check(note, self.coordinator), cosignature_checks(note, self.keys)
        self.check(
            own,
            partial(_forged, position, 0, coordinator, "checkpoint"),
        )
        for line in lines:
            self.check(line.check, partial(_forged, position, 0, line.party, "cosignature"))
        if head.size != position:
            raise LedgerError(
                "checkpoint-size",
                f"it covers {head.size} leaves, and {position} come before it",
                party=coordinator,
            )
        if head.root != root:
            raise LedgerError(
                "checkpoint-root", "the leaves before it have another root", party=coordinator
            )
        if len(lines) < self._quorum:
            raise LedgerError(
                "witnesses-too-few",
                f"{len(lines)} witnesses, the quorum is {self._quorum}",
                party=coordinator,
            )
        times = {self._numbers[line.party]: line.timestamp for line in lines}
        for number, when in times.items():
            if not is_plausible_time(when):
                raise LedgerError(
                    "checkpoint-time",
                    f"{self.names[number]} says that it signed at {when}",
                    party=self.names[number],
                )
        witnesses = tuple(sorted(times))
        return CheckpointFacts(
            position, head.size, head.root, witnesses, tuple(times[one] for one in witnesses)
        )


def _forged(position: int, round_: int, name: str, what: str) -> LedgerError:
    # Whoever made it: nobody is at fault whose signature it is not.
    return LedgerError(
        "signature-invalid", f"{name} did not sign this {what}", leaf=position, round=round_
    )
