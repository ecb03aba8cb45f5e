"""The coordinator's side of one opening: it asks, checks every answer, and combines any t.

Sans-IO. An error names the party at fault and changes nothing: the opening goes on without that
message. The combiner needs no trust: a plaintext that comes out is the right one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, islice
from typing import Final

from protocols.errors import (
    BelowThresholdError,
    DuplicateError,
    MisuseError,
    OutOfOrderError,
    ReplayError,
    ShareError,
)
from protocols.identity import Envelope, Identity
from protocols.paillier.integers import mpz
from protocols.paillier.lone_trustee import check_alone, is_lone
from protocols.paillier.messages import STEP_OF, OpeningRequest, PartialOpening
from protocols.paillier.multi_exponentiation import ONE_THREAD, Spread
from protocols.paillier.threshold import Partial, combine
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import split_residues
from protocols.paillier.threshold_product import CheckKnowledge, Examined, SubmittedProduct
from protocols.paillier.threshold_proofs import PartialProof, check_proof

MAX_SETS: Final = 64
"""Sets of t answers that are tried; each costs a lift of every ciphertext."""

_STEP: Final = STEP_OF[PartialOpening]


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened product.

    Attributes:
        values: the sum of the submitters' plaintexts, one integer in [0, n^s) per ciphertext.
        submitters: whose vectors are in the sum, by party number.
        trustees: whose partial decryptions opened it, by index.
    """

    values: list[mpz] = field(repr=False)
    submitters: tuple[int, ...]
    trustees: tuple[int, ...]


