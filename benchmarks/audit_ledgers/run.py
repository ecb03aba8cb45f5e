"""A run on record without the run: no vector is masked, every signature and digest is real."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from protocols.agreement import (
    Agreement,
    SignedAgreement,
    agreement_from,
    bring_into_force,
    sign_agreement,
)
from protocols.agreement.noise import composed_releases
from protocols.identity import NO_ROUND, Envelope, Identity
from protocols.intent import intent_digest, outputs_of, statement, terms_of
from protocols.ledger.checkpoint import Checkpoint, cosign, origin_of, sign_checkpoint
from protocols.ledger.merkle import Frontier, leaf_hash
from protocols.ledger.records import (
    CheckpointLeaf,
    Leaf,
    MessageLeaf,
    agreement_leaf,
    encode_leaf,
)
from protocols.masking.context import RoundContext
from protocols.masking.messages import Confirmation, Submission
from protocols.privacy.accounting import epsilon
from protocols.rounds import RoundAborted, RoundOpen, RoundResult, RunEnded, round_context
from protocols.wire import encode

ABORTED_EVERY: Final = 20
"""Of so many rounds one is aborted after everybody committed."""
START: Final = 1_800_000_000


def _agreement(people: dict[str, Identity], rounds: int) -> Agreement:
    """Return an agreement with noise: a tenth may collude, a fifth may drop out."""

    def member(name: str) -> dict[str, Any]:
        fingerprint = hashlib.sha256(name.encode()).hexdigest()
        key = people[name].public.raw.hex()
        return {"name": name, "public_key": key, "tls_fingerprint": fingerprint}

    names = [name for name in people if name != "hub"]
    n = len(names)
    task = {
        "name": "risk",
        "kind": "dp-logistic",
        "rounds": rounds,
        "dimension": 1000,
        "bound": 1.0,
        "scale": 8192.0,
        "modulus_bits": 48,
        "rounding": "stochastic",
        "privacy": {
            "clip_norm": 1.0,
            "noise_multiplier": 4.0,
            "sampling_rate": 0.01,
            "people": 1_000_000,
        },
    }
    return agreement_from(
        {
            "version": 1,
            "federation": "benchmark",
            "coordinator": member("hub") | {"address": "127.0.0.1:7443"},
            "parties": [member(name) for name in names],
            "tasks": [task],
            "aggregation": {
                "colluders": n // 10,
                "max_dropouts": n // 5,
                "threshold": n // 10 + 1,
                "min_cohort": n - n // 5,
                "deadline_seconds": 30.0,
                "max_message_bytes": 1 << 24,
            },
            "privacy": {"mechanism": "discrete-gaussian", "epsilon": 3.0, "delta": 1e-6},
        }
    )


@dataclass
class LongRun:
    """Writes a run leaf by leaf."""

    rounds: int
    parties: int
    tree: Frontier = field(default_factory=Frontier)
    model: bytes = bytes(32)

    def __post_init__(self) -> None:
        self.hub = Identity("hub", secrets.token_bytes(32))
        self.people = [Identity(f"party-{n}", secrets.token_bytes(32)) for n in range(self.parties)]
        everybody = {one.name: one for one in (self.hub, *self.people)}
        agreement = _agreement(everybody, self.rounds)
        self.signed: SignedAgreement = bring_into_force(
            agreement, [sign_agreement(agreement, one) for one in self.people]
        )
        self.origin = origin_of(agreement.federation, self.signed.digest)

    def leaves(self) -> Iterator[bytes]:
        """Yield every leaf from the agreement to the last checkpoint."""
        yield self._take(agreement_leaf(self.signed))
        yield self._checkpoint(0)
        for number in range(1, self.rounds + 1):
            for leaf in self._round(number):
                yield self._take(leaf)
            yield self._checkpoint(number)
        end = self._seal(self.hub, NO_ROUND, "end", RunEnded("completed", "every task is over"))
        yield self._take(MessageLeaf(end))
        yield self._checkpoint(self.rounds + 1)

    def _round(self, number: int) -> Iterator[Leaf]:
        agreement, digest = self.signed.agreement, self.signed.digest
        task = agreement.tasks[0]
        everybody = tuple(range(self.parties))
        delta = agreement.privacy.delta
        costs = [
            epsilon(composed_releases(agreement, {task.name: n}), delta, accountant="rdp")
            for n in (number - 1, number)
        ]
        intent = RoundOpen(
            task.name,
            number,
            self.model,
            self.tree.size,
            self.tree.root(),
            everybody,
            terms_of(agreement, task),
            outputs_of(agreement, task),
            *costs,
        )
        opened = self._seal(self.hub, number, "open", intent)
        yield MessageLeaf(opened)
        known = intent_digest(opened.payload)
        context = round_context(agreement, digest, number, task, number, known)
        yield from self._answers(number, context, statement(known, intent.terms))

    def _answers(self, number: int, context: RoundContext, said: bytes) -> Iterator[Leaf]:
        # Another party falls silent in every round; one in twenty rounds ends without a sum.
        silent = number % self.parties
        survivors = tuple(n for n in range(self.parties) if n != silent)
        roster = secrets.token_bytes(32)
        sharers = context.sharers_digest(roster, range(self.parties))
        commits = []
        for member in survivors:
            vector = secrets.token_bytes(32)
            message = Submission(roster, sharers, self.model, vector, context.count, said)
            commits.append(self._seal(self.people[member], number, "submit", message))
            yield MessageLeaf(commits[-1])
        if number % ABORTED_EVERY == 0:
            abort = RoundAborted("confirm", "too few parties answered")
            yield MessageLeaf(self._seal(self.hub, number, "abort", abort))
            return
        confirmation = Confirmation(context.survivors_digest(sharers, commits, (silent,)))
        for member in survivors:
            confirmed = self._seal(self.people[member], number, "confirm", confirmation)
            yield MessageLeaf(confirmed)
        self.model = secrets.token_bytes(32)
        result = RoundResult(
            self.model, secrets.token_bytes(32), survivors, (silent,), 1.0, number == self.rounds
        )
        yield MessageLeaf(self._seal(self.hub, number, "result", result))

    def _seal(self, who: Identity, number: int, step: str, message: msgspec.Struct) -> Envelope:
        return who.seal(
            agreement=self.signed.digest, round_=number, step=step, payload=encode(message)
        )

    def _checkpoint(self, number: int) -> bytes:
        head = Checkpoint(self.origin, self.tree.size, self.tree.root())
        witnesses = self.people[: self.signed.agreement.quorum]
        lines = [cosign(head, one, START + 60 * number) for one in witnesses]
        note = head.body() + b"\n" + b"".join((sign_checkpoint(head, self.hub), *lines))
        return self._take(CheckpointLeaf(note))

    def _take(self, leaf: Leaf) -> bytes:
        data = encode_leaf(leaf)
        self.tree.append(leaf_hash(data))
        return data
