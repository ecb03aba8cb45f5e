"""Whether a round may begin here: what the agreement says, and what this node can do now."""

from __future__ import annotations

import asyncio
import hashlib

from parties.attachments import read_attachment
from parties.party.history import History
from parties.party.ledger_copy import LedgerCopy
from parties.party.participation import Opening
from parties.party.ports import PartyCipher
from parties.party.purse import Purse
from parties.party.seat import Seat
from parties.party.trainer import Trainer
from protocols.admission import Admitted, find_task
from protocols.agreement import Agreement, Task
from protocols.errors import (
    DuplicateError,
    InputError,
    MisuseError,
    PolicyError,
    SecureFedError,
)
from protocols.identity import Identity
from protocols.intent import Terms, intent_digest, terms_of
from protocols.rounds import RoundOpen
from protocols.wire import Packet


def require_place(agreement: Agreement, identity: Identity, cipher: PartyCipher | None) -> None:
    """Check that a party can take part under an agreement at all.

    Raises:
        AgreementError: it does not name us.
        MisuseError: it has another key under our name; or a cipher is missing, or not needed.
    """
    agreement.party_index(identity.name)
    if agreement.verify_key(identity.name).raw != identity.public.raw:
        raise MisuseError(f"this is not the key of {identity.name} that the agreement names")
    if (cipher is None) != (agreement.paillier is None):
        raise MisuseError("a cipher is given exactly where the agreement encrypts")


class Gatekeeper:
    """Decides; remembers nothing but the initial model of each task, which never changes."""

    def __init__(
        self,
        agreement: Agreement,
        history: History,
        ledger: LedgerCopy,
        trainer: Trainer,
        seat: Seat,
        purse: Purse,
    ) -> None:
        """Args: the agreement in force; what was; who trains; the round that is; the budget."""
        self._agreement, self._history, self._purse = agreement, history, purse
        self._ledger = ledger
        self._trainer, self._seat = trainer, seat
        self._initial: dict[str, bytes | None] = {}

    async def admit(self, packet: Packet, opened: RoundOpen) -> tuple[Admitted, Opening]:
        """Check a proposed round, its signature checked before, and charge for it.

        The charge is for the intent and durable before anything is computed: a round that is
        aborted has been charged, for it may have leaked.

        Raises:
            DuplicateError, EquivocationError, ReplayError, PolicyError, ModelMismatchError: see
                :func:`protocols.admission.admit`; PolicyError also while we are still busy.
            WireError: the attached model is not the one that was signed; nothing was charged.
            LedgerError: the intent does not follow from our copy of the ledger, or its last
                checkpoint does not contain our last commit; nothing was charged.
            InputError: the initial model cannot be computed here.
            BudgetExceededError: the round would pass the privacy budget.
            JournalError: the charge cannot be written down.
        """
        round_ = packet.envelope.round
        task = self._agreement.tasks[find_task(self._agreement, opened.task)]
        try:
            admitted = self._history.admit(round_, opened, await self._initial_digest(task))
        except DuplicateError:
            self._ledger.require_same(packet.envelope)
            raise
        if self._seat.overdue:
            raise PolicyError("the last training has not ended; this round is left out")
        model = await read_attachment(packet, opened.model)
        terms = await asyncio.to_thread(self._own_terms, task, model)
        if opened.terms != terms:
            raise PolicyError(f"round {round_} states other terms than the agreement and its model")
        await asyncio.to_thread(self._ledger.admit, packet.envelope, opened)
        await asyncio.to_thread(self._purse.charge, task)
        intent = intent_digest(packet.envelope.payload)
        return admitted, Opening(
            round_, task, opened.round_in_task, model, opened.model, intent, terms
        )

    def _own_terms(self, task: Task, model: bytes) -> Terms | None:
        if self._agreement.privacy.mechanism == "none":
            return None
        return terms_of(self._agreement, task, self._trainer.clip_norm(task, model))

    async def _initial_digest(self, task: Task) -> bytes | None:
        if task.name not in self._initial:
            self._initial[task.name] = await asyncio.to_thread(_digest_of, self._trainer, task)
        return self._initial[task.name]


def _digest_of(trainer: Trainer, task: Task) -> bytes | None:
    try:
        model = trainer.initial_model(task)
    except SecureFedError:
        raise
    except Exception as error:
        raise InputError(
            f"the initial model of task {task.name} cannot be computed: {type(error).__name__}"
        ) from error
    return None if model is None else hashlib.sha256(model).digest()
