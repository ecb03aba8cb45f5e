"""The key holder's node: opens one sum of masked vectors a round, the one that it multiplied.

It has no data, trains nothing and learns no model. What it opens is still masked.
Needs the extra ``paillier``.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Final

from parties.attachments import require_bare
from parties.mailbox import Mailbox
from parties.party.cipher import CipherTools
from parties.party.correspondence import Correspondence
from parties.party.ports import ClientEvent, PartyJournal, PartyLink
from parties.reporting import CalmReport, Detail, Event, Report, log_event
from parties.transport.events import Connected, Disconnected, Message, Refused, SessionLost
from protocols.admission import find_task
from protocols.errors import (
    DuplicateError,
    EquivocationError,
    JournalError,
    MisuseError,
    PeerError,
    PolicyError,
    ReplayError,
    SecureFedError,
    TransportError,
    UnexpectedMessageError,
)
from protocols.identity import NO_ROUND, Envelope
from protocols.intent import intent_digest
from protocols.paillier.threshold_party import DecryptingParty
from protocols.paillier.vectors import opening_context
from protocols.rounds import RoundOpen, RunEnded, round_context
from protocols.wire import Packet, encode

ROUND_KEY: Final = "round"
"""Where the journal holds the number of the last round that we took part in."""


class KeyHolderNode:
    """Answers the coordinator under one agreement. A restart leaves the current round."""

    def __init__(
        self,
        tools: CipherTools,
        link: PartyLink,
        journal: PartyJournal,
        *,
        report: Report = log_event,
        patience_seconds: float = 3600.0,
    ) -> None:
        """Prepare a node.

        Args:
            tools: the agreement in force, our identity, and the whole key as our one share.
            link: stream to the coordinator.
            journal: durable promises, for this agreement and key holder alone.
            report: told what happens.
            patience_seconds: how long to wait for a coordinator that says nothing, beyond the
                agreed deadline of a step.

        Raises:
            MisuseError: we are not the key holder of the agreement, or hold no share.
        """
        agreement = tools.signed.agreement
        names = [one.name for one in agreement.trustees]
        if agreement.aggregation.mode != "layered" or names != [tools.identity.name]:
            raise MisuseError(f"{tools.identity.name} is not the key holder of this agreement")
        self._tools, self._link, self._journal = tools, link, journal
        self._agreement, self._digest = agreement, tools.signed.digest
        self._talk = Correspondence(tools.signed, tools.identity, link)
        self._report = CalmReport(report)
        self._patience = patience_seconds + agreement.aggregation.deadline_seconds
        self._round = int(journal.get(ROUND_KEY) or b"0")
        self._role: DecryptingParty | None = None
        self._mailbox: Mailbox[ClientEvent] = Mailbox(link)

    async def run(self) -> RunEnded:
        """Take part until the coordinator says that the run ended.

        Raises:
            TransportError: the coordinator refuses us, or was silent for too long.
            JournalError: our state cannot be written; nothing was said that is not on record.
        """
        await self._link.start()
        heard = time.monotonic()
        try:
            while True:
                event = await self._mailbox.next(heard + self._patience - time.monotonic())
                if event is None:
                    raise TransportError(
                        f"{self._talk.coordinator} was silent for {self._patience:g} seconds; ask "
                        "its operator, then start this node again"
                    )
                heard = time.monotonic()
                ended = await self._handle(event)
                if ended is not None:
                    return ended
        finally:
            self._leave("the node stops")
            await self._mailbox.close()
            await self._link.stop()

    async def _handle(self, event: ClientEvent) -> RunEnded | None:
        match event:
            case Connected():
                self._tell("connected", peer=event.peer, resumed=event.resumed)
            case Disconnected():
                self._tell("disconnected", peer=event.peer, reason=event.reason)
            case SessionLost():
                self._leave("the coordinator restarted")
            case Refused():
                raise event.error
            case Message():
                return await self._hear(event.body)
        return None

    async def _hear(self, body: memoryview) -> RunEnded | None:
        try:
            return await self._dispatch(self._talk.packet(body))
        except (MisuseError, JournalError):
            raise
        except DuplicateError as error:
            self._tell("ignored", peer=error.party, step=error.step, reason=error.reason)
        except PeerError as error:
            self._tell("refused", peer=error.party, step=error.step, reason=error.reason)
        except SecureFedError as error:
            self._tell("refused", peer=self._talk.coordinator, reason=str(error))
        return None

    async def _dispatch(self, packet: Packet) -> RunEnded | None:
        envelope = packet.envelope
        if envelope.step != "encrypt":
            require_bare(packet)
        match envelope.step:
            case "open":
                await asyncio.to_thread(self._open, envelope)
            case "encrypt":
                role = self._require(envelope)
                await asyncio.to_thread(role.receive_vector, envelope, packet.attachment)
            case "open-product":
                await self._answer(self._require(envelope), envelope)
            case "end":
                return self._talk.verified(envelope, RunEnded, NO_ROUND)
            case _:
                raise UnexpectedMessageError(
                    envelope.sender, envelope.step, "no message for a key holder"
                )
        return None

    def _open(self, envelope: Envelope) -> None:
        """Begin a round: what is opened in it is bound to its intent, and it never comes again."""
        opened = self._talk.verified(envelope, RoundOpen, max(1, envelope.round))
        digest = intent_digest(envelope.payload)
        round_, name = envelope.round, envelope.sender
        if round_ < self._round or (round_ == self._round and self._role is None):
            raise ReplayError(name, "open", f"round {round_} is past")
        if round_ > self._agreement.max_rounds:
            raise PolicyError(f"round {round_} is more than the agreement allows")
        try:
            self._journal.promise(round_, "open", digest)
        except JournalError as error:
            raise EquivocationError(name, "open", "opened this round in another way") from error
        if round_ == self._round:
            raise DuplicateError(name, "open", "this very round was opened before")
        task = self._agreement.tasks[find_task(self._agreement, opened.task)]
        context = round_context(
            self._agreement, self._digest, round_, task, opened.round_in_task, digest
        )
        tools = self._tools
        facts = opening_context(self._agreement, context, task, tools.key, opened.model)
        self._leave("a new round was opened")
        self._journal.put(ROUND_KEY, b"%d" % round_)
        self._round, self._role = round_, tools.trustee(facts)
        self._tell("round-opened", task=opened.task, round_in_task=opened.round_in_task)

    async def _answer(self, role: DecryptingParty, envelope: Envelope) -> None:
        answer, values = await asyncio.to_thread(role.receive_request, envelope)
        body = await asyncio.to_thread(self._record, role, answer, values)
        try:
            await self._talk.send(body)
        except TransportError as error:
            self._tell("unsent", peer=self._talk.coordinator, reason=str(error))
            return
        self._tell("decrypted", bytes=len(body))

    def _record(self, role: DecryptingParty, answer: Envelope, values: bytes) -> bytes:
        # One product in this round and no other, also after a restart.
        if role.promise is not None:
            self._journal.promise(answer.round, "open-product", role.promise)
        digest = hashlib.sha256(answer.payload).digest()
        self._journal.promise(answer.round, answer.step, digest)
        return encode(Packet(answer, memoryview(values)))

    def _require(self, envelope: Envelope) -> DecryptingParty:
        if self._role is None or envelope.round != self._round:
            raise UnexpectedMessageError(
                envelope.sender, envelope.step, f"we take no part in round {envelope.round}"
            )
        return self._role

    def _leave(self, reason: str) -> None:
        if self._role is not None:
            self._role.withdraw(reason)
            self._role = None

    def _tell(self, name: str, **detail: Detail) -> None:
        self._report(Event(name, self._round, detail))
