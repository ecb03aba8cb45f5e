"""What an honest party refuses. One function per message of the coordinator, no state.

What costs little is checked first: who is listed before whether they signed. An honest coordinator
passes on only what it has checked itself, so whatever is wrong inside one of its messages is laid
at its door.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeVar

from protocols.errors import (
    CohortTooSmallError,
    EquivocationError,
    ModelMismatchError,
    PeerError,
    QuorumError,
    RosterError,
    SurvivorSetError,
)
from protocols.identity import Envelope
from protocols.masking.context import RoundContext
from protocols.masking.ephemeral import is_sound
from protocols.masking.messages import (
    Advertise,
    Confirmation,
    Confirmations,
    Delivery,
    Roster,
    Submission,
    Survivors,
)
from protocols.masking.party_states import Dealt, Submitted

M = TypeVar("M")

SHOWN: Final = 8
"""Names in an error, so that it stays one line in a large federation."""


def _strictly_rising(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def _senders(context: RoundContext, envelopes: Sequence[Envelope], step: str) -> tuple[int, ...]:
    try:
        return tuple(context.party(envelope.sender, step) for envelope in envelopes)
    except PeerError as error:
        raise _passed_on(context, step, error) from error


def _open_all(
    context: RoundContext, envelopes: Sequence[Envelope], kind: type[M], step: str
) -> list[M]:
    try:
        return [context.open_from_party(envelope, kind)[1] for envelope in envelopes]
    except PeerError as error:
        raise _passed_on(context, step, error) from error


def _passed_on(context: RoundContext, step: str, error: PeerError) -> PeerError:
    reason = f"passed on what {error.party} did not say in this round: {error.reason}"
    return type(error)(context.coordinator.name, step, reason)


def check_roster(
    context: RoundContext, message: Roster, own: int, advertised: Advertise
) -> dict[int, Advertise]:
    """Check a roster against the agreement; return the advertised keys by party number, in order.

    Raises:
        RosterError: too small, unordered or duplicate, a key unsound or used twice, or not our own
            keys.
        SignatureError: an entry that its party did not sign; other refusals of an entry likewise.
    """
    name = context.coordinator.name
    numbers = _senders(context, message.advertisements, "roster")
    if not _strictly_rising(numbers):
        raise RosterError(name, "roster", "lists a party twice or out of order")
    if len(numbers) < context.min_roster:
        raise RosterError(
            name, "roster", f"has {len(numbers)} parties, at least {context.min_roster} are agreed"
        )
    if own not in numbers:
        raise RosterError(name, "roster", "leaves us out")
    opened = _open_all(context, message.advertisements, Advertise, "roster")
    roster = dict(zip(numbers, opened, strict=True))
    if roster[own] != advertised:
        raise RosterError(name, "roster", "holds other keys for us than we advertised")
    keys = [key for one in opened for key in (one.channel_key, one.mask_key)]
    if len(set(keys)) != len(keys) or not all(map(is_sound, keys)):
        raise RosterError(name, "roster", "one ephemeral key is unsound or appears twice")
    return roster


def check_delivery(
    context: RoundContext, message: Delivery, own: int, state: Dealt
) -> tuple[int, ...]:
    """Check a delivery; return the parties with which ours masks, in order.

    In a drawn graph nobody can tell whether a share that was dealt to us is withheld. That spoils
    the sum and harms nobody: our own neighbours, which alone the privacy of our update rests on,
    are masked with whatever is delivered.

    Raises:
        EquivocationError: it belongs to another roster.
        RosterError: sharers outside the roster, without us, too few; or shares from elsewhere.
    """
    name, roster = context.coordinator.name, state.roster
    if not hmac.compare_digest(message.roster, state.roster_digest):
        raise EquivocationError(name, "deliver", "belongs to another roster than we were shown")
    sharers = frozenset(message.sharers)
    dealers = tuple(share.dealer for share in message.delivered)
    if not _strictly_rising(message.sharers) or not _strictly_rising(dealers):
        raise RosterError(name, "deliver", "lists a party twice or out of order")
    if not roster.keys() >= sharers or own not in sharers:
        raise RosterError(name, "deliver", "the sharers are not members of the roster with us")
    if len(sharers) < context.min_roster:
        raise RosterError(
            name, "deliver", f"{len(sharers)} parties dealt shares, {context.min_roster} are agreed"
        )
    if not sharers.issuperset(dealers) or own in dealers:
        raise RosterError(name, "deliver", "a share comes from outside the sharers")
    chosen = sharers.intersection(state.neighbours)
    if len(state.neighbours) == len(roster) - 1 and chosen != frozenset(dealers):
        raise RosterError(name, "deliver", "withholds a share that was dealt to us")
    return tuple(sorted(chosen.union(dealers)))


def check_survivors(
    context: RoundContext, message: Survivors, own: int, state: Submitted
) -> dict[int, bytes]:
    """Check a survivor set; return the digest of each member's vector, by number, in order.

    Raises:
        SurvivorSetError: duplicate, overlapping with the dropouts, not all sharers, or without us.
        CohortTooSmallError: fewer than the agreed minimum.
        EquivocationError: survivors saw another roster or share set, or our submission differs.
        ModelMismatchError: survivors trained on different models.
        SignatureError: a submission that its party did not sign; other refusals of one likewise.
    """
    name = context.coordinator.name
    numbers = _senders(context, message.submissions, "survivors")
    if not _strictly_rising(numbers) or not _strictly_rising(message.dropouts):
        raise SurvivorSetError(name, "survivors", "lists a party twice or out of order")
    if set(numbers) & set(message.dropouts):
        raise SurvivorSetError(name, "survivors", "a party is both survivor and dropout")
    if own not in numbers:
        raise SurvivorSetError(name, "survivors", "leaves us out although we submitted")
    if set(numbers) | set(message.dropouts) != set(state.sharers):
        raise SurvivorSetError(name, "survivors", "is not made of exactly those that dealt shares")
    if len(numbers) < context.min_survivors:
        raise CohortTooSmallError(
            name,
            "survivors",
            f"{len(numbers)} survivors, at least {context.min_survivors} are agreed",
        )
    if message.submissions[numbers.index(own)].payload != state.submission:
        raise EquivocationError(name, "survivors", "shows another submission as ours")
    opened = _open_all(context, message.submissions, Submission, "survivors")
    for number, submission in zip(numbers, opened, strict=True):
        _check_submission(context, submission, state, context.parties[number].name)
    return {number: one.vector for number, one in zip(numbers, opened, strict=True)}


def _check_submission(
    context: RoundContext, submission: Submission, state: Submitted, party: str
) -> None:
    name = context.coordinator.name
    if not hmac.compare_digest(submission.roster, state.roster_digest):
        raise EquivocationError(name, "survivors", f"{party} was shown another roster than we")
    if not hmac.compare_digest(submission.sharers, state.sharers_digest):
        raise EquivocationError(name, "survivors", f"{party} was shown other sharers than we")
    if not hmac.compare_digest(submission.model, state.model):
        raise ModelMismatchError(
            name, "survivors", f"{party} trained on another global model than we"
        )
    if submission.count != context.count:
        raise SurvivorSetError(name, "survivors", f"{party} submitted a vector of another length")


def check_confirmations(
    context: RoundContext, message: Confirmations, survivors: tuple[int, ...], digest: bytes
) -> None:
    """Check that a quorum of survivors signed the set with this digest.

    A single party that signs another set cannot stop the others: only the quorum decides, and two
    quorums cannot exist for two sets while 2 quorum > parties + colluders. Of several confirmations
    of one party the first alone is looked at.

    Raises:
        EquivocationError: no quorum, and survivors validly signed another set: two are about.
        QuorumError: fewer valid confirmations than the quorum.
    """
    name = context.coordinator.name
    members = {context.parties[number].name for number in survivors}
    first: dict[str, Envelope] = {}
    for envelope in message.confirmations:
        first.setdefault(envelope.sender, envelope)
    signers = 0
    others: list[str] = []
    for sender, envelope in first.items():
        try:
            _, confirmation = context.open_from_party(envelope, Confirmation)
        except PeerError:
            continue  # an invalid one does not count
        if not hmac.compare_digest(confirmation.survivors, digest):
            others.append(sender)
        elif sender in members:
            signers += 1
        if signers == context.quorum:
            return
    if others:
        shown = ", ".join(sorted(others)[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        raise EquivocationError(name, "confirmations", f"{shown} signed another survivor set")
    raise QuorumError(
        name,
        "confirmations",
        f"{signers} valid confirmations, the quorum is {context.quorum}",
    )
