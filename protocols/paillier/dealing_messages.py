"""Payloads of the dealing ceremony (``docs/threshold-paillier.md``), each in a signed envelope.

Trustees are numbered from 1, in the order of the agreement. The transcript holds digests of the
sealed shares, not the shares themselves: a ledger is kept for years, and whoever one day breaks
X25519 must find no share in it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from protocols.identity import Digest, Envelope
from protocols.paillier.messages import MAX_TRUSTEES

MAX_PROOF_BYTES: Final = 2**18
MAX_THRESHOLD_KEY_BYTES: Final = 2**17
TAG_BYTES: Final = 16

CeremonyPublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Envelopes = Annotated[tuple[Envelope, ...], msgspec.Meta(max_length=MAX_TRUSTEES)]


class CeremonyKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 1, trustee to dealer: an X25519 public key for this ceremony alone."""

    ceremony: Digest
    key: CeremonyPublicKey


class Dealing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 2, dealer to every trustee: all that is public of the dealing.

    Attributes:
        ceremony: digest of the ceremony's facts.
        keys: every signed :class:`CeremonyKey`, in order of trustee.
        dealer_key: the dealer's X25519 public key for this ceremony alone.
        threshold_key: canonical bytes of the key with its verification keys.
        key_proofs: that the modulus is well formed, made while its factors were known.
        sealed: SHA-256 of each trustee's sealed share, in order.
    """

    ceremony: Digest
    keys: Envelopes
    dealer_key: CeremonyPublicKey
    threshold_key: Annotated[bytes, msgspec.Meta(max_length=MAX_THRESHOLD_KEY_BYTES)]
    key_proofs: Annotated[bytes, msgspec.Meta(max_length=MAX_PROOF_BYTES)]
    sealed: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=MAX_TRUSTEES)]


class Countersignature(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Step 3, trustee to everybody: "my share is right, and this is the dealing that I saw"."""

    ceremony: Digest
    dealing: Digest


class CeremonyTranscript(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The whole ceremony, for a leaf of the ledger: in force because every trustee signed."""

    dealing: Envelope
    countersignatures: Envelopes


STEPS: Final[dict[str, type[msgspec.Struct]]] = {
    "deal-key": CeremonyKey,
    "deal": Dealing,
    "deal-confirm": Countersignature,
}
STEP_OF: Final = {kind: step for step, kind in STEPS.items()}
