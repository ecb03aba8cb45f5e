"""What a party remembers of a run across restarts: its progress, and which tasks have a model.

A state restored from an older backup forgets the rounds since then, and nothing here can tell. An
honest coordinator never repeats a number, so the run goes on. A lying one may open such a round
again; the party then answers with fresh keys and masks. It cannot be led to sign or open anything
of the round that it forgot, for the secrets of a round are never at rest: the old roster holds
other keys than its new ones. What it does forget is what those rounds were charged.
"""

from __future__ import annotations

from typing import Final

import msgspec

from parties.party.ports import PartyJournal
from protocols.admission import Admitted, Progress, admit, find_task
from protocols.agreement import Agreement
from protocols.errors import CohortTooSmallError, EquivocationError, JournalError
from protocols.rounds import FinalModel, RoundOpen, RoundResult
from protocols.wire import encode

_PROGRESS: Final = "progress"
_FINAL: Final = "final-"


class History:
    """Every method is durable when it returns."""

    def __init__(self, agreement: Agreement, journal: PartyJournal) -> None:
        """Args: the agreement in force; a journal that serves it and this party alone.

        Raises:
            JournalError: what is on record makes no sense.
        """
        self._agreement, self._journal = agreement, journal
        self._coordinator = agreement.coordinator.name
        stored = journal.get(_PROGRESS)
        try:
            self.progress = (
                Progress() if stored is None else msgspec.msgpack.decode(stored, type=Progress)
            )
        except msgspec.DecodeError as error:
            raise JournalError(
                "the progress on record is not one of this release; use the release that wrote it"
            ) from error

    def admit(self, round_: int, opened: RoundOpen, initial: bytes | None) -> Admitted:
        """Decide whether a round may begin, see :func:`protocols.admission.admit`.

        Nothing is remembered yet: see :meth:`begin`.
        """
        return admit(self.progress, self._agreement, round_, opened, initial)

    def begin(self, admitted: Admitted) -> None:
        """Use up the number of an admitted round, before the first word in it."""
        self._remember(admitted.progress)

    def aborted(self) -> None:
        """The last round has no sum.

        Raises:
            DuplicateError, EquivocationError: it ended before.
        """
        self._remember(self.progress.aborted(self._coordinator))

    def published(self, message: RoundResult) -> None:
        """The last round has a result.

        Raises:
            DuplicateError, EquivocationError: it ended before.
            CohortTooSmallError: no honest party would have helped to open such a sum.
        """
        fewest, n = self._agreement.aggregation.min_cohort, len(self._agreement.parties)
        if not fewest <= message.survivors <= n:
            raise CohortTooSmallError(
                self._coordinator,
                "result",
                f"{message.survivors} survivors of {n} parties, at least {fewest} are agreed",
            )
        self._remember(self.progress.published(self._coordinator, message.model, done=message.done))

    def check_final(self, message: FinalModel) -> int:
        """Return the position of a task whose final model we are given.

        Raises:
            PolicyError: no such task.
            EquivocationError: we were given another one before, or told of another one.
        """
        position, progress = find_task(self._agreement, message.task), self.progress
        known = self._journal.get(_FINAL + message.task)
        announced = progress.ended == "published" and progress.over > position
        if known is None and announced and progress.task == position:
            known = progress.model
        if known is not None and known != message.model:
            raise EquivocationError(
                self._coordinator, "final", f"task {message.task} has another final model"
            )
        return position

    def finished(self, message: FinalModel) -> None:
        """A task is over and we hold its model."""
        position = self.check_final(message)
        self._journal.put(_FINAL + message.task, message.model)
        self._remember(self.progress.finished(position))

    def missing(self) -> tuple[str, ...]:
        """Return the names of the tasks whose final model we were never given."""
        names = (task.name for task in self._agreement.tasks)
        return tuple(name for name in names if self._journal.get(_FINAL + name) is None)

    def _remember(self, progress: Progress) -> None:
        self._journal.put(_PROGRESS, encode(progress))
        self.progress = progress
