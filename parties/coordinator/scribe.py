"""Writes a round into the ledger, together with the rest of the coordinator's state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from parties.coordinator.keeper import LedgerKeeper
from parties.coordinator.ports import CoordinatorJournal
from parties.coordinator.round_plan import RoundPlan
from parties.coordinator.runbook import Runbook
from parties.coordinator.strategy import Strategy
from parties.coordinator.witnesses import Witnesses
from protocols.errors import MisuseError
from protocols.identity import Envelope


class Scribe:
    """Implements :class:`parties.coordinator.round_plan.RoundLog`."""

    def __init__(
        self,
        journal: CoordinatorJournal,
        book: Runbook,
        keeper: LedgerKeeper,
        witnesses: Witnesses,
        strategy: Strategy,
        max_message_bytes: int,
    ) -> None:
        """Args: what the node is made of; longest message that the agreement allows."""
        self._journal, self._book, self._keeper = journal, book, keeper
        self._witnesses, self._strategy = witnesses, strategy
        self._max_bytes = max_message_bytes
        self.bring_up_to_date = witnesses.bring_up_to_date
        self.take = witnesses.take
        self.hold = keeper.hold
        self.flush = keeper.flush

    def begin(self, plan: RoundPlan, model: bytes, invited: Sequence[int]) -> Envelope:
        """Use up the round's number and record its intent, together; return the opening."""
        clip_norm = self._strategy.clip_norm(plan.task, plan.model)
        with self._journal.transaction():
            progress = self._book.begin_round(plan.model)
            if progress.round != plan.round:
                raise MisuseError(f"round {plan.round} was planned, {progress.round} begins")
            envelope = self._keeper.open(
                plan.round, plan.task, plan.round_in_task, model, invited, clip_norm
            )
            digest = hashlib.sha256(envelope.payload).digest()
            self._journal.promise(plan.round, envelope.step, digest)
        return envelope

    def check_statement(self, envelope: Envelope) -> None:
        """Raise PeerError if a submission commits to anything but the intent."""
        self._keeper.check_statement(envelope, self._max_bytes)
