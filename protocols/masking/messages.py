"""Payloads of the masking steps (``docs/protocol.md``). Parties are numbered by the agreement.

Every payload travels inside a signed :class:`~protocols.identity.Envelope`, whose step name is the
key of :data:`STEPS`. Shares are secret: their ``repr`` shows sizes only.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from protocols.identity import Digest, Envelope
from protocols.secret_sharing import SHARE_BYTES

MAX_PARTIES: Final = 10_000
SALT_BYTES: Final = 32
MAX_STATEMENT_BYTES: Final = 512
SHARE_PLAINTEXT_BYTES: Final = 2 * (SHARE_BYTES + SALT_BYTES)
TAG_BYTES: Final = 16

PartyIndex = Annotated[int, msgspec.Meta(ge=0, lt=MAX_PARTIES)]
PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Share = Annotated[bytes, msgspec.Meta(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Salt = Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
SealedShares = Annotated[
    bytes,
    msgspec.Meta(
        min_length=SHARE_PLAINTEXT_BYTES + TAG_BYTES, max_length=SHARE_PLAINTEXT_BYTES + TAG_BYTES
    ),
]
Parties = Annotated[tuple[PartyIndex, ...], msgspec.Meta(max_length=MAX_PARTIES)]
Envelopes = Annotated[tuple[Envelope, ...], msgspec.Meta(max_length=MAX_PARTIES)]


class Advertise(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 1, party to coordinator: two ephemeral X25519 public keys for this round alone."""

    channel_key: PublicKey
    mask_key: PublicKey


class Roster(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 1, coordinator to party: every signed :class:`Advertise`, ordered by party."""

    advertisements: Envelopes


class DealtShare(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one dealer gives one holder: encrypted shares and public commitments to them."""

    holder: PartyIndex
    sealed: SealedShares
    seed_commitment: Digest
    key_commitment: Digest


class Shares(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 2, party to coordinator: shares of the self-mask seed and of the mask secret key."""

    roster: Digest
    seed_digest: Digest
    dealt: Annotated[tuple[DealtShare, ...], msgspec.Meta(max_length=MAX_PARTIES)]


class DeliveredShare(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 2, coordinator to holder: one dealer's :class:`DealtShare`, passed on."""

    dealer: PartyIndex
    sealed: SealedShares
    seed_commitment: Digest
    key_commitment: Digest


class Delivery(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 2, coordinator to ``holder``: who dealt shares, and those dealt to this party."""

    holder: PartyIndex
    roster: Digest
    sharers: Parties
    delivered: Annotated[tuple[DeliveredShare, ...], msgspec.Meta(max_length=MAX_PARTIES)]


class Submission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 3, party to coordinator: signed header of the packed masked vector beside it.

    The statement is of the layer above, which says what the vector was made under.
    """

    roster: Digest
    sharers: Digest
    model: Digest
    vector: Digest
    count: Annotated[int, msgspec.Meta(ge=1, le=2**40)]
    statement: Annotated[bytes, msgspec.Meta(max_length=MAX_STATEMENT_BYTES)]


class Survivors(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 4, coordinator to party: every signed submission header, and who is missing."""

    submissions: Envelopes
    dropouts: Parties


class Confirmation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 4, party to coordinator: "I saw exactly this survivor set"."""

    survivors: Digest


class Confirmations(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 5, coordinator to party: signed confirmations of one survivor set."""

    confirmations: Envelopes


class OpenedShare(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One share in the clear, with the salt that opens its dealer's commitment."""

    dealer: PartyIndex
    share: Share
    salt: Salt

    def __repr__(self) -> str:
        return f"OpenedShare(dealer={self.dealer})"


class Unmask(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 5, party to coordinator: seed shares of survivors, key shares of dropouts."""

    survivors: Digest
    seed_shares: Annotated[tuple[OpenedShare, ...], msgspec.Meta(max_length=MAX_PARTIES)]
    key_shares: Annotated[tuple[OpenedShare, ...], msgspec.Meta(max_length=MAX_PARTIES)]


STEPS: Final[dict[str, type[msgspec.Struct]]] = {
    "advertise": Advertise,
    "roster": Roster,
    "share": Shares,
    "deliver": Delivery,
    "submit": Submission,
    "survivors": Survivors,
    "confirm": Confirmation,
    "confirmations": Confirmations,
    "unmask": Unmask,
}
STEP_OF: Final = {kind: step for step, kind in STEPS.items()}
