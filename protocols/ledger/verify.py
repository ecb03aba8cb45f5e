"""The verifier of a ledger: leaf by leaf, in one pass, trusting nobody.

An auditor runs it over an exported log, every party over its own copy as it grows, the coordinator
over its own log before it appends. The order of leaves is: the agreement; the key, if there is one;
one or more checkpoints; then for each round its intent, commits, confirmations, and its result or,
at any point, its abort; late commits; checkpoints; at last the end and one or more checkpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from protocols.agreement import SignedAgreement, Task
from protocols.errors import LedgerError
from protocols.identity import NO_ROUND, Envelope
from protocols.intent import intent_digest
from protocols.ledger.facts import CheckpointFacts, RoundFacts
from protocols.ledger.history import History, LateCommit
from protocols.ledger.key_place import CheckKey, KeyPlace, same_key
from protocols.ledger.merkle import Frontier, leaf_hash
from protocols.ledger.open_round import OpenRound, check_invited
from protocols.ledger.reading import CheckSignature, LogReader, check_now, unchecked
from protocols.ledger.records import (
    AgreementLeaf,
    CheckpointLeaf,
    KeyLeaf,
    MessageLeaf,
    decode_leaf,
    read_agreement_leaf,
)
from protocols.ledger.schedule import Schedule
from protocols.masking.messages import Confirmation, Submission
from protocols.rounds import RoundAborted, RoundOpen, RoundResult, RunEnded, round_context

__all__ = ["CheckSignature", "LedgerVerifier", "check_now", "unchecked"]

Last = Literal["nothing", "agreement", "checkpoint", "round", "end"]


class LedgerVerifier:
    """Takes leaves in order. One that is refused changes nothing, and another may be tried.

    Attributes:
        signed: the agreement in force, of leaf 0; ``None`` before it.
        closed: whether the end of the run is on record.
    """

    def __init__(
        self, *, check: CheckSignature = check_now, check_key: CheckKey | None = None
    ) -> None:
        """Args: what is told every signature but the agreement's; what checks a ciphertext key."""
        self._check = check
        self._key_place = KeyPlace(check_key or same_key(None))
        self._tree = Frontier()
        self.signed: SignedAgreement | None = None
        self._checkpoints: list[CheckpointFacts] = []
        self._last: Last = "nothing"
        self.closed = False
        self._open: OpenRound | None = None
        self._reader: LogReader
        self._schedule: Schedule
        self._history = History(0)
        self._between: Final[dict[str, Callable[[Envelope, int], None]]] = {
            "open": self._intent,
            "submit": self._late_commit,
            "end": self._end,
        }
        self._within: Final[dict[str, Callable[[OpenRound, Envelope, int], None]]] = {
            "submit": self._commit,
            "confirm": self._confirmation,
            "result": self._result,
            "abort": self._abort,
        }

    # What is known

    @property
    def size(self) -> int:
        """How many leaves were taken."""
        return self._tree.size

    def root(self) -> bytes:
        """Return the root over all leaves that were taken, 32 bytes."""
        return self._tree.root()

    @property
    def rounds(self) -> Sequence[RoundFacts]:
        """Rounds that ended, in order; a late commit is added to its round."""
        return self._history.rounds

    @property
    def checkpoints(self) -> Sequence[CheckpointFacts]:
        """Checkpoints, in order."""
        return self._checkpoints

    @property
    def late_commits(self) -> Sequence[LateCommit]:
        """Commits that were recorded after their round, in order."""
        return self._history.late

    @property
    def open_round(self) -> int:
        """Number of the round in progress; 0 between rounds."""
        return 0 if self._open is None else self._open.number

    @property
    def at_checkpoint(self) -> bool:
        """Whether the last leaf is a checkpoint, so that an intent may follow."""
        return self._last == "checkpoint"

    @property
    def charged(self) -> Mapping[str, int]:
        """Rounds so far by name of the task; every intent counts."""
        return {} if self.signed is None else dict(self._schedule.charged)

    def costs_of(self, task: Task) -> tuple[float, float] | tuple[None, None]:
        """Return epsilon as an intent for one more round of a task has to state it."""
        return self._schedule.costs_of(task)

    def invitations_of(self, number: int) -> Mapping[str, int]:
        """Return to how many rounds of each task, by name, a party was invited."""
        return dict(self._schedule.invitations[number])

    def commits_of(self, number: int) -> Mapping[str, int]:
        """Return in how many rounds of each task, by name, a party has a commit."""
        counts = dict(self._history.commits_of(number))
        open_ = self._open
        if open_ is not None and open_.digest_of(number) is not None:
            counts[open_.task] = counts.get(open_.task, 0) + 1
        return counts

    def has_commit(self, number: int, round_: int, digest: bytes) -> bool:
        """Tell whether a commit of a party is here, in its place or late.

        Args:
            number: of the party.
            round_: that it belongs to.
            digest: SHA-256 of the payload of its submission, 32 bytes.
        """
        if self._open is not None and round_ == self._open.number:
            return self._open.digest_of(number) == digest
        if not 1 <= round_ <= len(self.rounds):
            return False
        return self._history.digest_of(number, round_) == digest

    def check_from_now_on(self) -> None:
        """Check the signatures of whatever follows: what came before was our own record."""
        self._check = check_now
        if self.signed is not None:
            self._reader.check = check_now

    # Leaves

    def take(self, leaf: bytes) -> None:
        """Check the next leaf against all before it, and remember it.

        Raises:
            LedgerError: with one of the names in :data:`protocols.ledger.findings.FINDINGS`; it
                names the leaf's position and, where known, its author and round. Nothing changed.
        """
        position = self.size
        round_ = NO_ROUND
        try:
            parsed = decode_leaf(leaf, position)
            if isinstance(parsed, MessageLeaf):
                round_ = self._round_of(parsed.envelope)
                self._message(parsed.envelope, position)
            elif isinstance(parsed, CheckpointLeaf):
                self._checkpoint(parsed, position)
            elif isinstance(parsed, KeyLeaf):
                self._key_place.take(parsed.record)
            else:
                self._agreement(parsed)
        except LedgerError as error:
            raise LedgerError(
                error.finding,
                error.reason,
                leaf=position if error.leaf is None else error.leaf,
                party=error.party,
                round=error.round or round_,
            ) from error
        self._tree.append(leaf_hash(leaf))

    def _round_of(self, envelope: Envelope) -> int:
        """Return the round that a leaf counts towards, whatever it says itself."""
        if self._open is not None:
            return self._open.number
        if envelope.step == "open":
            return len(self.rounds) + 1
        if envelope.step == "submit" and envelope.round <= len(self.rounds):
            return envelope.round
        return NO_ROUND

    def _agreement(self, leaf: AgreementLeaf) -> None:
        if self._last != "nothing":
            raise LedgerError("leaf-out-of-place", "a second agreement")
        signed = read_agreement_leaf(leaf)
        self._reader = LogReader(signed, self._check)
        self._schedule = Schedule(signed.agreement)
        self._history = History(len(signed.agreement.parties))
        self._key_place.after(signed)
        self.signed, self._last = signed, "agreement"

    def _checkpoint(self, leaf: CheckpointLeaf, position: int) -> None:
        if self._last == "nothing":
            raise LedgerError("agreement-missing", "the first leaf is no agreement")
        if self._open is not None:
            raise LedgerError("leaf-out-of-place", "a checkpoint in the middle of a round")
        self._key_place.require()
        facts = self._reader.checkpoint(leaf.note, position, self._tree.root())
        self._checkpoints.append(facts)
        self._last = "checkpoint"

    def _message(self, envelope: Envelope, position: int) -> None:
        step = envelope.step
        if self._last == "nothing":
            raise LedgerError("agreement-missing", "the first leaf is no agreement")
        self._reader.check_binding(envelope)
        if self.closed:
            raise LedgerError("leaf-out-of-place", f"{step!r} after the end of the run")
        if self._open is None and step in self._between:
            self._between[step](envelope, position)
        elif self._open is not None and step in self._within:
            self._within[step](self._open, envelope, position)
        else:
            where = "between rounds" if self._open is None else "in the middle of a round"
            raise LedgerError("leaf-out-of-place", f"{step!r} {where}")

    def _require_checkpoint(self, step: str) -> None:
        if self._last != "checkpoint":
            raise LedgerError(
                "checkpoint-missing", f"{step!r} does not come directly after a checkpoint"
            )

    def _intent(self, envelope: Envelope, position: int) -> None:
        self._require_checkpoint("open")
        number = len(self.rounds) + 1
        intent = self._reader.by_coordinator(
            envelope, RoundOpen, number, position, finding="round-gap"
        )
        if (intent.tree_size, intent.tree_root) != (position, self._tree.root()):
            raise LedgerError(
                "tree-mismatch",
                f"it builds on {intent.tree_size} leaves, or others than those before it",
                party=envelope.sender,
            )
        task, *epsilons = self._schedule.check(intent)
        digest = intent_digest(envelope.payload)
        context = round_context(
            self._reader.agreement,
            self._reader.digest,
            number,
            task,
            intent.round_in_task,
            digest,
        )
        check_invited(context, intent.invited)
        self._open = OpenRound(context, position, intent, digest, (epsilons[0], epsilons[1]))
        self._schedule.begin(intent)
        self._last = "round"

    def _commit(self, open_: OpenRound, envelope: Envelope, position: int) -> None:
        number, submission = self._reader.by_party(envelope, Submission, open_.number, position)
        software = open_.check_commit(number, submission, envelope.sender)
        open_.take_commit(number, envelope, submission, software)

    def _late_commit(self, envelope: Envelope, position: int) -> None:
        round_ = envelope.round
        if not 1 <= round_ <= len(self.rounds):
            raise LedgerError("intent-missing", f"a commit of round {round_}, which is not open")
        number, submission = self._reader.by_party(envelope, Submission, round_, position)
        software = self._history.check_late(number, round_, submission, envelope.sender)
        digest = hashlib.sha256(envelope.payload).digest()
        self._history.take_late(position, number, round_, digest, submission, software)
        self._last = "round"

    def _confirmation(self, open_: OpenRound, envelope: Envelope, position: int) -> None:
        number, message = self._reader.by_party(envelope, Confirmation, open_.number, position)
        open_.check_confirmation(number, message, envelope.sender)
        open_.take_confirmation(number, message)

    def _result(self, open_: OpenRound, envelope: Envelope, position: int) -> None:
        result = self._reader.by_coordinator(envelope, RoundResult, open_.number, position)
        self._history.add(open_.completed(result), open_)
        self._schedule.end(result.model, done=result.done)
        self._open = None

    def _abort(self, open_: OpenRound, envelope: Envelope, position: int) -> None:
        message = self._reader.by_coordinator(envelope, RoundAborted, open_.number, position)
        self._history.add(open_.aborted(message), open_)
        self._schedule.end(None, done=False)
        self._open = None

    def _end(self, envelope: Envelope, position: int) -> None:
        self._require_checkpoint("end")
        message = self._reader.by_coordinator(envelope, RunEnded, NO_ROUND, position)
        self._schedule.check_end(message, envelope.sender)
        self.closed, self._last = True, "end"
