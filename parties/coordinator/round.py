"""One round at the coordinator: five steps, each with a deadline, over real connections."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from parties.attachments import require_bare
from parties.coordinator.membership import Membership
from parties.coordinator.outbound import Outbound
from parties.coordinator.ports import CoordinatorJournal, ServerEvent
from parties.coordinator.round_plan import RoundLog, RoundPlan, RoundSum
from parties.mailbox import Mailbox
from parties.reporting import Detail, Event, Report
from parties.transport.events import Connected, Disconnected, Message, Refused
from protocols.agreement import Agreement
from protocols.errors import (
    DuplicateError,
    PeerError,
    ReplayError,
    UnexpectedMessageError,
    UnknownPartyError,
)
from protocols.identity import Envelope, Identity
from protocols.intent import intent_digest
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.unmasking import AddMasks
from protocols.rounds import Withdrawal, round_context
from protocols.signed import open_signed
from protocols.wire import Packet, decode_packet, encode

_FORGIVEN: Final = (ReplayError, DuplicateError)
"""Late or repeated words, as of an honest party that was cut off."""
_MOST_FORGIVEN: Final = 8
"""Such messages of one party in one round before it is left out of the round."""
LONGEST_STUCK_SECONDS: Final = 2.0
"""A party that has not taken its last message for so long is not invited to the next round."""

NoteConnection = Callable[[Connected | Disconnected | Refused], None]


class RoundRunner:
    """Drives :class:`MaskingCoordinator` through one round."""

    def __init__(
        self,
        agreement: Agreement,
        digest: bytes,
        identity: Identity,
        plan: RoundPlan,
        *,
        min_roster: int,
        outbound: Outbound,
        mailbox: Mailbox[ServerEvent],
        journal: CoordinatorJournal,
        log: RoundLog,
        membership: Membership,
        note: NoteConnection,
        add: AddMasks,
        report: Report,
        count_bytes: Callable[[str, int], None],
    ) -> None:
        """Args: the agreement in force, our key, the plan, and what the node is plugged into."""
        self._agreement, self._digest, self._identity = agreement, digest, identity
        self._plan, self._outbound, self._mailbox = plan, outbound, mailbox
        self._journal, self._membership, self._note = journal, membership, note
        self._report, self._count_bytes, self._log, self._add = report, count_bytes, log, add
        self._hub: MaskingCoordinator
        self._names = [party.name for party in agreement.parties]
        self._model_digest = b""
        self._deadline = agreement.aggregation.deadline_seconds
        self._min_roster = min_roster
        self._roster: frozenset[str] = frozenset()
        self._confirmed: frozenset[str] = frozenset()
        self._forgiven: Counter[str] = Counter()

    async def run(self) -> RoundSum:
        """Run the round.

        Raises:
            BelowThresholdError: too few parties were left at some step.
            ShareError: a party dealt shares that open nothing; the round has no sum.
        """
        self._hub = await self._open()
        await self._collect("advertise")
        self._roster = self._heard()
        await self._send(self._hub.close_advertise)
        await self._collect("share")
        await self._send(self._hub.close_shares)
        await self._collect("submit")
        await self._send(self._hub.close_submissions, recorded="submit")
        await self._collect("confirm")
        self._confirmed = self._heard()
        await self._send(self._hub.close_confirmations, recorded="confirm")
        await self._collect("unmask")
        aggregate = await asyncio.to_thread(self._hub.finish)
        return RoundSum(aggregate, self._lost())

    def _lost(self) -> tuple[str, ...]:
        finished = self._confirmed & self._membership.connected
        return tuple(name for name in self._names if name in self._roster - finished)

    def _heard(self) -> frozenset[str]:
        return frozenset(self._names[number] for number in self._hub.heard)

    async def _open(self) -> MaskingCoordinator:
        plan = self._plan
        connected = self._membership.begin_round()
        invited = {
            name for name in connected if self._outbound.stuck_seconds(name) < LONGEST_STUCK_SECONDS
        }
        if len(invited) < self._min_roster:
            invited = set(connected)  # no intent may name fewer; who is stuck may still come round
        numbers = [number for number, name in enumerate(self._names) if name in invited]
        # Checkpoints first: nobody answers an intent without the log that it builds on.
        self._log.bring_up_to_date(sorted(invited))
        body, intent = await asyncio.to_thread(self._prepare_open, numbers)
        self._tell(
            "round-opened",
            task=plan.task.name,
            round_in_task=plan.round_in_task,
            invited=sorted(invited),
        )
        for name in sorted(invited):
            self._outbound.post(name, body)
        for name in frozenset(self._names) - invited:
            why = "has not taken what was sent to it" if name in connected else "was not connected"
            self._membership.leave(name, f"it {why} when the round was opened")
        context = round_context(
            self._agreement, self._digest, plan.round, plan.task, plan.round_in_task, intent
        )
        return MaskingCoordinator(context, self._identity, add=self._add)

    def _prepare_open(self, invited: list[int]) -> tuple[bytes, bytes]:
        plan = self._plan
        self._model_digest = hashlib.sha256(plan.model).digest()
        envelope = self._log.begin(plan, self._model_digest, invited)
        return encode(Packet(envelope, memoryview(plan.model))), intent_digest(envelope.payload)

    async def _send(
        self, close: Callable[[], Mapping[int, Envelope]], *, recorded: str = ""
    ) -> None:
        """Close a step, put each distinct message on record, then hand it to its receiver.

        What was taken at a ``recorded`` step goes into the ledger.
        """
        bodies = await asyncio.to_thread(self._prepare, close, recorded)
        now = time.monotonic()
        for number in sorted(bodies.keys() & self._numbers(now)):
            self._outbound.post(self._names[number], bodies[number])

    def _numbers(self, now: float) -> frozenset[int]:
        expected = self._membership.expected(self._names, now)
        return frozenset(n for n, name in enumerate(self._names) if name in expected)

    def _prepare(
        self, close: Callable[[], Mapping[int, Envelope]], recorded: str
    ) -> dict[int, bytes]:
        mail = close()
        shared = len({id(envelope) for envelope in mail.values()}) == 1
        encoded: dict[int, bytes] = {}
        with self._journal.transaction():
            if recorded:
                self._log.flush(recorded)
            for number, envelope in mail.items():
                if id(envelope) not in encoded:
                    step = envelope.step if shared else f"{envelope.step}-{number}"
                    digest = hashlib.sha256(envelope.payload).digest()
                    self._journal.promise(envelope.round, step, digest)
                    encoded[id(envelope)] = encode(Packet(envelope))
        return {number: encoded[id(envelope)] for number, envelope in mail.items()}

    # Receiving

    async def _collect(self, step: str) -> None:
        """Take messages until everybody who can still answer has, or the deadline passes."""
        end = time.monotonic() + self._deadline
        self._tell("step", step=step, awaited=len(self._waiting(time.monotonic())))
        while not (step == "unmask" and self._hub.can_finish):
            now = time.monotonic()
            waiting = self._waiting(now)
            if not waiting:
                return
            if now >= end:
                for name in sorted(waiting):
                    self._exclude(name, step, f"silent for {self._deadline:g} seconds")
                return
            expiry = self._membership.next_expiry(waiting, now)
            timeout = end - now if expiry is None else min(end - now, expiry + 0.01)
            event = await self._mailbox.next(timeout)
            if event is not None:
                await self._take(event)

    def _waiting(self, now: float) -> frozenset[str]:
        awaited = [self._names[number] for number in self._hub.awaited]
        return self._membership.expected(awaited, now)

    async def _take(self, event: ServerEvent) -> None:
        match event:
            case Message(peer=peer, body=body):
                self._count_bytes(peer, body.nbytes)
                if not await self._log.take(peer, body):
                    await self._hear(peer, body)
            case _:
                self._note(event)

    async def _hear(self, peer: str, body: memoryview) -> None:
        if peer in self._membership.left:
            return  # it is out of this round, so nothing it says is looked at
        try:
            packet = decode_packet(
                body, party=peer, max_bytes=self._agreement.aggregation.max_message_bytes
            )
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
        if envelope.step != "submit":
            require_bare(packet)
        match envelope.step:
            case "advertise":
                hub.receive_advertise(envelope)
            case "share":
                await asyncio.to_thread(hub.receive_shares, envelope)
            case "submit":
                vector, model = packet.attachment, self._model_digest
                self._log.check_statement(envelope)
                await asyncio.to_thread(hub.receive_submission, envelope, vector, model=model)
                self._log.hold(envelope)
            case "confirm":
                hub.receive_confirmation(envelope)
                self._log.hold(envelope)
            case "unmask":
                await asyncio.to_thread(hub.receive_unmask, envelope)
            case "withdraw":
                self._withdrawn(peer, envelope)
                return
            case _:
                raise UnexpectedMessageError(peer, envelope.step, "no message that a party sends")
        self._tell("heard", peer=peer, step=envelope.step, bytes=packet.attachment.nbytes)

    def _withdrawn(self, peer: str, envelope: Envelope) -> None:
        message = open_signed(
            envelope,
            Withdrawal,
            step="withdraw",
            signer=self._agreement.verify_key(peer),
            agreement=self._digest,
            round_=self._plan.round,
            max_bytes=self._agreement.aggregation.max_message_bytes,
        )
        self._exclude(peer, message.step, message.reason)

    def _exclude(self, peer: str, step: str, reason: str) -> None:
        if peer not in self._membership.left:
            self._membership.leave(peer, reason)
            self._tell("left-round", peer=peer, step=step, reason=reason)

    def _tell(self, name: str, **detail: Detail) -> None:
        self._report(Event(name, self._plan.round, detail))
