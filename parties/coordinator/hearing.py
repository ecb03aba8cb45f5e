"""What parties say within one round: who may, until when, and what becomes of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from parties.attachments import require_bare
from parties.coordinator.decryption import Decryption
from parties.coordinator.membership import Membership
from parties.coordinator.ports import ServerEvent
from parties.coordinator.round_plan import RoundLog
from parties.mailbox import Mailbox
from parties.transport.events import Connected, Disconnected, Message, Refused
from protocols.errors import (
    DuplicateError,
    PeerError,
    ReplayError,
    UnexpectedMessageError,
    UnknownPartyError,
)
from protocols.identity import Envelope, VerifyKey
from protocols.masking.context import RoundContext
from protocols.masking.coordinator import MaskingCoordinator
from protocols.rounds import Withdrawal
from protocols.signed import open_signed
from protocols.wire import Packet, decode_packet

_FORGIVEN: Final = (ReplayError, DuplicateError)
"""Late or repeated words, as of an honest party that was cut off."""
_MOST_FORGIVEN: Final = 8
"""Such messages of one party in one round before it is left out of the round."""

_DRAIN_SECONDS: Final = 0.005
"""For how long the mailbox must be empty before it counts as such."""

NoteConnection = Callable[[Connected | Disconnected | Refused], None]
Tell = Callable[..., None]


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """What a round is heard in; the same for all rounds of a run.

    Attributes:
        mailbox: what parties and transport say.
        log: what goes into the ledger.
        membership: of the parties.
        holder: membership of the key holder, where there is one.
        note: told who comes and goes.
        count_bytes: told how much each sent.
        key_of: key of a party or key holder by its name.
        deadline_seconds: for each step.
    """

    mailbox: Mailbox[ServerEvent]
    log: RoundLog
    membership: Membership
    holder: Membership | None
    note: NoteConnection
    count_bytes: Callable[[str, int], None]
    key_of: Callable[[str], VerifyKey]
    deadline_seconds: float

    def members(self, peer: str) -> Membership:
        """Return the membership that a party or the key holder belongs to."""
        return self.holder if self.holder is not None and peer in self.holder else self.membership


class Hearing:
    """Takes the messages of one round, step by step."""

    def __init__(
        self,
        room: Room,
        context: RoundContext,
        hub: MaskingCoordinator,
        decryption: Decryption | None,
        model: bytes,
        *,
        senders: Sequence[str],
        tell: Tell,
    ) -> None:
        """Args: where; the round, its roles and digest of its model; parties' names in order."""
        self._room, self._context, self._hub = room, context, hub
        self._decryption, self._model = decryption, model
        self._names, self._tell = senders, tell
        self._with_bytes = {"submit"} if decryption is None else {"encrypt", "decrypt"}
        self._forgiven: Counter[str] = Counter()

    async def collect(self, step: str) -> None:
        """Take messages until everybody who can still answer has, or the deadline passes.

        What has come by then is taken, but not for longer than as much time again.
        """
        room, quiet = self._room, False
        end = time.monotonic() + room.deadline_seconds
        self._tell("step", step=step, awaited=len(self._waiting(step, time.monotonic())))
        while not self._enough(step):
            now = time.monotonic()
            waiting = self._waiting(step, now)
            if not waiting:
                return
            if now >= (end if quiet else end + room.deadline_seconds):
                for name in sorted(waiting):
                    self._exclude(name, step, f"silent for {room.deadline_seconds:g} seconds")
                return
            expiry = room.members(next(iter(waiting))).next_expiry(waiting, now)
            timeout = end - now if expiry is None else min(end - now, expiry + 0.01)
            # Without a name here, a vector is gone before the next one is waited for.
            quiet = not await self._take(await room.mailbox.next(max(timeout, _DRAIN_SECONDS)))

    def _enough(self, step: str) -> bool:
        if step == "decrypt" and self._decryption is not None:
            return self._decryption.can_finish
        return step == "unmask" and self._hub.can_finish

    def _waiting(self, step: str, now: float) -> frozenset[str]:
        if step == "decrypt" and self._decryption is not None:
            return self._decryption.awaited(now)
        awaited = [self._names[number] for number in self._hub.awaited]
        return self._room.membership.expected(awaited, now)

    async def _take(self, event: ServerEvent | None) -> bool:
        """Take an event, if there is one; return whether there was."""
        match event:
            case None:
                return False
            case Message(peer=peer, body=body):
                self._room.count_bytes(peer, body.nbytes)
                if not await self._room.log.take(peer, body):
                    await self._hear(peer, body)
            case _:
                self._room.note(event)
        return True

    async def _hear(self, peer: str, body: memoryview) -> None:
        if peer in self._room.members(peer).left:
            return  # it is out of this round, so nothing it says is looked at
        try:
            packet = decode_packet(body, party=peer, max_bytes=self._context.max_message_bytes)
            if packet.envelope.sender != peer:
                raise UnknownPartyError(
                    peer, packet.envelope.step, "sends messages in the name of another party"
                )
            await self._dispatch(peer, packet)
        except PeerError as error:
            self._tell("refused", peer=error.party, step=error.step, reason=error.reason)
            self._forgiven[peer] += isinstance(error, _FORGIVEN)
            if not isinstance(error, _FORGIVEN) or self._forgiven[peer] > _MOST_FORGIVEN:
                self._exclude(peer, error.step, error.reason)

    async def _dispatch(self, peer: str, packet: Packet) -> None:
        envelope, hub = packet.envelope, self._hub
        self._require_timely(peer, envelope)
        if envelope.step not in self._with_bytes:
            require_bare(packet)
        match envelope.step:
            case "advertise":
                hub.receive_advertise(envelope)
            case "share":
                await asyncio.to_thread(hub.receive_shares, envelope)
            case "submit":
                await self._submitted(packet)
            case "confirm":
                hub.receive_confirmation(envelope)
                self._room.log.hold(envelope)
            case "unmask":
                await asyncio.to_thread(hub.receive_unmask, envelope)
            case "withdraw":
                self._withdrawn(peer, envelope)
                return
            case step if self._decryption is not None and step in self._with_bytes:
                await self._decryption.take(packet)
            case _:
                raise UnexpectedMessageError(peer, envelope.step, "no message that a party sends")
        self._tell("heard", peer=peer, step=envelope.step, bytes=packet.attachment.nbytes)

    def _require_timely(self, peer: str, envelope: Envelope) -> None:
        """Check the round, before what else would refuse it, and the role: late is not wrong."""
        context = self._context
        if envelope.agreement == context.agreement and envelope.round != context.round:
            reason = f"belongs to round {envelope.round}, not {context.round}"
            raise ReplayError(peer, envelope.step, reason)
        if peer not in self._names and envelope.step != "decrypt":
            raise UnexpectedMessageError(peer, envelope.step, "no message that a key holder sends")

    async def _submitted(self, packet: Packet) -> None:
        envelope, log = packet.envelope, self._room.log
        log.check_statement(envelope)
        submit = partial(self._hub.receive_submission, model=self._model)
        if self._decryption is None:
            await asyncio.to_thread(submit, envelope, packet.attachment)
        else:
            await self._decryption.submit(envelope, submit)
        log.hold(envelope)

    def _withdrawn(self, peer: str, envelope: Envelope) -> None:
        message = open_signed(
            envelope,
            Withdrawal,
            step="withdraw",
            signer=self._room.key_of(peer),
            agreement=self._context.agreement,
            round_=self._context.round,
            max_bytes=self._context.max_message_bytes,
        )
        self._exclude(peer, message.step, message.reason)

    def _exclude(self, peer: str, step: str, reason: str) -> None:
        members = self._room.members(peer)
        if peer not in members.left:
            members.leave(peer, reason)
            self._tell("left-round", peer=peer, step=step, reason=reason)
