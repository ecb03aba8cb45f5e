"""What a party node is plugged into: its stream to the coordinator, and its journal."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from parties.ledger_store import LeafStore
from parties.party.participation import Promises
from parties.transport.events import Connected, Disconnected, Message, Refused, SessionLost

ClientEvent = Connected | Disconnected | Message | Refused | SessionLost


class PartyLink(Protocol):
    """The stream to the coordinator; :class:`parties.transport.Client` is one."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def next_event(self) -> ClientEvent: ...
    async def send(self, body: bytes) -> None: ...


class PartyJournal(Promises, Protocol):
    """What the node keeps across a crash."""

    @property
    def ledger(self) -> LeafStore: ...
    def transaction(self) -> AbstractContextManager[None]: ...
    def put(self, key: str, value: bytes) -> None: ...
    def get(self, key: str) -> bytes | None: ...
