"""One round of the log, from its intent to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from protocols.errors import LedgerError
from protocols.identity import Envelope
from protocols.ledger.commits import Expected
from protocols.ledger.facts import RoundFacts
from protocols.masking.context import RoundContext
from protocols.masking.messages import Confirmation, Submission
from protocols.rounds import RoundAborted, RoundOpen, RoundResult


class OpenRound:
    """What the log says so far of a round in progress.

    Every ``check_*`` changes nothing; every ``take_*`` is for what was checked.

    Attributes:
        number: of the round.
        task: its name.
        expected: what every commit has to say.
        roster: digest of the roster in all commits, 32 bytes; empty before the first, unless
            nothing is masked: then there is none to draw up, and its digest is known beforehand.
        sharers: likewise of those that dealt shares; of all invited where nothing is masked.
        software: what the commits say computed them, in order of appearance.
    """

    def __init__(
        self,
        context: RoundContext,
        leaf: int,
        intent: RoundOpen,
        digest: bytes,
        epsilons: tuple[float | None, float | None],
    ) -> None:
        """Args: facts of the round; position, content and digest of its intent; its cost."""
        self.number, self.task = context.round, intent.task
        self.roster, self.sharers = b"", b""
        self.software: dict[str, None] = {}
        self._context, self._leaf, self._intent, self._epsilons = context, leaf, intent, epsilons
        if not context.masked:
            self.roster = context.roster_digest(())
            self.sharers = context.sharers_digest(self.roster, intent.invited)
        invited = frozenset(intent.invited)
        self.expected = Expected(digest, intent.terms, intent.model, context.count, invited)
        self._commits: dict[int, Envelope] = {}
        self._confirmed: dict[int, bytes] = {}

    @property
    def committed(self) -> tuple[int, ...]:
        """Parties whose commit is here, in order."""
        return tuple(self._commits)

    def digests(self) -> list[bytes]:
        """Return the digest of each commit's payload, 32 bytes, in the order of the parties."""
        return [hashlib.sha256(one.payload).digest() for one in self._commits.values()]

    def digest_of(self, number: int) -> bytes | None:
        """Return the digest of the payload of a party's commit, if there is one."""
        envelope = self._commits.get(number)
        return None if envelope is None else hashlib.sha256(envelope.payload).digest()

    # Commits

    def check_commit(self, number: int, submission: Submission, party: str) -> str:
        """Check the next commit; return what it says computed it.

        Raises:
            LedgerError: ``leaf-out-of-place``, ``commit-duplicate``, ``commit-out-of-order``,
                ``commit-other-roster``; else as :meth:`Expected.check`.
        """
        if self._confirmed:
            raise LedgerError(
                "leaf-out-of-place", "a commit after the first confirmation", party=party
            )
        if number in self._commits:
            raise LedgerError("commit-duplicate", f"{party} has committed before", party=party)
        if self._commits and number < next(reversed(self._commits)):
            raise LedgerError(
                "commit-out-of-order", "commits stand in the order of the parties", party=party
            )
        commit = self.expected.check(number, submission, party=party)
        shown = (submission.roster, submission.sharers)
        if self.roster and shown != (self.roster, self.sharers):
            raise LedgerError("commit-other-roster", self._other_roster(party), party=party)
        return commit.software

    def _other_roster(self, party: str) -> str:
        if self._context.masked:
            return f"{party} was shown another roster or other sharers than those before it"
        return f"{party} names a roster or sharers, and nothing is masked: all invited take part"

    def take_commit(
        self, number: int, envelope: Envelope, submission: Submission, software: str
    ) -> None:
        """Keep a commit."""
        self._commits[number] = envelope
        self.roster, self.sharers = submission.roster, submission.sharers
        self.software[software] = None

    # Confirmations

    def check_confirmation(self, number: int, confirmation: Confirmation, party: str) -> None:
        """Check the next confirmation as far as that is possible before the round's end.

        Raises:
            LedgerError: ``survivors-too-few``, ``confirmation-without-commit``,
                ``confirmation-duplicate``, ``confirmation-out-of-order`` or
                ``confirmation-other-set``.
        """
        if number not in self._commits:
            raise LedgerError(
                "confirmation-without-commit", f"{party} has no commit here", party=party
            )
        if number in self._confirmed:
            raise LedgerError(
                "confirmation-duplicate", f"{party} has confirmed before", party=party
            )
        if not self._confirmed:
            self._require_survivors(len(self._commits), party)
            return
        if number < next(reversed(self._confirmed)):
            raise LedgerError(
                "confirmation-out-of-order",
                "confirmations stand in the order of the parties",
                party=party,
            )
        if confirmation.survivors != next(iter(self._confirmed.values())):
            raise LedgerError(
                "confirmation-other-set",
                f"{party} confirmed another survivor set than those before it",
                party=party,
            )

    def take_confirmation(self, number: int, confirmation: Confirmation) -> None:
        """Keep a confirmation."""
        self._confirmed[number] = confirmation.survivors

    # The end

    def completed(self, result: RoundResult) -> RoundFacts:
        """Check the result against all that came before it; return what the round came to.

        Raises:
            LedgerError: ``survivors-invalid``, ``commit-missing``, ``survivor-missing``,
                ``survivors-too-few``, ``sharers-too-few``, ``sharers-altered``,
                ``confirmation-other-set``, ``quorum-missing`` or ``noise-meter-invalid``.
        """
        self._check_survivors(result)
        self._check_confirmations(result)
        if (result.noise_meter is None) != (self._intent.terms is None):
            raise self._refusal(
                "noise-meter-invalid", "there is a noise meter exactly where noise is agreed"
            )
        return self._facts(result, None)

    def _check_survivors(self, result: RoundResult) -> None:
        context, committed = self._context, self._commits
        members = (*result.survivors, *result.dropouts)
        if (
            not _rising(result.survivors)
            or not _rising(result.dropouts)
            or len(set(members)) < len(members)
            or not self._in_roster(members)
        ):
            raise self._refusal(
                "survivors-invalid",
                "survivors and dropouts are not invited parties, in order, each once",
            )
        for number in result.survivors:
            if number not in committed:
                name = context.parties[number].name
                raise self._refusal("commit-missing", f"{name} is a survivor without a commit")
        if len(committed) > len(result.survivors):
            left = sorted(committed.keys() - set(result.survivors))
            name = context.parties[left[0]].name
            raise self._refusal("survivor-missing", f"{name} committed and is no survivor")
        self._require_survivors(len(result.survivors), context.coordinator.name)
        if len(members) < context.min_roster:
            raise self._refusal(
                "sharers-too-few",
                f"{len(members)} survivors and dropouts, at least {context.min_roster} are agreed",
            )
        if context.sharers_digest(self.roster, sorted(members)) != self.sharers:
            raise self._refusal(
                "sharers-altered", "survivors and dropouts are not those that all commits name"
            )

    def _in_roster(self, members: Sequence[int]) -> bool:
        return all(number in self.expected.invited for number in members)

    def _require_survivors(self, count: int, party: str) -> None:
        least = self._context.min_survivors
        if count < least:
            raise LedgerError(
                "survivors-too-few", f"{count} survivors, at least {least} are agreed", party=party
            )

    def _check_confirmations(self, result: RoundResult) -> None:
        context = self._context
        digest = context.survivors_digest(
            self.sharers, tuple(self._commits.values()), result.dropouts
        )
        for number, confirmed in self._confirmed.items():
            if confirmed != digest:
                name = context.parties[number].name
                raise self._refusal("confirmation-other-set", f"{name} confirmed another one")
        if len(self._confirmed) < context.quorum:
            raise self._refusal(
                "quorum-missing",
                f"{len(self._confirmed)} confirmations, the quorum is {context.quorum}",
            )

    def aborted(self, message: RoundAborted) -> RoundFacts:
        """Return what a round came to that has no sum."""
        return self._facts(None, message)

    def _facts(self, result: RoundResult | None, abort: RoundAborted | None) -> RoundFacts:
        intent = self._intent
        return RoundFacts(
            round=self.number,
            leaf=self._leaf,
            task=intent.task,
            round_in_task=intent.round_in_task,
            outcome="aborted" if result is None else "completed",
            step="" if abort is None else abort.step,
            reason="" if abort is None else abort.reason,
            invited=intent.invited,
            committed=self.committed if result is None else result.survivors,
            late=(),
            survivors=() if result is None else result.survivors,
            dropouts=() if result is None else result.dropouts,
            confirmations=tuple(self._confirmed),
            model_before=intent.model,
            model_after=None if result is None else result.model,
            aggregate=None if result is None else result.aggregate,
            terms=intent.terms,
            outputs=intent.outputs,
            noise_meter=None if result is None else result.noise_meter,
            epsilon_before=self._epsilons[0],
            epsilon_after=self._epsilons[1],
            task_done=result is not None and result.done,
            software=tuple(self.software),
        )

    def _refusal(self, finding: str, reason: str) -> LedgerError:
        return LedgerError(finding, reason, party=self._context.coordinator.name)


def _rising(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def check_invited(context: RoundContext, invited: Sequence[int]) -> None:
    """Check whom an intent asks.

    Raises:
        LedgerError: ``invited-invalid``: not parties in order, each once; ``invited-too-few``.
    """
    name = context.coordinator.name
    if not _rising(invited) or invited[-1] >= len(context.parties):
        raise LedgerError(
            "invited-invalid", "those invited are not parties in order, each once", party=name
        )
    if len(invited) < context.min_roster:
        raise LedgerError(
            "invited-too-few",
            f"{len(invited)} are invited, at least {context.min_roster} are agreed",
            party=name,
        )
