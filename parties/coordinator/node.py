"""The coordinator node: runs the agreement's tasks round by round and survives its own crash."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from parties.coordinator.mailbox import Mailbox
from parties.coordinator.membership import Membership
from parties.coordinator.ports import CoordinatorJournal, CoordinatorLink
from parties.coordinator.progress import RoundRecord
from parties.coordinator.round import RoundPlan, RoundRunner, RoundSum, note_connection
from parties.coordinator.runbook import Runbook
from parties.coordinator.strategy import Published, Strategy
from parties.reporting import Detail, Event, Report, log_event
from parties.transport.events import Message
from protocols.agreement import SignedAgreement, Task
from protocols.errors import (
    BelowThresholdError,
    JournalError,
    MisuseError,
    NoResultError,
    SecureFedError,
    TransportError,
)
from protocols.identity import Envelope, Identity
from protocols.masking.unmasking import AddMasks
from protocols.prg import add_masks
from protocols.rounds import RoundAborted, RoundResult, RunEnded, round_context, seal, shorten
from protocols.wire import Packet, encode

MAX_ABORTS_IN_A_ROW = 3
"""Aborted rounds after which a run is given up: each costs privacy once noise is accounted for."""


_DRAIN_SECONDS = 0.005
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run came to.

    Attributes:
        models: final model of every task, by name.
        records: every round that ended, in order.
        bytes_up: bytes received from each party.
    """

    models: dict[str, bytes] = field(repr=False)
    records: tuple[RoundRecord, ...]
    bytes_up: dict[str, int]


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
        report: Report = log_event,
        patience_seconds: float = 300.0,
        grace_seconds: float = 2.0,
    ) -> None:
        """Prepare a node.

        Args:
            signed: the agreement in force.
            identity: the coordinator's key, as the agreement names it.
            link: streams to the parties.
            journal: durable state, for this agreement alone.
            strategy: turns sums into models.
            add: mask expansion for unmasking; one that uses every core may be passed in.
            report: told what happens.
            patience_seconds: how long to wait for enough parties to connect.
            grace_seconds: how long a party that lost its connection is waited for in a round.

        Raises:
            MisuseError: another identity than the agreement's coordinator.
        """
        agreement = signed.agreement
        if identity.public.raw.hex() != agreement.coordinator.public_key:
            raise MisuseError("the key is not that of the agreement's coordinator")
        self._agreement, self._digest, self._identity = agreement, signed.digest, identity
        self._link, self._journal, self._strategy = link, journal, strategy
        self._add, self._report, self._patience = add, report, patience_seconds
        self._names = [party.name for party in agreement.parties]
        self._mailbox = Mailbox(link)
        self._membership = Membership(
            self._names,
            grace_seconds=min(grace_seconds, agreement.aggregation.deadline_seconds),
            now=time.monotonic(),
        )
        self._book = Runbook(journal)
        self._bytes_up = Counter(self._book.progress.bytes_up)
        self._min_roster = round_context(agreement, signed.digest, 1, agreement.tasks[0]).min_roster

    async def run(self) -> RunReport:
        """Run until every task is finished.

        Raises:
            BelowThresholdError: too few parties connected, or three rounds in a row had too few.
            NoResultError: a task used up its rounds without a single sum.
            SecureFedError: anything else that ends the run; parties are told.
        """
        port = await self._link.start()
        self._tell("listening", port=port)
        try:
            await self._recover()
            await self._gather(first=True)
            await self._run_tasks()
            await self._end("completed", "every task is finished")
        except SecureFedError as error:
            await self._end("failed", str(error))
            raise
        finally:
            await self._mailbox.close()
            await self._link.stop()
        models = {task.name: self._book.final_model(task.name) for task in self._agreement.tasks}
        return RunReport(models, tuple(self._book.records), dict(self._bytes_up))

    async def _recover(self) -> None:
        if self._book.progress.open:
            await self._abort("restart", "the coordinator was restarted in the middle of it", 0.0)

    async def _gather(self, *, first: bool) -> None:
        """Take note of who came and went; wait until enough parties are connected for a round.

        Before the first round everybody is waited for up to the deadline. Later a party that has
        been gone for longer than the grace is not.
        """
        start = time.monotonic()
        deadline = self._agreement.aggregation.deadline_seconds
        patience = self._patience if first else deadline
        pause = _DRAIN_SECONDS
        while True:
            event = await self._mailbox.next(pause)
            now = time.monotonic()
            if event is not None:
                # A message between two rounds is late: nobody waits for it any more.
                if not isinstance(event, Message):
                    note_connection(event, self._membership, now, self._tell)
                continue
            have, waited = len(self._membership.connected), now - start
            hoped = first or self._membership.next_expiry(self._names, now) is not None
            if have == len(self._names):
                return
            if have >= self._min_roster and (not hoped or waited >= deadline):
                return
            if waited >= patience:
                if first:
                    raise BelowThresholdError("connect", have=have, need=self._min_roster)
                return
            pause = _POLL_SECONDS

    async def _run_tasks(self) -> None:
        tasks = self._agreement.tasks
        while True:
            progress = self._book.progress
            task = tasks[progress.task]
            if progress.done or progress.round_in_task >= task.rounds:
                self._require_result(task)
                if progress.task + 1 == len(tasks):
                    return
                self._book.begin_task(progress.task + 1)
                continue
            await self._round(task)
            self._give_up_if_hopeless()
            await self._gather(first=False)

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
        progress = self._book.begin_round(model)
        plan = RoundPlan(progress.round, task, progress.round_in_task, model)
        runner = RoundRunner(
            self._agreement,
            self._digest,
            self._identity,
            plan,
            link=self._link,
            mailbox=self._mailbox,
            journal=self._journal,
            membership=self._membership,
            add=self._add,
            report=self._report,
            count_bytes=lambda name, count: self._bytes_up.update({name: count}),
        )
        try:
            result = await runner.run()
            total = await asyncio.to_thread(
                self._agreement.codec(task).decode, result.aggregate.total
            )
            published = await asyncio.to_thread(
                self._strategy.combine, task, model, total, plan.round_in_task
            )
        except (JournalError, MisuseError):
            raise
        except SecureFedError as error:
            step = error.step if isinstance(error, BelowThresholdError) else "sum"
            await self._abort(step, str(error), time.monotonic() - started)
            return
        await self._publish(plan, result, published, time.monotonic() - started)

    async def _publish(
        self, plan: RoundPlan, result: RoundSum, published: Published, seconds: float
    ) -> None:
        record = RoundRecord(
            plan.round,
            plan.task.name,
            plan.round_in_task,
            "completed",
            survivors=tuple(self._names[number] for number in result.aggregate.survivors),
            lost=result.lost,
            metrics=published.metrics,
            seconds=seconds,
        )
        done = published.done or plan.round_in_task >= plan.task.rounds
        self._book.end_round(
            record, done=done, bytes_up=dict(self._bytes_up), model=published.model
        )
        digest = hashlib.sha256(published.model).digest()
        message = RoundResult(digest, len(record.survivors), done)
        envelope = seal(self._identity, self._digest, plan.round, message)
        await self._broadcast(envelope, published.model if done else b"")
        self._tell(
            "round-completed",
            task=record.task,
            round_in_task=record.round_in_task,
            survivors=list(record.survivors),
            lost=list(record.lost),
            metrics=published.metrics,
            seconds=round(seconds, 3),
            task_done=done,
        )

    async def _abort(self, step: str, reason: str, seconds: float) -> None:
        progress = self._book.progress
        task = self._agreement.tasks[progress.task]
        record = RoundRecord(
            progress.round,
            task.name,
            progress.round_in_task,
            "aborted",
            reason=shorten(reason),
            seconds=seconds,
        )
        done = progress.round_in_task >= task.rounds and self._book.completed(task.name) > 0
        self._book.end_round(record, done=done, bytes_up=dict(self._bytes_up))
        message = RoundAborted(step[:32], record.reason)
        await self._broadcast(seal(self._identity, self._digest, progress.round, message), b"")
        self._tell("round-aborted", task=task.name, step=step, reason=reason)

    async def _end(self, outcome: str, reason: str) -> None:
        message = msgspec.convert([outcome, shorten(reason)], RunEnded)
        await self._broadcast(seal(self._identity, self._digest, 0, message), b"")
        self._tell("run-ended", outcome=outcome, reason=reason)

    async def _broadcast(self, envelope: Envelope, attachment: bytes) -> None:
        body = encode(Packet(envelope, memoryview(attachment)))
        for name in sorted(self._membership.connected):
            try:
                await self._link.send(name, body)
            except TransportError as error:
                self._tell("refused", peer=name, step="send", reason=str(error))

    def _tell(self, name: str, **detail: Detail) -> None:
        self._report(Event(name, self._book.progress.round, detail))
