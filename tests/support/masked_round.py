"""A masking round of honest roles that a test can stop at any step, to put lies in its way."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from protocols.errors import PeerError
from protocols.identity import Envelope, Identity
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.coordinator_states import Aggregate
from protocols.masking.messages import STEPS, Unmask
from protocols.masking.party import MaskingParty
from protocols.prg import RandomBytes
from support.masking import MODEL, Federation, random_inputs

ANSWERS = {
    "roster": MaskingParty.receive_roster,
    "deliver": MaskingParty.receive_delivery,
    "survivors": MaskingParty.receive_survivors,
    "confirmations": MaskingParty.receive_confirmations,
}
FOLLOWING = {"roster": "share", "survivors": "confirm", "confirmations": "unmask"}


def opened(envelope: Envelope) -> Any:
    """The message of an envelope, nothing checked."""
    return msgspec.msgpack.decode(envelope.payload, type=STEPS[envelope.step])


def changed(message: msgspec.Struct, **fields: Any) -> Any:
    return msgspec.structs.replace(message, **fields)


@dataclass
class Round:
    """Roles, and every envelope by step and party: ``mail`` to the parties, ``sent`` by them."""

    made: Federation
    hub: MaskingCoordinator
    nodes: dict[int, MaskingParty]
    inputs: Mapping[int, np.ndarray]
    mail: dict[str, dict[int, Envelope]] = field(default_factory=dict)
    sent: dict[str, dict[int, Envelope]] = field(default_factory=dict)
    vectors: dict[int, bytes] = field(default_factory=dict)

    def lie(self, message: msgspec.Struct) -> Envelope:
        """Sign whatever the coordinator pleases."""
        return self.made.context.seal(self.made.coordinator, message)

    def speak(self, number: int, message: msgspec.Struct) -> Envelope:
        """Sign whatever a malicious party pleases."""
        return self.made.context.seal(self.made.parties[number], message)

    def ask(self, number: int, envelope: Envelope) -> Any:
        return ANSWERS[envelope.step](self.nodes[number], envelope)

    # Honest steps

    def advertise(self, silent: Collection[int] = ()) -> None:
        said = {n: node.advertise() for n, node in self.nodes.items() if n not in silent}
        self.sent["advertise"] = said
        for envelope in said.values():
            self.hub.receive_advertise(envelope)
        self.mail["roster"] = self.hub.close_advertise()

    def share(self, silent: Collection[int] = ()) -> None:
        self._answer("roster", silent)
        for envelope in self.sent["share"].values():
            self.hub.receive_shares(envelope)
        self.mail["deliver"] = self.hub.close_shares()

    def deliver(self, silent: Collection[int] = ()) -> None:
        for number, envelope in self.mail["deliver"].items():
            if number not in silent:
                assert self.ask(number, envelope) == ()

    def submit(self, silent: Collection[int] = ()) -> None:
        for number, node in self.nodes.items():
            if number not in silent and node.state == "Ready":
                envelope, vector = node.submit(self.inputs[number], model=MODEL)
                self.sent.setdefault("submit", {})[number] = envelope
                self.vectors[number] = vector
                self.hub.receive_submission(envelope, vector, model=MODEL)
        self.mail["survivors"] = self.hub.close_submissions()

    def confirm(self, silent: Collection[int] = ()) -> None:
        self._answer("survivors", silent)
        for envelope in self.sent["confirm"].values():
            self.hub.receive_confirmation(envelope)
        self.mail["confirmations"] = self.hub.close_confirmations()

    def unmask(self, silent: Collection[int] = ()) -> None:
        self._answer("confirmations", silent)
        for envelope in self.sent["unmask"].values():
            self.hub.receive_unmask(envelope)

    def finish(self) -> Aggregate:
        return self.hub.finish()

    def _answer(self, step: str, silent: Collection[int]) -> None:
        self.sent[FOLLOWING[step]] = {
            number: self.ask(number, envelope)
            for number, envelope in self.mail[step].items()
            if number not in silent
        }


STAGES = ("advertise", "share", "deliver", "submit", "confirm", "unmask")


def begin(made: Federation, *, seed: int = 1, random: RandomBytes | None = None) -> Round:
    nodes = made.nodes(seed)
    if random is not None:
        nodes = {n: MaskingParty(made.context, who, random) for n, who in made.parties.items()}
    return Round(made, made.hub(), nodes, random_inputs(made))


def play(
    made: Federation,
    *,
    until: str | None = None,
    silent: Mapping[str, Collection[int]] | None = None,
    seed: int = 1,
    random: RandomBytes | None = None,
) -> Round:
    """Run the honest steps before ``until``; ``silent`` says who is missing at which step."""
    this = begin(made, seed=seed, random=random)
    for stage in STAGES:
        if stage == until:
            break
        getattr(this, stage)((silent or {}).get(stage, ()))
    return this


def refusals(this: Round, mail: Mapping[int, Envelope]) -> dict[int, PeerError]:
    """Deliver lies; every party must refuse with a named error. Returns the errors."""
    errors: dict[int, PeerError] = {}
    for number, envelope in mail.items():
        try:
            answer = this.ask(number, envelope)
        except PeerError as error:
            errors[number] = error
        else:
            message = f"party {number} answered {envelope!r} with {answer!r}"
            raise AssertionError(message)
    return errors


def assert_all_withdrew(this: Round, numbers: Collection[int]) -> None:
    """They hold nothing any more, and whatever honest message comes later gets no answer."""
    for number in numbers:
        assert this.nodes[number].state == "Withdrawn"
        for mail in this.mail.values():
            if number in mail:
                try:
                    answer = this.ask(number, mail[number])
                except PeerError:
                    continue
                assert not isinstance(answer, Envelope)


def released(envelopes: Collection[Envelope]) -> dict[int, set[str]]:
    """Which kinds of shares of which dealer these unmask messages give away."""
    kinds: dict[int, set[str]] = {}
    for envelope in envelopes:
        message: Unmask = opened(envelope)
        for kind, shares in (("seed", message.seed_shares), ("key", message.key_shares)):
            for share in shares:
                kinds.setdefault(share.dealer, set()).add(kind)
    return kinds


def stranger(name: str) -> Identity:
    """A forger: the right name, another key."""
    return Identity(name, bytes(range(32)))


def texts(error: BaseException) -> str:
    """All that a log may show of an error and of those that it came from."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)
