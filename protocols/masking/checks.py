"""What an honest party refuses. One function per message of the coordinator, no state."""

from __future__ import annotations

import hmac
from itertools import pairwise

from protocols.errors import (
    CohortTooSmallError,
    EquivocationError,
    ModelMismatchError,
    PeerError,
    QuorumError,
    RosterError,
    SurvivorSetError,
)
from protocols.masking.context import RoundContext
from protocols.masking.messages import (
    Advertise,
    Confirmation,
    Confirmations,
    Delivery,
    Roster,
    Submission,
    Survivors,
)
from protocols.masking.party_states import Submitted


def _strictly_rising(numbers: tuple[int, ...]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def check_roster(
    context: RoundContext, message: Roster, own: int, advertised: Advertise
) -> dict[int, Advertise]:
    """Check a roster against the agreement; return the advertised keys by party number.

    Raises:
        RosterError: too small, unordered or duplicate, a key used twice, or not our own keys.
        SignatureError: an entry that its party did not sign.
    """
    name = context.coordinator.name
    opened = [context.open_from_party(one, Advertise) for one in message.advertisements]
    numbers = tuple(number for number, _ in opened)
    if not _strictly_rising(numbers):
        raise RosterError(name, "roster", "lists a party twice or out of order")
    if len(numbers) < context.min_roster:
        raise RosterError(
            name, "roster", f"has {len(numbers)} parties, at least {context.min_roster} are agreed"
        )
    roster = dict(opened)
    if own not in roster:
        raise RosterError(name, "roster", "leaves us out")
    if roster[own] != advertised:
        raise RosterError(name, "roster", "holds other keys for us than we advertised")
    keys = [key for one in roster.values() for key in (one.channel_key, one.mask_key)]
    if len(set(keys)) != len(keys):
        raise RosterError(name, "roster", "one ephemeral key appears twice")
    return roster


def check_delivery(
    context: RoundContext,
    message: Delivery,
    own: int,
    roster_digest: bytes,
    neighbours: tuple[int, ...],
    roster: frozenset[int],
) -> tuple[int, ...]:
    """Check a delivery; return the parties with which ours masks, in order.

    Raises:
        EquivocationError: it belongs to another roster.
        RosterError: sharers outside the roster, without us, too few; or shares from elsewhere.
    """
    name = context.coordinator.name
    if not hmac.compare_digest(message.roster, roster_digest):
        raise EquivocationError(name, "deliver", "belongs to another roster than we were shown")
    sharers = frozenset(message.sharers)
    dealers = tuple(share.dealer for share in message.delivered)
    if not _strictly_rising(message.sharers) or not _strictly_rising(dealers):
        raise RosterError(name, "deliver", "lists a party twice or out of order")
    if not sharers <= roster or own not in sharers:
        raise RosterError(name, "deliver", "the sharers are not members of the roster with us")
    if len(sharers) < context.min_roster:
        raise RosterError(
            name, "deliver", f"{len(sharers)} parties dealt shares, {context.min_roster} are agreed"
        )
    if not sharers.issuperset(dealers) or own in dealers:
        raise RosterError(name, "deliver", "a share comes from outside the sharers")
    chosen = sharers.intersection(neighbours)
    if len(neighbours) == len(roster) - 1 and chosen != frozenset(dealers):
        raise RosterError(name, "deliver", "withholds a share that was dealt to us")
    return tuple(sorted(chosen.union(dealers)))


def check_survivors(
    context: RoundContext, message: Survivors, own: int, state: Submitted
) -> tuple[int, ...]:
    """Check a survivor set; return its members in order.

    Raises:
        SurvivorSetError: duplicate, overlapping with the dropouts, not all sharers, or without us.
        CohortTooSmallError: fewer than the agreed minimum.
        EquivocationError: survivors saw another roster or share set, or our submission differs.
        ModelMismatchError: survivors trained on different models.
    """
    name = context.coordinator.name
    opened = [context.open_from_party(one, Submission) for one in message.submissions]
    numbers = tuple(number for number, _ in opened)
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
    for (number, submission), envelope in zip(opened, message.submissions, strict=True):
        _check_submission(context, submission, state, context.parties[number].name)
        if number == own and envelope.payload != state.submission:
            raise EquivocationError(name, "survivors", "shows another submission as ours")
    return numbers


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
        raise SurvivorSetError(party, "submit", "submitted a vector of another length")


def check_confirmations(
    context: RoundContext, message: Confirmations, survivors: tuple[int, ...], digest: bytes
) -> None:
    """Check that a quorum of survivors signed the set with this digest.

    A single party that signs another set cannot stop the others: only the quorum decides, and two
    quorums cannot exist for two sets while 2 quorum > parties + colluders.

    Raises:
        EquivocationError: no quorum, and survivors validly signed another set: two are about.
        QuorumError: fewer valid confirmations than the quorum.
    """
    name = context.coordinator.name
    signers: set[int] = set()
    others: list[str] = []
    for envelope in message.confirmations:
        try:
            signer, confirmation = context.open_from_party(envelope, Confirmation)
        except PeerError:
            continue  # an invalid one does not count
        if not hmac.compare_digest(confirmation.survivors, digest):
            others.append(envelope.sender)
        elif signer in survivors:
            signers.add(signer)
    if len(signers) >= context.quorum:
        return
    if others:
        raise EquivocationError(
            name, "confirmations", f"{', '.join(sorted(set(others)))} signed another survivor set"
        )
    raise QuorumError(
        name,
        "confirmations",
        f"{len(signers)} valid confirmations, the quorum is {context.quorum}",
    )
