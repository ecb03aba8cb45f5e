"""The product of signed ciphertext vectors, made by every role for itself, one vector at a time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from protocols.errors import (
    DuplicateError,
    EquivocationError,
    MisuseError,
    ModelMismatchError,
    PeerError,
    SubmissionError,
)
from protocols.identity import Envelope
from protocols.paillier.integers import mpz
from protocols.paillier.messages import CiphertextSubmission
from protocols.paillier.threshold import are_units
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import split_residues

CheckKnowledge: TypeAlias = Callable[[str, CiphertextSubmission, Sequence[mpz]], None]
"""Checks that a sender knows what it encrypted: its name, its header, its ciphertexts.

Raises a PeerError that names it. Without this check a party could submit another one's ciphertext
changed, and a product would tell what the sum of honest parties must not."""

_STEP = "encrypt"


@dataclass(frozen=True, slots=True)
class Examined:
    """One party's vector that passed every check, and is in no product yet.

    Attributes:
        number: of the party.
        envelope: its signed header.
        header: what the header says.
        ciphertexts: the vector.
    """

    number: int
    envelope: Envelope
    header: CiphertextSubmission
    ciphertexts: Sequence[mpz] = field(repr=False)


class SubmittedProduct:
    """Vectors that were checked, and their product so far; memory does not grow with parties."""

    def __init__(
        self, context: OpeningContext, check_knowledge: CheckKnowledge, *, relay: str | None = None
    ) -> None:
        """Start with no vector in it.

        Args:
            context: the public facts of the opening.
            check_knowledge: checks each vector's proof of knowledge.
            relay: who passes vectors on, where their senders do not bring them themselves. It is
                named for what a sender did not sign, which an honest relay would have refused.
        """
        self._context, self._check, self._relay = context, check_knowledge, relay
        self._headers: dict[int, tuple[Envelope, CiphertextSubmission]] = {}
        self._values = [mpz(1)] * context.count

    @property
    def submitters(self) -> tuple[int, ...]:
        """Whose vectors are in it, ascending."""
        return tuple(sorted(self._headers))

    @property
    def vectors(self) -> dict[int, bytes]:
        """Digest of each vector in it, by party number, ascending."""
        return {number: self._headers[number][1].vector for number in self.submitters}

    @property
    def values(self) -> Sequence[mpz]:
        """The product."""
        return self._values

    def receive(self, envelope: Envelope, vector: bytes | memoryview) -> int:
        """Check one party's vector and multiply it in; return the party's number.

        Raises:
            PeerError: as :meth:`examine`. Nothing was multiplied.
        """
        return self.multiply(self.examine(envelope, vector))

    def examine(self, envelope: Envelope, vector: bytes | memoryview) -> Examined:
        """Check one party's vector, all of it, and change nothing.

        Raises:
            DuplicateError: this party's vector is in it already; the relay is named.
            EquivocationError: this party signed another vector before.
            SubmissionError: another key, length or digest than agreed or signed, or a value that
                is no ciphertext. Of bytes that were not signed the relay is named.
            ModelMismatchError: made on another model than this round's, or than the others'.
            PeerError: no proof of knowledge, or any other refusal.
        """
        context, name = self._context, envelope.sender
        try:
            number, header = context.open_submission(envelope)
        except PeerError as error:
            raise self._passed_on(type(error), name, error.reason) from error
        if number in self._headers:
            if self._headers[number][0].payload == envelope.payload:
                raise self._passed_on(DuplicateError, name, "has submitted already")
            raise EquivocationError(name, _STEP, "signed two different vectors for this round")
        self._check_header(header, name)
        ciphertexts = self._read(header, vector, name)
        self._check(name, header, ciphertexts)
        return Examined(number, envelope, header, ciphertexts)

    def multiply(self, vector: Examined) -> int:
        """Multiply a vector in that was examined here; return the party's number.

        Raises:
            MisuseError: this party's vector is in it already.
        """
        if vector.number in self._headers:
            raise MisuseError(f"the vector of party {vector.number} is in the product already")
        modulus = self._context.key.cipher_modulus
        self._values = [
            one * other % modulus
            for one, other in zip(self._values, vector.ciphertexts, strict=True)
        ]
        self._headers[vector.number] = (vector.envelope, vector.header)
        return vector.number

    def digests(self) -> tuple[bytes, bytes]:
        """Digest of the submissions, and of the product together with it."""
        ordered = [self._headers[number][0] for number in self.submitters]
        submissions = self._context.submissions_digest(ordered)
        return submissions, self._context.product_digest(submissions, self._values)

    def _check_header(self, header: CiphertextSubmission, name: str) -> None:
        context = self._context
        if not hmac.compare_digest(header.key, context.key.digest()):
            raise SubmissionError(name, _STEP, "is encrypted under another key")
        if header.count != context.count:
            reason = f"{header.count} ciphertexts, not the agreed {context.count}"
            raise SubmissionError(name, _STEP, reason)
        # Only where the round's model is known can no first sender speak for the others.
        _, first = next(iter(self._headers.values()), (None, header))
        if header.model != (context.model or first.model):
            raise ModelMismatchError(name, _STEP, "trained on another model than the others")

    def _read(
        self, header: CiphertextSubmission, vector: bytes | memoryview, name: str
    ) -> list[mpz]:
        key = self._context.key
        size = self._context.count * key.ciphertext_bytes
        if memoryview(vector).nbytes != size:
            reason = f"{memoryview(vector).nbytes} bytes of ciphertexts, not {size}"
            raise self._passed_on(SubmissionError, name, reason)
        if not hmac.compare_digest(hashlib.sha256(vector).digest(), header.vector):
            reason = "the vector is not the one that was signed"
            raise self._passed_on(SubmissionError, name, reason)
        ciphertexts = split_residues(vector, self._context.count, key.ciphertext_bytes)
        if ciphertexts is None or not are_units(ciphertexts, key.cipher_modulus, key.n):
            raise SubmissionError(name, _STEP, "a value is not in the group of ciphertexts")
        return ciphertexts

    def _passed_on(self, kind: type[PeerError], name: str, reason: str) -> PeerError:
        """Name whoever brought what ``name`` cannot be shown to have signed."""
        if self._relay is None:
            return kind(name, _STEP, reason)
        return kind(self._relay, _STEP, f"passed on as if {name} had signed it so: {reason}")
