"""Step 2: Shamir shares of a party's two secrets, sealed for their holders, and their opening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.errors import ShareError
from protocols.masking.context import RoundContext
from protocols.masking.ephemeral import EphemeralKey
from protocols.masking.messages import SALT_BYTES, DealtShare, DeliveredShare, OpenedShare
from protocols.masking.sealing import (
    LABEL_KEY_SHARE,
    LABEL_SEED_SHARE,
    Channel,
    SharePair,
    opens,
    share_commitment,
)
from protocols.prg import RandomBytes
from protocols.secret_sharing import element, split


@dataclass(frozen=True, slots=True)
class Secrets:
    """A dealer's secrets of one round: two keys and the self-mask seed of 32 bytes."""

    channel: EphemeralKey = field(repr=False)
    mask: EphemeralKey = field(repr=False)
    seed: bytes = field(repr=False)


def deal(
    context: RoundContext,
    roster: bytes,
    own: int,
    holders: Mapping[int, bytes],
    secrets: Secrets,
    random: RandomBytes,
) -> tuple[DealtShare, ...]:
    """Share the self-mask seed and the mask private key among ``holders``.

    Args:
        context: the round.
        roster: digest of the roster, 32 bytes.
        own: the dealer's number.
        holders: channel public key of each holder, by number, in order.
        secrets: what is shared, and the dealer's channel key.
        random: source of coefficients and salts.
    """
    seed_shares, key_shares = split(
        [secrets.seed, secrets.mask.private],
        threshold=context.threshold,
        points=[holder + 1 for holder in holders],
        random=random,
    )
    dealt = []
    for (holder, public), of_seed, of_key in zip(
        holders.items(), seed_shares, key_shares, strict=True
    ):
        pair = SharePair(
            OpenedShare(own, of_seed, random(SALT_BYTES)),
            OpenedShare(own, of_key, random(SALT_BYTES)),
        )
        commitments = (
            share_commitment(context, LABEL_SEED_SHARE, own, holder, pair.seed),
            share_commitment(context, LABEL_KEY_SHARE, own, holder, pair.key),
        )
        channel = Channel(context, roster, secrets.channel, public, own, holder, peer=holder)
        dealt.append(DealtShare(holder, channel.seal(pair, commitments), *commitments))
    return tuple(dealt)


def take(
    context: RoundContext,
    roster: bytes,
    own: int,
    key: EphemeralKey,
    dealer_key: bytes,
    share: DeliveredShare,
) -> SharePair:
    """Open what one dealer sealed for us and check it against the dealer's commitments.

    Raises:
        ShareError: it does not open, is not what the dealer committed to, or is no element of the
            field, with which nobody could recover anything; names the dealer.
    """
    commitments = (share.seed_commitment, share.key_commitment)
    channel = Channel(context, roster, key, dealer_key, share.dealer, own, peer=share.dealer)
    pair = channel.open(share.sealed, commitments)
    name = context.parties[share.dealer].name
    for label, opened, commitment in (
        (LABEL_SEED_SHARE, pair.seed, share.seed_commitment),
        (LABEL_KEY_SHARE, pair.key, share.key_commitment),
    ):
        if not opens(context, label, share.dealer, own, opened, commitment):
            raise ShareError(name, "share", "the share is not the one it committed to")
        element(opened.share, name)
    return pair
