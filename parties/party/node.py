"""The party node: answers the coordinator under the agreement that it signed, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from parties.party.participation import Opening, Participation
from parties.party.ports import ClientEvent, PartyJournal, PartyLink
from parties.party.trainer import Trainer
from parties.reporting import Detail, Event, Report, log_event
from parties.transport.events import Connected, Disconnected, Message, Refused, SessionLost
from protocols.admission import Progress, admit, find_task
from protocols.agreement import SignedAgreement, Task
from protocols.errors import (
    JournalError,
    MisuseError,
    PeerError,
    SecureFedError,
    TransportError,
    UnexpectedMessageError,
    WireError,
)
from protocols.identity import NO_ROUND, Envelope, Identity
from protocols.prg import RandomBytes
from protocols.rounds import (
    STEPS,
    RoundAborted,
    RoundOpen,
    RoundResult,
    RunEnded,
    Withdrawal,
    seal,
    shorten,
)
from protocols.signed import open_signed
from protocols.wire import Packet, decode_packet, encode

A = TypeVar("A")
R = TypeVar("R")
M = TypeVar("M", bound=msgspec.Struct)
PROGRESS_KEY: Final = "progress"
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
        report: Report = log_event,
        patience_seconds: float = 3600.0,
    ) -> None:
        """Prepare a node.

        Args:
            signed: the agreement in force; messages of any other are refused.
            identity: our signing key, named in the agreement.
            link: stream to the coordinator.
            journal: durable promises and progress, for this agreement alone.
            trainer: computes updates from our data.
            random: cryptographically secure random bytes.
            report: told what happens.
            patience_seconds: how long to wait for a coordinator that says nothing at all.

        Raises:
            AgreementError: the agreement does not name us.
        """
        signed.agreement.party_index(identity.name)
        self._agreement, self._digest = signed.agreement, signed.digest
        self._coordinator = signed.agreement.verify_key(signed.agreement.coordinator.name)
        self._identity, self._link, self._journal = identity, link, journal
        self._trainer, self._random, self._report = trainer, random, report
        self._patience = patience_seconds
        self._progress = self._load_progress()
        self._current: Participation | None = None
        self._training: asyncio.Task[None] | None = None
        # One thread: a late training must not run beside the next round's on the same data.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="training")

    def _load_progress(self) -> Progress:
        stored = self._journal.get(PROGRESS_KEY)
        if stored is None:
            return Progress()
        # A result may have been published while we were down, so its model is not known any more.
        loaded = msgspec.msgpack.decode(stored, type=Progress)
        return msgspec.structs.replace(loaded, model=None)

    async def run(self) -> RunEnded:
        """Take part until the coordinator says that the run ended.

        Raises:
            TransportError: the coordinator refuses us, or was silent for too long.
            JournalError: our state cannot be written.
        """
        await self._link.start()
        try:
            while True:
                ended = await self._handle(await self._next_event())
                if ended is not None:
                    return ended
        finally:
            await self._stop_training()
            self._pool.shutdown(wait=False, cancel_futures=True)
            await self._link.stop()

    async def _next_event(self) -> ClientEvent:
        try:
            return await asyncio.wait_for(self._link.next_event(), self._patience)
        except TimeoutError as error:
            raise TransportError(
                f"{self._coordinator.name} was silent for {self._patience:g} seconds; "
                "ask its operator, then start this node again"
            ) from error

    async def _handle(self, event: ClientEvent) -> RunEnded | None:
        match event:
            case Connected():
                self._tell("connected", peer=event.peer, resumed=event.resumed)
            case Disconnected():
                self._tell("disconnected", peer=event.peer, reason=event.reason)
            case SessionLost():
                await self._leave("the coordinator restarted")
            case Refused():
                raise event.error
            case Message():
                return await self._hear(event.body)
        return None

    async def _hear(self, body: memoryview) -> RunEnded | None:
        round_ = self._progress.round
        try:
            packet = decode_packet(
                body,
                party=self._coordinator.name,
                max_bytes=self._agreement.aggregation.max_message_bytes,
            )
            round_ = packet.envelope.round
            return await self._dispatch(packet)
        except (MisuseError, JournalError):
            raise
        except PeerError as error:
            self._tell("refused", peer=error.party, step=error.step, reason=error.reason)
            await self._withdraw(round_, error.step, f"{type(error).__name__} at {error.step}")
        except SecureFedError as error:
            self._tell("refused", peer=self._coordinator.name, step="open", reason=str(error))
            await self._withdraw(round_, "open", type(error).__name__)
        return None

    async def _dispatch(self, packet: Packet) -> RunEnded | None:
        envelope = packet.envelope
        match envelope.step:
            case "open":
                await self._open(packet)
            case "roster" | "survivors" | "confirmations":
                await self._answer(envelope)
            case "deliver":
                self._deliver(envelope)
            case "abort":
                await self._aborted(envelope)
            case "result":
                self._result(packet)
            case "end":
                return self._verified(envelope, RunEnded, NO_ROUND)
            case _:
                raise UnexpectedMessageError(
                    envelope.sender, envelope.step, "no message that a coordinator sends"
                )
        return None

    def _verified(self, envelope: Envelope, kind: type[M], round_: int) -> M:
        return open_signed(
            envelope,
            kind,
            step=STEPS[kind],
            signer=self._coordinator,
            agreement=self._digest,
            round_=round_,
            max_bytes=self._agreement.aggregation.max_message_bytes,
        )

    async def _open(self, packet: Packet) -> None:
        envelope = packet.envelope
        opened = self._verified(envelope, RoundOpen, envelope.round)
        model = bytes(packet.attachment)
        if not hmac.compare_digest(hashlib.sha256(model).digest(), opened.model):
            raise WireError(envelope.sender, "open", "the model is not the one that was signed")
        await self._leave("a new round was opened")
        task = self._agreement.tasks[find_task(self._agreement, opened.task)]
        initial = await self._in_thread(self._initial_digest, task)
        admitted = admit(self._progress, self._agreement, envelope.round, opened, initial)
        # Durable before the first word: this round number can never be used against us again.
        self._remember(admitted.progress)
        opening = Opening(envelope.round, task, opened.round_in_task, model, opened.model)
        current = Participation(
            self._agreement, self._digest, opening, self._identity, self._journal, self._random
        )
        self._current = current
        self._tell("round-opened", task=task.name, round_in_task=opened.round_in_task)
        await self._link.send(current.advertise())

    def _initial_digest(self, task: Task) -> bytes | None:
        model = self._trainer.initial_model(task)
        return None if model is None else hashlib.sha256(model).digest()

    async def _answer(self, envelope: Envelope) -> None:
        current = self._participating(envelope)
        if current is None:
            return
        await self._link.send(current.answer(envelope))
        self._tell(ANSWERED[envelope.step])

    def _deliver(self, envelope: Envelope) -> None:
        current = self._participating(envelope)
        if current is None:
            return
        for fault in current.role.receive_delivery(envelope):
            self._tell("refused", peer=fault.party, step=fault.step, reason=fault.reason)
        self._tell("training", task=current.opening.task.name)
        self._training = asyncio.create_task(self._train_and_submit(current))

    async def _train_and_submit(self, current: Participation) -> None:
        opening = current.opening
        try:
            body = await self._in_thread(self._compute, current)
            if self._current is current:
                await self._link.send(body)
                self._tell("submitted", bytes=len(body))
        except SecureFedError as error:
            self._tell("refused", peer=self._identity.name, step="submit", reason=str(error))
            await self._withdraw(opening.round, "submit", f"{type(error).__name__} at submit")
        except Exception as error:  # noqa: BLE001 - user code may raise anything; the round goes on
            # The text of a foreign exception may quote the data; its type may be told.
            self._tell("training-failed", task=opening.task.name, reason=type(error).__name__)
            await self._withdraw(opening.round, "submit", "the local training failed")

    def _compute(self, current: Participation) -> bytes:
        opening = current.opening
        values = self._trainer.update(opening.task, opening.model, opening.round_in_task)
        return current.submit(values)

    async def _aborted(self, envelope: Envelope) -> None:
        message = self._verified(envelope, RoundAborted, self._progress.round)
        await self._leave(f"aborted at {message.step}")
        self._remember(self._progress.aborted())
        self._tell("round-aborted", step=message.step, reason=message.reason)

    def _result(self, packet: Packet) -> None:
        envelope = packet.envelope
        message = self._verified(envelope, RoundResult, self._progress.round)
        if message.done:
            model = bytes(packet.attachment)
            if not hmac.compare_digest(hashlib.sha256(model).digest(), message.model):
                raise WireError(envelope.sender, "result", "not the model that was signed")
            self._trainer.finished(self._agreement.tasks[self._progress.task], model)
        self._remember(self._progress.published(message.model, done=message.done))
        self._current = None
        self._tell("round-completed", survivors=message.survivors, task_done=message.done)

    def _participating(self, envelope: Envelope) -> Participation | None:
        """Find the round of a message; whoever takes the message checks its signature."""
        if self._current is not None and self._current.opening.round == envelope.round:
            return self._current
        if envelope.round != self._progress.round:
            raise UnexpectedMessageError(
                envelope.sender, envelope.step, f"we take no part in round {envelope.round}"
            )
        self._tell("ignored", step=envelope.step, reason="we left this round")
        return None

    async def _withdraw(self, round_: int, step: str, reason: str) -> None:
        """Tell the coordinator not to wait for us, if we are out of the round for good."""
        current = self._current
        if current is not None and (step == "submit" or current.role.state == "Withdrawn"):
            await self._leave(reason)
        elif step != "open" or round_ < 1:
            return
        envelope = seal(
            self._identity, self._digest, round_, Withdrawal(step[:32], shorten(reason))
        )
        await self._link.send(encode(Packet(envelope)))

    async def _leave(self, reason: str) -> None:
        if self._current is not None:
            self._current.role.withdraw(reason)
            self._current = None
        await self._stop_training()

    async def _stop_training(self) -> None:
        training, self._training = self._training, None
        if training is None or training is asyncio.current_task():
            return
        training.cancel()
        await asyncio.gather(training, return_exceptions=True)

    def _remember(self, progress: Progress) -> None:
        self._journal.put(PROGRESS_KEY, encode(progress))
        self._progress = progress

    def _in_thread(self, work: Callable[[A], R], argument: A) -> Awaitable[R]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work, argument)

    def _tell(self, name: str, **detail: Detail) -> None:
        self._report(Event(name, self._progress.round, detail))
