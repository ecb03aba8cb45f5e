"""One round at the coordinator: its steps, each with a deadline, over real connections."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Final

from parties.coordinator.decryption import Decryption
from parties.coordinator.hearing import Hearing, Room
from parties.coordinator.outbound import Outbound
from parties.coordinator.ports import CoordinatorCipher, CoordinatorJournal
from parties.coordinator.round_plan import RoundPlan, RoundSum
from parties.reporting import Detail, Event, Report
from protocols.agreement import Agreement
from protocols.identity import Envelope, Identity
from protocols.intent import intent_digest
from protocols.masking.context import RoundContext
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.unmasking import AddMasks
from protocols.prg import Words
from protocols.rounds import round_context
from protocols.wire import Packet, encode

LONGEST_STUCK_SECONDS: Final = 2.0
"""A party that has not taken its last message for so long is not invited to the next round."""


class RoundRunner:
    """Drives :class:`MaskingCoordinator` through one round."""

    def __init__(
        self,
        agreement: Agreement,
        digest: bytes,
        identity: Identity,
        plan: RoundPlan,
        *,
        room: Room,
        min_roster: int,
        outbound: Outbound,
        journal: CoordinatorJournal,
        add: AddMasks,
        cipher: CoordinatorCipher | None,
        report: Report,
    ) -> None:
        """Args: the agreement in force, our key, the plan, and what the node is plugged into."""
        self._agreement, self._digest, self._identity = agreement, digest, identity
        self._plan, self._outbound, self._journal = plan, outbound, journal
        self._room, self._membership, self._log = room, room.membership, room.log
        self._report, self._add, self._cipher = report, add, cipher
        self._hub: MaskingCoordinator
        self._decryption: Decryption | None = None
        self._names = [party.name for party in agreement.parties]
        self._model_digest = b""
        self._min_roster = min_roster
        self._roster: frozenset[str] = frozenset()
        self._confirmed: frozenset[str] = frozenset()

    async def run(self) -> RoundSum:
        """Run the round.

        Raises:
            BelowThresholdError: too few parties were left at some step.
            ShareError: a party dealt shares that open nothing; the round has no sum.
        """
        context = await self._open()
        hearing = Hearing(
            self._room,
            context,
            self._hub,
            self._decryption,
            self._model_digest,
            senders=self._names,
            tell=self._tell,
        )
        if context.masked:
            await hearing.collect("advertise")
            self._roster = self._heard()
            self._post(await self._close(self._hub.close_advertise))
            await hearing.collect("share")
            self._post(await self._close(self._hub.close_shares))
        await hearing.collect("submit")
        self._post(await self._close(self._hub.close_submissions, recorded="submit"))
        await hearing.collect("confirm")
        self._confirmed = self._heard()
        quorum = await self._close(self._hub.close_confirmations, recorded="confirm")
        opened = await self._decrypt(hearing)
        if context.masked:
            # Shares of the masks are asked for when the ciphertexts are open, and not before.
            self._post(quorum)
            await hearing.collect("unmask")
        aggregate = await asyncio.to_thread(self._hub.finish, opened)
        return RoundSum(aggregate, self._lost())

    async def _decrypt(self, hearing: Hearing) -> Words | None:
        decryption = self._decryption
        if decryption is None:
            return None
        request = await decryption.request(self._confirmed)
        digest = hashlib.sha256(request.payload).digest()
        await asyncio.to_thread(self._journal.promise, request.round, request.step, digest)
        decryption.ask(encode(Packet(request)))
        await hearing.collect("decrypt")
        return await decryption.finish()

    def _lost(self) -> tuple[str, ...]:
        finished = self._confirmed & self._membership.connected
        return tuple(name for name in self._names if name in self._roster - finished)

    def _heard(self) -> frozenset[str]:
        return frozenset(self._names[number] for number in self._hub.heard)

    async def _open(self) -> RoundContext:
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
        body, bare, intent = await asyncio.to_thread(self._prepare_open, numbers)
        self._tell(
            "round-opened",
            task=plan.task.name,
            round_in_task=plan.round_in_task,
            invited=sorted(invited),
        )
        for name in sorted(invited):
            self._outbound.post(name, body)
        if self._room.holder is not None:
            for name in self._room.holder.begin_round():
                self._outbound.post(name, bare)
        for name in frozenset(self._names) - invited:
            why = "has not taken what was sent to it" if name in connected else "was not connected"
            self._membership.leave(name, f"it {why} when the round was opened")
        context = round_context(
            self._agreement, self._digest, plan.round, plan.task, plan.round_in_task, intent
        )
        self._hub = MaskingCoordinator(context, self._identity, add=self._add)
        if not context.masked:
            self._hub.skip_masks(numbers)
            self._roster = frozenset(invited)
        if self._cipher is not None:
            self._decryption = Decryption(
                self._cipher.begin(context, plan.task, self._model_digest),
                self._outbound,
                self._membership,
                (trustee.name for trustee in self._agreement.trustees),
                self._room.holder,
                context.encrypted_bytes,
            )
        return context

    def _prepare_open(self, invited: list[int]) -> tuple[bytes, bytes, bytes]:
        """Return the opening with its model and without, and the digest of the intent."""
        plan = self._plan
        self._model_digest = hashlib.sha256(plan.model).digest()
        envelope = self._log.begin(plan, self._model_digest, invited)
        body = encode(Packet(envelope, memoryview(plan.model)))
        return body, encode(Packet(envelope)), intent_digest(envelope.payload)

    async def _close(
        self, close: Callable[[], Mapping[int, Envelope]], *, recorded: str = ""
    ) -> dict[int, bytes]:
        """Close a step and put each distinct message on record; return what each party is sent.

        What was taken at a ``recorded`` step goes into the ledger.
        """
        return await asyncio.to_thread(self._prepare, close, recorded)

    def _post(self, bodies: Mapping[int, bytes]) -> None:
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

    def _tell(self, name: str, **detail: Detail) -> None:
        self._report(Event(name, self._plan.round, detail))
