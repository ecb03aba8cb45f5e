"""The coordinator node: runs the agreement's tasks round by round and survives its own crash."""

from __future__ import annotations

import asyncio
import time

from parties.coordinator.attendance import Attendance
from parties.coordinator.hearing import Room
from parties.coordinator.keeper import LedgerKeeper
from parties.coordinator.membership import Membership
from parties.coordinator.opened_sum import next_model
from parties.coordinator.outbound import MAX_QUEUED, Outbound
from parties.coordinator.ports import (
    CoordinatorCipher,
    CoordinatorJournal,
    CoordinatorLink,
    ServerEvent,
)
from parties.coordinator.progress import RESTART, RunReport
from parties.coordinator.publisher import Publisher
from parties.coordinator.round import RoundRunner
from parties.coordinator.round_plan import RoundPlan
from parties.coordinator.runbook import Runbook
from parties.coordinator.scribe import Scribe
from parties.coordinator.strategy import Strategy
from parties.coordinator.witnesses import Witnesses
from parties.mailbox import Mailbox
from parties.reporting import CalmReport, Detail, Event, Report, log_event
from protocols.agreement import SignedAgreement, Task
from protocols.errors import (
    BelowThresholdError,
    JournalError,
    MisuseError,
    NoResultError,
    SecureFedError,
    ShareError,
)
from protocols.identity import Identity
from protocols.masking.unmasking import AddMasks
from protocols.prg import add_masks
from protocols.rounds import RunEnded, round_context

MAX_ABORTS_IN_A_ROW = 3
"""Aborted rounds after which a run is given up: each costs privacy once noise is accounted for."""


