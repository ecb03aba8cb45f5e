"""The party's side of one masking round (Bonawitz et al. 2017, figure 4; Bell et al. 2020).

Sans-IO: the caller passes envelopes in and sends those that come out. A refusal raises a named
error; one that shows a dishonest coordinator also makes the party withdraw, after which it answers
nothing more in this round and holds no secret of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from protocols.encoding import pack
from protocols.errors import (
    DuplicateError,
    InputError,
    OutOfOrderError,
    PeerError,
    ShareError,
    UnexpectedMessageError,
)
from protocols.graph import draw_neighbours
from protocols.identity import Envelope, Identity
from protocols.masking import checks
from protocols.masking.context import RoundContext
from protocols.masking.dealing import Secrets, deal, take
from protocols.masking.messages import (
    Advertise,
    Confirmation,
    Confirmations,
    Delivery,
    Roster,
    Shares,
    Submission,
    Survivors,
    Unmask,
)
from protocols.masking.party_states import (
    ORDER,
    Advertised,
    Confirmed,
    Dealt,
    Finished,
    Fresh,
    Ready,
    State,
    Submitted,
    Withdrawn,
)
from protocols.masking.sealing import (
    SharePair,
    pairwise_seed,
    public_bytes,
    seed_digest,
    self_seed,
)
from protocols.prg import RandomBytes, Words, add_masks

S = TypeVar("S")


class MaskingParty:
    """One party in one round. Methods follow the five steps; each may be called once, in order."""

    def __init__(self, context: RoundContext, identity: Identity, random: RandomBytes) -> None:
        """Begin a round.

        Args:
            context: the public facts of the round.
            identity: our signing key; its name must be in the agreement.
            random: source of secret random bytes, cryptographically secure in production.

        Raises:
            UnknownPartyError: the agreement does not name us.
        """
        self._context, self._identity, self._random = context, identity, random
        self.number = context.party(identity.name, "advertise")
        self._state: State = Fresh()

    def __repr__(self) -> str:
        return f"MaskingParty({self._identity.name!r}, {self.state})"

    @property
    def state(self) -> str:
        """Name of the current state, for logs."""
        return type(self._state).__name__

    def withdraw(self, reason: str) -> None:
        """Leave the round for good and forget its secrets."""
        self._state = Withdrawn(reason)

    # Step 1

    def advertise(self) -> Envelope:
        """Step 1: sign two fresh X25519 public keys.

        Raises:
            OutOfOrderError: already done.
        """
        self._require(Fresh)
        channel, mask = self._random(32), self._random(32)
        advertised = Advertise(public_bytes(channel), public_bytes(mask))
        self._state = Advertised(channel, mask, advertised)
        return self._context.seal(self._identity, advertised)

    # Step 2

    def receive_roster(self, envelope: Envelope) -> Envelope:
        """Steps 1-2: check the roster, then deal shares of both our secrets.

        Returns:
            The signed :class:`Shares`.

        Raises:
            RosterError: too small, a duplicate, or without ourselves and our very keys.
            SignatureError: an advertisement that its party did not sign.
            PeerError: any other refusal named in :mod:`protocols.errors`.
        """
        state = self._awaiting(Advertised, Roster)
        message = self._open(envelope, Roster)
        with self._withdrawing():
            roster = checks.check_roster(self._context, message, self.number, state.advertised)
            digest = self._context.roster_digest(message.advertisements)
            others = [number for number in roster if number != self.number]
            neighbours = self._choose(others)
            seed = self._random(32)
            dealt = deal(
                self._context,
                digest,
                self.number,
                {holder: roster[holder].channel_key for holder in neighbours},
                Secrets(state.channel_private, state.mask_private, seed),
                self._random,
            )
        self._state = Dealt(
            roster, digest, neighbours, state.channel_private, state.mask_private, seed
        )
        shares = Shares(digest, seed_digest(self._context, seed, self.number), dealt)
        return self._context.seal(self._identity, shares)

    def _choose(self, others: list[int]) -> tuple[int, ...]:
        degree = self._context.degree
        if degree is None or degree >= len(others):
            return tuple(others)
        return draw_neighbours(self.number, others, degree, self._random)

    def receive_delivery(self, envelope: Envelope) -> tuple[ShareError, ...]:
        """Step 2: take the shares that others dealt to us.

        A dealer whose share does not open only loses us as a holder; the round goes on.

        Returns:
            One error for each such dealer, for the log.

        Raises:
            PeerError: the delivery contradicts the roster or is too small; we withdraw.
        """
        state = self._awaiting(Dealt, Delivery)
        message = self._open(envelope, Delivery)
        with self._withdrawing():
            edges = checks.check_delivery(
                self._context, message, self.number, state.roster_digest, state.neighbours,
                frozenset(state.roster),
            )  # fmt: skip
        held: dict[int, SharePair] = {}
        faults: list[ShareError] = []
        for share in message.delivered:
            try:
                held[share.dealer] = take(
                    self._context,
                    state.roster_digest,
                    self.number,
                    state.channel_private,
                    state.roster[share.dealer].channel_key,
                    share,
                )
            except ShareError as error:
                faults.append(error)
        self._state = Ready(
            state.roster,
            state.roster_digest,
            message.sharers,
            edges,
            held,
            state.mask_private,
            state.seed,
        )
        return tuple(faults)

    # Step 3

    def submit(self, values: Words, *, model: bytes) -> tuple[Envelope, bytes]:
        """Step 3: mask the encoded update, forget our own mask secrets, sign the digest.

        Args:
            values: encoded update in the ring, shape ``(count,)``; left unchanged.
            model: SHA-256 digest of the global model that was trained on, 32 bytes.

        Returns:
            The signed :class:`Submission` and the packed masked vector.

        Raises:
            OutOfOrderError: not exactly after the delivery; a second vector is never masked.
            InputError: ``values`` has another shape or word type than agreed.
        """
        state = self._require(Ready)
        context = self._context
        expected = context.word
        if values.shape != (context.count,) or values.dtype != expected:
            raise InputError(
                f"the update is {values.dtype} of shape {values.shape}; the agreement says "
                f"{expected} of shape ({context.count},)"
            )
        masks = [(self_seed(context, state.roster_digest, state.seed, self.number), True)]
        for peer in state.edges:
            key = state.roster[peer].mask_key
            seed = pairwise_seed(
                context, state.roster_digest, state.mask_private, self.number, key, peer
            )
            masks.append((seed, peer > self.number))
        masked = values.copy()
        add_masks(masked, masks)
        wire = pack(masked, context.modulus_bits)
        sharers = context.sharers_digest(state.roster_digest, state.sharers)
        submission = Submission(
            state.roster_digest, sharers, model, hashlib.sha256(wire).digest(), context.count
        )
        envelope = context.seal(self._identity, submission)
        self._state = Submitted(
            state.roster_digest, state.sharers, sharers, state.held, model, envelope.payload
        )
        return envelope, wire

    # Step 4

    def receive_survivors(self, envelope: Envelope) -> Envelope:
        """Step 4: check who survived and on which model, and sign exactly that set.

        The caller must make the returned envelope durable before it is sent: a party that forgot
        what it signed could be led to sign another set after a restart.

        Raises:
            ModelMismatchError: survivors trained on different models.
            EquivocationError: survivors were told different rosters or share sets.
            SurvivorSetError: without us, overlapping, unknown members, or not the whole story.
            CohortTooSmallError: fewer survivors than the agreement's minimum.
        """
        state = self._awaiting(Submitted, Survivors)
        message = self._open(envelope, Survivors)
        with self._withdrawing():
            survivors = checks.check_survivors(self._context, message, self.number, state)
        digest = self._context.survivors_digest(
            state.sharers_digest, message.submissions, message.dropouts
        )
        self._state = Confirmed(survivors, message.dropouts, digest, state.held)
        return self._context.seal(self._identity, Confirmation(digest))

    # Step 5

    def receive_confirmations(self, envelope: Envelope) -> Envelope:
        """Step 5: on a quorum for the very set that we signed, release our shares, once.

        Returns:
            The signed :class:`Unmask`: for each dealer either its seed share or its key share.

        Raises:
            QuorumError: too few valid confirmations.
            EquivocationError: another survivor signed another set.
        """
        state = self._awaiting(Confirmed, Confirmations)
        message = self._open(envelope, Confirmations)
        with self._withdrawing():
            checks.check_confirmations(
                self._context, message, state.survivors, state.survivors_digest
            )
        alive, gone = frozenset(state.survivors), frozenset(state.dropouts)
        unmask = Unmask(
            state.survivors_digest,
            tuple(pair.seed for dealer, pair in sorted(state.held.items()) if dealer in alive),
            tuple(pair.key for dealer, pair in sorted(state.held.items()) if dealer in gone),
        )
        self._state = Finished()
        return self._context.seal(self._identity, unmask)

    # The state machine

    def _require(self, kind: type[S]) -> S:
        if not isinstance(self._state, kind):
            raise OutOfOrderError(f"a party in state {self.state} cannot do this")
        return self._state

    def _awaiting(self, kind: type[S], message: type) -> S:
        if isinstance(self._state, kind):
            return self._state
        name, step = self._context.coordinator.name, message.__name__.lower()
        if isinstance(self._state, Withdrawn):
            raise UnexpectedMessageError(name, step, f"we withdrew: {self._state.reason}")
        if ORDER.index(type(self._state)) > ORDER.index(kind):
            raise DuplicateError(name, step, "a second request; the first was already answered")
        raise UnexpectedMessageError(name, step, f"came too early, in state {self.state}")

    def _open(self, envelope: Envelope, kind: type[S]) -> S:
        return self._context.open(envelope, kind, self._context.coordinator)

    @contextmanager
    def _withdrawing(self) -> Iterator[None]:
        try:
            yield
        except PeerError as error:
            self.withdraw(str(error))
            raise
