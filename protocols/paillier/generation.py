"""A Paillier key that no dealer ever knew: every party adds its part, semi-honest.

Boneh and Franklin (J. ACM 48(4), 2001) with a sieve before and one power first for each candidate.
Sans-IO: :meth:`KeyGenerator.start` and :meth:`KeyGenerator.receive` return what is to be sent, and
the caller carries it. ``private`` lists go each to one party, over channels that nobody else reads
and nobody alters; ``broadcast`` lists to all, the same to each.

What it gives: up to tau = (k - 1) / 2 of the k parties, who follow the protocol and pool what they
saw, learn nothing of the factors. What it does not give: parties that deviate can spoil the key and
could learn factors, and nobody would be named. All k take part in making the key; any t use it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import NoReturn

from protocols.errors import MisuseError, OutOfOrderError, PeerError, ShareError
from protocols.paillier.generation_sharing import GenerationContext, Points
from protocols.paillier.generation_steps import Exchange, GenerationSteps, Made
from protocols.paillier.integers import mpz
from protocols.prg import RandomBytes


class KeyGenerator:
    """One party. Every step waits for one list from each of the others."""

    def __init__(self, context: GenerationContext, index: int, random: RandomBytes) -> None:
        """Begin.

        Args:
            context: the public facts.
            index: ours, from 1.
            random: source of secret random bytes, cryptographically secure in production.

        Raises:
            MisuseError: no such party.
        """
        if not 1 <= index <= context.parties:
            raise MisuseError(f"there are parties 1 to {context.parties}")
        self._context, self.index = context, index
        self._steps: Generator[Exchange, Points, Made] | None = GenerationSteps(
            context, index, random
        ).run()
        self._awaited: Exchange | None = None
        self._result: Made | None = None
        self._fresh = True

    def __repr__(self) -> str:
        return f"KeyGenerator({self.index} of {self._context.parties}, {self.state})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a KeyGenerator holds factors and is never serialised")

    @property
    def state(self) -> str:
        """Name of the step that is awaited, ``Fresh``, ``Done`` or ``Withdrawn``; for logs."""
        if self._awaited is not None:
            return self._awaited.step
        if self._result is not None:
            return "Done"
        return "Fresh" if self._fresh else "Withdrawn"

    @property
    def result(self) -> Made:
        """The key and our share of it.

        Raises:
            OutOfOrderError: not done.
        """
        if self._result is None:
            raise OutOfOrderError(f"a key generation at {self.state} has no result")
        return self._result

    def start(self) -> Exchange:
        """Return the first lists.

        Raises:
            OutOfOrderError: already started.
        """
        if not self._fresh or self._steps is None:
            raise OutOfOrderError(f"a key generation at {self.state} cannot start")
        self._fresh = False
        self._awaited = next(self._steps)
        return self._awaited

    def receive(self, inbox: Mapping[int, Sequence[int]]) -> Exchange | None:
        """Take one list from each other party; return our next, or nothing when the key is made.

        Raises:
            OutOfOrderError: not started, done, or withdrawn.
            ShareError: a list of another length or out of range, or a key that is not shared; the
                party is named if one can be. We withdraw: nothing is tried again.
        """
        awaited, steps = self._awaited, self._steps
        if awaited is None or steps is None:
            raise OutOfOrderError(f"a key generation at {self.state} takes nothing")
        self._awaited = None
        failure: PeerError | None = None
        try:
            received = self._check(awaited, inbox)
            self._awaited = steps.send(received)
        except StopIteration as done:
            self._result = done.value
        except PeerError as error:
            # The frames of the original hold summands of the factors and reach who catches it.
            failure = type(error)(error.party, error.step, error.reason)
        finally:
            if self._awaited is None:
                # The factors' summands live in the steps' frame.
                steps.close()
                self._steps = None
        if failure is not None:
            raise failure
        return self._awaited

    def _check(self, awaited: Exchange, inbox: Mapping[int, Sequence[int]]) -> Points:
        context, step = self._context, awaited.step
        own = awaited.private.get(self.index, awaited.broadcast)
        received = {self.index: list(own)}
        for index, name in enumerate(context.names, start=1):
            if index == self.index:
                continue
            values = inbox.get(index, ())
            if len(values) != awaited.count:
                raise ShareError(name, step, f"{len(values)} values, {awaited.count} are due")
            if any(not 0 <= value < awaited.bound for value in values):
                raise ShareError(name, step, "a value is out of range")
            received[index] = [mpz(value) for value in values]
        return {index: received[index] for index in sorted(received)}
