"""What a party remembers of a run across restarts: its progress, and which tasks have a model.

A state restored from an older backup forgets the rounds since then. The ledger, of which every
party has a copy, holds them: see :meth:`History.learn`. The secrets of a round are never at rest,
so such a party cannot be led to sign or open anything of a round that it forgot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from parties.party.ports import PartyJournal
from protocols.admission import Admitted, Ending, Progress, admit, find_task
from protocols.agreement import Agreement
from protocols.errors import CohortTooSmallError, EquivocationError, JournalError
from protocols.ledger.facts import RoundFacts
from protocols.rounds import FinalModel, RoundOpen, RoundResult, round_context
from protocols.wire import encode

_PROGRESS: Final = "progress"
_FINAL: Final = "final-"
_DECLINED: Final = "declined"
_ROUNDS: Final = msgspec.msgpack.Decoder(list[int])
_NONE: Final = msgspec.msgpack.encode([])


class History:
    """Every method is durable when it returns."""

    def __init__(self, agreement: Agreement, journal: PartyJournal) -> None:
        """Args: the agreement in force; a journal that serves it and this party alone.

        Raises:
            JournalError: what is on record makes no sense.
        """
        self._agreement, self._journal = agreement, journal
        self._coordinator = agreement.coordinator.name
        context = round_context(agreement, agreement.digest(), 1, agreement.tasks[0], 1)
        self._fewest = context.min_survivors
        stored, declined = journal.get(_PROGRESS), journal.get(_DECLINED)
        try:
            self._declined = set(_ROUNDS.decode(declined or _NONE))
            self.progress = (
                Progress() if stored is None else msgspec.msgpack.decode(stored, type=Progress)
            )
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
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

    @property
    def declined(self) -> frozenset[int]:
        """Rounds that we refused before anything was computed for them."""
        return frozenset(self._declined)

    def decline(self, round_: int) -> None:
        """Remember that we refused a round, and computed nothing."""
        if self.progress.round < round_ <= self._agreement.max_rounds:
            self._declined.add(round_)
            self._journal.put(_DECLINED, msgspec.msgpack.encode(sorted(self._declined)))

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
        fewest, n = self._fewest, len(self._agreement.parties)
        if not fewest <= len(set(message.survivors)) <= n:
            raise CohortTooSmallError(
                self._coordinator,
                "result",
                f"{len(set(message.survivors))} survivors of {n} parties, at least {fewest} are "
                "agreed",
            )
        self._remember(self.progress.published(self._coordinator, message.model, done=message.done))

    def learn(self, rounds: Iterable[RoundFacts]) -> None:
        """Take over from the verified ledger what we were not told, or have forgotten.

        Raises:
            EquivocationError: the ledger says that a round ended otherwise than we were told.
        """
        progress = self.progress
        for one in rounds:
            if one.round < progress.round:
                continue
            position = find_task(self._agreement, one.task)
            model = one.model_before if one.model_after is None else one.model_after
            ended: Ending = "aborted" if one.model_after is None else "published"
            told = one.round == progress.round and progress.ended != "unknown"
            over = progress.over > position and ended == "published"
            if told and (
                (progress.ended, progress.model) != (ended, model) or (one.task_done and not over)
            ):
                raise EquivocationError(
                    self._coordinator, "extend", f"round {one.round} ended in another way before"
                )
            progress = Progress(
                one.round,
                position,
                one.round_in_task,
                ended,
                max(progress.over, position + one.task_done),
                one.model_before,
                model,
            )
        if progress != self.progress:
            self._remember(progress)

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
