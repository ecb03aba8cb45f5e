"""The coordinator's ledger: what was signed, in order, durable before anybody is told.

It verifies its own log as an auditor will: what an auditor would refuse is never appended.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from parties.ledger_store import LeafStore
from protocols.agreement import SignedAgreement, Task
from protocols.errors import SubmissionError
from protocols.identity import Envelope, Identity
from protocols.intent import (
    Terms,
    intent_digest,
    outputs_of,
    read_statement,
    terms_of,
)
from protocols.ledger.checkpoint import (
    Checkpoint,
    Note,
    NoteSignature,
    origin_of,
    parse_signature,
    sign_checkpoint,
)
from protocols.ledger.key_place import same_key
from protocols.ledger.merkle import Tree
from protocols.ledger.messages import Extension, seal_ledger
from protocols.ledger.proofs import leaf_hash
from protocols.ledger.records import (
    CheckpointLeaf,
    KeyLeaf,
    Leaf,
    MessageLeaf,
    agreement_leaf,
    encode_leaf,
)
from protocols.ledger.verify import LedgerVerifier, unchecked
from protocols.masking.messages import Submission
from protocols.rounds import RoundOpen, RunEnded, seal
from protocols.wire import Packet, decode, encode

_CHUNK_BYTES: Final = 1 << 20


class LedgerKeeper:
    """Appends leaves; durable on return, or with the caller's transaction on the journal."""

    def __init__(
        self,
        signed: SignedAgreement,
        identity: Identity,
        store: LeafStore,
        key_record: bytes | None = None,
    ) -> None:
        """Read the log back, if there is one.

        Args:
            signed: the agreement in force.
            identity: the coordinator's.
            store: durable, for this agreement alone.
            key_record: of the key that vectors are encrypted under, where they are.

        Raises:
            LedgerError: the log on disk is not one that was written here, or holds another key.
        """
        self._key_record = key_record
        self._signed, self._identity, self._store = signed, identity, store
        self._origin = origin_of(signed.agreement.federation, signed.digest)
        # Its own signatures, and those that it checked when they came, are not checked again.
        self._verifier = LedgerVerifier(check=unchecked, check_key=same_key(key_record))
        self._tree = Tree()
        self._pending: dict[str, dict[str, Envelope]] = {"submit": {}, "confirm": {}}
        self._intent: tuple[bytes, Terms | None] = (b"", None)
        for leaf in store.leaves():
            self._verifier.take(leaf)
            self._tree.append(leaf_hash(leaf))

    @property
    def size(self) -> int:
        """Leaves in the log."""
        return self._tree.size

    @property
    def at_checkpoint(self) -> bool:
        """Whether the last leaf is a checkpoint, so that a round may begin."""
        return self._verifier.at_checkpoint

    @property
    def in_round(self) -> bool:
        """Whether a round has an intent and no end yet."""
        return self._verifier.open_round > 0

    @property
    def closed(self) -> bool:
        """Whether the end of the run is on record."""
        return self._verifier.closed

    # Leaves

    def begin(self) -> None:
        """Put the agreement at the head of a log that is empty, and its key behind it."""
        if not self._tree.size:
            self._append([agreement_leaf(self._signed)])
        if self._key_record is not None and self._tree.size == 1:
            self._append([KeyLeaf(self._key_record)])

    def open(
        self,
        round_: int,
        task: Task,
        round_in_task: int,
        model: bytes,
        invited: Iterable[int],
        clip_norm: float | None,
    ) -> Envelope:
        """Record the intent of a round, and return the message that opens it.

        Args:
            round_: its number.
            task: of the agreement.
            round_in_task: its number within the task.
            model: digest of the model that is handed out, 32 bytes.
            invited: parties, by number.
            clip_norm: of this round, where it adapts.
        """
        agreement = self._signed.agreement
        terms = terms_of(agreement, task, clip_norm)
        before, after = self._verifier.costs_of(task)
        message = RoundOpen(
            task.name,
            round_in_task,
            model,
            self._tree.size,
            self._tree.root(),
            tuple(sorted(invited)),
            terms,
            outputs_of(agreement, task),
            before,
            after,
        )
        envelope = seal(self._identity, self._signed.digest, round_, message)
        self._append([MessageLeaf(envelope)])
        self._intent = (intent_digest(envelope.payload), terms)
        return envelope

    def check_statement(self, envelope: Envelope, max_bytes: int) -> None:
        """Check what a party states beside its masked vector, before the vector is taken.

        Raises:
            WireError: it is no submission, or holds no commit.
            SubmissionError: a commit to another intent or to other terms.
        """
        party = envelope.sender
        header = decode(
            Submission, envelope.payload, party=party, step="submit", max_bytes=max_bytes
        )
        commit = read_statement(header.statement, party=party)
        if (commit.intent, commit.terms) != self._intent:
            raise SubmissionError(party, "submit", "commits to another intent or to other terms")

    def hold(self, envelope: Envelope) -> None:
        """Keep a submission or a confirmation that was taken, until :meth:`flush`."""
        self._pending[envelope.step][envelope.sender] = envelope

    def flush(self, step: str) -> None:
        """Append the messages of a step that were taken, in order of party number."""
        held, self._pending[step] = self._pending[step], {}
        order = {party.name: n for n, party in enumerate(self._signed.agreement.parties)}
        self._append(MessageLeaf(held[name]) for name in sorted(held, key=order.__getitem__))

    def end_round(self, envelope: Envelope) -> None:
        """Append a round's result or abort, after what was taken of it."""
        for step in self._pending:
            self.flush(step)
        self._append([MessageLeaf(envelope)])

    def late(self, commit: Envelope) -> None:
        """Append a commit that its party reminded us of, its signature checked.

        Raises:
            LedgerError: it is of no round that its party was asked to join, or on record already.
        """
        self._append([MessageLeaf(commit)])

    def close(self, message: RunEnded) -> None:
        """Append the end of the run."""
        self._append([MessageLeaf(seal(self._identity, self._signed.digest, 0, message))])

    def lacks(self, number: int, commit: Envelope) -> bool:
        """Tell whether a commit of a party is not in the log."""
        digest = hashlib.sha256(commit.payload).digest()
        return not self._verifier.has_commit(number, commit.round, digest)

    def differs(self, size: int, root: bytes) -> bool:
        """Tell whether a tree of that many leaves, at most ours, is not the beginning of ours."""
        return not hmac.compare_digest(self._tree.root(size), root)

    # Heads

    def head(self) -> Note:
        """Return the signed head of the whole log, without witnesses."""
        checkpoint = Checkpoint(self._origin, self._tree.size, self._tree.root())
        line = sign_checkpoint(checkpoint, self._identity)
        return Note(checkpoint, (parse_signature(line, party=self._identity.name),))

    def witnessed(self, head: Note, lines: Mapping[str, NoteSignature]) -> None:
        """Append a head with its witnesses' signatures, by party name, as a checkpoint."""
        order = (party.name for party in self._signed.agreement.parties)
        cosigned = tuple(lines[name] for name in order if name in lines)
        note = Note(head.checkpoint, (*head.signatures, *cosigned))
        self._append([CheckpointLeaf(note.to_bytes())])

    def extensions(self, start: int, head: Note | None, max_bytes: int) -> list[bytes]:
        """Return the packets that bring a party from ``start`` leaves to the whole log."""
        packets = list(self._chunks(start, max_bytes))
        if head is None:
            return [self._packet(at, leaves) for at, leaves in packets]
        at, leaves = packets.pop() if packets else (start, ())
        proof = self._tree.consistency_proof(at, self._tree.size)
        last = self._packet(at, leaves, head.to_bytes(), tuple(proof))
        return [*(self._packet(place, some) for place, some in packets), last]

    def _chunks(self, start: int, max_bytes: int) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        most = min(_CHUNK_BYTES, max_bytes // 2)
        chunk: list[bytes] = []
        size, at = 0, start
        for leaf in self._store.leaves(start):
            if chunk and size + len(leaf) > most:
                yield at, tuple(chunk)
                at, chunk, size = at + len(chunk), [], 0
            chunk.append(leaf)
            size += len(leaf)
        if chunk:
            yield at, tuple(chunk)

    def _packet(
        self,
        start: int,
        leaves: tuple[bytes, ...],
        head: bytes = b"",
        proof: tuple[bytes, ...] = (),
    ) -> bytes:
        message: msgspec.Struct = Extension(start, leaves, head, proof)
        return encode(Packet(seal_ledger(self._identity, self._signed.digest, message)))

    def _append(self, leaves: Iterable[Leaf]) -> None:
        taken: list[bytes] = []
        try:
            for leaf in map(encode_leaf, leaves):
                self._verifier.take(leaf)
                taken.append(leaf)
        finally:
            # What was taken is kept, or the log would part from what was verified.
            self._store.append(taken)
            for leaf in taken:
                self._tree.append(leaf_hash(leaf))
