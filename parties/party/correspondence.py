"""What passes between a party and its coordinator, signed by both."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from parties.party.ports import PartyLink
from protocols.agreement import SignedAgreement
from protocols.identity import Envelope, Identity
from protocols.rounds import STEPS, Withdrawal, seal, shorten, step_name
from protocols.signed import open_signed
from protocols.wire import Packet, decode_packet, encode

M = TypeVar("M", bound=msgspec.Struct)


class Correspondence:
    """Reads the coordinator's messages under one agreement, and signs ours."""

    def __init__(self, signed: SignedAgreement, identity: Identity, link: PartyLink) -> None:
        """Args: the agreement in force, our key, the stream to the coordinator."""
        agreement = signed.agreement
        self._digest, self._identity, self._link = signed.digest, identity, link
        self._coordinator = agreement.verify_key(agreement.coordinator.name)
        self._max_bytes = agreement.aggregation.max_message_bytes

    @property
    def coordinator(self) -> str:
        """The coordinator's name."""
        return self._coordinator.name

    def packet(self, body: memoryview) -> Packet:
        """Parse a body whose signature nobody has checked yet.

        Raises:
            WireError: it is no packet.
        """
        return decode_packet(body, party=self.coordinator, max_bytes=self._max_bytes)

    def verified(self, envelope: Envelope, kind: type[M], round_: int) -> M:
        """Return what the coordinator signed for this round.

        Raises:
            PeerError: see :func:`protocols.signed.open_signed`.
        """
        return open_signed(
            envelope,
            kind,
            step=STEPS[kind],
            signer=self._coordinator,
            agreement=self._digest,
            round_=round_,
            max_bytes=self._max_bytes,
        )

    async def send(self, body: bytes) -> None:
        """Send one message.

        Raises:
            TransportError: the session is gone, and with it what the coordinator had not taken.
        """
        await self._link.send(body)

    def withdrawal(self, round_: int, step: str, reason: str) -> bytes:
        """Return the message that we take no part in a round any more."""
        message = Withdrawal(step_name(step), shorten(reason))
        return encode(Packet(seal(self._identity, self._digest, round_, message)))