class CoordinatorNode:
    """Runs every task of one agreement. Started again after a crash, it goes on where it was."""

    def __init__(
        self,
        signed: SignedAgreement,
        identity: Identity,
        link: CoordinatorLink,
        journal: CoordinatorJournal,
        strategy: Strategy,
        *,
        add: AddMasks = add_masks,
        cipher: CoordinatorCipher | None = None,
        report: Report = log_event,
        patience_seconds: float = 300.0,
        grace_seconds: float = 2.0,
        keep_every: int = 0,
    ) -> None:
        """Prepare a node.

        Args:
            signed: the agreement in force.
            identity: the coordinator's key, as the agreement names it.
            link: streams to the parties.
            journal: durable state, for this agreement alone.
            strategy: turns sums into models.
            add: mask expansion for unmasking; one that uses every core may be passed in.
            cipher: opens sums of ciphertexts, where the agreement encrypts.
            report: told what happens.
            patience_seconds: how long to wait for enough parties to connect.
            grace_seconds: how long a party that lost its connection is waited for in a round.
            keep_every: see :class:`parties.coordinator.runbook.Runbook`.

        Raises:
            MisuseError: another identity than the agreement's coordinator; or a cipher is missing,
                or not needed.
        """
        agreement = signed.agreement
        if identity.public.raw.hex() != agreement.coordinator.public_key:
            raise MisuseError("the key is not that of the agreement's coordinator")
        if (cipher is None) != (agreement.paillier is None):
            raise MisuseError("a cipher is given exactly where the agreement encrypts")
        self._agreement, self._digest, self._identity = agreement, signed.digest, identity
        self._link, self._journal, self._strategy, self._cipher = link, journal, strategy, cipher
        self._book = Runbook(journal, keep_every=keep_every)
        self._add, self._report, self._patience = add, CalmReport(report), patience_seconds
        self._names = [party.name for party in agreement.parties]
        self._deadline = agreement.aggregation.deadline_seconds
        self._mailbox: Mailbox[ServerEvent] = Mailbox(link)
        first = round_context(agreement, self._digest, 1, agreement.tasks[0], 1)
        self._min_roster = first.min_roster
        self._assemble(signed, min(grace_seconds, self._deadline))

    def _assemble(self, signed: SignedAgreement, grace: float) -> None:
        """Plug the parts of the node together."""
        agreement, identity, journal = self._agreement, self._identity, self._journal
        now, names = time.monotonic(), self._names
        self._membership = Membership(names, grace_seconds=grace, now=now)
        openers = [one.name for one in agreement.trustees if one.name not in names]
        holder = Membership(openers, grace_seconds=grace, now=now) if openers else None
        record = None if self._cipher is None else self._cipher.record
        self._keeper = LedgerKeeper(signed, identity, journal.ledger, record)
        # A trustee is sent the vector of every other party in one step.
        most = MAX_QUEUED if record is None else MAX_QUEUED + len(self._names)
        self._outbound = Outbound(self._link, self._unreachable, most_queued=most)
        here = (self._keeper, self._outbound, self._membership)
        us = (signed, identity, self._book)
        self._publisher = Publisher(*us, *here, holder=holder, tell=self._tell)
        greetings = self._publisher.greetings
        self._witnesses = Witnesses(signed, *here, greetings=greetings, tell=self._tell)
        parts = (journal, self._book, self._keeper, self._witnesses, self._strategy)
        self._scribe = Scribe(*parts, agreement.aggregation.max_message_bytes)
        self._attendance = Attendance(
            self._names,
            self._membership,
            self._outbound,
            self._mailbox,
            witnesses=self._witnesses,
            holder=holder,
            count_bytes=self._publisher.count_bytes,
            tell=self._tell,
        )
        self._room = Room(
            self._mailbox,
            self._scribe,
            self._membership,
            holder,
            self._attendance.note,
            self._publisher.count_bytes,
            agreement.verify_key,
            self._deadline,
        )

    async def run(self) -> RunReport:
        """Run until every task is finished.

        Raises:
            BelowThresholdError: too few parties connected, or three rounds in a row had too few.
            NoResultError: a task used up its rounds without a single sum.
            SecureFedError: anything else that ends the run; parties are told.
        """
        await asyncio.to_thread(self._keeper.begin)
        port = await self._link.start()
        self._tell("listening", port=port)
        try:
            if self._book.progress.open:
                await self._publisher.abort(
                    RESTART, "the coordinator was restarted in the middle of it", 0.0
                )
            await self._gather(0 if self._finished() else self._min_roster, everybody=True)
            await self._run_tasks()
            # Who lost its connection just now should hear the end.
            await self._gather(0, everybody=False)
            await self._conclude()
            await self._publisher.end("completed", "every task is finished")
        except SecureFedError as error:
            await self._publisher.end("failed", str(error))
            raise
        except Exception as error:
            reason = f"the coordinator broke down: {type(error).__name__}"
            await self._publisher.end("failed", reason)
            raise
        finally:
            await self._outbound.close()
            await self._mailbox.close()
            await self._link.stop()
        models = {task.name: self._book.final_model(task.name) for task in self._agreement.tasks}
        return RunReport(models, tuple(self._book.records), dict(self._publisher.bytes_up))

    async def _gather(self, need: int, *, everybody: bool) -> None:
        """Wait for the parties: all of them before the first round, later those lost just now."""
        await self._attendance.gather(
            need,
            everybody=everybody,
            hope_seconds=self._deadline,
            patience_seconds=self._patience,
        )

    async def _witness(self) -> None:
        """Have parties cosign the log until it ends with a checkpoint."""
        while not self._keeper.at_checkpoint:
            await self._attendance.cosign(
                deadline_seconds=self._deadline, patience_seconds=self._patience
            )

    async def _conclude(self) -> None:
        """Record that the run is over, have it witnessed, and give every party the whole log."""
        await self._witness()
        if not self._keeper.closed:
            await asyncio.to_thread(self._keeper.close, RunEnded("completed", ""))
            await self._witness()
        self._witnesses.bring_up_to_date(sorted(self._membership.connected))

    def _finished(self) -> bool:
        return len(self._book.progress.finals) == len(self._agreement.tasks)

    async def _run_tasks(self) -> None:
        tasks = self._agreement.tasks
        while True:
            progress = self._book.progress
            task = tasks[progress.task]
            if progress.done or progress.round_in_task >= task.rounds:
                self._require_result(task)
                if progress.task + 1 == len(tasks):
                    return
                await asyncio.to_thread(self._book.begin_task, progress.task + 1)
                continue
            await self._witness()
            await self._gather(self._min_roster, everybody=False)
            self._witnesses.require_current()
            await self._round(task)
            self._give_up_if_hopeless()

    def _require_result(self, task: Task) -> None:
        if not self._book.completed(task.name):
            raise NoResultError(
                f"task {task.name} used its {task.rounds} rounds without a single sum; see the "
                "reasons of the aborted rounds"
            )

    def _give_up_if_hopeless(self) -> None:
        if self._book.aborts_in_a_row() >= MAX_ABORTS_IN_A_ROW:
            raise NoResultError(
                f"{MAX_ABORTS_IN_A_ROW} rounds in a row were aborted, the last because: "
                f"{self._book.records[-1].reason}"
            )

    async def _round(self, task: Task) -> None:
        started = time.monotonic()
        model = self._book.model
        if model is None:
            model = await asyncio.to_thread(self._strategy.initial_model, task)
        progress = self._book.progress
        plan = RoundPlan(progress.round + 1, task, progress.round_in_task + 1, model)
        runner = RoundRunner(
            self._agreement,
            self._digest,
            self._identity,
            plan,
            room=self._room,
            min_roster=self._min_roster,
            outbound=self._outbound,
            journal=self._journal,
            add=self._add,
            cipher=self._cipher,
            report=self._report,
        )
        try:
            result = await runner.run()
            us = (self._agreement, self._strategy)
            reading, published = await asyncio.to_thread(next_model, *us, plan, result.aggregate)
        except (JournalError, MisuseError):
            raise
        except SecureFedError as error:
            if not self._keeper.in_round:
                raise  # nobody was told of it, so there is no round to abort
            step = error.step if isinstance(error, BelowThresholdError) else "sum"
            if isinstance(error, ShareError) and error.party in self._names:
                # It would spoil the next round as well, and each costs the others privacy.
                self._membership.bar(error.party, error.reason)
                self._tell("barred", peer=error.party, reason=error.reason)
            await self._publisher.abort(step, str(error), time.monotonic() - started)
            return
        seconds = time.monotonic() - started
        await self._publisher.publish(plan, result, reading, published, seconds)

    def _unreachable(self, name: str, reason: str) -> None:
        self._room.members(name).leave(name, reason)
        self._tell("left-round", peer=name, step="send", reason=reason)

    def _tell(self, name: str, **detail: Detail) -> None:
        self._report(Event(name, self._book.progress.round, detail))
