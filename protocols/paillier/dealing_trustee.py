"""The trustee of a dealing ceremony: it checks everything, its own share included, then signs.

Sans-IO, one method per message; the other role is in ``dealing.py``.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final, TypeVar

from protocols.errors import (
    MisuseError,
    OutOfOrderError,
    RosterError,
    ShareError,
    UnexpectedMessageError,
)
from protocols.identity import Envelope, Identity
from protocols.masking.ephemeral import PRIVATE_BYTES, EphemeralKey
from protocols.paillier.dealing import Done
from protocols.paillier.dealing_checks import CheckKey, check_all_signed, check_dealing
from protocols.paillier.dealing_context import CeremonyContext
from protocols.paillier.dealing_key_proof import check_dealt_key
from protocols.paillier.dealing_messages import (
    CeremonyKey,
    CeremonyTranscript,
    Countersignature,
    Dealing,
)
from protocols.paillier.dealing_sealing import open_share
from protocols.paillier.dealing_shares import check_share
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from protocols.prg import RandomBytes

S = TypeVar("S")

_WITHDRAWN: Final = "we withdrew from the ceremony"


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nothing said yet."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """Our X25519 key is with the dealer."""

    key: EphemeralKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Countersigned:
    """The dealing is checked and signed; the share waits for the others' signatures."""

    dealing: bytes
    key: ThresholdKey
    share: KeyShare = field(repr=False)


class CeremonyTrustee:
    """One trustee. Whatever it refuses, it leaves the ceremony and forgets its share.

    A trustee whose steps are processes of their own saves what it has to remember in between:
    ``saved_key`` after the first step, ``saved_share`` after the second. Both are secrets that the
    caller encrypts at once.
    """

    def __init__(
        self,
        context: CeremonyContext,
        identity: Identity,
        random: RandomBytes,
        *,
        check_key: CheckKey = check_dealt_key,
    ) -> None:
        """Begin a ceremony.

        Args:
            context: its public facts.
            identity: our signing key.
            random: source of secret random bytes, cryptographically secure in production.
            check_key: checks the proofs about the modulus.

        Raises:
            UnknownPartyError: we are no trustee.
            MisuseError: the agreement has another key under our name.
        """
        self.index = context.index(identity.name, "deal-key")
        if context.trustees[self.index - 1].raw != identity.public.raw:
            raise MisuseError(f"the key of {identity.name} is not the one in the agreement")
        self._context, self._identity, self._random = context, identity, random
        self._check_key = check_key
        self._state: Fresh | Keyed | Countersigned | Done = Fresh()

    @classmethod
    def resumed(
        cls,
        context: CeremonyContext,
        identity: Identity,
        random: RandomBytes,
        private: bytes,
        *,
        check_key: CheckKey = check_dealt_key,
    ) -> CeremonyTrustee:
        """Go on, in another process, after :meth:`announce`.

        A key is for one dealing. In one process the state sees to that; here the caller does: it
        destroys the saved key before anybody gets what :meth:`receive_dealing` returned.

        Args:
            context: the same as then.
            identity: the same as then.
            random: source of secret random bytes.
            private: what :meth:`saved_key` gave.
            check_key: checks the proofs about the modulus.

        Raises:
            UnknownPartyError: as the constructor.
            MisuseError: as the constructor.
        """
        trustee = cls(context, identity, random, check_key=check_key)
        trustee._state = Keyed(EphemeralKey(private))
        return trustee

    def __repr__(self) -> str:
        return f"CeremonyTrustee({self._identity.name!r}, {self.state})"

    @property
    def state(self) -> str:
        """Name of the current state, for logs."""
        return type(self._state).__name__

    def withdraw(self, reason: str) -> None:
        """Leave the ceremony and forget its secrets."""
        self._state = Done(reason)

    def announce(self) -> Envelope:
        """Step 1: sign a fresh X25519 key for this ceremony alone.

        Raises:
            OutOfOrderError: already done.
        """
        self._require(Fresh)
        key = EphemeralKey(self._random(PRIVATE_BYTES))
        self._state = Keyed(key)
        return self._context.seal(self._identity, CeremonyKey(self._context.digest(), key.public))

    def saved_key(self) -> bytes:
        """Return the X25519 private key of this ceremony IN CLEAR, for :meth:`resumed`.

        Raises:
            OutOfOrderError: none was announced, or the key was dealt.
        """
        return self._require(Keyed).key.private

    def receive_dealing(self, envelope: Envelope, sealed: bytes) -> Envelope:
        """Steps 2-3: check the dealing and our own share, then countersign exactly this dealing.

        Args:
            envelope: the signed :class:`Dealing`.
            sealed: our sealed share.

        Raises:
            UnexpectedMessageError: not the dealer's turn; nothing is changed.
            SignatureError: the dealer did not sign it; nothing is changed.
            ShareError: the share does not open or does not match, or the key is not as agreed.
            PeerError: any other refusal. We withdraw.
        """
        context = self._context
        context.open(envelope, Dealing, context.dealer)
        if not isinstance(self._state, Keyed):
            reason = f"came too early or a second time, in state {self.state}"
            raise UnexpectedMessageError(envelope.sender, "deal", reason)
        own, self._state = self._state.key, Done(_WITHDRAWN)
        message, key, keys = check_dealing(context, envelope, self._check_key)
        if not hmac.compare_digest(keys[self.index - 1], own.public):
            raise RosterError(envelope.sender, "deal", "the dealer used another key of ours")
        if not hmac.compare_digest(hashlib.sha256(sealed).digest(), message.sealed[self.index - 1]):
            raise ShareError(envelope.sender, "deal", "the sealed share is not the one it signed")
        share = open_share(context, key, self.index, own, message.dealer_key, sealed)
        check_share(key, share, dealer=envelope.sender)
        digest = context.dealing_digest(envelope)
        self._state = Countersigned(digest, key, share)
        return context.seal(self._identity, Countersignature(context.digest(), digest))

    def saved_share(self) -> KeyShare:
        """Return our share, checked and not yet in force, for a caller that has to store it now.

        The caller encrypts it, bound to this dealing, and opens it again only beside a transcript
        of this very dealing that :func:`check_transcript` accepts, as :meth:`receive_transcript`
        does in one process.

        Raises:
            OutOfOrderError: we have countersigned nothing.
        """
        return self._require(Countersigned).share

    def receive_transcript(self, transcript: CeremonyTranscript) -> tuple[ThresholdKey, KeyShare]:
        """The end: every trustee countersigned the dealing that we did; our share is in force.

        The caller stores the share, encrypted, before it tells anybody that the key may be used.

        Raises:
            OutOfOrderError: we have countersigned nothing.
            QuorumError: a countersignature is missing or is of another dealing; we withdraw.
            PeerError: a countersignature is not one; we withdraw.
        """
        state = self._require(Countersigned)
        self._state = Done(_WITHDRAWN)
        check_all_signed(self._context, transcript)
        if self._context.dealing_digest(transcript.dealing) != state.dealing:
            name = self._context.dealer.name
            raise UnexpectedMessageError(name, "deal-confirm", "is not the dealing that we signed")
        self._state = Done("finished")
        return state.key, state.share

    def _require(self, kind: type[S]) -> S:
        if not isinstance(self._state, kind):
            raise OutOfOrderError(f"a trustee in state {self.state} cannot do this")
        return self._state
