"""How rounds and tasks end at a party: what it is told, and what the ledger says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from parties.attachments import read_attachment
from parties.party.correspondence import Correspondence
from parties.party.history import History
from parties.party.ledger_copy import LedgerCopy
from parties.party.purse import Purse
from parties.party.seat import Seat
from parties.party.trainer import Trainer
from protocols.agreement import Agreement
from protocols.errors import EquivocationError, MisuseError
from protocols.identity import NO_ROUND, Envelope
from protocols.ledger.facts import RoundFacts
from protocols.rounds import FinalModel, RoundAborted, RoundResult
from protocols.wire import Packet


class Endings:
    """Each raises what it refuses, and what it takes is durable when it returns."""

    def __init__(
        self,
        agreement: Agreement,
        talk: Correspondence,
        ledger: LedgerCopy,
        history: History,
        purse: Purse,
        seat: Seat,
        trainer: Trainer,
        *,
        tell: Callable[..., None],
    ) -> None:
        """Args: the agreement in force, and what the node is made of."""
        self._agreement, self._talk, self._ledger = agreement, talk, ledger
        self._history, self._purse, self._seat = history, purse, seat
        self._trainer, self._tell = trainer, tell

    async def take(self, packet: Packet) -> bytes:
        """Take one such message; return what is to be said to it, which may be nothing."""
        envelope = packet.envelope
        match envelope.step:
            case "extend":
                return await self._extended(envelope)
            case "abort":
                self._aborted(envelope)
            case "result":
                self._result(envelope)
            case "final":
                await self._final(packet)
            case _:
                raise MisuseError(f"{envelope.step} ends nothing")
        return b""

    def _aborted(self, envelope: Envelope) -> None:
        """The round ended without a sum."""
        message = self._talk.verified(envelope, RoundAborted, self._history.progress.round)
        self._history.aborted()
        self._seat.leave(f"aborted at {message.step}")
        self._tell("round-aborted", step=message.step, reason=message.reason)

    def _result(self, envelope: Envelope) -> None:
        """The round has a sum."""
        message = self._talk.verified(envelope, RoundResult, self._history.progress.round)
        self._history.published(message)
        self._seat.leave("the round has a result")
        self._tell("round-completed", survivors=len(message.survivors), task_done=message.done)

    async def _final(self, packet: Packet) -> None:
        """A task is over, and its model is attached."""
        message = self._talk.verified(packet.envelope, FinalModel, NO_ROUND)
        task = self._agreement.tasks[self._history.check_final(message)]
        model = await read_attachment(packet, message.model)
        await asyncio.to_thread(self._trainer.finished, task, model)
        self._history.finished(message)
        self._tell("model-received", task=message.task)

    async def _extended(self, envelope: Envelope) -> bytes:
        """The ledger goes on."""
        most = self._agreement.aggregation.max_message_bytes
        before = len(self._ledger.rounds)
        try:
            try:
                return await asyncio.to_thread(self._ledger.extend, envelope, most)
            finally:
                # A head that is refused leaves the leaves before it in our copy.
                self._learn(self._ledger.rounds[before:])
        except EquivocationError as error:
            self._ledger.denounce(error.reason, envelope)
            if self._seat.current is not None:
                self._seat.current.leave("the coordinator contradicts itself")
            raise

    def recall(self) -> None:
        """Take over what our copy of the ledger says, as a node that was started again."""
        try:
            self._learn(self._ledger.rounds)
        except EquivocationError as error:
            self._ledger.denounce(error.reason, None)
            self._tell("refused", peer=error.party, step=error.step, reason=error.reason)

    def _learn(self, rounds: Sequence[RoundFacts]) -> None:
        """Take over what the ledger says of rounds that ended, told or not, forgotten or not."""
        history = self._history
        owed = self._ledger.owed(self._purse.charged, history.progress, history.declined)
        if self._purse.at_least(owed):
            self._tell("charged-from-ledger")
        self._ledger.require_confirmed(rounds)
        self._history.learn(rounds)
        current = self._seat.current
        if current is not None and any(one.round == current.opening.round for one in rounds):
            self._seat.leave("the ledger says that the round is over")
