"""Removing the masks from the running sum (step 5), at the coordinator."""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Callable, Sequence

from protocols.errors import ShareError
from protocols.masking.context import RoundContext
from protocols.masking.coordinator_states import Unmasking
from protocols.masking.sealing import pairwise_seed, public_bytes, seed_digest, self_seed
from protocols.prg import Words
from protocols.secret_sharing import combine

AddMasks = Callable[[Words, Sequence[tuple[bytes, bool]]], None]
"""Adds (True) or subtracts (False) the expansion of each seed, in place."""


def reconstruct(context: RoundContext, state: Unmasking) -> dict[int, bytes]:
    """Combine shares into each survivor's seed and each dropout's mask key, 32 bytes each.

    Dealers with the same helpers are combined together, so that the Lagrange coefficients are
    computed once for all of them.

    Raises:
        ShareError: the shares of a dealer do not yield what it committed to.
    """
    confirming = state.confirming
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for dealer in (*confirming.survivors, *confirming.dropouts):
        helpers = tuple(sorted(state.opened[dealer]))[: context.threshold]
        groups[helpers].append(dealer)
    secrets: dict[int, bytes] = {}
    for helpers, dealers in groups.items():
        shares = [[state.opened[dealer][helper].share for helper in helpers] for dealer in dealers]
        try:
            found = combine(shares, [helper + 1 for helper in helpers])
        except ShareError as error:
            names = ", ".join(context.parties[dealer].name for dealer in dealers)
            raise ShareError(names, "unmask", "the dealt shares form no secret") from error
        secrets.update(zip(dealers, found, strict=True))
    _check(context, state, secrets)
    return secrets


def _check(context: RoundContext, state: Unmasking, secrets: dict[int, bytes]) -> None:
    confirming = state.confirming
    for dealer, secret in secrets.items():
        if dealer in confirming.survivors:
            expected = confirming.shares[dealer].seed_digest
            found = seed_digest(context, secret, dealer)
        else:
            expected, found = confirming.roster[dealer].mask_key, public_bytes(secret)
        if not hmac.compare_digest(expected, found):
            raise ShareError(
                context.parties[dealer].name,
                "unmask",
                "dealt shares that do not form the secret it committed to; leave it out next round",
            )


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
    confirming = state.confirming
    secrets = reconstruct(context, state)
    masks = [
        (self_seed(context, confirming.roster_digest, secrets[party], party), False)
        for party in confirming.survivors
    ]
    alive = frozenset(confirming.survivors)
    for gone in confirming.dropouts:
        for peer in sorted(edges_of(state, gone) & alive):
            seed = pairwise_seed(
                context,
                confirming.roster_digest,
                secrets[gone],
                gone,
                confirming.roster[peer].mask_key,
                peer,
            )
            # The survivor added this mask when the dropout's number is the larger one.
            masks.append((seed, gone < peer))
    add(confirming.total, masks)
