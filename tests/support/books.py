"""A ledger that a test's coordinator shows to one party: genuine, for it holds every key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from protocols.agreement import SignedAgreement
from protocols.identity import Envelope, Identity
from protocols.intent import intent_digest, outputs_of, statement, terms_of
from protocols.ledger.checkpoint import (
    Checkpoint,
    Note,
    cosign,
    origin_of,
    parse_signature,
    sign_checkpoint,
)
from protocols.ledger.merkle import Tree
from protocols.ledger.messages import Extension
from protocols.ledger.proofs import leaf_hash
from protocols.ledger.records import CheckpointLeaf, Leaf, MessageLeaf, agreement_leaf, encode_leaf
from protocols.masking.messages import Confirmation, Submission
from protocols.rounds import RoundAborted, RoundOpen, RoundResult, round_context, seal
from protocols.wire import decode


class Book:
    """What one party is shown. Rounds without noise only."""

    def __init__(self, signed: SignedAgreement, identities: Mapping[str, Identity]) -> None:
        self.signed, self.identities = signed, identities
        self.agreement, self.digest = signed.agreement, signed.digest
        self.key = identities[self.agreement.coordinator.name]
        self.leaves: list[bytes] = []
        self.shown = 0
        self.round = 0
        self.open: tuple[RoundOpen, Envelope] | None = None
        self.add(agreement_leaf(signed))
        self.checkpoint()

    def add(self, leaf: Leaf) -> None:
        self.leaves.append(encode_leaf(leaf))

    def tree(self) -> Tree:
        return Tree(leaf_hash(leaf) for leaf in self.leaves)

    def head(self) -> Note:
        tree = self.tree()
        head = Checkpoint(origin_of(self.agreement.federation, self.digest), tree.size, tree.root())
        line = sign_checkpoint(head, self.key)
        return Note(head, (parse_signature(line, party=self.key.name),))

    def checkpoint(self, witnesses: Iterable[str] | None = None) -> None:
        """Add a checkpoint that these parties cosign; all of them unless given."""
        head = self.head()
        names = [party.name for party in self.agreement.parties] if witnesses is None else witnesses
        lines = [cosign(head.checkpoint, self.identities[name], 1_800_000_000) for name in names]
        cosigned = [parse_signature(line, party="test") for line in lines]
        self.add(CheckpointLeaf(Note(head.checkpoint, (*head.signatures, *cosigned)).to_bytes()))

    def opening(self, round_: int, task: str, place: int, model: bytes) -> RoundOpen:
        """The intent of a round as the log stands, a repeated one as it stood."""
        if self.open is not None and self.round == round_:
            self.leaves.pop()
            self.open = None
        tree = self.tree()
        agreed = next((one for one in self.agreement.tasks if one.name == task), None)
        return RoundOpen(
            task,
            place,
            model,
            tree.size,
            tree.root(),
            tuple(range(len(self.agreement.parties))),
            None if agreed is None else terms_of(self.agreement, agreed),
            ("sum",) if agreed is None else outputs_of(self.agreement, agreed),
            None,
            None,
        )

    def begin(self, round_: int, message: RoundOpen) -> Envelope:
        """Record an intent if it may be the next one."""
        envelope = seal(self.key, self.digest, round_, message)
        if round_ in {self.round, self.round + 1} and self.open is None and round_ > 0:
            self.add(MessageLeaf(envelope))
            self.round, self.open = round_, (message, envelope)
        return envelope

    def catch_up(self, round_: int, model: bytes, heard: Iterable[Envelope]) -> None:
        """End the round that is open and abort those in between, so that ``round_`` may begin."""
        if self.open is not None and self.round < round_:
            self.end(RoundAborted("share", "it came to nothing"), heard)
        while self.round + 1 < round_ <= self.agreement.tasks[0].rounds:
            number = self.round + 1
            name = self.agreement.tasks[0].name
            self.begin(number, self.opening(number, name, number, model))
            self.end(RoundAborted("share", "it came to nothing"), ())

    def end(self, message: RoundAborted | RoundResult, heard: Iterable[Envelope]) -> None:
        """End the open round: with the commits that were heard, or as a round with a sum."""
        assert self.open is not None
        opened, envelope = self.open
        intent = intent_digest(envelope.payload)
        real = {one.sender: one for one in heard if self._of(one, intent)}
        names = [party.name for party in self.agreement.parties]
        if isinstance(message, RoundResult):
            self._complete(opened, intent, real, message)
        else:
            for name in sorted(real, key=names.index):
                self.add(MessageLeaf(real[name]))
            self.add(MessageLeaf(seal(self.key, self.digest, self.round, message)))
        self.open = None
        self.checkpoint()

    def _of(self, envelope: Envelope, intent: bytes) -> bool:
        if envelope.step != "submit" or envelope.round != self.round:
            return False
        said = decode(Submission, envelope.payload, party="x", step="submit", max_bytes=1 << 20)
        return said.statement == statement(intent, self._terms())

    def _terms(self) -> object:
        assert self.open is not None
        return self.open[0].terms

    def _complete(
        self,
        opened: RoundOpen,
        intent: bytes,
        real: dict[str, Envelope],
        message: RoundResult,
    ) -> None:
        names = [party.name for party in self.agreement.parties]
        task = next(one for one in self.agreement.tasks if one.name == opened.task)
        context = round_context(
            self.agreement, self.digest, self.round, task, opened.round_in_task, intent
        )
        everybody = tuple(range(len(names)))
        roster = bytes(32)
        for one in real.values():
            roster = decode(
                Submission, one.payload, party="x", step="submit", max_bytes=1 << 20
            ).roster
        sharers = context.sharers_digest(roster, everybody)
        vector = hashlib.sha256(b"a vector").digest()
        stated = statement(intent, opened.terms)
        made = Submission(roster, sharers, opened.model, vector, context.count, stated)
        commits = [real.get(name) or context.seal(self.identities[name], made) for name in names]
        confirmed = Confirmation(context.survivors_digest(sharers, commits, ()))
        for one in commits:
            self.add(MessageLeaf(one))
        for name in names:
            self.add(MessageLeaf(context.seal(self.identities[name], confirmed)))
        result = RoundResult(
            message.model, message.aggregate, everybody, (), message.noise_meter, message.done
        )
        self.add(MessageLeaf(seal(self.key, self.digest, self.round, result)))

    def extension(self) -> Extension | None:
        """What the party has not been shown, up to the last checkpoint."""
        end = len(self.leaves) - (self.open is not None)
        if self.shown >= end:
            return None
        message = Extension(self.shown, tuple(self.leaves[self.shown : end]), b"", ())
        self.shown = end
        return message
