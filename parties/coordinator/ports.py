"""What a coordinator node is plugged into: its streams to the parties, and its journal."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from parties.transport.events import Connected, Disconnected, Message, Refused

ServerEvent = Connected | Disconnected | Message | Refused


class CoordinatorLink(Protocol):
    """The streams to the parties; :class:`parties.transport.Server` is one."""

    async def start(self) -> int: ...
    async def stop(self) -> None: ...
    async def next_event(self) -> ServerEvent: ...
    async def send(self, peer: str, body: bytes) -> None: ...


class CoordinatorJournal(Protocol):
    """What the node keeps across a crash."""

    def promise(self, round: int, step: str, digest: bytes) -> None: ...  # noqa: A002
    def put(self, key: str, value: bytes) -> None: ...
    def get(self, key: str) -> bytes | None: ...
    def transaction(self) -> AbstractContextManager[None]: ...
