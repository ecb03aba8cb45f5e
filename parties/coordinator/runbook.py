"""The coordinator's durable state: how far the run has come, its rounds, and the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from parties.coordinator.ports import CoordinatorJournal
from parties.coordinator.progress import RESTART, Checkpoint, RoundRecord, RunProgress
from protocols.errors import JournalError, MisuseError, NoResultError

_PROGRESS: Final = "progress"
_ROUND: Final = "round-"
_SALT: Final = "salt-"


class Runbook:
    """Reads and writes :class:`RunProgress`; every method is durable when it returns."""

    def __init__(self, journal: CoordinatorJournal, *, keep_every: int = 0) -> None:
        """Open the state.

        Args:
            journal: one that serves one agreement alone.
            keep_every: from now on, every so many-th model of a task is kept as a checkpoint; 0
                for none.

        Raises:
            MisuseError: a negative number.
        """
        if keep_every < 0:
            raise MisuseError("keep_every is a number of models, or 0 to keep none")
        self._journal, self._keep_every = journal, keep_every
        stored = journal.get(_PROGRESS)
        self.progress = (
            RunProgress() if stored is None else msgspec.msgpack.decode(stored, type=RunProgress)
        )
        found = (journal.get(f"{_ROUND}{n}") for n in range(1, self.progress.round + 1))
        self.records = [
            msgspec.msgpack.decode(record, type=RoundRecord)
            for record in found
            if record is not None
        ]

    @property
    def model(self) -> bytes | None:
        """The current task's current model; ``None`` before its first round."""
        return None if self.progress.model is None else self._blob(self.progress.model)

    def final_model(self, task: str) -> bytes:
        """Return the final model of a finished task.

        Raises:
            NoResultError: there is none.
        """
        if task not in self.progress.finals:
            raise NoResultError(f"task {task} has no model; run it again")
        return self._blob(self.progress.finals[task])

    def checkpoints(self) -> Iterator[tuple[Checkpoint, bytes]]:
        """Yield what is kept, and its model, in order; one model at a time is in memory."""
        for kept in self.progress.kept:
            yield kept, self._blob(kept.model)

    def _blob(self, digest: bytes) -> bytes:
        model = self._journal.blob(digest)
        if model is None:
            raise JournalError(
                f"model {digest.hex()[:16]}… is gone from the state directory; restore it, or "
                "start a new run under a new agreement"
            )
        return model

    def completed(self, task: str) -> int:
        """Return how many rounds of a task have a sum."""
        return sum(r.outcome == "completed" for r in self.records if r.task == task)

    def aborts_in_a_row(self) -> int:
        """Return how many rounds were aborted since the last one that completed.

        Rounds that our own restart ended are left out: they say nothing of the next one.
        """
        count = 0
        for record in reversed(self.records):
            if record.outcome == "completed":
                break
            count += record.step != RESTART
        return count

    def begin_task(self, position: int) -> None:
        """Go on to the task at this position."""
        self._save(task=position, round_in_task=0, done=False, model=None)

    def begin_round(self, model: bytes) -> RunProgress:
        """Use up the next round number; after a crash it is never used again."""
        before = self.progress
        digest = self._journal.put_blob(model)
        self._save(
            round=before.round + 1,
            round_in_task=before.round_in_task + 1,
            open=True,
            model=digest,
        )
        return self.progress

    def end_round(
        self,
        record: RoundRecord,
        *,
        done: bool,
        bytes_up: dict[str, int],
        model: bytes | None = None,
        salt: bytes = b"",
        also: Callable[[], None],
    ) -> None:
        """Close the open round with its record and, if it has a sum, the next model.

        When the task is done, its current model is kept as the final one; others may be kept as
        checkpoints. The salt of the sum's
        digest is kept for whoever may check that. What ``also`` writes is durable together with it.
        """
        digest = self.progress.model if model is None else self._journal.put_blob(model)
        finals = dict(self.progress.finals)
        if done and digest is not None:
            finals[record.task] = digest
        self.records.append(record)
        kept = self.progress.kept
        if model is not None and digest is not None and self._is_due(record.task):
            kept = (*kept, Checkpoint(record.task, record.round_in_task, digest))
        with self._journal.transaction():
            also()
            if salt:
                self._journal.put(f"{_SALT}{record.round}", salt)
            self._journal.put(f"{_ROUND}{record.round}", msgspec.msgpack.encode(record))
            self._save(
                open=False, done=done, bytes_up=bytes_up, model=digest, finals=finals, kept=kept
            )
        needed = {*finals.values(), *(each.model for each in kept)}
        self._journal.keep_blobs(needed if digest is None else {*needed, digest})

    def _is_due(self, task: str) -> bool:
        return self._keep_every > 0 and self.completed(task) % self._keep_every == 0

    def _save(self, **changes: object) -> None:
        progress = msgspec.structs.replace(self.progress, **changes)
        with self._journal.transaction():
            self._journal.put(_PROGRESS, msgspec.msgpack.encode(progress))
        self.progress = progress
