"""States of the coordinator role: each holds only what is known, and still needed, then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from protocols.identity import Envelope
from protocols.masking.context import RoundContext
from protocols.masking.messages import (
    Advertise,
    DealtShare,
    DeliveredShare,
    Delivery,
    OpenedShare,
    Submission,
    Survivors,
)
from protocols.prg import Words


@dataclass(frozen=True, slots=True)
class Advertising:
    """Step 1: signed keys by party."""

    received: dict[int, tuple[Envelope, Advertise]] = field(default_factory=dict, repr=False)
    keys: set[bytes] = field(default_factory=set, repr=False)


@dataclass(frozen=True, slots=True)
class Dealing:
    """One dealer's :class:`Shares`, indexed by holder."""

    seed_digest: bytes
    to: dict[int, DealtShare] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Step 2: dealt shares by dealer."""

    roster: dict[int, Advertise] = field(repr=False)
    roster_digest: bytes
    received: dict[int, Dealing] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Submitting:
    """Step 3: one running sum, and the signed header of every vector in it.

    Encrypted vectors are added up elsewhere; their sum comes in when it has been opened.
    """

    roster: dict[int, Advertise] = field(repr=False)
    roster_digest: bytes
    shares: dict[int, Dealing] = field(repr=False)
    sharers: tuple[int, ...]
    sharers_digest: bytes
    total: Words = field(repr=False)
    received: dict[int, tuple[Envelope, Submission]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Confirming:
    """Step 4: confirmations of the one survivor set that was announced."""

    roster: dict[int, Advertise] = field(repr=False)
    roster_digest: bytes
    shares: dict[int, Dealing] = field(repr=False)
    survivors: tuple[int, ...]
    dropouts: tuple[int, ...]
    survivors_digest: bytes
    model: bytes
    total: Words = field(repr=False)
    received: dict[int, Envelope] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Unmasking:
    """Step 5: opened shares by dealer and holder, each checked against its commitment."""

    confirming: Confirming = field(repr=False)
    answered: set[int] = field(default_factory=set)
    opened: dict[int, dict[int, OpenedShare]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Closed:
    """The round ended: with a sum, or for the given reason."""

    reason: str


State = Advertising | Sharing | Submitting | Confirming | Unmasking | Closed


def begin_submitting(
    context: RoundContext,
    roster: dict[int, Advertise],
    roster_digest: bytes,
    shares: dict[int, Dealing],
    sharers: tuple[int, ...],
) -> Submitting:
    """Return the state of step 3, its running sum zero."""
    digest = context.sharers_digest(roster_digest, sharers)
    total = np.zeros(context.count, dtype=context.word)
    return Submitting(roster, roster_digest, shares, sharers, digest, total)


def deliveries(roster_digest: bytes, shares: dict[int, Dealing]) -> Iterator[Delivery]:
    """Sort the dealt shares by holder; one :class:`Delivery` for each dealer, in order."""
    sharers = tuple(sorted(shares))
    inbox: dict[int, list[DeliveredShare]] = {number: [] for number in sharers}
    for dealer in sharers:
        for holder, dealt in shares[dealer].to.items():
            if holder in inbox:
                inbox[holder].append(
                    DeliveredShare(
                        dealer, dealt.sealed, dealt.seed_commitment, dealt.key_commitment
                    )
                )
    for number in sharers:
        yield Delivery(number, roster_digest, sharers, tuple(inbox[number]))


def announce(context: RoundContext, state: Submitting) -> tuple[Confirming, Survivors]:
    """Freeze the survivor set; return the next state and the message that announces it."""
    survivors = tuple(sorted(state.received))
    dropouts = tuple(number for number in state.sharers if number not in state.received)
    submissions = tuple(state.received[number][0] for number in survivors)
    confirming = Confirming(
        state.roster,
        state.roster_digest,
        state.shares,
        survivors,
        dropouts,
        context.survivors_digest(state.sharers_digest, submissions, dropouts),
        state.received[survivors[0]][1].model,
        state.total,
    )
    return confirming, Survivors(submissions, dropouts)


def heard(state: State) -> frozenset[int]:
    """Parties whose message of the current step has been taken."""
    match state:
        case Closed():
            return frozenset()
        case Unmasking(answered=answered):
            return frozenset(answered)
        case _:
            return frozenset(state.received)


def members(state: State, parties: int) -> frozenset[int]:
    """Parties that take part in the current step, of ``parties`` in the agreement."""
    match state:
        case Advertising():
            return frozenset(range(parties))
        case Sharing(roster=roster):
            return frozenset(roster)
        case Submitting(sharers=sharers):
            return frozenset(sharers)
        case Confirming(survivors=survivors):
            return frozenset(survivors)
        case Unmasking(confirming=confirming):
            return frozenset(confirming.received)
        case Closed():
            return frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """The sum of the survivors' updates, and who they were.

    Attributes:
        total: sum in Z_{2^modulus_bits}, shape ``(count,)``.
        survivors: numbers of the parties whose updates are in the sum.
        dropouts: numbers of those that dealt shares and fell out.
        model: digest of the global model that all survivors trained on.
    """

    total: Words = field(repr=False)
    survivors: tuple[int, ...]
    dropouts: tuple[int, ...]
    model: bytes
