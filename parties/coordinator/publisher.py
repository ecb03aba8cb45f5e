"""How rounds and runs end: on record first, then signed and said to everybody connected."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from parties.coordinator.keeper import LedgerKeeper
from parties.coordinator.membership import Membership
from parties.coordinator.outbound import Outbound
from parties.coordinator.progress import RoundRecord
from parties.coordinator.round import LONGEST_STUCK_SECONDS
from parties.coordinator.round_plan import RoundPlan, RoundSum
from parties.coordinator.runbook import Runbook
from parties.coordinator.strategy import Published
from protocols.agreement import SignedAgreement
from protocols.agreement.noise import composed_epsilon
from protocols.identity import NO_ROUND, Envelope, Identity
from protocols.masking.coordinator_states import Aggregate
from protocols.masking.messages import SALT_BYTES
from protocols.privacy.noise_meter import NoiseReading
from protocols.rounds import (
    FinalModel,
    RoundAborted,
    RoundResult,
    RunEnded,
    seal,
    shorten,
    step_name,
)
from protocols.wire import Packet, encode

_DRAIN_SECONDS: Final = 5.0
"""How long parties may take what is queued for them when the run ends."""


class Publisher:
    """Closes rounds in the runbook and tells the parties; file work is done in threads."""

    def __init__(
        self,
        signed: SignedAgreement,
        identity: Identity,
        book: Runbook,
        keeper: LedgerKeeper,
        outbound: Outbound,
        membership: Membership,
        *,
        holder: Membership | None,
        tell: Callable[..., None],
    ) -> None:
        """Args: the agreement in force, our key, and what the node is made of."""
        self._holder = holder
        self._agreement, self._digest, self._identity = signed.agreement, signed.digest, identity
        self._book, self._outbound, self._membership = book, outbound, membership
        self._tell, self._keeper = tell, keeper
        self._names = [party.name for party in signed.agreement.parties]
        self._finals: dict[str, bytes] = {}
        self.bytes_up = Counter(book.progress.bytes_up)

    def count_bytes(self, name: str, count: int) -> None:
        """Add to what a party sent."""
        self.bytes_up[name] += count

    async def publish(
        self,
        plan: RoundPlan,
        result: RoundSum,
        reading: NoiseReading | None,
        published: Published,
        seconds: float,
    ) -> None:
        """End the open round with its sum."""
        record = RoundRecord(
            plan.round,
            plan.task.name,
            plan.round_in_task,
            "completed",
            survivors=tuple(self._names[number] for number in result.aggregate.survivors),
            lost=result.lost,
            metrics=published.metrics,
            seconds=seconds,
            noise_meter=None if reading is None else reading.ratio,
            noise_verdict="" if reading is None else reading.verdict,
        )
        done = published.done or plan.round_in_task >= plan.task.rounds
        # A sum of few values could be found from a bare digest by trying them all.
        salt = secrets.token_bytes(SALT_BYTES)
        digest, total = await asyncio.to_thread(_digests, published.model, result.aggregate, salt)
        message = RoundResult(
            digest,
            total,
            tuple(result.aggregate.survivors),
            tuple(result.aggregate.dropouts),
            record.noise_meter,
            done,
        )
        envelope = seal(self._identity, self._digest, plan.round, message)
        await self._close(record, envelope, done=done, model=published.model, salt=salt)
        self._say(encode(Packet(envelope)))
        if done:
            self._say(await self._final(record.task))
        self._tell(
            "round-completed",
            task=record.task,
            round_in_task=record.round_in_task,
            survivors=list(record.survivors),
            lost=list(record.lost),
            metrics=published.metrics,
            seconds=round(seconds, 3),
            task_done=done,
            **await asyncio.to_thread(self._privacy_facts, record),
        )

    async def abort(self, step: str, reason: str, seconds: float) -> None:
        """End the open round without a sum."""
        progress = self._book.progress
        task = self._agreement.tasks[progress.task]
        record = RoundRecord(
            progress.round,
            task.name,
            progress.round_in_task,
            "aborted",
            step=step_name(step),
            reason=shorten(reason),
            seconds=seconds,
        )
        done = progress.round_in_task >= task.rounds and self._book.completed(task.name) > 0
        message = RoundAborted(record.step, record.reason)
        envelope = seal(self._identity, self._digest, progress.round, message)
        await self._close(record, envelope, done=done)
        self._say(encode(Packet(envelope)))
        if done:
            self._say(await self._final(task.name))
        # Why others left is our operator's business, not the parties'.
        left = [f"{name}: {why}" for name, why in sorted(self._membership.left.items())]
        self._tell("round-aborted", task=task.name, step=step, reason=reason, left=left)

    async def end(self, outcome: Literal["completed", "failed"], reason: str) -> None:
        """End the run."""
        body = self._body(NO_ROUND, RunEnded(outcome, shorten(reason)))
        self._say(body)
        for name in self._holder.connected if self._holder is not None else ():
            self._outbound.post(name, body)
        self._tell("run-ended", outcome=outcome, reason=reason)
        await self._outbound.drain(_DRAIN_SECONDS, stuck_seconds=LONGEST_STUCK_SECONDS)

    async def greetings(self) -> list[bytes]:
        """Return what a party that comes with a new session may have missed."""
        return [await self._final(task) for task in self._book.progress.finals]

    async def _final(self, task: str) -> bytes:
        if task not in self._finals:
            digest = self._book.progress.finals[task]
            model = await asyncio.to_thread(self._book.final_model, task)
            message = FinalModel(task, digest)
            self._finals[task] = await asyncio.to_thread(self._body, NO_ROUND, message, model)
        return self._finals[task]

    async def _close(
        self,
        record: RoundRecord,
        said: Envelope,
        *,
        done: bool,
        model: bytes | None = None,
        salt: bytes = b"",
    ) -> None:
        await asyncio.to_thread(
            self._book.end_round,
            record,
            done=done,
            bytes_up=dict(self.bytes_up),
            model=model,
            salt=salt,
            also=lambda: self._keeper.end_round(said),
        )

    def _privacy_facts(self, record: RoundRecord) -> dict[str, float | str]:
        """Return what the round cost so far and how noisy its sum was, where noise was agreed."""
        if record.noise_meter is None:
            return {}
        rounds = Counter(one.task for one in self._book.records)
        return {
            "noise_meter": record.noise_meter,
            "noise_verdict": record.noise_verdict,
            "epsilon": composed_epsilon(self._agreement, rounds),
        }

    def _body(self, round_: int, message: msgspec.Struct, attachment: bytes = b"") -> bytes:
        envelope = seal(self._identity, self._digest, round_, message)
        return encode(Packet(envelope, memoryview(attachment)))

    def _say(self, body: bytes) -> None:
        for name in sorted(self._membership.connected):
            self._outbound.post(name, body)


def _digests(model: bytes, aggregate: Aggregate, salt: bytes) -> tuple[bytes, bytes]:
    """Digest a model, and a salted sum as little-endian words."""
    words = aggregate.total.astype(aggregate.total.dtype.newbyteorder("<"), copy=False)
    total = hashlib.sha256(salt)
    total.update(words.data)
    return hashlib.sha256(model).digest(), total.digest()
