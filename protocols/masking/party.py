"""The party's side of one masking round (Bonawitz et al. 2017, figure 4; Bell et al. 2020).

Sans-IO: the caller passes envelopes in and sends those that come out. What is refused raises a
named error. A message that the coordinator did not sign for us, or that came too early or twice,
changes nothing; one that shows a dishonest coordinator makes the party withdraw, after which it
answers nothing more in this round and holds no secret of it. So does any failure inside a step.

Not for several threads at once, but :meth:`MaskingParty.withdraw` may be called at any time: a step
that is computed meanwhile then raises and its outcome is dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from protocols.errors import MisuseError, ShareError, UnexpectedMessageError
from protocols.graph import draw_neighbours
from protocols.identity import DIGEST_BYTES, Envelope, Identity
from protocols.masking import checks
from protocols.masking.blinding import Encrypt, check_values, hide
from protocols.masking.context import RoundContext
from protocols.masking.dealing import Secrets, deal, take
from protocols.masking.ephemeral import PRIVATE_BYTES, EphemeralKey
from protocols.masking.messages import (
    MAX_STATEMENT_BYTES,
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
    Advertised,
    Confirmed,
    Dealt,
    Finished,
    Fresh,
    Masks,
    Ready,
    Submitted,
)
from protocols.masking.sealing import SharePair, seed_digest
from protocols.masking.turns import Turns
from protocols.prg import SEED_BYTES, RandomBytes, Words

M = TypeVar("M")


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
            MisuseError: the agreement has another key under our name.
        """
        self._context, self._identity, self._random = context, identity, random
        self.number = context.party(identity.name, "advertise")
        if context.parties[self.number].raw != identity.public.raw:
            raise MisuseError(f"the key of {identity.name} is not the one in the agreement")
        self._turns = Turns()

    def __repr__(self) -> str:
        return f"MaskingParty({self._identity.name!r}, {self.state})"

    @property
    def state(self) -> str:
        """Name of the current state, for logs."""
        return self._turns.name

    def withdraw(self, reason: str) -> None:
        """Leave the round for good and forget its secrets."""
        self._turns.withdraw(reason)

    def advertise(self) -> Envelope:
        """Step 1: sign two fresh X25519 public keys.

        Raises:
            OutOfOrderError: already done.
            MisuseError: nothing is masked in this round.
        """
        if not self._context.masked:
            raise MisuseError("this round has no masks; begin with skip_masks")
        self._turns.require(Fresh)
        with self._turns.taking("advertise") as turn:
            channel = EphemeralKey(self._random(PRIVATE_BYTES))
            mask = EphemeralKey(self._random(PRIVATE_BYTES))
            advertised = Advertise(channel.public, mask.public)
            turn.next = Advertised(channel, mask, advertised)
            return self._context.seal(self._identity, advertised)

    def skip_masks(self, sharers: Sequence[int]) -> None:
        """Go on to step 3 where nothing is masked; ``sharers`` are asked to take part, ascending.

        Raises:
            MisuseError: vectors are masked in this round.
            OutOfOrderError: already done.
        """
        if self._context.masked:
            raise MisuseError("vectors are masked in this round")
        self._turns.require(Fresh)
        with self._turns.taking("open") as turn:
            turn.next = Ready(self._context.roster_digest(()), tuple(sharers), None, {})

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
        message = self._open(envelope, Roster)
        state = self._turns.admit(envelope, Advertised)
        with self._turns.taking("roster") as turn:
            roster = checks.check_roster(self._context, message, self.number, state.advertised)
            digest = self._context.roster_digest(message.advertisements)
            neighbours = self._choose([number for number in roster if number != self.number])
            seed = self._random(SEED_BYTES)
            dealt = deal(
                self._context,
                digest,
                self.number,
                {holder: roster[holder].channel_key for holder in neighbours},
                Secrets(state.channel, state.mask, seed),
                self._random,
            )
            turn.next = Dealt(roster, digest, neighbours, state.channel, state.mask, seed)
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
            UnexpectedMessageError: meant for another party; nothing is changed.
            PeerError: the delivery contradicts the roster or is too small; we withdraw.
        """
        message = self._open(envelope, Delivery)
        if message.holder != self.number:
            raise UnexpectedMessageError(envelope.sender, "deliver", "is meant for another party")
        state = self._turns.admit(envelope, Dealt)
        with self._turns.taking("deliver") as turn:
            edges = checks.check_delivery(self._context, message, self.number, state)
            held, faults = self._take_shares(message, state)
            masks = Masks(state.roster, edges, state.mask, state.seed)
            turn.next = Ready(state.roster_digest, message.sharers, masks, held)
        return faults

    def _take_shares(
        self, message: Delivery, state: Dealt
    ) -> tuple[dict[int, SharePair], tuple[ShareError, ...]]:
        held: dict[int, SharePair] = {}
        faults: list[ShareError] = []
        for share in message.delivered:
            public = state.roster[share.dealer].channel_key
            try:
                held[share.dealer] = take(
                    self._context, state.roster_digest, self.number, state.channel, public, share
                )
            except ShareError as error:
                faults.append(error)
        return held, tuple(faults)

    # Step 3

    def submit(
        self,
        values: Words,
        *,
        model: bytes,
        statement: bytes = b"",
        encrypt: Encrypt | None = None,
    ) -> tuple[Envelope, bytes]:
        """Step 3: mask the encoded update, forget our own mask secrets, sign the digest.

        Args:
            values: encoded update in the ring, shape ``(count,)``; left unchanged.
            model: SHA-256 digest of the global model that was trained on, 32 bytes.
            statement: what the caller says of the vector, signed with it; at most 512 bytes.
            encrypt: makes the bytes that are sent of the words, where the round encrypts them.

        Returns:
            The signed :class:`Submission`, and the masked vector, packed or encrypted.

        Raises:
            OutOfOrderError: not exactly after the delivery, or we withdrew meanwhile.
            InputError: ``values`` has another shape or word type than agreed.
            MisuseError: ``model`` is no digest, or the statement is too long; or the round encrypts
                vectors and ``encrypt`` is missing or makes another length, or the other way round.
        """
        state = self._turns.require(Ready)
        check_values(self._context, values, encrypt)
        if len(model) != DIGEST_BYTES:
            raise MisuseError(f"the digest of a model has {DIGEST_BYTES} bytes")
        if len(statement) > MAX_STATEMENT_BYTES:
            raise MisuseError(f"a statement has at most {MAX_STATEMENT_BYTES} bytes")
        with self._turns.taking("submit") as turn:
            wire = hide(self._context, state, self.number, values, encrypt)
            roster, sharers = state.roster_digest, state.sharers
            digest = self._context.sharers_digest(roster, sharers)
            vector = hashlib.sha256(wire).digest()
            submission = Submission(roster, digest, model, vector, self._context.count, statement)
            envelope = self._context.seal(self._identity, submission)
            turn.next = Submitted(roster, sharers, digest, state.held, model, envelope.payload)
        return envelope, wire

    # Step 4

    @property
    def confirmed(self) -> Mapping[int, bytes] | None:
        """Digest of the vector of each survivor that we signed, by number, until we unmask."""
        state = self._turns.state
        return state.survivors if isinstance(state, Confirmed) else None

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
        message = self._open(envelope, Survivors)
        state = self._turns.admit(envelope, Submitted)
        with self._turns.taking("survivors") as turn:
            survivors = checks.check_survivors(self._context, message, self.number, state)
            digest = self._context.survivors_digest(
                state.sharers_digest, message.submissions, message.dropouts
            )
            turn.next = Confirmed(survivors, message.dropouts, digest, state.held)
            return self._context.seal(self._identity, Confirmation(digest))

    # Step 5

    def receive_confirmations(self, envelope: Envelope) -> Envelope:
        """Step 5: on a quorum for the very set that we signed, release our shares, once.

        Returns:
            The signed :class:`Unmask`: for each dealer either its seed share or its key share.

        Raises:
            QuorumError: too few valid confirmations.
            EquivocationError: another survivor signed another set.
            UnexpectedMessageError: nothing is masked in this round.
        """
        message = self._open(envelope, Confirmations)
        if not self._context.masked:
            raise UnexpectedMessageError(envelope.sender, "confirmations", "there are no masks")
        state = self._turns.admit(envelope, Confirmed)
        with self._turns.taking("confirmations") as turn:
            checks.check_confirmations(
                self._context, message, tuple(state.survivors), state.survivors_digest
            )
            held = sorted(state.held.items())
            alive, gone = frozenset(state.survivors), frozenset(state.dropouts)
            unmask = Unmask(
                state.survivors_digest,
                tuple(pair.seed for dealer, pair in held if dealer in alive),
                tuple(pair.key for dealer, pair in held if dealer in gone),
            )
            turn.next = Finished()
            return self._context.seal(self._identity, unmask)

    def _open(self, envelope: Envelope, kind: type[M]) -> M:
        return self._context.open(envelope, kind, self._context.coordinator)
