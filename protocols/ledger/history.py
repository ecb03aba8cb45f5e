"""The rounds of a log that have ended, and which commits of them are in it, in little memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace

from protocols.errors import LedgerError
from protocols.identity import DIGEST_BYTES
from protocols.ledger.commits import Expected
from protocols.ledger.facts import RoundFacts
from protocols.ledger.open_round import OpenRound
from protocols.masking.messages import Submission


@dataclass(frozen=True, slots=True)
class LateCommit:
    """A commit that was recorded after its round.

    Attributes:
        leaf: its position in the log.
        round: that it belongs to.
        party: its number.
        elsewhere: whether it names another roster or other sharers than the round's own commits:
            either its party lies, or the coordinator showed two rosters.
    """

    leaf: int
    round: int
    party: int
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    """Of a round that ended, beside its facts: digests of 32 bytes."""

    intent: bytes
    roster: bytes
    count: int
    commits: bytes
    """of the payload of every commit in its place, one behind the other"""


class History:
    """Grows by one round at a time, and by late commits.

    Attributes:
        rounds: facts of every round that ended, in order.
        late: every late commit, in the order of the log.
    """

    def __init__(self, parties: int) -> None:
        """Args: how many parties the agreement has."""
        self.rounds: list[RoundFacts] = []
        self.late: list[LateCommit] = []
        self._kept: list[_Kept] = []
        self._late_digests: dict[tuple[int, int], bytes] = {}
        self._commits: list[dict[str, int]] = [{} for _ in range(parties)]

    def add(self, facts: RoundFacts, ended: OpenRound) -> None:
        """Keep a round that ended."""
        facts = _shared(facts, self.rounds[-1] if self.rounds else facts)
        self.rounds.append(facts)
        expected = ended.expected
        self._kept.append(
            _Kept(
                expected.intent,
                ended.roster + ended.sharers,
                expected.count,
                b"".join(ended.digests()),
            )
        )
        for number in facts.committed:
            self._count(number, facts.task)

    def commits_of(self, number: int) -> Mapping[str, int]:
        """Return in how many ended rounds of each task, by name, a party has a commit."""
        return dict(self._commits[number])

    def digest_of(self, number: int, round_: int) -> bytes | None:
        """Return the digest of the payload of a party's commit in a round that ended, if any."""
        late = self._late_digests.get((round_, number))
        if late is not None:
            return late
        committed = self.rounds[round_ - 1].committed
        place = bisect_left(committed, number)
        if place == len(committed) or committed[place] != number:
            return None
        start = place * DIGEST_BYTES
        return self._kept[round_ - 1].commits[start : start + DIGEST_BYTES]

    def check_late(self, number: int, round_: int, submission: Submission, party: str) -> str:
        """Check a late commit; return what it says computed it.

        Raises:
            LedgerError: ``commit-duplicate``; else as :meth:`Expected.check`.
        """
        facts, kept = self.rounds[round_ - 1], self._kept[round_ - 1]
        if self.digest_of(number, round_) is not None:
            raise LedgerError("commit-duplicate", f"{party} has committed before", party=party)
        expected = Expected(kept.intent, facts.terms, facts.model_before, kept.count, facts.invited)
        return expected.check(number, submission, party=party).software

    def take_late(
        self, leaf: int, number: int, round_: int, digest: bytes, submission: Submission, by: str
    ) -> None:
        """Keep a late commit that was checked; ``by`` is what computed it."""
        facts, kept = self.rounds[round_ - 1], self._kept[round_ - 1]
        self._late_digests[round_, number] = digest
        elsewhere = bool(kept.roster) and kept.roster != submission.roster + submission.sharers
        self.late.append(LateCommit(leaf, round_, number, elsewhere))
        self.rounds[round_ - 1] = replace(
            facts,
            late=tuple(sorted((*facts.late, number))),
            software=tuple(dict.fromkeys((*facts.software, by))),
        )
        self._count(number, facts.task)

    def _count(self, number: int, task: str) -> None:
        counts = self._commits[number]
        counts[task] = counts.get(task, 0) + 1


def _shared(facts: RoundFacts, last: RoundFacts) -> RoundFacts:
    """Let equal sets of parties be one object: a long run mostly repeats them."""
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    for one in (last.invited, last.committed, last.survivors, last.confirmations):
        known.setdefault(one, one)
    return replace(
        facts,
        invited=known.setdefault(facts.invited, facts.invited),
        committed=known.setdefault(facts.committed, facts.committed),
        survivors=known.setdefault(facts.survivors, facts.survivors),
        confirmations=known.setdefault(facts.confirmations, facts.confirmations),
    )