class DecryptionCombiner:
    """The coordinator in one opening."""

    def __init__(
        self,
        context: OpeningContext,
        identity: Identity,
        *,
        check_knowledge: CheckKnowledge,
        spread: Spread = ONE_THREAD,
    ) -> None:
        """Begin.

        Args:
            context: the public facts of the opening.
            identity: the coordinator's signing key.
            check_knowledge: checks each vector's proof of knowledge.
            spread: where powers are computed.

        Raises:
            MisuseError: ``identity`` is not the coordinator of the agreement.
        """
        if identity.public.raw != context.coordinator.raw:
            raise MisuseError("the coordinator's key is not the one in the agreement")
        self._context, self._identity, self._spread = context, identity, spread
        self._product = SubmittedProduct(context, check_knowledge)
        self._request: bytes | None = None
        self._partials: dict[int, Partial] = {}
        self._done = ""

    def __repr__(self) -> str:
        return f"DecryptionCombiner(round {self._context.round}, {self.state})"

    @property
    def state(self) -> str:
        """``Collecting``, ``Opening`` or ``Closed``, for logs."""
        if self._done:
            return "Closed"
        return "Collecting" if self._request is None else "Opening"

    @property
    def heard(self) -> frozenset[int]:
        """Trustees, by index, whose partial decryption was taken."""
        return frozenset(self._partials)

    @property
    def can_finish(self) -> bool:
        """Whether enough partial decryptions are there."""
        return self.state == "Opening" and len(self._partials) >= self._context.key.threshold

    def abort(self, reason: str) -> None:
        """End the opening and forget what was received."""
        self._partials, self._done = {}, reason or "aborted"

    def receive_vector(self, envelope: Envelope, vector: bytes | memoryview) -> int:
        """Check one party's vector and multiply it in; return the party's number.

        Raises:
            OutOfOrderError: the vectors are closed.
            PeerError: as :meth:`~protocols.paillier.threshold_product.SubmittedProduct.receive`.
        """
        self._require("Collecting")
        return self._product.receive(envelope, vector)

    def examine_vector(self, envelope: Envelope, vector: bytes | memoryview) -> Examined:
        """Check one party's vector and change nothing; :meth:`take_vector` multiplies it in.

        For a caller with checks of its own, which all come before the first effect.

        Raises:
            OutOfOrderError: the vectors are closed.
            PeerError: as :meth:`~protocols.paillier.threshold_product.SubmittedProduct.examine`.
        """
        self._require("Collecting")
        return self._product.examine(envelope, vector)

    def take_vector(self, vector: Examined) -> int:
        """Multiply an examined vector in; return the party's number.

        Raises:
            OutOfOrderError: the vectors are closed.
        """
        self._require("Collecting")
        return self._product.multiply(vector)

    def close_vectors(self) -> Envelope:
        """Sign the request for the product of all vectors; for every trustee.

        Raises:
            BelowThresholdError: fewer vectors than the minimum cohort; the opening is over.
        """
        self._require("Collecting")
        submitters, context = self._product.submitters, self._context
        if len(submitters) < context.min_cohort:
            error = BelowThresholdError("encrypt", have=len(submitters), need=context.min_cohort)
            self.abort(str(error))
            raise error
        request = OpeningRequest(submitters, *self._product.digests())
        self._request = context.request_digest(request)
        return context.seal(self._identity, request)

    def receive_partial(self, envelope: Envelope, values: bytes | memoryview) -> int:
        """Take one trustee's partial decryption, its proof checked; return its index.

        Args:
            envelope: the signed :class:`PartialOpening`.
            values: the partial decryptions.

        Raises:
            ShareError: a wrong partial decryption or proof; the trustee is named.
            ReplayError: it answers another request, or belongs to another round.
            DuplicateError: this trustee answered already.
            PeerError: any other refusal. Nothing of it is used.
        """
        context, name = self._context, envelope.sender
        index, answer = context.open_partial(envelope)
        self._require("Opening")
        request = self._request or b""
        if index in self._partials:
            raise DuplicateError(name, _STEP, "has answered already")
        if not hmac.compare_digest(answer.request, request):
            raise ReplayError(name, _STEP, "answers another request than this round's")
        size = context.count * context.key.residue_bytes
        if answer.count != context.count or memoryview(values).nbytes != size:
            reason = f"{memoryview(values).nbytes} bytes of partial decryptions, not {size}"
            raise ShareError(name, _STEP, reason)
        if not hmac.compare_digest(hashlib.sha256(values).digest(), answer.values):
            raise ShareError(name, _STEP, "the partial decryptions are not those that it signed")
        residues = split_residues(values, context.count, context.key.residue_bytes)
        partial = Partial(index, residues or [])
        key, product = context.key, self._product.values
        proof = PartialProof(answer.challenge, answer.response)
        if is_lone(key):
            check_alone(key, product, partial.values, proof, binding=request, name=name)
        else:
            check_proof(key, product, partial, proof, binding=request, name=name)
        self._partials[index] = partial
        return index

    def finish(self) -> Opened:
        """Combine any t partial decryptions and return the sum.

        Under a dealt key the first t open it. Under one whose primes are not safe, a proof may pass
        by luck; other sets of t are tried then.

        Raises:
            BelowThresholdError: too few trustees answered; more may still come.
            ShareError: no set of t that was tried opens the sum; more may still come.
        """
        self._require("Opening")
        have, need = len(self._partials), self._context.key.threshold
        if have < need:
            raise BelowThresholdError(_STEP, have=have, need=need)
        partials = [self._partials[index] for index in sorted(self._partials)]
        if is_lone(self._context.key):
            self.abort("finished")
            return Opened(list(partials[0].values), self._product.submitters, (1,))
        for chosen in _sets(partials, need):
            try:
                values = combine(self._context.key, self._product.values, chosen, self._spread)
            except ShareError:
                continue
            used = tuple(sorted(partial.index for partial in chosen))
            self.abort("finished")
            return Opened(values, self._product.submitters, used)
        raise ShareError("unknown", _STEP, f"no {need} of {have} answers open the sum")

    def _require(self, state: str) -> None:
        if self.state != state:
            raise OutOfOrderError(f"a combiner in state {self.state} cannot do this")


def _sets(partials: Sequence[Partial], need: int) -> Iterator[Sequence[Partial]]:
    """Yield sets of ``need`` answers: the first ones, then others that miss each answer in turn.

    In the order of ``combinations`` alone one wrong answer of low index would be in all sets tried.
    """
    count = len(partials)
    turned = (
        [*partials[start:], *partials[:start]][:need]
        for start in range(0, count, max(count - need, 1))
    )
    return islice(chain(turned, combinations(partials, need)), MAX_SETS)
