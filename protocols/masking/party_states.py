"""States of the party role: each holds only what the party knows and still needs then."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocols.masking.ephemeral import EphemeralKey
from protocols.masking.messages import Advertise
from protocols.masking.sealing import SharePair


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nothing said yet."""


@dataclass(frozen=True, slots=True)
class Advertised:
    """Our two ephemeral keys are on their way; we wait for the roster."""

    channel: EphemeralKey = field(repr=False)
    mask: EphemeralKey = field(repr=False)
    advertised: Advertise


@dataclass(frozen=True, slots=True)
class Dealt:
    """We dealt our shares to ``neighbours``; we wait for those of others."""

    roster: dict[int, Advertise] = field(repr=False)
    roster_digest: bytes
    neighbours: tuple[int, ...]
    channel: EphemeralKey = field(repr=False)
    mask: EphemeralKey = field(repr=False)
    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Masks:
    """What hides our vector: our two secrets, and the parties with which it is masked.

    Attributes:
        roster: keys of all, by party number.
        edges: whom we mask with, in order.
        mask: our mask key.
        seed: of our self-mask.
    """

    roster: dict[int, Advertise] = field(repr=False)
    edges: tuple[int, ...]
    mask: EphemeralKey = field(repr=False)
    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """We know whom we mask with; the update may be submitted, once."""

    roster_digest: bytes
    sharers: tuple[int, ...]
    masks: Masks | None = field(repr=False)
    held: dict[int, SharePair] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The masked vector is out and our own mask secrets are gone; others' shares remain."""

    roster_digest: bytes
    sharers: tuple[int, ...]
    sharers_digest: bytes
    held: dict[int, SharePair] = field(repr=False)
    model: bytes
    submission: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """We signed one survivor set and will never sign another in this round.

    Attributes:
        survivors: digest of the vector of each survivor, by its number, in order.
    """

    survivors: dict[int, bytes]
    dropouts: tuple[int, ...]
    survivors_digest: bytes
    held: dict[int, SharePair] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """Shares were released for the one set that we confirmed; every secret is gone."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """We left the round for good and hold no secret of it any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Working:
    """A step is being computed; nothing is answered before it is done."""

    step: str


State = Fresh | Advertised | Dealt | Ready | Submitted | Confirmed | Finished | Withdrawn | Working
