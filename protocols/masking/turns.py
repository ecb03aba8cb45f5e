"""Whose turn it is: the state of one party in one round. Nothing is taken twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from protocols.errors import (
    DuplicateError,
    EquivocationError,
    OutOfOrderError,
    SecureFedError,
    UnexpectedMessageError,
)
from protocols.identity import Envelope
from protocols.masking.party_states import Finished, Fresh, State, Withdrawn, Working

S = TypeVar("S")


class Turn:
    """One step that is under way. ``next`` is the state that follows it."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next: State = Withdrawn("a step had no outcome")


class Turns:
    """Holds the state. A step that fails in any way ends the round for this party."""

    __slots__ = ("_taken", "state")

    def __init__(self) -> None:
        self.state: State = Fresh()
        self._taken: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        """Name of the current state, for logs."""
        return type(self.state).__name__

    def withdraw(self, reason: str) -> None:
        """Leave the round for good; whoever finished holds no secret any more and stays so."""
        if not isinstance(self.state, Finished | Withdrawn):
            self.state = Withdrawn(reason)

    def require(self, kind: type[S]) -> S:
        """Return the state, which our own caller relies on being ``kind``.

        Raises:
            OutOfOrderError: it is another one.
        """
        if not isinstance(self.state, kind):
            raise OutOfOrderError(f"a party in state {self.name} cannot do this")
        return self.state

    def admit(self, envelope: Envelope, awaited: type[S]) -> S:
        """Take a message of the coordinator, its signature checked, if it is its turn.

        Raises:
            EquivocationError: the coordinator signed another message for the same step; we
                withdraw, whatever the state.
            DuplicateError: the very message that was taken before.
            UnexpectedMessageError: too early, or we withdrew.
        """
        name, step = envelope.sender, envelope.step
        digest = hashlib.sha256(envelope.payload).digest()
        first = self._taken.get(step, digest)
        if first != digest:
            self.withdraw(f"{name} signed two different messages at {step}")
            raise EquivocationError(name, step, "signed a second, different message for this step")
        if isinstance(self.state, Withdrawn):
            raise UnexpectedMessageError(name, step, f"we withdrew: {self.state.reason}")
        if step in self._taken:
            raise DuplicateError(name, step, "a second request; the first was already answered")
        if not isinstance(self.state, awaited):
            raise UnexpectedMessageError(name, step, f"came too early, in state {self.name}")
        self._taken[step] = digest
        return self.state

    @contextmanager
    def taking(self, step: str) -> Iterator[Turn]:
        """Run one step: nothing else is answered meanwhile, and the step is never run again.

        Raises:
            OutOfOrderError: we withdrew while the step was computed; its outcome is dropped.
        """
        working = self.state = Working(step)
        turn = Turn()
        try:
            yield turn
        except BaseException as error:
            # Whatever went wrong, a step begun may not begin again with the same secrets.
            known = isinstance(error, SecureFedError)
            self.withdraw(str(error) if known else f"{step} failed: {type(error).__name__}")
            raise
        if self.state is not working:
            raise OutOfOrderError(f"we withdrew during {step}; nothing of it may be sent")
        self.state = turn.next
