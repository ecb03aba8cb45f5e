"""What every role knows when one product of ciphertexts is opened, and how it opens messages."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from protocols.errors import MisuseError, UnknownPartyError
from protocols.identity import DIGEST_BYTES, MAX_ROUND, Envelope, Identity, VerifyKey
from protocols.masking.messages import MAX_PARTIES
from protocols.paillier.integers import absorb, mpz
from protocols.paillier.messages import (
    MAX_CIPHERTEXTS,
    STEP_OF,
    CiphertextSubmission,
    OpeningRequest,
    PartialOpening,
)
from protocols.paillier.threshold_key import ThresholdKey, join_residues
from protocols.signed import open_signed
from protocols.wire import encode

M = TypeVar("M", CiphertextSubmission, OpeningRequest, PartialOpening)

MIN_COHORT: Final = 2
_LABEL_OPENING: Final = b"securefed opening v1"
_LABEL_SUBMISSIONS: Final = b"securefed submissions v1"
_LABEL_PRODUCT: Final = b"securefed ciphertext product v1"
_LABEL_REQUEST: Final = b"securefed opening request v1"


@dataclass(frozen=True, slots=True)
class OpeningContext:
    """The public facts of one opening; every digest of it binds them all.

    Attributes:
        agreement: digest of the agreement, 32 bytes.
        round: round number, from 1, never used twice under one agreement.
        coordinator: the coordinator's key.
        parties: every party's key; the position is the party's number.
        trustees: every trustee's key; the first has index 1. A trustee may be a party.
        key: the threshold key.
        min_cohort: fewest vectors whose product may be opened, at least 2.
        count: ciphertexts of a vector.
        summands: vectors whose lanes never carry, see :class:`protocols.paillier.packing.Lanes`; at
            least as many as there are parties, or a sum could be wrong and nobody would notice.
        max_message_bytes: longest message that is read.
        purpose: canonical bytes of what is computed.
        model: digest of the global model that this round hands out, 32 bytes. Without it the first
            vector sets it, so that whoever is first could have all others refused.
    """

    agreement: bytes
    round: int
    coordinator: VerifyKey
    parties: tuple[VerifyKey, ...] = field(repr=False)
    trustees: tuple[VerifyKey, ...] = field(repr=False)
    key: ThresholdKey
    min_cohort: int
    count: int
    summands: int
    max_message_bytes: int
    purpose: bytes = b""
    model: bytes = b""
    _facts: bytes = field(init=False, repr=False, compare=False)
    _positions: tuple[dict[str, int], dict[str, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises: MisuseError, for values that no validated agreement yields."""
        key, parties = self.key, len(self.parties)
        if len(self.agreement) != DIGEST_BYTES or not 1 <= self.round <= MAX_ROUND:
            raise MisuseError(f"a digest has {DIGEST_BYTES} bytes, and rounds count from 1")
        if not MIN_COHORT <= self.min_cohort <= parties <= MAX_PARTIES:
            raise MisuseError(f"the minimum cohort is {MIN_COHORT} to all of {MAX_PARTIES} parties")
        if not 1 <= self.count <= MAX_CIPHERTEXTS:
            raise MisuseError(f"a vector has 1 to {MAX_CIPHERTEXTS} ciphertexts")
        if parties > self.summands:
            raise MisuseError(f"lanes for {self.summands} vectors do not hold those of {parties}")
        if key.trustees != len(self.trustees):
            raise MisuseError(f"the key has {key.trustees} trustees, not {len(self.trustees)}")
        if 2 * key.threshold <= key.trustees:
            raise MisuseError(
                f"{key.threshold} of {key.trustees} trustees could open one product while others "
                "open a second; the threshold is more than half"
            )
        if len(self.model) not in {0, DIGEST_BYTES}:
            raise MisuseError(f"the digest of a model has {DIGEST_BYTES} bytes")
        positions = tuple(
            {one.name: place for place, one in enumerate(group)}
            for group in (self.parties, self.trustees)
        )
        for group, places in zip((self.parties, self.trustees), positions, strict=True):
            # One key under two names would count twice in a cohort or a threshold.
            keys = {self.coordinator.raw, *(one.raw for one in group)}
            if self.coordinator.name in places or not len(places) == len(group) == len(keys) - 1:
                raise MisuseError(
                    "parties, trustees and the coordinator have names and keys of their own"
                )
        object.__setattr__(self, "_positions", positions)
        bounds = (self.round, self.min_cohort, self.count, self.summands, parties)
        numbers = struct.pack(">5Q", *bounds)
        facts = (self.agreement, numbers, key.digest(), self.purpose)
        object.__setattr__(self, "_facts", absorb(_LABEL_OPENING, *facts).digest())

    @property
    def max_colluders(self) -> int:
        """Most trustees c that may work with the coordinator: 2 t > n + c.

        With more, the honest ones could be split, each half opening another product.
        """
        return 2 * self.key.threshold - self.key.trustees - 1

    def seal(self, identity: Identity, message: M) -> Envelope:
        """Sign one message of this round."""
        return identity.seal(
            agreement=self.agreement,
            round_=self.round,
            step=STEP_OF[type(message)],
            payload=encode(message),
        )

    def open(self, envelope: Envelope, kind: type[M], signer: VerifyKey) -> M:
        """Check every binding of ``envelope``, then its signature, and only then parse it.

        Raises:
            SignatureError: not signed by ``signer``.
            PeerError: as :func:`protocols.signed.open_signed`.
        """
        step = STEP_OF[kind]
        return open_signed(
            envelope,
            kind,
            step=step,
            signer=signer,
            agreement=self.agreement,
            round_=self.round,
            max_bytes=self.max_message_bytes,
        )

    def open_submission(self, envelope: Envelope) -> tuple[int, CiphertextSubmission]:
        """Open a party's header; return its number. Raises a PeerError that names it."""
        number = _position(self._positions[0], envelope)
        return number, self.open(envelope, CiphertextSubmission, self.parties[number])

    def open_partial(self, envelope: Envelope) -> tuple[int, PartialOpening]:
        """Open a trustee's answer; return its index, from 1. Raises a PeerError that names it."""
        place = _position(self._positions[1], envelope)
        return place + 1, self.open(envelope, PartialOpening, self.trustees[place])

    def submissions_digest(self, submissions: Sequence[Envelope]) -> bytes:
        """Digest of who submitted what, in order of party number."""
        # The signature is left out: Ed25519 signatures are not unique, the signed bytes are.
        identified = (one.sender.encode() + b"\x00" + one.payload for one in submissions)
        return absorb(_LABEL_SUBMISSIONS, self._facts, *identified).digest()

    def product_digest(self, submissions: bytes, product: Sequence[mpz]) -> bytes:
        """Digest of a product and of the submissions that it is the product of."""
        joined = join_residues(product, self.key.ciphertext_bytes)
        return absorb(_LABEL_PRODUCT, self._facts, submissions, joined).digest()

    def request_digest(self, request: OpeningRequest) -> bytes:
        """Digest of a request: what a trustee promises, journals and binds its proof to."""
        return absorb(_LABEL_REQUEST, self._facts, encode(request)).digest()


def _position(places: Mapping[str, int], envelope: Envelope) -> int:
    place = places.get(envelope.sender)
    if place is None:
        raise UnknownPartyError(envelope.sender, envelope.step, "not a member of this agreement")
    return place
