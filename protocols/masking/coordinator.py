"""The coordinator's side of one masking round: it carries messages and learns the sum alone.

Sans-IO. ``receive_*`` takes one party's message, ``close_*`` ends a step with what has arrived. An
error names the party at fault and changes nothing: the round goes on without that message.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import TypeVar

from protocols.errors import (
    BelowThresholdError,
    DuplicateError,
    MisuseError,
    OutOfOrderError,
    SecureFedError,
    SubmissionError,
    UnexpectedMessageError,
    UnknownPartyError,
)
from protocols.identity import Envelope, Identity
from protocols.masking.context import RoundContext
from protocols.masking.coordinator_checks import (
    check_advertise,
    check_dealing,
    check_unmask,
)
from protocols.masking.coordinator_states import (
    Advertising,
    Aggregate,
    Closed,
    Confirming,
    Sharing,
    State,
    Submitting,
    Unmasking,
    announce,
    begin_submitting,
    deliveries,
    heard,
    members,
)
from protocols.masking.folding import fold_in, take_opened
from protocols.masking.messages import (
    Advertise,
    Confirmation,
    Confirmations,
    Roster,
    Shares,
    Submission,
    Unmask,
)
from protocols.masking.unmasking import AddMasks, check_enough, lacking, remove_masks
from protocols.prg import Words, add_masks

S = TypeVar("S")
M = TypeVar("M")


class MaskingCoordinator:
    """The coordinator in one round."""

    def __init__(
        self, context: RoundContext, identity: Identity, *, add: AddMasks = add_masks
    ) -> None:
        """Begin a round.

        Args:
            context: the public facts of the round.
            identity: the coordinator's signing key.
            add: expands masks and adds them in place; one that uses every core may be passed in.

        Raises:
            MisuseError: ``identity`` is not the coordinator of the agreement.
        """
        if identity.public.raw != context.coordinator.raw:
            raise MisuseError("the coordinator's key is not the one in the agreement")
        self._context, self._identity, self._add = context, identity, add
        self._state: State = Advertising()

    def __repr__(self) -> str:
        return f"MaskingCoordinator(round {self._context.round}, {self.state})"

    @property
    def state(self) -> str:
        """Name of the current state, for logs."""
        return type(self._state).__name__

    @property
    def heard(self) -> frozenset[int]:
        """Parties whose message of the current step has been taken."""
        return heard(self._state)

    @property
    def awaited(self) -> frozenset[int]:
        """Parties that may still speak at the current step."""
        return members(self._state, len(self._context.parties)) - self.heard

    def abort(self, reason: str) -> None:
        """End the round without a sum and forget everything received."""
        self._state = Closed(reason)

    def receive_advertise(self, envelope: Envelope) -> int:
        """Take one party's keys; return its number. Raises a PeerError that names it."""
        state, party, message = self._take(Advertising, envelope, Advertise)
        check_advertise(message, envelope.sender, state.keys)
        state.keys.update((message.channel_key, message.mask_key))
        state.received[party] = (envelope, message)
        return party

    def close_advertise(self) -> dict[int, Envelope]:
        """Freeze the roster; return the signed :class:`Roster` for each member.

        Raises:
            BelowThresholdError: too few parties advertised.
        """
        state = self._require(Advertising)
        self._need("advertise", len(state.received), self._context.min_roster)
        numbers = sorted(state.received)
        advertisements = tuple(state.received[number][0] for number in numbers)
        roster = {number: state.received[number][1] for number in numbers}
        self._state = Sharing(roster, self._context.roster_digest(advertisements))
        envelope = self._context.seal(self._identity, Roster(advertisements))
        return dict.fromkeys(numbers, envelope)

    # Step 2

    def receive_shares(self, envelope: Envelope) -> int:
        """Take one dealer's sealed shares; return its number. Raises a PeerError that names it."""
        state, party, message = self._take(Sharing, envelope, Shares)
        state.received[party] = check_dealing(self._context, message, party, state)
        return party

    def close_shares(self) -> dict[int, Envelope]:
        """End step 2; return the signed :class:`Delivery` for each sharer.

        Raises:
            BelowThresholdError: too few parties dealt shares.
        """
        state, context = self._require(Sharing), self._context
        self._need("share", len(state.received), context.min_roster)
        sharers = tuple(sorted(state.received))
        self._state = begin_submitting(
            context, state.roster, state.roster_digest, state.received, sharers
        )
        return {
            delivery.holder: context.seal(self._identity, delivery)
            for delivery in deliveries(state.roster_digest, state.received)
        }

    # Step 3

    def skip_masks(self, sharers: Iterable[int]) -> None:
        """Go on to step 3 where nothing is masked; ``sharers`` are asked to take part.

        Raises:
            MisuseError: vectors are masked in this round.
        """
        self._require(Advertising)
        context = self._context
        if context.masked:
            raise MisuseError("vectors are masked in this round")
        digest, asked = context.roster_digest(()), tuple(sorted(sharers))
        self._state = begin_submitting(context, {}, digest, {}, asked)

    def receive_submission(
        self, envelope: Envelope, vector: bytes | memoryview, *, model: bytes
    ) -> int:
        """Fold one masked vector into the running sum; return the party's number.

        Args:
            envelope: the signed :class:`Submission`.
            vector: the packed masked vector, or the digest of the ciphertexts that were taken.
            model: digest of the global model that this round hands out, 32 bytes.

        Raises:
            SubmissionError: another roster, model, length or digest than its header says.
            PeerError: any other refusal. Nothing was added.
        """
        state, party, message = self._take(Submitting, envelope, Submission)
        fold_in(self._context, message, vector, state, model, envelope.sender)
        state.received[party] = (envelope, message)
        return party

    def close_submissions(self) -> dict[int, Envelope]:
        """Announce the survivors; return the signed :class:`Survivors` for each of them.

        Raises:
            BelowThresholdError: too few survivors.
        """
        state, context = self._require(Submitting), self._context
        self._need("submit", len(state.received), context.min_survivors)
        self._state, message = announce(context, state)
        envelope = context.seal(self._identity, message)
        return dict.fromkeys(self._state.survivors, envelope)

    # Step 4

    def receive_confirmation(self, envelope: Envelope) -> int:
        """Take one survivor's confirmation; return its number. Raises a PeerError."""
        state, party, message = self._take(Confirming, envelope, Confirmation)
        if not hmac.compare_digest(message.survivors, state.survivors_digest):
            raise SubmissionError(envelope.sender, "confirm", "confirms another survivor set")
        state.received[party] = envelope
        return party

    def close_confirmations(self) -> dict[int, Envelope]:
        """Pass the quorum on; return the signed :class:`Confirmations` for each confirmer.

        Raises:
            BelowThresholdError: no quorum.
        """
        state = self._require(Confirming)
        self._need("confirm", len(state.received), self._context.quorum)
        numbers = sorted(state.received)
        envelope = self._context.seal(
            self._identity, Confirmations(tuple(state.received[number] for number in numbers))
        )
        self._state = Unmasking(state)
        return dict.fromkeys(numbers, envelope)

    # Step 5

    def receive_unmask(self, envelope: Envelope) -> int:
        """Take one survivor's opened shares, each checked against its dealer's commitment.

        Raises:
            ShareError: a share that its dealer did not commit to, or of the wrong kind.
            PeerError: any other refusal. Nothing of the message is used.
        """
        state, party, message = self._take(Unmasking, envelope, Unmask)
        check_unmask(self._context, message, party, state.confirming)
        for opened in (*message.seed_shares, *message.key_shares):
            state.opened.setdefault(opened.dealer, {})[party] = opened
        state.answered.add(party)
        return party

    @property
    def can_finish(self) -> bool:
        """Whether every secret that is needed has enough shares."""
        state = self._state
        return isinstance(state, Unmasking) and next(lacking(self._context, state), None) is None

    def finish(self, opened: Words | None = None) -> Aggregate:
        """Reconstruct the secrets, remove every mask from the running sum, return the sum.

        Whatever goes wrong ends the round: half of the masks may be gone from the running sum.

        Args:
            opened: the sum of the survivors' vectors, shape ``(count,)``, where they are encrypted.

        Raises:
            MisuseError: ``opened`` is missing or has another shape, or there is nothing to open.
            BelowThresholdError: too few parties answered.
            ShareError: a dealer's shares do not open its own commitment, or too few of its holders
                could open theirs; it is named.
        """
        state, context = self._require(Unmasking), self._context
        confirming = state.confirming
        take_opened(context, confirming.total, opened)
        self._state = Closed("the masks could not be removed")
        try:
            check_enough(context, state)
            remove_masks(context, state, self._add)
        except SecureFedError as error:
            self.abort(str(error))
            raise
        total = confirming.total
        if context.modulus_bits < total.dtype.itemsize * 8:
            total &= total.dtype.type(2**context.modulus_bits - 1)
        self._state = Closed("finished")
        return Aggregate(total, confirming.survivors, confirming.dropouts, confirming.model)

    # The state machine

    def _require(self, kind: type[S]) -> S:
        if not isinstance(self._state, kind):
            raise OutOfOrderError(f"a coordinator in state {self.state} cannot do this")
        return self._state

    def _take(self, kind: type[S], envelope: Envelope, message: type[M]) -> tuple[S, int, M]:
        party, opened = self._context.open_from_party(envelope, message)
        name, step = envelope.sender, envelope.step
        if not isinstance(self._state, kind):
            raise UnexpectedMessageError(
                name, step, f"came too early or too late, in state {self.state}"
            )
        if party in self.heard:
            raise DuplicateError(name, step, "has spoken at this step already")
        if party not in self.awaited:
            raise UnknownPartyError(name, step, "is not in this round any more, or never was")
        return self._state, party, opened

    def _need(self, step: str, have: int, need: int) -> None:
        if have < need:
            error = BelowThresholdError(step, have=have, need=need)
            self.abort(str(error))
            raise error
