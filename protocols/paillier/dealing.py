"""The dealer of a ceremony: it makes a key that nobody holds, and forgets it.

Sans-IO, one method per message; the other role is in ``dealing_trustee.py``. The dealer knows the
factors for as long as :meth:`CeremonyDealer.deal` runs and keeps nothing of them; that it does not
copy them elsewhere is what the trustees trust it for. Everything else is checked: that the modulus
is well formed, that the shares are right (in public), and that all saw one dealing (each
countersigns it). The key is in
force when every trustee has signed, and no share is handed out before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from protocols.errors import (
    BelowThresholdError,
    DuplicateError,
    MisuseError,
    OutOfOrderError,
    RosterError,
)
from protocols.identity import Envelope, Identity
from protocols.masking.ephemeral import PRIVATE_BYTES, EphemeralKey
from protocols.paillier.dealing_checks import check_ceremony_key, check_countersignature
from protocols.paillier.dealing_context import CeremonyContext
from protocols.paillier.dealing_key_proof import prove_dealt_key
from protocols.paillier.dealing_messages import (
    CeremonyKey,
    CeremonyTranscript,
    Dealing,
)
from protocols.paillier.dealing_primes import safe_primes
from protocols.paillier.dealing_sealing import seal_share
from protocols.paillier.dealing_shares import deal_key
from protocols.paillier.integers import mpz
from protocols.paillier.keys import SEED_BYTES, PrivateKey
from protocols.prg import RandomBytes

S = TypeVar("S")

MakePrimes: TypeAlias = Callable[[int, RandomBytes], tuple[mpz, mpz]]
ProveKey: TypeAlias = Callable[[PrivateKey, bytes, str, RandomBytes], bytes]
"""Proves that a modulus is well formed: the key, the ceremony's digest, the dealer, randomness."""


@dataclass(frozen=True, slots=True)
class Collecting:
    """Trustees' signed keys, by index."""

    received: dict[int, tuple[Envelope, CeremonyKey]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Confirming:
    """Dealt, and forgotten: what is left is public."""

    dealing: Envelope
    received: dict[int, Envelope] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """The ceremony is over for this role, which holds no secret of it."""

    outcome: str


class CeremonyDealer:
    """The dealer. ``deal`` is the one moment at which the key exists in one place."""

    def __init__(
        self,
        context: CeremonyContext,
        identity: Identity,
        random: RandomBytes,
        *,
        prove_key: ProveKey = prove_dealt_key,
        make_primes: MakePrimes = safe_primes,
    ) -> None:
        """Begin a ceremony.

        Args:
            context: its public facts.
            identity: the dealer's signing key.
            random: source of secret random bytes, cryptographically secure in production.
            prove_key: makes the proofs about the modulus that trustees and encryptors check.
            make_primes: finds the safe primes, such as on several cores.

        Raises:
            MisuseError: ``identity`` is not the dealer of the agreement.
        """
        if identity.public.raw != context.dealer.raw:
            raise MisuseError("the dealer's key is not the one in the agreement")
        self._context, self._identity, self._random = context, identity, random
        self._prove, self._make_primes = prove_key, make_primes
        self._state: Collecting | Confirming | Done = Collecting()

    def __repr__(self) -> str:
        return f"CeremonyDealer({self.state})"

    @property
    def state(self) -> str:
        """Name of the current state, for logs."""
        return type(self._state).__name__

    def receive_key(self, envelope: Envelope) -> int:
        """Step 1: take one trustee's X25519 key; return its index.

        Raises:
            RosterError: the key is unsound, or another trustee's.
            DuplicateError: it sent one already.
            PeerError: any other refusal.
        """
        index, message = self._context.open_from_trustee(envelope, CeremonyKey)
        state, name = self._require(Collecting), envelope.sender
        if index in state.received:
            raise DuplicateError(name, "deal-key", "has sent a key already")
        check_ceremony_key(message, name)
        if any(message.key == other.key for _, other in state.received.values()):
            raise RosterError(name, "deal-key", "sent the key of another trustee")
        state.received[index] = (envelope, message)
        return index

    def deal(self) -> tuple[Envelope, dict[int, bytes]]:
        """Step 2: make the key, share it, seal the shares, and forget all but the public part.

        Whatever goes wrong ends the ceremony: a key is not dealt twice.

        Returns:
            The signed :class:`Dealing` for everybody, and each trustee's sealed share by index.

        Raises:
            BelowThresholdError: a trustee's key is missing.
        """
        state, context = self._require(Collecting), self._context
        count = len(context.trustees)
        if len(state.received) < count:
            raise BelowThresholdError("deal", have=len(state.received), need=count)
        self._state = Done("the dealing failed")
        received = [state.received[index] for index in range(1, count + 1)]
        dealing, sealed = self._make(received)
        self._state = Confirming(context.seal(self._identity, dealing))
        return self._state.dealing, dict(enumerate(sealed, start=1))

    def _make(self, received: list[tuple[Envelope, CeremonyKey]]) -> tuple[Dealing, list[bytes]]:
        # Primes, polynomial, shares and the X25519 key are local: no reference outlives the call.
        context = self._context
        primes = self._make_primes(context.bits, self._random)
        private = PrivateKey(int(primes[0]), int(primes[1]), self._random(SEED_BYTES))
        key, shares = deal_key(
            private.public,
            primes,
            trustees=len(received),
            threshold=context.threshold,
            degree=context.degree,
            random=self._random,
        )
        proofs = self._prove(private, context.digest(), context.dealer.name, self._random)
        own = EphemeralKey(self._random(PRIVATE_BYTES))
        sealed = [
            seal_share(context, key, share, own, message.key)
            for share, (_, message) in zip(shares, received, strict=True)
        ]
        dealing = Dealing(
            context.digest(),
            tuple(envelope for envelope, _ in received),
            own.public,
            key.to_bytes(),
            proofs,
            tuple(hashlib.sha256(one).digest() for one in sealed),
        )
        return dealing, sealed

    def receive_countersignature(self, envelope: Envelope) -> int:
        """Step 3: take one trustee's countersignature; return its index.

        Raises:
            QuorumError: it countersigned another dealing; the ceremony cannot be finished.
            DuplicateError: it signed already.
            PeerError: any other refusal.
        """
        state = self._require(Confirming)
        digest = self._context.dealing_digest(state.dealing)
        index = check_countersignature(self._context, envelope, digest)
        if index in state.received:
            raise DuplicateError(envelope.sender, "deal-confirm", "has countersigned already")
        state.received[index] = envelope
        return index

    def finish(self) -> CeremonyTranscript:
        """Return the transcript, with which the key is in force, for every trustee and the ledger.

        Raises:
            BelowThresholdError: a trustee has not countersigned.
        """
        state, count = self._require(Confirming), len(self._context.trustees)
        if len(state.received) < count:
            raise BelowThresholdError("deal-confirm", have=len(state.received), need=count)
        signed = tuple(state.received[index] for index in range(1, count + 1))
        self._state = Done("finished")
        return CeremonyTranscript(state.dealing, signed)

    def abort(self, reason: str) -> None:
        """End the ceremony; the key is never in force."""
        self._state = Done(reason)

    def _require(self, kind: type[S]) -> S:
        if not isinstance(self._state, kind):
            raise OutOfOrderError(f"a dealer in state {self.state} cannot do this")
        return self._state
