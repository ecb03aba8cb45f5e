"""What a party node is plugged into: its stream to the coordinator, its journal, its ciphers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from parties.ledger_store import LeafStore
from parties.transport.events import Connected, Disconnected, Message, Refused, SessionLost
from protocols.agreement import Task
from protocols.identity import Envelope
from protocols.masking.context import RoundContext
from protocols.prg import Words

ClientEvent = Connected | Disconnected | Message | Refused | SessionLost


class PartyLink(Protocol):
    """The stream to the coordinator; :class:`parties.transport.Client` is one."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def next_event(self) -> ClientEvent: ...
    async def send(self, body: bytes) -> None: ...


class RoundCipher(Protocol):
    """The ciphertexts of one round; :class:`parties.party.cipher.RoundCiphertexts` is one."""

    def encrypt(self, words: Words) -> bytes: ...
    @property
    def submission(self) -> tuple[Envelope, bytes]: ...
    def receive(self, envelope: Envelope, vector: memoryview) -> None: ...
    def open(self, envelope: Envelope, confirmed: dict[int, bytes]) -> tuple[Envelope, bytes]: ...
    @property
    def promise(self) -> bytes: ...
    @property
    def withdrawn(self) -> bool: ...
    def withdraw(self, reason: str) -> None: ...


class PartyCipher(Protocol):
    """Encrypts and opens, round by round."""

    @property
    def record(self) -> bytes: ...
    def begin(self, context: RoundContext, task: Task, model: bytes) -> RoundCipher: ...


class Promises(Protocol):
    """The part of the journal that a participation needs."""

    def promise(self, round: int, step: str, digest: bytes) -> None:  # noqa: A002
        """Record durably what is about to be said; another digest for the same step raises."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Store a value durably."""
        ...


class PartyJournal(Promises, Protocol):
    """What the node keeps across a crash."""

    @property
    def ledger(self) -> LeafStore: ...
    def transaction(self) -> AbstractContextManager[None]: ...
    def put(self, key: str, value: bytes) -> None: ...
    def get(self, key: str) -> bytes | None: ...
