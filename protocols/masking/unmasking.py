"""Removing the masks from the running sum (step 5), at the coordinator."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator

from protocols.errors import BelowThresholdError, ShareError
from protocols.masking.context import RoundContext
from protocols.masking.coordinator_states import Unmasking
from protocols.masking.ephemeral import EphemeralKey
from protocols.masking.sealing import pairwise_seed, seed_digest, self_seed
from protocols.prg import Words
from protocols.secret_sharing import combine

AddMasks = Callable[[Words, Iterable[tuple[bytes, bool]]], None]
"""Adds (True) or subtracts (False) the expansion of each seed, in place.

The seeds are derived while it iterates, so that it may expand some meanwhile."""


def lacking(context: RoundContext, state: Unmasking) -> Iterator[int]:
    """Dealers of whose needed secret fewer shares than the threshold have come."""
    if not context.masked:
        return
    confirming = state.confirming
    for dealer in (*confirming.survivors, *confirming.dropouts):
        if len(state.opened.get(dealer, ())) < context.threshold:
            yield dealer


def check_enough(context: RoundContext, state: Unmasking) -> None:
    """Check that every needed secret can be recovered, or find out who is to blame.

    A holder that answers leaves out a share only if it did not open. Where enough holders answered
    and yet too few shares came, either the dealer dealt wrong ones or those holders lie. More
    holders than there are colluders do not all lie.

    Raises:
        BelowThresholdError: too few holders of some party's shares answered.
        ShareError: enough answered; names the dealer, and its holders too if it may be them.
    """
    for dealer in lacking(context, state):
        opened = state.opened.get(dealer, {})
        holders = state.answered.intersection(state.confirming.shares[dealer].to)
        if len(holders) < context.threshold:
            raise BelowThresholdError("unmask", have=len(holders), need=context.threshold)
        without = sorted(holders.difference(opened))
        suspects = [dealer] if len(without) > context.max_colluders else [dealer, *without]
        raise ShareError(
            " or ".join(context.parties[suspect].name for suspect in suspects),
            "unmask",
            f"of {len(holders)} holders, {len(without)} sent no share of "
            f"{context.parties[dealer].name} that opens; leave out who is named next round",
        )


def reconstruct(context: RoundContext, state: Unmasking) -> dict[int, bytes]:
    """Combine shares into each survivor's seed and each dropout's mask key, 32 bytes each.

    Raises:
        ShareError: the shares of a dealer do not yield what it committed to; names it.
    """
    confirming = state.confirming
    secrets: dict[int, bytes] = {}
    for dealer in (*confirming.survivors, *confirming.dropouts):
        opened = state.opened[dealer]
        # The same helpers for as many dealers as possible: their coefficients are computed once.
        helpers = sorted(opened)[: context.threshold]
        shares = [opened[helper].share for helper in helpers]
        try:
            (secrets[dealer],) = combine([shares], [helper + 1 for helper in helpers])
        except ShareError as error:
            raise _inconsistent(context, dealer) from error
    _check(context, state, secrets)
    return secrets


def _inconsistent(context: RoundContext, dealer: int) -> ShareError:
    # Each share opened the dealer's own commitment, so it can only be the dealer.
    return ShareError(
        context.parties[dealer].name,
        "unmask",
        "dealt shares that do not form the secret it committed to; leave it out next round",
    )


def _check(context: RoundContext, state: Unmasking, secrets: dict[int, bytes]) -> None:
    confirming = state.confirming
    survivors = frozenset(confirming.survivors)
    for dealer, secret in secrets.items():
        if dealer in survivors:
            expected = confirming.shares[dealer].seed_digest
            found = seed_digest(context, secret, dealer)
        else:
            expected, found = confirming.roster[dealer].mask_key, EphemeralKey(secret).public
        if not hmac.compare_digest(expected, found):
            raise _inconsistent(context, dealer)


def edges_of(state: Unmasking, party: int) -> frozenset[int]:
    """Parties that ``party`` masks with: those it chose and those that chose it."""
    shares = state.confirming.shares
    chosen_by = {dealer for dealer, dealing in shares.items() if party in dealing.to}
    return frozenset(chosen_by.union(holder for holder in shares[party].to if holder in shares))


def remove_masks(context: RoundContext, state: Unmasking, add: AddMasks) -> None:
    """Subtract every mask that is left in the running sum, in place.

    Raises:
        ShareError: see :func:`reconstruct`; the sum is then unchanged.
    """
    if not context.masked:
        return
    secrets = reconstruct(context, state)
    add(state.confirming.total, _masks_left(context, state, secrets))


def _masks_left(
    context: RoundContext, state: Unmasking, secrets: dict[int, bytes]
) -> Iterator[tuple[bytes, bool]]:
    """Derive, one by one, the masks of the survivors and those they share with dropouts."""
    confirming = state.confirming
    roster = confirming.roster_digest
    for party in confirming.survivors:
        yield self_seed(context, roster, secrets[party], party), False
    alive = frozenset(confirming.survivors)
    for gone in confirming.dropouts:
        key = EphemeralKey(secrets[gone])
        for peer in sorted(edges_of(state, gone) & alive):
            public = confirming.roster[peer].mask_key
            # The survivor added this mask when the dropout's number is the larger one.
            yield pairwise_seed(context, roster, key, gone, public, peer), gone < peer
