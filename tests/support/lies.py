"""A coordinator that holds the real key, talks to real party nodes, and says what a test wants."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import msgspec

from parties.party.node import PartyNode
from parties.transport.events import Message
from protocols.identity import Envelope
from protocols.intent import intent_digest
from protocols.ledger.messages import seal_ledger
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.coordinator_states import Aggregate
from protocols.rounds import RoundAborted, RoundResult, round_context, seal
from protocols.wire import Packet, decode_packet, encode
from support.books import Book
from support.nodes import GLM, NodeFederation, make_agreement, toy_data

SECONDS = 20.0
MAX_BYTES = 1 << 24


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read(body: bytes | memoryview) -> Packet:
    return decode_packet(body, party="test", max_bytes=MAX_BYTES)


class Hub:
    """Use it as an asynchronous context manager: it starts the parties, and ends them."""

    def __init__(self, n: int = 3, tasks: list | None = None, **rules: object) -> None:
        rules = {"deadline_seconds": 30.0, **rules}
        self.signed, self.identities = make_agreement(tasks or [GLM], n, **rules)
        self.federation = NodeFederation(self.signed, self.identities, toy_data(n))
        self.net = self.federation.net
        self.names = list(self.federation.data)
        self.agreement, self.digest = self.signed.agreement, self.signed.digest
        self.key = self.identities["coordinator"]
        self.model = self.federation.strategy.initial_model(self.agreement.tasks[0])
        self.said: list[tuple[str, Packet]] = []
        self._unheard: list[tuple[str, Packet]] = []
        self.books = {name: Book(self.signed, self.identities) for name in self.names}
        self.intents: dict[str, bytes] = {}
        self.parties: dict[str, PartyNode] = {}
        self.nodes: dict[str, asyncio.Task] = {}

    async def __aenter__(self) -> Self:
        for name in self.names:
            self.parties[name] = self.federation.party(name)
            self.nodes[name] = asyncio.create_task(self.parties[name].run())
            await self.federation.until(name, "connected")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self.nodes.values():
            node.cancel()
        await asyncio.gather(*self.nodes.values(), return_exceptions=True)
        # A node that ends leaves nothing running behind.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    # Saying

    def post(self, body: bytes, to: Iterable[str] | None = None) -> None:
        """Deliver any bytes."""
        for name in self.names if to is None else to:
            self.net.inboxes[name].put_nowait(Message("coordinator", memoryview(body)))

    def sealed(self, round_: int, message: msgspec.Struct) -> Envelope:
        return seal(self.key, self.digest, round_, message)

    def say(
        self,
        round_: int,
        message: msgspec.Struct,
        attachment: bytes = b"",
        to: Iterable[str] | None = None,
    ) -> None:
        """Sign and deliver one of the messages that frame a round."""
        targets = list(self.names if to is None else to)
        if isinstance(message, RoundAborted | RoundResult):
            for name in targets:
                book = self.books[name]
                if book.open is not None and book.round == round_:
                    book.end(message, self.heard_envelopes())
        self.post(encode(Packet(self.sealed(round_, message), memoryview(attachment))), to)

    def open(
        self,
        round_: int,
        place: int | None = None,
        model: bytes | None = None,
        task: str = "risk",
        to: Iterable[str] | None = None,
    ) -> None:
        """Open a round; by default the honest next one of the first task.

        Whatever the ledger needs for it is shown to the party before, if it can be.
        """
        content = self.model if model is None else model
        place = round_ if place is None else place
        for name in self.names if to is None else to:
            book = self.books[name]
            if place == round_ or task != self.agreement.tasks[0].name:
                book.catch_up(round_, sha(self.model), self.heard_envelopes())
            message = book.opening(round_, task, place, sha(content))
            self.show(name)
            envelope = book.begin(round_, message)
            self.intents[name] = intent_digest(envelope.payload)
            self.post(encode(Packet(envelope, memoryview(content))), [name])

    def show(self, name: str) -> None:
        """Send a party the leaves that it has not been shown."""
        extension = self.books[name].extension()
        if extension is not None:
            self.post(encode(Packet(seal_ledger(self.key, self.digest, extension))), [name])

    def heard_envelopes(self) -> list[Envelope]:
        self.steps("")
        return [packet.envelope for _, packet in self.said]

    # Hearing

    async def hear(self, step: str, names: Iterable[str] | None = None) -> dict[str, Packet]:
        """Wait until each of these parties has spoken at this step; no word is used twice."""
        wanted = set(self.names if names is None else names)
        found: dict[str, Packet] = {}
        async with asyncio.timeout(SECONDS):
            while True:
                for peer, packet in list(self._unheard):
                    if packet.envelope.step == step and peer in wanted - found.keys():
                        found[peer] = packet
                        self._unheard.remove((peer, packet))
                if found.keys() == wanted:
                    return found
                self._take(await self.net.hub_events.get())

    def _take(self, event: object) -> None:
        if isinstance(event, Message):
            self.said.append((event.peer, read(event.body)))
            self._unheard.append(self.said[-1])

    def steps(self, name: str) -> list[str]:
        """Steps of everything that a party has said so far, in order."""
        while not self.net.hub_events.empty():
            self._take(self.net.hub_events.get_nowait())
        steps = [packet.envelope.step for peer, packet in self.said if peer == name]
        return [step for step in steps if step not in {"holding", "cosign"}]

    async def refused(self, name: str, count: int = 1) -> list[str]:
        """Wait until a party has refused so often; return its reasons."""
        events = await self.federation.until(name, "refused", count)
        return [f"{event.detail.get('step', '')}: {event.detail['reason']}" for event in events]

    # An honest round

    def role(self, round_: int, place: int | None = None, task: int = 0) -> MaskingCoordinator:
        place = round_ if place is None else place
        agreed = self.agreement.tasks[task]
        intent = self.intents[self.names[-1]]
        context = round_context(self.agreement, self.digest, round_, agreed, place, intent)
        return MaskingCoordinator(context, self.key)

    def deliver(self, mail: dict[int, Envelope], to: Iterable[str] | None = None) -> None:
        for number, envelope in mail.items():
            if to is None or self.names[number] in to:
                self.post(encode(Packet(envelope)), [self.names[number]])

    async def to_submission(self, role: MaskingCoordinator) -> dict[str, Packet]:
        """Run an opened round up to the masked vectors, which are not taken yet."""
        for packet in (await self.hear("advertise")).values():
            role.receive_advertise(packet.envelope)
        self.deliver(role.close_advertise())
        for packet in (await self.hear("share")).values():
            role.receive_shares(packet.envelope)
        self.deliver(role.close_shares())
        return await self.hear("submit")

    async def finish(
        self, role: MaskingCoordinator, submitted: dict[str, Packet], model: bytes
    ) -> Aggregate:
        """Run a round from the masked vectors to its sum."""
        for packet in submitted.values():
            role.receive_submission(packet.envelope, packet.attachment, model=sha(model))
        self.deliver(role.close_submissions())
        for packet in (await self.hear("confirm")).values():
            role.receive_confirmation(packet.envelope)
        self.deliver(role.close_confirmations())
        for packet in (await self.hear("unmask")).values():
            role.receive_unmask(packet.envelope)
        return role.finish()
