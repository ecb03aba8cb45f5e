"""Genuine ledgers: real roles play real rounds, and what they sign is put on record.

A test may have the coordinator, or parties that help it, put something else on record: a *lie*
changes a message just before it is signed again by the very key that it claims.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from protocols.agreement import Agreement, SignedAgreement, Task, agreement_from
from protocols.agreement.noise import composed_releases
from protocols.identity import NO_ROUND, Envelope, Identity
from protocols.intent import intent_digest, outputs_of, statement, terms_of
from protocols.ledger.checkpoint import Checkpoint, cosign, origin_of, sign_checkpoint
from protocols.ledger.merkle import Frontier, leaf_hash
from protocols.ledger.records import (
    AgreementLeaf,
    CheckpointLeaf,
    Leaf,
    MessageLeaf,
    agreement_leaf,
    encode_leaf,
)
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.messages import Confirmation, Submission
from protocols.masking.party import MaskingParty
from protocols.privacy.accounting import epsilon
from protocols.rounds import RoundAborted, RoundOpen, RoundResult, RunEnded, round_context
from protocols.wire import encode
from support.agreements import (
    COORDINATOR,
    identity_of,
    in_force,
    noised,
    party_name,
    plain_agreement,
)
from support.masking import seeded_random

START = 1_800_000_000
"""Unix seconds of the first checkpoint; each later one is signed ten seconds after the last."""
SECOND_TASK = {"name": "spread", "rounds": 2, "dimension": 4}

Lie = Callable[[Any], Any]
Key = tuple[str, int] | tuple[str, int, int]
"""Step, round, and for a party's message its number: which message a lie is about."""


@lru_cache(maxsize=8)
def small_agreement(*, noise: bool = True, parties: int = 5) -> Agreement:
    """Two tasks, one colluder and one dropout withstood: a quorum of four."""
    plain = plain_agreement(parties, max_dropouts=1)
    if noise:
        plain = noised(plain)
        plain["aggregation"] = plain["aggregation"] | {"min_cohort": parties - 1}
        plain["privacy"] = plain["privacy"] | {"epsilon": 20.0}
    return agreement_from(plain | {"tasks": [*plain["tasks"], plain["tasks"][0] | SECOND_TASK]})


@lru_cache(maxsize=8)
def small_federation(*, noise: bool = True, parties: int = 5) -> SignedAgreement:
    return in_force(small_agreement(noise=noise, parties=parties))


def digest_of(label: object) -> bytes:
    return hashlib.sha256(str(label).encode()).digest()


