"""A federation of nodes that encrypts, with a network that lies as a test wants."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import msgspec

from parties.keyholder import KeyHolderNode
from parties.transport.events import Connected, Disconnected, Message, SessionLost
from protocols.agreement import SignedAgreement
from protocols.identity import Envelope, Identity
from protocols.intent import intent_digest
from protocols.masking.context import RoundContext
from protocols.masking.messages import Survivors
from protocols.paillier.messages import OpeningRequest
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import ThresholdKey
from protocols.paillier.threshold_product import SubmittedProduct
from protocols.paillier.vectors import opening_context
from protocols.rounds import RoundOpen, RunEnded, round_context
from protocols.wire import Packet, decode, decode_packet, encode
from securefed.ciphers import MemoryCiphers, deal_here
from support.agreements import encrypted, identity_of
from support.nodes import GLM, NodeFederation, make_agreement, toy_data
from support.trustees import fixed_primes

ARRANGEMENTS = {
    "paillier": ("paillier", "dealer"),
    "layered": ("layered", "dealer"),
    "key holder": ("layered", "key_holder"),
}
HOLDER, HUB = "key-holder", "coordinator"
PARTIES = 3
ROUNDS = 2
MAX_BYTES = 1 << 24
_STARTED: list[MemoryCiphers] = []


@dataclass(frozen=True, eq=False)
class Arranged:
    """An agreement in force, who signs under it, and its key."""

    signed: SignedAgreement
    identities: dict[str, Identity]
    key: ThresholdKey | None
    ciphers: MemoryCiphers | None


@lru_cache
def arranged(mode: str) -> Arranged:
    """A mode of ``ARRANGEMENTS``, or "masking"; the key is dealt once."""
    rules: dict[str, Any] = {"max_dropouts": 1, "deadline_seconds": 10.0}
    tasks = [{**GLM, "rounds": ROUNDS}]
    if mode == "masking":
        return Arranged(*make_agreement(tasks, PARTIES, **rules), None, None)
    name, who = ARRANGEMENTS[mode]
    bend = partial(encrypted, mode=name, who=who)
    signed, identities = make_agreement(tasks, PARTIES, bend=bend, **rules)
    identities |= {one: identity_of(one) for one in ("dealer", HOLDER)}
    keys = deal_here(signed, identities, make_primes=fixed_primes)
    _STARTED.append(MemoryCiphers(signed, identities, keys))
    return Arranged(signed, identities, keys[HUB].key, _STARTED[-1])


def forget_keys() -> None:
    """End the threads of every arrangement."""
    while _STARTED:
        _STARTED.pop().close()
    arranged.cache_clear()


def sha(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


class EncryptedFederation(NodeFederation):
    """Every body passes ``lie``, which returns what arrives: the packet, another one or nothing."""

    def __init__(self, mode: str, lie: Lie | None = None, **options: object) -> None:
        self.arranged, self.mode = arranged(mode), mode
        ciphers = self.arranged.ciphers
        options["cipher"] = None if ciphers is None else ciphers.coordinator
        super().__init__(
            self.arranged.signed,
            self.arranged.identities,
            toy_data(PARTIES),
            self._hook,
            **options,
        )
        self.ciphers = {} if ciphers is None else ciphers.parties
        self.lie = lie
        self.said: list[tuple[str, str, Packet]] = []
        self.opened: dict[int, Envelope] = {}
        self.lost: set[str] = set()
        self.done: set[int] = set()
        self._given_up: list[str] = []
        self.report: Any = None

    def _hook(self, sender: str, receiver: str, body: bytes) -> bytes | None:
        packet = decode_packet(body, party="test", max_bytes=MAX_BYTES)
        if packet.envelope.step == "open":
            self.opened[packet.envelope.round] = packet.envelope
        self.said.append((sender, receiver, packet))
        arrives = packet if self.lie is None else self.lie(self, sender, receiver, packet)
        if packet.envelope.step == "abort" and self._given_up:
            self.resume(self._given_up.pop())
        if arrives is packet:
            return body
        return None if arrives is None else encode(arrives)

    # Nodes

    @property
    def trustee(self) -> str:
        """Whom a coordinator lies to that wants something opened."""
        return HOLDER if self.mode == "key holder" else "party-0"

    @property
    def names(self) -> list[str]:
        return list(self.data)

    def holder(self) -> KeyHolderNode:
        ciphers = self.arranged.ciphers
        assert ciphers is not None
        made = ciphers.holders[HOLDER]
        report = partial(self._note, HOLDER)
        return made(self.net.spoke(HOLDER), self.journals[HOLDER], report=report)

    def others(self) -> dict[str, Coroutine[Any, Any, object]]:
        return {HOLDER: self.holder().run()} if self.mode == "key holder" else {}

    async def restart(self, name: str) -> None:
        """Kill a node and start another one with the same journal."""
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        before = len(self.told(name, "connected"))
        node = self.holder() if name == HOLDER else self.party(name)
        self.tasks[name] = asyncio.create_task(node.run())
        await self.until(name, "connected", before + 1)

    def play(self, beside: Callable[[], Coroutine[Any, Any, object]] | None = None) -> Any:
        """Run, and something beside it; no node may break down, whatever becomes of the rounds."""

        async def both() -> Any:
            if beside is None:
                return await self.run()
            report, _ = await asyncio.gather(self.run(), beside())
            return report

        try:
            self.report = asyncio.run(both())
        finally:
            ended = (RunEnded, asyncio.CancelledError)
            assert [one for one in self.outcomes if not isinstance(one, ended)] == []
        return self.report

    # The network

    def post(self, name: str, packet: Packet) -> None:
        """Deliver something to a party or the key holder in the coordinator's stream."""
        self.net.inboxes[name].put_nowait(Message(HUB, memoryview(encode(packet))))

    def tell_hub(self, name: str, packet: Packet) -> None:
        """Deliver something to the coordinator in a peer's stream."""
        self.net.hub_events.put_nowait(Message(name, memoryview(encode(packet))))

    def cut(self, name: str) -> None:
        """The coordinator loses the connection; whether it comes back is another matter."""
        self.net.hub_events.put_nowait(Disconnected(name, "the connection was lost"))

    def resume(self, name: str) -> None:
        """The same session goes on."""
        self.net.hub_events.put_nowait(Connected(name, resumed=True))

    def give_up(self, name: str) -> None:
        """The coordinator does not wait for an answer of a node that it lied to in this round."""
        self.cut(name)
        self._given_up.append(name)

    def return_anew(self, name: str) -> None:
        """A new session: what was on its way is gone."""
        inbox = self.net.inboxes[name]
        while not inbox.empty():
            inbox.get_nowait()
        inbox.put_nowait(SessionLost(HUB))
        inbox.put_nowait(Connected(HUB, resumed=False))
        self.net.hub_events.put_nowait(Connected(name, resumed=False))

    # What was said

    def steps(self, name: str, round_: int = 1) -> list[str]:
        """What a node said in a round, in order."""
        return [
            packet.envelope.step
            for sender, _, packet in self.said
            if sender == name and packet.envelope.round == round_
        ]

    def word(self, name: str, step: str, round_: int = 1) -> Packet:
        """What a node said at a step of a round."""
        return next(
            packet
            for sender, _, packet in self.said
            if (sender, packet.envelope.step, packet.envelope.round) == (name, step, round_)
        )

    def refusals(self, name: str) -> list[str]:
        """Why a node refused something, with who was named and at which step."""
        return [
            f"{one.detail['peer']} at {one.detail.get('step', '')}: {one.detail['reason']}"
            for one in self.told(name, "refused")
        ]

    # What a lying coordinator says

    def round_facts(self, round_: int) -> RoundContext:
        envelope = self.opened[round_]
        opened = decode(RoundOpen, envelope.payload, party="", step="", max_bytes=MAX_BYTES)
        agreement, digest = self.signed.agreement, self.signed.digest
        intent = intent_digest(envelope.payload)
        return round_context(
            agreement, digest, round_, agreement.tasks[0], opened.round_in_task, intent
        )

    def facts(self, round_: int = 1) -> OpeningContext:
        opened = decode(
            RoundOpen, self.opened[round_].payload, party="", step="", max_bytes=MAX_BYTES
        )
        context, agreement = self.round_facts(round_), self.signed.agreement
        assert self.arranged.key is not None
        return opening_context(
            agreement, context, agreement.tasks[0], self.arranged.key, opened.model
        )

    def product(self, who: tuple[int, ...], round_: int = 1) -> SubmittedProduct:
        """The product of what these parties sent."""
        made = SubmittedProduct(self.facts(round_), lambda *_: None)
        for number in who:
            packet = self.word(self.names[number], "encrypt", round_)
            made.receive(packet.envelope, packet.attachment)
        return made

    def request(self, who: tuple[int, ...], round_: int = 1, **changes: object) -> Packet:
        """A signed request for the product of what these parties sent."""
        request = OpeningRequest(who, *self.product(who, round_).digests())
        return self.signed_by_hub(msgspec.structs.replace(request, **changes), round_)

    def signed_by_hub(self, request: OpeningRequest, round_: int = 1) -> Packet:
        return Packet(self.facts(round_).seal(self.identities[HUB], request))


def survivors_of(packet: Packet) -> list[str]:
    """Names in a survivor set."""
    told = decode(Survivors, packet.envelope.payload, party="", step="", max_bytes=MAX_BYTES)
    return [one.sender for one in told.submissions]


Lie = Callable[[EncryptedFederation, str, str, Packet], Packet | None]
