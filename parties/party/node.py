"""The party node: answers the coordinator under the agreement that it signed, and nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from parties.attachments import require_bare
from parties.mailbox import Mailbox
from parties.party.correspondence import Correspondence
from parties.party.endings import Endings
from parties.party.gatekeeper import Gatekeeper, require_place
from parties.party.history import History
from parties.party.ledger_copy import LedgerCopy
from parties.party.participation import Participation
from parties.party.ports import ClientEvent, PartyCipher, PartyJournal, PartyLink
from parties.party.purse import Purse
from parties.party.seat import Seat
from parties.party.trainer import Trainer
from parties.party.training import NO_UPDATE, Failed
from parties.reporting import CalmReport, Detail, Event, Report, log_event
from parties.transport.events import Connected, Disconnected, Message, Refused, SessionLost
from protocols.agreement import SignedAgreement
from protocols.errors import (
    DuplicateError,
    EquivocationError,
    JournalError,
    LedgerError,
    MisuseError,
    PeerError,
    SecureFedError,
    TransportError,
    UnexpectedMessageError,
)
from protocols.identity import NO_ROUND, Envelope, Identity
from protocols.prg import RandomBytes
from protocols.rounds import RoundOpen, RunEnded
from protocols.wire import Packet

ANSWERED: Final = {"roster": "shared", "survivors": "confirmed", "confirmations": "unmasked"}


class PartyNode:
    """One company's node. It holds no round secret on disk: a restart leaves the current round."""

    def __init__(
        self,
        signed: SignedAgreement,
        identity: Identity,
        link: PartyLink,
        journal: PartyJournal,
        trainer: Trainer,
        *,
        random: RandomBytes,
        cipher: PartyCipher | None = None,
        report: Report = log_event,
        patience_seconds: float = 3600.0,
        epsilon_ceiling: float | None = None,
        answer_after_seconds: float = 0.0,
    ) -> None:
        """Prepare a node.

        Args:
            signed: the agreement in force; messages of any other are refused.
            identity: our signing key, named in the agreement.
            link: stream to the coordinator.
            journal: durable promises and progress, for this agreement and party alone.
            trainer: computes updates from our data.
            random: cryptographically secure random bytes.
            cipher: encrypts and opens, where the agreement encrypts.
            report: told what happens.
            patience_seconds: how long to wait for a coordinator that says nothing at all, beyond
                the agreed deadline of a step.
            epsilon_ceiling: our own limit on epsilon, if it is lower than the agreed one.
            answer_after_seconds: least time from the start of a training to its answer.

        Raises:
            AgreementError, MisuseError: as :func:`parties.party.gatekeeper.require_place`.
        """
        agreement = signed.agreement
        require_place(agreement, identity, cipher)
        self._agreement, self._digest = agreement, signed.digest
        self._identity, self._link, self._journal, self._cipher = identity, link, journal, cipher
        self._trainer, self._random, self._report = trainer, random, CalmReport(report)
        self._talk = Correspondence(signed, identity, link)
        self._seat = Seat(trainer, agreement.aggregation.deadline_seconds, answer_after_seconds)
        self._patience = patience_seconds + self._seat.deadline_seconds
        self._heard = time.monotonic()
        self._history = History(agreement, journal)
        self._purse = Purse(agreement, identity.name, journal, epsilon_ceiling)
        record = None if cipher is None else cipher.record
        self._ledger = LedgerCopy(signed, identity, journal, record)
        kept = (self._history, self._ledger)
        self._gate = Gatekeeper(agreement, *kept, trainer, self._seat, self._purse)
        parts = (self._talk, self._ledger, self._history, self._purse, self._seat)
        self._endings = Endings(agreement, *parts, trainer, tell=self._tell)
        self._mailbox: Mailbox[ClientEvent] = Mailbox(link)

    @property
    def missing_models(self) -> tuple[str, ...]:
        """Names of the tasks whose final model the coordinator has not given us."""
        return self._history.missing()

    async def run(self) -> RunEnded:
        """Take part until the coordinator says that the run ended.

        Raises:
            TransportError: the coordinator refuses us, or was silent for too long.
            JournalError: our state cannot be written; nothing was said that is not on record.
        """
        self._endings.recall()
        await self._link.start()
        self._heard = time.monotonic()
        try:
            while True:
                # Without a name here, a message is gone before the next one is waited for.
                ended = await self._handle(await self._next_event())
                if ended is not None:
                    return ended
                await self._look_at_training()
        finally:
            self._seat.close()
            await self._mailbox.close()
            await self._link.stop()

    async def _next_event(self) -> ClientEvent | None:
        now = time.monotonic()
        left = self._heard + self._patience - now
        if left <= 0:
            raise TransportError(
                f"{self._talk.coordinator} was silent for {self._patience:g} seconds; "
                "ask its operator, then start this node again"
            )
        job = self._seat.job
        if job is None:
            return await self._mailbox.next(left)
        return await self._mailbox.next(min(left, job.ends - now), job.outcome)

    async def _handle(self, event: ClientEvent | None) -> RunEnded | None:
        match event:
            case None:
                return None
            case Connected():
                self._heard = time.monotonic()
                self._tell("connected", peer=event.peer, resumed=event.resumed)
                if not event.resumed:
                    await self._send(self._ledger.holding())
            case Disconnected():
                self._tell("disconnected", peer=event.peer, reason=event.reason)
            case SessionLost():
                self._seat.leave("the coordinator restarted")
            case Refused():
                raise event.error
            case Message():
                self._heard = time.monotonic()
                return await self._hear(event.body)
        return None

    async def _hear(self, body: memoryview) -> RunEnded | None:
        try:
            packet = self._talk.packet(body)
            return await self._dispatch(packet)
        except (MisuseError, JournalError):
            raise
        except DuplicateError as error:
            self._tell("ignored", peer=error.party, step=error.step, reason=error.reason)
        except PeerError as error:
            self._tell("refused", peer=error.party, step=error.step, reason=error.reason)
            if self._seat.out:
                await self._quit(error.step, type(error).__name__)
        except SecureFedError as error:
            self._tell("refused", peer=self._talk.coordinator, reason=str(error))
        return None

    async def _dispatch(self, packet: Packet) -> RunEnded | None:
        envelope = packet.envelope
        if envelope.step not in {"open", "final", "encrypt"}:
            require_bare(packet)
        match envelope.step:
            case "open":
                await self._open(packet)
            case "roster" | "survivors" | "confirmations" | "open-product":
                await self._answer(envelope)
            case "encrypt":
                await self._take_vector(packet)
            case "deliver":
                await self._deliver(envelope)
            case "extend" | "abort" | "result" | "final":
                if answer := await self._endings.take(packet):
                    await self._send(answer)
            case "end":
                return self._talk.verified(envelope, RunEnded, NO_ROUND)
            case _:
                raise UnexpectedMessageError(
                    envelope.sender, envelope.step, "no message that a coordinator sends"
                )
        return None

    async def _open(self, packet: Packet) -> None:
        envelope = packet.envelope
        opened = self._talk.verified(envelope, RoundOpen, max(1, envelope.round))
        try:
            admitted, opening = await self._gate.admit(packet, opened)
        except (DuplicateError, MisuseError, JournalError):
            raise
        except SecureFedError as error:
            if isinstance(error, EquivocationError):
                self._seat.leave("the coordinator contradicts itself")
            if not isinstance(error, LedgerError):  # else our own memory may be too old to tell
                self._history.decline(envelope.round)
            await self._send(self._talk.withdrawal(envelope.round, "open", type(error).__name__))
            raise
        self._seat.leave("a new round was opened")
        # Durable before the first word: this round number can never be used against us again.
        self._history.begin(admitted)
        us = (self._identity, self._journal, self._random, self._cipher)
        current = Participation(self._agreement, self._digest, opening, *us)
        self._seat.take(current)
        self._tell("round-opened", task=opened.task, round_in_task=opened.round_in_task)
        if advertised := current.begin(opened.invited):
            await self._send(advertised)
        else:
            self._train(current)

    async def _answer(self, envelope: Envelope) -> None:
        current = self._participating(envelope)
        if current is not None and await self._send(
            await asyncio.to_thread(current.answer, envelope)
        ):
            self._tell(ANSWERED.get(envelope.step, "decrypted"))

    async def _deliver(self, envelope: Envelope) -> None:
        current = self._participating(envelope)
        if current is None:
            return
        for fault in await asyncio.to_thread(current.role.receive_delivery, envelope):
            self._tell("refused", peer=fault.party, step=fault.step, reason=fault.reason)
        self._train(current)

    def _train(self, current: Participation) -> None:
        self._tell("training", task=current.opening.task.name)
        self._seat.train()

    async def _take_vector(self, packet: Packet) -> None:
        current = self._participating(packet.envelope)
        if current is not None:
            await asyncio.to_thread(current.receive_vector, packet)

    def _participating(self, envelope: Envelope) -> Participation | None:
        current = self._seat.of_round(envelope, self._history.progress.round)
        if current is None:
            self._tell("ignored", step=envelope.step, reason="we left this round")
        return current

    async def _look_at_training(self) -> None:
        """Send what the training came to, or leave the round when it takes too long."""
        outcome = self._seat.outcome()
        match outcome:
            case tuple():
                for reason in self._seat.failures:
                    self._tell("training-failed", peer=self._identity.name, reason=reason)
                if all([await self._send(packet) for packet in outcome]):
                    self._tell("submitted", bytes=sum(map(len, outcome)))
            case Failed():
                await self._training_failed(outcome)
            case None if self._seat.late:
                self._tell("training-late", seconds=self._seat.deadline_seconds)
                await self._quit("submit", NO_UPDATE)
            case _:
                pass

    async def _training_failed(self, failed: Failed) -> None:
        if isinstance(failed.error, JournalError):
            raise failed.error
        name = "training-failed" if failed.error is None else "refused"
        self._tell(name, peer=self._identity.name, step="submit", reason=failed.reason)
        await self._quit("submit", NO_UPDATE)

    async def _quit(self, step: str, reason: str) -> None:
        """Leave the current round, and say so."""
        current = self._seat.current
        if current is not None:
            self._seat.leave(reason)
            await self._send(self._talk.withdrawal(current.opening.round, step, reason))

    async def _send(self, body: bytes) -> bool:
        try:
            await self._talk.send(body)
        except TransportError as error:
            # The session is gone, and with it all that the coordinator did not take yet.
            self._seat.leave("what we said could not be sent")
            self._tell("unsent", peer=self._talk.coordinator, reason=str(error))
            return False
        return True

    def _tell(self, name: str, **detail: Detail) -> None:
        self._report(Event(name, self._history.progress.round, detail))
