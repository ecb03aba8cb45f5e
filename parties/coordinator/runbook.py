"""The coordinator's durable state: how far the run has come, and the models, in one transaction."""

from __future__ import annotations

from typing import Final

import msgspec

from parties.coordinator.ports import CoordinatorJournal
from parties.coordinator.progress import RoundRecord, RunProgress
from protocols.errors import NoResultError

_PROGRESS: Final = "progress"
_MODEL: Final = "model"
_FINAL: Final = "final-"


class Runbook:
    """Reads and writes :class:`RunProgress`; every method is durable when it returns."""

    def __init__(self, journal: CoordinatorJournal) -> None:
        """Args: a journal that serves one agreement alone."""
        self._journal = journal
        stored = journal.get(_PROGRESS)
        self.progress = (
            RunProgress() if stored is None else msgspec.msgpack.decode(stored, type=RunProgress)
        )

    @property
    def model(self) -> bytes | None:
        """The current task's current model; ``None`` before its first round."""
        return self._journal.get(_MODEL) if self.progress.round_in_task else None

    def final_model(self, task: str) -> bytes:
        """Return the final model of a finished task.

        Raises:
            NoResultError: there is none.
        """
        model = self._journal.get(_FINAL + task)
        if model is None:
            raise NoResultError(f"task {task} has no model; run it again")
        return model

    def begin_task(self, position: int) -> None:
        """Go on to the task at this position."""
        self._save(
            msgspec.structs.replace(self.progress, task=position, round_in_task=0, done=False)
        )

    def begin_round(self, model: bytes) -> RunProgress:
        """Use up the next round number; after a crash it is never used again."""
        progress = msgspec.structs.replace(
            self.progress,
            round=self.progress.round + 1,
            round_in_task=self.progress.round_in_task + 1,
            open=True,
        )
        self._save(progress, model=model)
        return progress

    def end_round(
        self,
        record: RoundRecord,
        *,
        done: bool,
        bytes_up: dict[str, int],
        model: bytes | None = None,
    ) -> None:
        """Close the open round with its record and, if it has a sum, the next model.

        When the task is done, its current model is kept as the final one.
        """
        progress = msgspec.structs.replace(
            self.progress,
            open=False,
            done=done,
            records=(*self.progress.records, record),
            bytes_up=bytes_up,
        )
        current = self.model if model is None else model
        self._save(progress, model=current, final=record.task if done else None)

    def _save(
        self, progress: RunProgress, *, model: bytes | None = None, final: str | None = None
    ) -> None:
        with self._journal.transaction():
            self._journal.put(_PROGRESS, msgspec.msgpack.encode(progress))
            if model is not None:
                self._journal.put(_MODEL, model)
            if final is not None and model is not None:
                self._journal.put(_FINAL + final, model)
        self.progress = progress
