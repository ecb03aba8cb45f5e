"""The commits of one round: what each must repeat of its intent, and who may make one."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from protocols.errors import LedgerError, WireError
from protocols.intent import Commit, Terms, read_statement
from protocols.masking.messages import Submission


@dataclass(frozen=True, slots=True)
class Expected:
    """What every commit of a round has to say.

    Attributes:
        intent: digest of the round's intent, 32 bytes.
        terms: of the round.
        model: digest of the model that the round hands out, 32 bytes.
        count: values in a vector.
        invited: parties that may take part, by number.
    """

    intent: bytes
    terms: Terms | None
    model: bytes
    count: int
    invited: Container[int]

    def check(self, number: int, submission: Submission, *, party: str) -> Commit:
        """Check the commit of party ``number``, called ``party``, and return it.

        Raises:
            LedgerError: ``commit-uninvited``, ``payload-unreadable``, ``commit-other-intent``,
                ``commit-other-terms``, ``commit-other-model`` or ``commit-other-length``.
        """
        if number not in self.invited:
            raise LedgerError("commit-uninvited", f"{party} was not invited", party=party)
        try:
            commit = read_statement(submission.statement, party=party)
        except WireError as error:
            raise LedgerError("payload-unreadable", error.reason, party=party) from error
        if commit.intent != self.intent:
            raise LedgerError("commit-other-intent", f"{party} answers another intent", party=party)
        if commit.terms != self.terms:
            raise LedgerError(
                "commit-other-terms",
                f"{party} used another noise, clip norm or sampling rate",
                party=party,
            )
        if submission.model != self.model:
            raise LedgerError(
                "commit-other-model", f"{party} trained on another model", party=party
            )
        if submission.count != self.count:
            raise LedgerError(
                "commit-other-length",
                f"{party} commits to {submission.count} values, not {self.count}",
                party=party,
            )
        return commit
