"""What an honest coordinator refuses. One function per message of a party, no state."""

from __future__ import annotations

import hmac
from collections.abc import Set as AbstractSet

from protocols.errors import RosterError, ShareError, UnexpectedMessageError
from protocols.masking.context import RoundContext
from protocols.masking.coordinator_states import Confirming, Dealing, Sharing
from protocols.masking.ephemeral import is_sound
from protocols.masking.messages import Advertise, Shares, Unmask
from protocols.masking.sealing import LABEL_KEY_SHARE, LABEL_SEED_SHARE, opens
from protocols.secret_sharing import element


def check_advertise(message: Advertise, name: str, seen: AbstractSet[bytes]) -> None:
    """Check one party's keys, so that nobody can make all others refuse the roster.

    Args:
        message: what the party advertises.
        name: its name.
        seen: keys that others advertised.

    Raises:
        RosterError: an unsound key, one key for both uses, or a key of another party.
    """
    keys = {message.channel_key, message.mask_key}
    if len(keys) < 2 or not all(map(is_sound, keys)):
        raise RosterError(name, "advertise", "its X25519 keys are unsound, or one and the same")
    if not seen.isdisjoint(keys):
        raise RosterError(name, "advertise", "advertises a key of another party")


def check_dealing(context: RoundContext, message: Shares, party: int, state: Sharing) -> Dealing:
    """Check whom a dealer deals to; return its shares by holder.

    Raises:
        ShareError: another roster, a wrong number of holders, a duplicate, itself or a stranger.
    """
    name = context.parties[party].name
    if not hmac.compare_digest(message.roster, state.roster_digest):
        raise ShareError(name, "share", "the shares belong to another roster")
    others = state.roster.keys() - {party}
    expected = len(others) if context.degree is None else min(context.degree, len(others))
    to = {dealt.holder: dealt for dealt in message.dealt}
    if len(to) != len(message.dealt) or not others.issuperset(to):
        raise ShareError(name, "share", "deals twice to one holder, to itself or to a stranger")
    if len(to) != expected:
        raise ShareError(name, "share", f"deals to {len(to)} holders, not {expected}")
    return Dealing(message.seed_digest, to)


def check_unmask(context: RoundContext, message: Unmask, party: int, state: Confirming) -> None:
    """Check every opened share against the commitment of its dealer.

    Raises:
        UnexpectedMessageError: nothing is masked in this round.
        ShareError: another survivor set, a share nobody asked for, or one that was not dealt.
    """
    name = context.parties[party].name
    if not context.masked:
        raise UnexpectedMessageError(name, "unmask", "there are no masks")
    if not hmac.compare_digest(message.survivors, state.survivors_digest):
        raise ShareError(name, "unmask", "answers for another survivor set")
    seen: set[int] = set()
    for label, shares, dealers in (
        (LABEL_SEED_SHARE, message.seed_shares, frozenset(state.survivors)),
        (LABEL_KEY_SHARE, message.key_shares, frozenset(state.dropouts)),
    ):
        for opened in shares:
            dealer = opened.dealer
            if dealer not in dealers or dealer in seen or party not in state.shares[dealer].to:
                raise ShareError(name, "unmask", "sent a share that nobody asked for")
            seen.add(dealer)
            dealt = state.shares[dealer].to[party]
            wanted = dealt.seed_commitment if label is LABEL_SEED_SHARE else dealt.key_commitment
            if not opens(context, label, dealer, party, opened, wanted):
                raise ShareError(name, "unmask", "a share does not open its dealer's commitment")
            # An honest holder has refused it from its dealer, so both are at fault.
            element(opened.share, name)
