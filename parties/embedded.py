"""Nodes in one process: links and journals in memory, behind the same interfaces as the real ones.

For simulation and tests. The protocol above is the real one; only transport and disk are not.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from parties.coordinator.ports import ServerEvent
from parties.ledger_store import LeafStore
from parties.party.ports import ClientEvent
from parties.transport.events import Connected, Disconnected, Message, SessionLost
from protocols.errors import JournalError

Hook = Callable[[str, str, bytes], bytes | None]
"""From sender, receiver and body to the body that arrives, or ``None`` to lose it."""


class MemoryNetwork:
    """Ordered and reliable, unless the hook loses or changes a body."""

    def __init__(self, coordinator: str, hook: Hook | None = None) -> None:
        """Args: name of the coordinator; the hook, for tests."""
        self.coordinator = coordinator
        self.hook: Hook = hook or (lambda _sender, _receiver, body: body)
        self.hub_events: asyncio.Queue[ServerEvent] = asyncio.Queue()
        self.inboxes: dict[str, asyncio.Queue[ClientEvent]] = {}

    def hub(self) -> MemoryHub:
        """Return the coordinator's end."""
        return MemoryHub(self)

    def spoke(self, name: str) -> MemorySpoke:
        """Return a party's end."""
        return MemorySpoke(self, name)

    def restart_hub(self) -> None:
        """The coordinator was restarted: what was on its way is gone, every session begins anew."""
        while not self.hub_events.empty():
            self.hub_events.get_nowait()
        for name, inbox in self.inboxes.items():
            while not inbox.empty():
                inbox.get_nowait()
            inbox.put_nowait(Disconnected(self.coordinator, "the connection was lost"))
            inbox.put_nowait(SessionLost(self.coordinator))
            inbox.put_nowait(Connected(self.coordinator, resumed=False))
            self.hub_events.put_nowait(Connected(name, resumed=False))

    def cut(self, name: str, inbox: asyncio.Queue[ClientEvent] | None = None) -> None:
        """Cut a party off, unless it has come back with another inbox since."""
        if name in self.inboxes and inbox in (None, self.inboxes[name]):
            del self.inboxes[name]
            self.hub_events.put_nowait(Disconnected(name, "left"))


class MemoryHub:
    """Implements :class:`parties.coordinator.ports.CoordinatorLink`."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network

    async def start(self) -> int:
        return 0

    async def stop(self) -> None:
        """Nothing to end."""

    async def next_event(self) -> ServerEvent:
        return await self._network.hub_events.get()

    async def send(self, peer: str, body: bytes) -> None:
        network = self._network
        arrives = network.hook(network.coordinator, peer, body)
        inbox = network.inboxes.get(peer)
        if arrives is not None and inbox is not None:
            inbox.put_nowait(Message(network.coordinator, memoryview(arrives)))


class MemorySpoke:
    """Implements :class:`parties.party.ports.PartyLink`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network, self._name = network, name
        self._inbox: asyncio.Queue[ClientEvent] = asyncio.Queue()

    async def start(self) -> None:
        network = self._network
        network.inboxes[self._name] = self._inbox
        self._inbox.put_nowait(Connected(network.coordinator, resumed=False))
        network.hub_events.put_nowait(Connected(self._name, resumed=False))

    async def stop(self) -> None:
        self._network.cut(self._name, self._inbox)

    async def next_event(self) -> ClientEvent:
        return await self._inbox.get()

    async def send(self, body: bytes) -> None:
        network = self._network
        arrives = network.hook(self._name, network.coordinator, body)
        if arrives is not None and self._name in network.inboxes:
            network.hub_events.put_nowait(Message(self._name, memoryview(arrives)))


class MemoryLedger:
    """Implements :class:`parties.ledger_store.LeafStore`."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    @property
    def size(self) -> int:
        return len(self.kept)

    def append(self, leaves: Sequence[bytes]) -> None:
        self.kept.extend(leaves)

    def leaf(self, position: int) -> bytes:
        return self.kept[position]

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        yield from self.kept[start:]


class MemoryJournal:
    """The journals' contract without a disk; outlives the node that writes it."""

    def __init__(self) -> None:
        self.ledger: LeafStore = MemoryLedger()
        self.promises: dict[tuple[int, str], bytes] = {}
        self.values: dict[str, bytes] = {}
        self.blobs: dict[bytes, bytes] = {}

    def promise(self, round: int, step: str, digest: bytes) -> None:  # noqa: A002
        """Record what is about to be said.

        Raises:
            JournalError: something else was promised for this step.
        """
        if self.promises.setdefault((round, step), digest) != digest:
            raise JournalError(
                f"round {round}, {step}: another message is on record already; this node must not "
                "contradict itself"
            )

    def put(self, key: str, value: bytes) -> None:
        self.values[key] = value

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group writes; there is nothing that could fail between them."""
        yield

    def put_blob(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()
        self.blobs[digest] = data
        return digest

    def blob(self, digest: bytes) -> bytes | None:
        return self.blobs.get(digest)

    def keep_blobs(self, digests: Collection[bytes]) -> None:
        self.blobs = {digest: self.blobs[digest] for digest in digests}
