"""The trustee's side of one opening: it decrypts the product that it multiplied itself, once.

Sans-IO. A trustee never decrypts what it is handed: it is handed signed vectors, checks and
multiplies them, and answers one request of the coordinator for exactly their product.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from protocols.errors import (
    CohortTooSmallError,
    DuplicateError,
    EquivocationError,
    MisuseError,
    PeerError,
    SurvivorSetError,
    UnexpectedMessageError,
)
from protocols.identity import DIGEST_BYTES, Envelope, Identity
from protocols.paillier.integers import mpz
from protocols.paillier.lone_trustee import is_lone, open_alone
from protocols.paillier.messages import STEP_OF, OpeningRequest, PartialOpening
from protocols.paillier.multi_exponentiation import ONE_THREAD, Spread
from protocols.paillier.threshold import partial_decryption
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import KeyShare, join_residues
from protocols.paillier.threshold_product import CheckKnowledge, SubmittedProduct
from protocols.paillier.threshold_proofs import prove
from protocols.prg import RandomBytes, Ranges

_STEP = STEP_OF[OpeningRequest]


class DecryptingParty:
    """One trustee in one round. It opens one product or none."""

    def __init__(
        self,
        context: OpeningContext,
        identity: Identity,
        share: KeyShare,
        random: RandomBytes,
        *,
        check_knowledge: CheckKnowledge,
        spread: Spread = ONE_THREAD,
        ranges: Ranges | None = None,
        promised: bytes | None = None,
    ) -> None:
        """Begin.

        Args:
            context: the public facts of the opening.
            identity: our signing key.
            share: our share of the key.
            random: source of secret random bytes, cryptographically secure in production.
            check_knowledge: checks each vector's proof of knowledge.
            spread: where powers are computed.
            ranges: the same where we hold the key alone and decrypt by its factors.
            promised: digest of the request that we answered in this round before a restart, from
                the journal; no other is answered then.

        Raises:
            MisuseError: key, share and agreement do not belong together.
        """
        places = [one.raw for one in context.trustees]
        if not 1 <= share.index <= len(places) or places[share.index - 1] != identity.public.raw:
            raise MisuseError(f"{identity.name} is not the trustee whose share this is")
        if promised is not None and len(promised) != DIGEST_BYTES:
            raise MisuseError(f"a promise is a digest of {DIGEST_BYTES} bytes")
        self._context, self._identity, self._random = context, identity, random
        self._share: KeyShare | None = share
        self._spread, self._ranges, self._promise = spread, ranges, promised
        self._product = SubmittedProduct(context, check_knowledge, relay=context.coordinator.name)
        self._reason = ""

    def __repr__(self) -> str:
        return f"DecryptingParty({self._identity.name!r}, {self.state})"

    @property
    def state(self) -> str:
        """``Collecting``, ``Answered`` or ``Withdrawn``, for logs."""
        if self._share is not None:
            return "Collecting"
        return "Withdrawn" if self._reason else "Answered"

    @property
    def promise(self) -> bytes | None:
        """Digest of the one request of this round that we answer, once there is one.

        The caller makes it durable before the answer is sent.
        """
        return self._promise

    def withdraw(self, reason: str) -> None:
        """Leave the round for good; the role holds no share any more."""
        self._share, self._reason = None, self._reason or reason

    def receive_vector(self, envelope: Envelope, vector: bytes | memoryview) -> int:
        """Check one party's vector and multiply it in; return the party's number.

        Raises:
            UnexpectedMessageError: we answered already, or withdrew; the coordinator is named.
            PeerError: as :meth:`~protocols.paillier.threshold_product.SubmittedProduct.receive`;
                the vector is left out.
        """
        self._require(envelope)
        return self._product.receive(envelope, vector)

    def receive_request(
        self, envelope: Envelope, *, confirmed: Mapping[int, bytes] | None = None
    ) -> tuple[Envelope, bytes]:
        """Decrypt our part of the product of all vectors received, if that is what is asked for.

        Args:
            envelope: the signed :class:`OpeningRequest`.
            confirmed: digest of each vector, by party number, in the survivor set that we signed,
                where we sign one: nothing else is opened.

        Returns:
            The signed :class:`PartialOpening` and the partial decryptions beside it. Make
            :attr:`promise` durable before they are sent.

        Raises:
            DuplicateError: the very request that was answered; nothing is computed again.
            EquivocationError: a second, different request, or another product than that of the
                vectors that we were given; we withdraw.
            CohortTooSmallError: fewer vectors than the minimum cohort; we withdraw.
            SurvivorSetError: other submitters than those whose vectors we have, or than those that
                we confirmed; we withdraw.
            UnexpectedMessageError: we withdrew.
            ReplayError: a request of another round; nothing is changed.
            PeerError: any other refusal; nothing is changed.
        """
        context = self._context
        request = context.open(envelope, OpeningRequest, context.coordinator)
        digest = context.request_digest(request)
        name = envelope.sender
        if self._promise is not None and not hmac.compare_digest(self._promise, digest):
            self.withdraw("the coordinator asked for two different products in one round")
            reason = "asks for a second, different product in this round"
            raise EquivocationError(name, _STEP, reason)
        if self._share is None and not self._reason:
            raise DuplicateError(name, _STEP, "a second request; the first was already answered")
        share = self._require(envelope)
        try:
            self._check_request(request, name)
            if confirmed is not None and dict(confirmed) != self._product.vectors:
                reason = "the vectors that it passed on are not those of the survivors we confirmed"
                raise SurvivorSetError(name, _STEP, reason)
        except PeerError as error:
            self.withdraw(error.reason)
            raise
        # From here on this round has its one product, whatever becomes of the answer.
        self._promise, self._share = digest, None
        return self._answer(digest, share)

    def _check_request(self, request: OpeningRequest, name: str) -> None:
        product, least = self._product, self._context.min_cohort
        if len(request.submitters) < least:
            reason = f"a product of {len(request.submitters)} vectors, the agreement wants {least}"
            raise CohortTooSmallError(name, _STEP, reason)
        if request.submitters != product.submitters:
            reason = "its submitters are not those whose vectors it passed on"
            raise SurvivorSetError(name, _STEP, reason)
        submissions, opened = product.digests()
        if request.submissions != submissions or request.product != opened:
            reason = "asks for another product than that of the vectors that it passed on"
            raise EquivocationError(name, _STEP, reason)

    def _answer(self, digest: bytes, share: KeyShare) -> tuple[Envelope, bytes]:
        context, product = self._context, self._product.values
        key = context.key
        opened: Sequence[mpz]
        if is_lone(key):
            opened, proof = open_alone(key, share, product, binding=digest, ranges=self._ranges)
        else:
            partial = partial_decryption(key, share, product, self._spread)
            proof = prove(key, share, product, partial, binding=digest, random=self._random)
            opened = partial.values
        values = join_residues(opened, key.residue_bytes)
        answer = PartialOpening(
            digest, hashlib.sha256(values).digest(), context.count, proof.challenge, proof.response
        )
        return context.seal(self._identity, answer), values

    def _require(self, envelope: Envelope) -> KeyShare:
        if self._share is None:
            # Who passes messages on decides when: it is no mistake of our caller.
            name, reason = self._context.coordinator.name, f"came too late, in state {self.state}"
            raise UnexpectedMessageError(name, envelope.step, reason)
        return self._share