@dataclass
class LedgerWriter:
    """Plays rounds and keeps their leaves.

    ``lies`` change messages before they are signed; ``steps`` leave whole leaves out or put others
    in their place: a function of the leaves that would be appended, by step and round.
    """

    signed: SignedAgreement
    lies: Mapping[Key, Lie] = field(default_factory=dict)
    witnesses: Collection[int] | None = None
    leaves: list[bytes] = field(default_factory=list)
    held_back: dict[tuple[int, int], Envelope] = field(default_factory=dict)
    round: int = 0
    charged: dict[str, int] = field(default_factory=dict)
    model: bytes = digest_of("initial")
    now: int = START

    def __post_init__(self) -> None:
        self.tree = Frontier()
        self.agreement = self.signed.agreement
        self.hub = identity_of(COORDINATOR)
        self.people = {n: identity_of(party.name) for n, party in enumerate(self.agreement.parties)}

    # Leaves

    def append(self, leaf: Leaf | bytes) -> None:
        data = leaf if isinstance(leaf, bytes) else encode_leaf(leaf)
        self.leaves.append(data)
        self.tree.append(leaf_hash(data))

    def begin(self) -> LedgerWriter:
        self.append(agreement_leaf(self.signed))
        return self.checkpoint()

    def seal(self, who: Identity, step: str, round_: int, message: msgspec.Struct) -> Envelope:
        return who.seal(
            agreement=self.signed.digest, round_=round_, step=step, payload=encode(message)
        )

    def say(self, step: str, message: msgspec.Struct, round_: int | None = None) -> Envelope:
        """The coordinator says something on record."""
        number = self.round if round_ is None else round_
        lie = self.lies.get((step, number))
        told = message if lie is None else lie(message)
        envelope = told if isinstance(told, Envelope) else self.seal(self.hub, step, number, told)
        self.append(MessageLeaf(envelope))
        return envelope

    def record(self, number: int, envelope: Envelope, kind: type[msgspec.Struct]) -> None:
        """What a party said is put on record."""
        lie = self.lies.get((envelope.step, self.round, number))
        if lie is not None:
            told = lie(msgspec.msgpack.decode(envelope.payload, type=kind))
            envelope = (
                told
                if isinstance(told, Envelope)
                else self.seal(self.people[number], envelope.step, envelope.round, told)
            )
        self.append(MessageLeaf(envelope))

    def checkpoint(self, witnesses: Iterable[int] | None = None) -> LedgerWriter:
        chosen = self.witnesses if witnesses is None else witnesses
        self.append(self.head(self.people if chosen is None else chosen))
        self.now += 10
        return self

    def head(self, witnesses: Iterable[int]) -> CheckpointLeaf:
        origin = origin_of(self.agreement.federation, self.signed.digest)
        checkpoint = Checkpoint(origin, self.tree.size, self.tree.root())
        lines = [cosign(checkpoint, self.people[number], self.now) for number in witnesses]
        signed = b"".join((sign_checkpoint(checkpoint, self.hub), *lines))
        return CheckpointLeaf(checkpoint.body() + b"\n" + signed)

    # Rounds

    def epsilons(self, task: Task) -> tuple[float | None, float | None]:
        if self.agreement.privacy.mechanism == "none":
            return None, None
        after = {**self.charged, task.name: self.charged.get(task.name, 0) + 1}
        return tuple(
            epsilon(
                composed_releases(self.agreement, counts),
                self.agreement.privacy.delta,
                accountant="rdp",
            )
            for counts in (self.charged, after)
        )

    def open(self, task: Task, invited: Sequence[int], clip_norm: float | None) -> Envelope:
        self.round += 1
        message = RoundOpen(
            task.name,
            self.charged.get(task.name, 0) + 1,
            self.model,
            self.tree.size,
            self.tree.root(),
            tuple(invited),
            terms_of(self.agreement, task, clip_norm),
            outputs_of(self.agreement, task),
            *self.epsilons(task),
        )
        envelope = self.say("open", message)
        self.charged[task.name] = self.charged.get(task.name, 0) + 1
        return envelope

    def play(
        self,
        *,
        task: int = 0,
        clip_norm: float | None = None,
        absent: Collection[int] = (),
        silent: Collection[int] = (),
        unheard: Collection[int] = (),
        until: str = "result",
        done: bool = False,
        settle: bool = True,
    ) -> LedgerWriter:
        """One round.

        Args:
            task: position of its task.
            clip_norm: of the round.
            absent: who is not invited.
            silent: who falls silent after it dealt shares.
            unheard: who sends its masked vector too late; its commit is kept in ``held_back``.
            until: step before which the round is aborted; ``"result"`` if it is not.
            done: whether the task is.
            settle: whether a checkpoint follows.
        """
        which = self.agreement.tasks[task]
        invited = [number for number in self.people if number not in absent]
        opened = self.open(which, invited, clip_norm)
        intent = msgspec.msgpack.decode(opened.payload, type=RoundOpen)
        digest = intent_digest(opened.payload)
        context = round_context(
            self.agreement, self.signed.digest, self.round, which, intent.round_in_task, digest
        )
        random = seeded_random(self.round)
        hub = MaskingCoordinator(context, self.hub)
        nodes = {n: MaskingParty(context, self.people[n], random) for n in invited}
        for node in nodes.values():
            hub.receive_advertise(node.advertise())
        for number, mail in hub.close_advertise().items():
            hub.receive_shares(nodes[number].receive_roster(mail))
        for number, mail in hub.close_shares().items():
            nodes[number].receive_delivery(mail)
        values = np.arange(context.count, dtype=context.word)
        said = statement(digest, intent.terms)
        for number, node in nodes.items():
            if number in silent:
                continue
            envelope, vector = node.submit(values, model=self.model, statement=said)
            if number in unheard:
                self.held_back[self.round, number] = envelope
                continue
            hub.receive_submission(envelope, vector, model=self.model)
            if until != "submit":
                self.record(number, envelope, Submission)
        if until in {"confirm", "submit"}:
            return self.abort(until, settle=settle)
        confirmed = {
            number: nodes[number].receive_survivors(mail)
            for number, mail in hub.close_submissions().items()
        }
        for number, envelope in confirmed.items():
            hub.receive_confirmation(envelope)
            self.record(number, envelope, Confirmation)
        if until == "unmask":
            return self.abort(until, settle=settle)
        for number, mail in hub.close_confirmations().items():
            hub.receive_unmask(nodes[number].receive_confirmations(mail))
        total = hub.finish()
        self.model = digest_of((self.model, "next"))
        meter = None if intent.terms is None else 1.0
        result = RoundResult(
            self.model,
            hashlib.sha256(total.total.tobytes()).digest(),
            total.survivors,
            total.dropouts,
            meter,
            done,
        )
        self.say("result", result)
        return self.checkpoint() if settle else self

    def abort(self, step: str, *, settle: bool = True) -> LedgerWriter:
        self.say("abort", RoundAborted(step, "too few parties answered"))
        return self.checkpoint() if settle else self

    def late(self, round_: int, number: int) -> LedgerWriter:
        self.record(number, self.held_back[round_, number], Submission)
        return self

    def end(self) -> LedgerWriter:
        self.say("end", RunEnded("completed", "every task is over"), NO_ROUND)
        return self.checkpoint()


def whole_run(signed: SignedAgreement | None = None, **options: Any) -> LedgerWriter:
    """Five rounds of two tasks: a dropout, an abort, a late commit, an end.

    Rounds: 1 plain; 2 with party 2 silent; 3 aborted before anybody confirmed, with the commit of
    party 4 on record only afterwards; 4 of the second task, with party 0 not invited; 5 its last.
    """
    writer = LedgerWriter(signed or small_federation(), **options)
    adaptive = writer.agreement.privacy.mechanism != "none"
    writer.begin().play().play(silent=(2,), clip_norm=1.75 if adaptive else None)
    writer.play(
        unheard=(4,), until="confirm", clip_norm=1.5 if adaptive else None, settle=False
    ).checkpoint()
    writer.late(3, 4).checkpoint()
    writer.model = digest_of("initial of the second")
    writer.play(task=1, absent=(0,)).play(task=1, done=True)
    return writer.end()


@lru_cache(maxsize=4)
def genuine(*, noise: bool = True) -> tuple[bytes, ...]:
    """The leaves of :func:`whole_run`."""
    return tuple(whole_run(small_federation(noise=noise)).leaves)


def leaf(data: bytes) -> AgreementLeaf | MessageLeaf | CheckpointLeaf:
    """A leaf as its struct, nothing checked."""
    return msgspec.msgpack.decode(data, type=Leaf)


__all__ = [
    "START",
    "LedgerWriter",
    "digest_of",
    "genuine",
    "leaf",
    "party_name",
    "small_agreement",
    "small_federation",
    "whole_run",
]
