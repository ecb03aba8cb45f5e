"""Our own copy of the ledger: verified leaf by leaf, and the heads of it that we have cosigned.

What the coordinator shows us once it can never take back: a leaf that differs from ours, or a head
that does not extend what we hold, is evidence against it, and we answer no further round.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from parties.party.participation import COMMIT_KEY, UNMASKED_KEY
from parties.party.ports import PartyJournal
from protocols.admission import Progress
from protocols.agreement import SignedAgreement
from protocols.errors import EquivocationError, LedgerError, PolicyError, ReplayError
from protocols.identity import NO_ROUND, Envelope, Identity
from protocols.intent import intent_digest
from protocols.ledger.checkpoint import coordinator_check, cosign, origin_of, parse_note
from protocols.ledger.facts import RoundFacts
from protocols.ledger.key_place import same_key
from protocols.ledger.merkle import Tree
from protocols.ledger.messages import STEPS, Cosigned, Extension, Holding, seal_ledger
from protocols.ledger.proofs import leaf_hash, verify_consistency
from protocols.ledger.records import AgreementLeaf, MessageLeaf, decode_leaf, encode_leaf
from protocols.ledger.verify import LedgerVerifier, unchecked
from protocols.rounds import RoundOpen
from protocols.signed import open_signed
from protocols.wire import Packet, encode

EVIDENCE_KEY: Final = "evidence"
_ENVELOPE: Final = msgspec.msgpack.Decoder(Envelope)


class LedgerCopy:
    """Not for several threads at once."""

    def __init__(
        self,
        signed: SignedAgreement,
        identity: Identity,
        journal: PartyJournal,
        key_record: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read our copy back.

        Args:
            signed: the agreement in force.
            identity: ours.
            journal: durable, for this agreement and party alone.
            key_record: of the key that vectors are encrypted under, where they are.
            clock: Unix seconds, for the time that a cosignature carries.

        Raises:
            LedgerError: the copy on disk is damaged.
        """
        self._signed, self._identity, self._journal = signed, identity, journal
        self._known_key = same_key(key_record)
        self._number, self._clock = signed.agreement.party_index(identity.name), clock
        self._coordinator = signed.agreement.verify_key(signed.agreement.coordinator.name)
        self._origin = origin_of(signed.agreement.federation, signed.digest)
        self._broken: LedgerError | None = None
        self._admitted: tuple[int, bytes] | None = None
        self._read_back()

    def _read_back(self) -> None:
        """Take what is on disk; its signatures were checked before it was put there."""
        own = LedgerVerifier(check=unchecked, check_key=self._known_key)
        self._verifier, self._tree = own, Tree()
        for leaf in self._journal.ledger.leaves():
            self._verifier.take(leaf)
            self._tree.append(leaf_hash(leaf))
        self._verifier.check_from_now_on()

    @property
    def size(self) -> int:
        """Leaves that we hold."""
        return self._tree.size

    @property
    def rounds(self) -> Sequence[RoundFacts]:
        """Rounds that ended, in order."""
        return self._verifier.rounds

    def owed(
        self, charged: Mapping[str, int], progress: Progress, declined: Collection[int]
    ) -> dict[str, int]:
        """Return how many rounds of each task our people have to be charged for.

        Rounds after the last one that we remember are charged as an audit charges them: whoever was
        invited may have computed, and have forgotten it.

        Args:
            charged: rounds of each task that we know we charged.
            progress: what we remember.
            declined: rounds of which we remember that we refused them.
        """
        if not self._tree.size:
            return dict(charged)
        owed = Counter(charged)
        for one in reversed(self._verifier.rounds):
            if one.round <= progress.round:
                break
            owed[one.task] += self._number in one.invited and one.round not in declined
        for task, count in self._verifier.commits_of(self._number).items():
            owed[task] = max(owed[task], count)
        return {task: count for task, count in owed.items() if count}

    def holding(self) -> bytes:
        """Return the packet that says how much we hold."""
        return self._packet(Holding(self._tree.size, self._tree.root()))

    # Rounds

    def admit(self, envelope: Envelope, opened: RoundOpen) -> None:
        """Check the intent of a round and keep it, durably: we never accept another one for it.

        Args:
            envelope: the opening, its signature checked.
            opened: its content.

        Raises:
            LedgerError: it does not follow from the ledger that we hold; or no checkpoint with
                enough witnesses contains our last commit; or its terms are not as agreed.
            PolicyError: we are not invited.
        """
        self._require_whole()
        if self._number not in opened.invited:
            raise PolicyError(f"round {envelope.round} does not name us among the invited")
        if (opened.tree_size, opened.tree_root) != (self._tree.size, self._tree.root()):
            raise LedgerError(
                "tree-mismatch",
                f"the round builds on {opened.tree_size} leaves, and we hold {self._tree.size}, "
                "or others",
                round=envelope.round,
            )
        if not self._verifier.at_checkpoint or self._missing() is not None:
            raise LedgerError(
                "commit-missing",
                "no checkpoint with enough witnesses contains our last commit",
                round=envelope.round,
            )
        self._append([encode_leaf(MessageLeaf(envelope))])
        self._admitted = (envelope.round, intent_digest(envelope.payload))

    def require_same(self, envelope: Envelope) -> None:
        """Check that an opening of the round that we admitted last is that very opening.

        Raises:
            EquivocationError: the coordinator signed two intents for one round.
        """
        known = self._admitted
        if known and known[0] == envelope.round and known[1] != intent_digest(envelope.payload):
            raise EquivocationError(
                self._coordinator.name, "open", f"round {known[0]} was opened in another way"
            )

    def require_confirmed(self, rounds: Iterable[RoundFacts]) -> None:
        """Check that a round whose sum we helped to open is on record with our confirmation.

        Raises:
            EquivocationError: the coordinator showed us a quorum, and hides that it had one.
        """
        opened = self._journal.get(UNMASKED_KEY)
        for one in rounds:
            if opened == b"%d" % one.round and self._number not in one.confirmations:
                raise EquivocationError(
                    self._coordinator.name,
                    "extend",
                    f"the record of round {one.round} hides that its sum could be opened",
                )

    def _missing(self) -> Envelope | None:
        """Return our last commit if the ledger lacks it."""
        stored = self._journal.get(COMMIT_KEY)
        if stored is None:
            return None
        commit = _ENVELOPE.decode(stored)
        digest = hashlib.sha256(commit.payload).digest()
        if self._verifier.has_commit(self._number, commit.round, digest):
            return None
        return commit

    # Extensions

    def extend(self, envelope: Envelope, max_bytes: int) -> bytes:
        """Add what the coordinator says follows, and cosign its head.

        Returns:
            Packet for the coordinator; empty when there is nothing to say yet.

        Raises:
            PeerError: the coordinator did not sign it.
            LedgerError: its leaves do not verify, and nothing was added; or its head does not.
            EquivocationError: it contradicts what the coordinator showed us before. The evidence is
                kept, and we answer no further round.
        """
        message = open_signed(
            envelope,
            Extension,
            step=STEPS[Extension],
            signer=self._coordinator,
            agreement=self._signed.digest,
            round_=NO_ROUND,
            max_bytes=max_bytes,
        )
        self._require_whole()
        if message.start > self._tree.size:
            return self.holding()
        known = self._tree.size - message.start
        for position, leaf in enumerate(message.leaves[:known], message.start):
            if leaf != self._journal.ledger.leaf(position):
                self._contradiction(envelope, f"leaf {position} is not the one that we hold")
        self._append(message.leaves[known:])
        return self._cosign(envelope, message) if message.head else b""

    def _cosign(self, envelope: Envelope, message: Extension) -> bytes:
        note = parse_note(message.head, party=self._coordinator.name)
        head = note.checkpoint
        if head.origin != self._origin or not coordinator_check(note, self._coordinator).holds():
            raise LedgerError("checkpoint-unsigned", "the head is not one of this ledger's")
        if head.size < self._tree.size:
            past = f"a head of {head.size} leaves is past, we hold {self._tree.size}"
            raise ReplayError(self._coordinator.name, "extend", past)
        if head.size > self._tree.size:
            raise LedgerError("head-without-leaves", f"a head of {head.size} leaves came too early")
        if not hmac.compare_digest(head.root, self._tree.root()):
            self._contradiction(envelope, f"the head of {head.size} leaves has another root")
        before = (message.start, self._tree.root(message.start))
        verify_consistency(*before, head.size, head.root, message.proof)
        line = cosign(head, self._identity, int(self._clock()))
        # What we sign is durable: the leaves are in the journal.
        return self._packet(Cosigned(head.size, line, self._missing()))

    def _append(self, leaves: Sequence[bytes]) -> None:
        if leaves and not self._tree.size:
            self._require_our_agreement(leaves[0])
        try:
            for leaf in leaves:
                self._verifier.take(leaf)
        except LedgerError:
            if len(leaves) > 1:
                self._read_back()
            raise
        self._journal.ledger.append(leaves)
        for leaf in leaves:
            self._tree.append(leaf_hash(leaf))

    def _require_our_agreement(self, leaf: bytes) -> None:
        # Whoever writes another one has its keys as well, and could put anything after it.
        first = decode_leaf(leaf, 0)
        if (
            not isinstance(first, AgreementLeaf)
            or hashlib.sha256(first.canonical).digest() != self._signed.digest
        ):
            raise LedgerError(
                "another-agreement", "it does not begin with the one that we signed", leaf=0
            )

    def denounce(self, reason: str, evidence: Envelope | None) -> None:
        """Answer no further round: the coordinator contradicted itself.

        Args:
            reason: in one clause.
            evidence: what it signed, kept unless something was kept before; ``None`` if that is in
                our copy.
        """
        if self._journal.get(EVIDENCE_KEY) is None:
            self._journal.put(EVIDENCE_KEY, b"" if evidence is None else encode(evidence))
        self._broken = LedgerError("split-view", reason)

    def _contradiction(self, envelope: Envelope, reason: str) -> NoReturn:
        self.denounce(reason, envelope)
        raise EquivocationError(
            self._coordinator.name,
            "extend",
            f"{reason}; what it signed is kept as evidence, compare ledgers with the other parties",
        )

    def _require_whole(self) -> None:
        if self._broken is None and self._journal.get(EVIDENCE_KEY) is not None:
            self._broken = LedgerError(
                "split-view", "the coordinator contradicted itself before this node was restarted"
            )
        if self._broken is not None:
            raise self._broken

    def _packet(self, message: msgspec.Struct) -> bytes:
        return encode(Packet(seal_ledger(self._identity, self._signed.digest, message)))
