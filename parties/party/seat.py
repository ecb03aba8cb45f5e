"""The round that a party takes part in, if any, and the training in it."""

from __future__ import annotations

import functools
import time

from parties.party.participation import Participation
from parties.party.trainer import Trainer
from parties.party.training import Job, Outcome, TrainingThread
from protocols.errors import MisuseError, UnexpectedMessageError
from protocols.identity import Envelope


class Seat:
    """At most one round at a time; what comes late for a round that was left is dropped."""

    def __init__(
        self, trainer: Trainer, deadline_seconds: float, answer_after_seconds: float = 0.0
    ) -> None:
        """Prepare to take part.

        Args:
            trainer: computes updates.
            deadline_seconds: how long the coordinator waits for one.
            answer_after_seconds: how long each is held back at least, made or failed, so that its
                time does not show how long the training took.

        Raises:
            MisuseError: no update would ever be in time.
        """
        if not 0 <= answer_after_seconds < deadline_seconds:
            raise MisuseError(
                f"answers after {answer_after_seconds:g} seconds come too late for an agreement "
                f"that waits {deadline_seconds:g}; choose fewer, and leave time for the upload"
            )
        self._trainer, self.deadline_seconds = trainer, deadline_seconds
        self._hold_seconds = answer_after_seconds
        self._thread = TrainingThread()
        self._current: Participation | None = None
        self._job: Job | None = None
        self._failures: list[str] = []

    @property
    def current(self) -> Participation | None:
        """The round that we take part in."""
        return self._current

    @property
    def job(self) -> Job | None:
        """The training that is under way in it."""
        return self._job

    @property
    def failures(self) -> tuple[str, ...]:
        """Why people of ours counted as zero in the last training, for our own operator alone."""
        return tuple(self._failures)

    @property
    def overdue(self) -> bool:
        """Whether the training of an earlier round never ended: none could begin now."""
        return self._thread.overdue

    @property
    def out(self) -> bool:
        """Whether the role has withdrawn from the current round because of what it was sent."""
        return self._current is not None and self._current.role.state == "Withdrawn"

    @property
    def late(self) -> bool:
        """Whether the training has taken longer than the coordinator waits."""
        return self._job is not None and time.monotonic() >= self._job.ends

    def of_round(self, envelope: Envelope, last: int) -> Participation | None:
        """Return the round of a message, whose taker checks its signature; ``None`` if we left it.

        Raises:
            UnexpectedMessageError: it is neither ours nor the ``last`` one that we took part in.
        """
        if self._current is not None and self._current.opening.round == envelope.round:
            return self._current
        if envelope.round != last:
            raise UnexpectedMessageError(
                envelope.sender, envelope.step, f"we take no part in round {envelope.round}"
            )
        return None

    def take(self, participation: Participation) -> None:
        """Take part in a round; the last one must have been left."""
        self._current = participation

    def train(self) -> None:
        """Begin to compute the current round's update."""
        if self._current is not None:
            # A list of its own: an earlier training may still be running.
            self._failures = []
            work = functools.partial(
                self._current.submit, self._trainer, failed=self._failures.append
            )
            self._job = self._thread.start(work, self.deadline_seconds, self._hold_seconds)

    def outcome(self) -> Outcome | None:
        """Hand out what the current round's training came to, once, if it has ended."""
        job = self._job
        if job is None or not job.outcome.done():
            return None
        self._job = None
        return job.outcome.result()

    def leave(self, reason: str) -> None:
        """Leave the round for good: its secrets are forgotten, and its training is not sent."""
        if self._current is not None:
            self._current.leave(reason)
            self._current = None
        if self._job is not None:
            self._job.outcome.cancel()
            self._job = None

    def close(self) -> None:
        """Leave, and let the thread end."""
        self.leave("the node stops")
        self._thread.close()
