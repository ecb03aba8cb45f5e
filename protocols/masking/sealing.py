"""Key agreement and sealed shares between two parties of one round.

Each derived key is used once: HKDF-SHA256 (RFC 5869) over X25519 (RFC 7748) with the agreement, the
round, the roster and the ordered pair of parties in ``info``; a nonce would have nothing to vary.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.errors import ShareError
from protocols.masking.context import RoundContext
from protocols.masking.ephemeral import EphemeralKey
from protocols.masking.messages import SALT_BYTES, SHARE_PLAINTEXT_BYTES, OpenedShare
from protocols.secret_sharing import SHARE_BYTES

LABEL_CHANNEL: Final = b"securefed channel v1"
LABEL_PAIRWISE: Final = b"securefed pairwise mask v1"
LABEL_SELF: Final = b"securefed self mask v1"
LABEL_SEED: Final = b"securefed seed digest v1"
LABEL_SEED_SHARE: Final = b"securefed seed share v1"
LABEL_KEY_SHARE: Final = b"securefed key share v1"
_ZERO_NONCE: Final = bytes(12)


def _derive(secret: bytes, label: bytes, context: RoundContext, *parts: bytes) -> bytes:
    info = context.digest(label, *parts)
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=label + info).derive(secret)


def pairwise_seed(
    context: RoundContext, roster: bytes, key: EphemeralKey, own: int, public: bytes, peer: int
) -> bytes:
    """Return the 32-byte seed that parties ``own`` and ``peer`` share in this round.

    Raises:
        RosterError: the peer's key is a low-order point.
    """
    secret = key.agree(public, context.parties[peer].name)
    pair = struct.pack(">II", min(own, peer), max(own, peer))
    return _derive(secret, LABEL_PAIRWISE, context, roster, pair)


def self_seed(context: RoundContext, roster: bytes, seed: bytes, own: int) -> bytes:
    """Return the 32-byte key of a party's self-mask, derived from its shared seed b."""
    return _derive(seed, LABEL_SELF, context, roster, struct.pack(">I", own))


def seed_digest(context: RoundContext, seed: bytes, own: int) -> bytes:
    """Commit to a self-mask seed of 256 random bits; hiding because nobody can guess it."""
    return context.digest(LABEL_SEED, struct.pack(">I", own), seed)


def share_commitment(
    context: RoundContext, label: bytes, dealer: int, holder: int, opened: OpenedShare
) -> bytes:
    """Commit to one share for one holder, hidden by a 32-byte salt."""
    pair = struct.pack(">II", dealer, holder)
    return context.digest(label, pair, opened.salt, opened.share)


def opens(
    context: RoundContext,
    label: bytes,
    dealer: int,
    holder: int,
    opened: OpenedShare,
    commitment: bytes,
) -> bool:
    """Tell whether an opened share is the one that its dealer committed to."""
    return hmac.compare_digest(share_commitment(context, label, dealer, holder, opened), commitment)


@dataclass(frozen=True, slots=True)
class SharePair:
    """What a holder keeps of one dealer: a share of its seed and one of its mask key."""

    seed: OpenedShare = field(repr=False)
    key: OpenedShare = field(repr=False)

    def to_bytes(self) -> bytes:
        return self.seed.share + self.seed.salt + self.key.share + self.key.salt

    @classmethod
    def from_bytes(cls, dealer: int, plain: bytes) -> SharePair:
        """Parse 2 (share, salt) pairs; the length is fixed by the AEAD's own check."""
        middle = SHARE_BYTES + SALT_BYTES
        return cls(
            OpenedShare(dealer, plain[:SHARE_BYTES], plain[SHARE_BYTES:middle]),
            OpenedShare(
                dealer, plain[middle : middle + SHARE_BYTES], plain[middle + SHARE_BYTES :]
            ),
        )


class Channel:
    """The AEAD channel from one dealer to one holder, good for one message.

    The associated data binds agreement, round, roster, both parties and both commitments, so a
    holder that can open the message knows that the dealer made those very commitments.
    """

    __slots__ = ("_aead", "_binding", "_context", "_dealer")

    def __init__(
        self,
        context: RoundContext,
        roster: bytes,
        key: EphemeralKey,
        public: bytes,
        dealer: int,
        holder: int,
        *,
        peer: int,
    ) -> None:
        """Args: own channel key, the peer's public one, and who deals to whom.

        Raises:
            RosterError: the peer's key is a low-order point.
        """
        secret = key.agree(public, context.parties[peer].name)
        direction = struct.pack(">II", dealer, holder)
        self._aead = AESGCM(_derive(secret, LABEL_CHANNEL, context, roster, direction))
        self._binding = context.digest(LABEL_CHANNEL, roster, direction)
        self._context, self._dealer = context, dealer

    def seal(self, pair: SharePair, commitments: tuple[bytes, bytes]) -> bytes:
        """Encrypt one pair of shares; the key is never used again."""
        return self._aead.encrypt(
            _ZERO_NONCE, pair.to_bytes(), self._binding + b"".join(commitments)
        )

    def open(self, sealed: bytes, commitments: tuple[bytes, bytes]) -> SharePair:
        """Decrypt one pair of shares.

        Raises:
            ShareError: not what the dealer sealed for this holder.
        """
        name = self._context.parties[self._dealer].name
        try:
            plain = self._aead.decrypt(_ZERO_NONCE, sealed, self._binding + b"".join(commitments))
        except InvalidTag as error:
            raise ShareError(
                name, "share", "the share does not open: sealed wrongly, or altered"
            ) from error
        if len(plain) != SHARE_PLAINTEXT_BYTES:
            raise ShareError(name, "share", "the sealed share has another length")
        return SharePair.from_bytes(self._dealer, plain)
