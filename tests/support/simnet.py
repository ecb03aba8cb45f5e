"""Links in memory for node tests: ordered, reliable, with a hook that may drop or change bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parties.transport.events import Connected, Disconnected, Message

Hook = Callable[[str, str, bytes], bytes | None]
"""(sender, receiver, body) -> body to deliver, or None to lose it."""


class MemoryNet:
    def __init__(self, coordinator: str, hook: Hook | None = None) -> None:
        self.coordinator, self.hook = coordinator, hook or (lambda _from, _to, body: body)
        self.hub_events: asyncio.Queue = asyncio.Queue()
        self.inboxes: dict[str, asyncio.Queue] = {}

    def hub(self) -> MemoryHub:
        return MemoryHub(self)

    def spoke(self, name: str) -> MemorySpoke:
        return MemorySpoke(self, name)

    def cut(self, name: str) -> None:
        if self.inboxes.pop(name, None) is not None:
            self.hub_events.put_nowait(Disconnected(name, "cut by the test"))


class MemoryHub:
    def __init__(self, net: MemoryNet) -> None:
        self._net = net

    async def start(self) -> int:
        return 1

    async def stop(self) -> None:
        pass

    async def next_event(self):
        return await self._net.hub_events.get()

    async def send(self, peer: str, body: bytes) -> None:
        changed = self._net.hook(self._net.coordinator, peer, body)
        if changed is not None and peer in self._net.inboxes:
            self._net.inboxes[peer].put_nowait(Message(self._net.coordinator, memoryview(changed)))


class MemorySpoke:
    def __init__(self, net: MemoryNet, name: str) -> None:
        self._net, self._name = net, name
        self._inbox: asyncio.Queue = asyncio.Queue()

    async def start(self) -> None:
        self._net.inboxes[self._name] = self._inbox
        self._inbox.put_nowait(Connected(self._net.coordinator, resumed=False))
        self._net.hub_events.put_nowait(Connected(self._name, resumed=False))

    async def stop(self) -> None:
        self._net.cut(self._name)

    async def next_event(self):
        return await self._inbox.get()

    async def send(self, body: bytes) -> None:
        if self._name not in self._net.inboxes:
            return
        changed = self._net.hook(self._name, self._net.coordinator, body)
        if changed is not None:
            self._net.hub_events.put_nowait(Message(self._name, memoryview(changed)))
