"""Ledgers that somebody tampered with, by the keys that the tamperer owns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from protocols.agreement import SignedAgreement
from protocols.identity import Envelope, Identity
from protocols.intent import Commit, intent_digest
from protocols.ledger.checkpoint import Checkpoint, Note, parse_note, sign_checkpoint
from protocols.ledger.checkpoint import cosign as cosign_line
from protocols.ledger.merkle import Frontier, leaf_hash
from protocols.ledger.records import (
    AgreementLeaf,
    CheckpointLeaf,
    KeyLeaf,
    Leaf,
    MessageLeaf,
    encode_leaf,
)
from protocols.masking.messages import Confirmation, Submission
from protocols.rounds import RoundAborted, RoundOpen, RoundResult, RunEnded
from protocols.wire import encode
from support.agreements import identity_of
from support.ledgers import START, leaf

KINDS: Mapping[str, type[msgspec.Struct]] = {
    "open": RoundOpen,
    "submit": Submission,
    "confirm": Confirmation,
    "result": RoundResult,
    "abort": RoundAborted,
    "end": RunEnded,
}


def message_of(envelope: Envelope) -> Any:
    return msgspec.msgpack.decode(envelope.payload, type=KINDS[envelope.step])


def sealed(who: Identity, envelope: Envelope, message: msgspec.Struct) -> MessageLeaf:
    """The same envelope with another payload, signed by somebody."""
    return MessageLeaf(
        who.seal(
            agreement=envelope.agreement,
            round_=envelope.round,
            step=envelope.step,
            payload=encode(message),
        )
    )


def steps(leaves: Sequence[bytes]) -> list[str]:
    """What each leaf is: the step of a message, else its kind."""
    told = {AgreementLeaf: "agreement", KeyLeaf: "key", CheckpointLeaf: "checkpoint"}
    read = map(leaf, leaves)
    return [one.envelope.step if isinstance(one, MessageLeaf) else told[type(one)] for one in read]


def places(leaves: Sequence[bytes], step: str) -> list[int]:
    return [n for n, one in enumerate(steps(leaves)) if one == step]


class Forger:
    """Changes a ledger and then everything after it that its keys allow.

    It owns the coordinator's key and those of some parties. Messages of the coordinator are bound
    to the changed log anew, and so are the commits of its parties; what honest parties signed
    stays.
    """

    def __init__(
        self, signed: SignedAgreement, owned: Collection[str], *, keep_lines: bool = False
    ) -> None:
        """Args: agreement; parties whose keys it has; whether it keeps old lines of the others."""
        self._signed, self._owned, self._keep = signed, frozenset(owned), keep_lines
        self._hub = identity_of(signed.agreement.coordinator.name)

    def rebuild(
        self,
        leaves: Sequence[bytes],
        changed: Mapping[int, Leaf | None] = MappingProxyType({}),
    ) -> list[bytes]:
        """Return the ledger with some leaves replaced, or left out where ``None``."""
        tree, made, intents = Frontier(), list[bytes](), dict[bytes, bytes]()
        for position, data in enumerate(leaves):
            old = leaf(data)
            told = changed.get(position, old)
            if told is None:
                continue
            if position not in changed:
                told = self._rebound(told, tree, intents)
            if isinstance(old, MessageLeaf) and old.envelope.step == "open":
                intents[intent_digest(old.envelope.payload)] = intent_digest(told.envelope.payload)
            fresh = encode_leaf(told)
            made.append(fresh)
            tree.append(leaf_hash(fresh))
        return made

    def _rebound(self, told: Leaf, tree: Frontier, intents: dict[bytes, bytes]) -> Leaf:
        if isinstance(told, CheckpointLeaf):
            return self._checkpoint(parse_note(told.note, party=""), tree)
        if isinstance(told, MessageLeaf) and told.envelope.step == "open":
            intent = message_of(told.envelope)
            bound = msgspec.structs.replace(intent, tree_size=tree.size, tree_root=tree.root())
            return told if bound == intent else sealed(self._hub, told.envelope, bound)
        if isinstance(told, MessageLeaf) and told.envelope.step == "submit":
            return self._commit(told, intents)
        return told

    def _commit(self, told: MessageLeaf, intents: dict[bytes, bytes]) -> Leaf:
        envelope = told.envelope
        submission = message_of(envelope)
        commit = msgspec.msgpack.decode(submission.statement, type=Commit)
        if envelope.sender not in self._owned or commit.intent not in intents:
            return told
        if intents[commit.intent] == commit.intent:
            return told
        again = msgspec.structs.replace(commit, intent=intents[commit.intent])
        fresh = msgspec.structs.replace(submission, statement=encode(again))
        return sealed(identity_of(envelope.sender), envelope, fresh)

    def _checkpoint(self, old: Note, tree: Frontier) -> CheckpointLeaf:
        head = Checkpoint(old.checkpoint.origin, tree.size, tree.root())
        if head == old.checkpoint:
            return CheckpointLeaf(old.to_bytes())
        lines = [sign_checkpoint(head, self._hub)]
        for line in old.signatures[1:]:
            party = line.name.rpartition("/")[2]
            if party in self._owned:
                lines.append(cosign_line(head, identity_of(party), START))
            elif self._keep:
                lines.append(line.to_bytes())
        return CheckpointLeaf(head.body() + b"\n" + b"".join(lines))
