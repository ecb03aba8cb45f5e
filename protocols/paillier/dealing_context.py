"""What every role of a dealing ceremony knows beforehand, and how it opens messages."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, TypeVar

from protocols.errors import MisuseError, UnexpectedMessageError, UnknownPartyError
from protocols.identity import DIGEST_BYTES, NO_ROUND, Envelope, Identity, VerifyKey
from protocols.paillier.dealing_messages import STEP_OF, CeremonyKey, Countersignature, Dealing
from protocols.paillier.integers import absorb
from protocols.paillier.key_checks import check_size
from protocols.paillier.messages import MAX_TRUSTEES
from protocols.paillier.threshold_key import MAX_DEGREE
from protocols.signed import open_signed
from protocols.wire import encode

M = TypeVar("M", CeremonyKey, Dealing, Countersignature)

SESSION_BYTES: Final = 32
MAX_MESSAGE_BYTES: Final = 2**20
_LABEL_CEREMONY: Final = b"securefed ceremony v1"
_LABEL_DEALING: Final = b"securefed dealing v1"


@dataclass(frozen=True, slots=True)
class CeremonyContext:
    """The public facts of one ceremony; every key, signature and digest of it binds them all.

    Attributes:
        agreement: digest of the agreement, 32 bytes.
        session: 32 bytes that no other ceremony has had; a second try takes others.
        dealer: who makes the key and forgets it. Never the coordinator, and no trustee, unless it
            is the only one: then it holds the key alone and has dealt it to itself.
        trustees: who get shares; index 1 is the first.
        threshold: shares that decrypt (t).
        bits: length of the modulus.
        degree: s of the ciphertexts.
    """

    agreement: bytes
    session: bytes
    dealer: VerifyKey
    trustees: tuple[VerifyKey, ...] = field(repr=False)
    threshold: int
    bits: int
    degree: int = 1

    def __post_init__(self) -> None:
        """Raises: MisuseError or InputError, for values that no validated agreement yields."""
        count = len(self.trustees)
        if len(self.agreement) != DIGEST_BYTES or len(self.session) != SESSION_BYTES:
            raise MisuseError(f"an agreement's digest and a session have {DIGEST_BYTES} bytes")
        if not 1 <= self.threshold <= count <= MAX_TRUSTEES or not 1 <= self.degree <= MAX_DEGREE:
            raise MisuseError(f"no key of degree {self.degree} for {self.threshold} of {count}")
        check_size(self.bits)
        names = {self.dealer.name, *(one.name for one in self.trustees)}
        raw = {self.dealer.raw, *(one.raw for one in self.trustees)}
        alone = count == len(names) == len(raw) == 1
        if not alone and min(len(names), len(raw)) <= count:
            raise MisuseError(
                "dealer and trustees are all different, by name and by key, or one and the same"
            )

    def digest(self) -> bytes:
        """Digest of all these facts, 32 bytes."""
        members = [
            part for one in (self.dealer, *self.trustees) for part in (one.name.encode(), one.raw)
        ]
        numbers = struct.pack(">4Q", len(self.trustees), self.threshold, self.bits, self.degree)
        return absorb(_LABEL_CEREMONY, self.agreement, self.session, numbers, *members).digest()

    def dealing_digest(self, dealing: Envelope) -> bytes:
        """Digest of a dealer's signed message: what trustees countersign."""
        # The signature is left out: Ed25519 signatures are not unique, the signed bytes are.
        return absorb(_LABEL_DEALING, self.digest(), dealing.payload).digest()

    def index(self, name: str, step: str) -> int:
        """Return the index of the trustee called ``name``, from 1.

        Raises:
            UnknownPartyError: there is none.
        """
        for index, trustee in enumerate(self.trustees, start=1):
            if trustee.name == name:
                return index
        raise UnknownPartyError(name, step, "not a trustee of this ceremony")

    def seal(
        self, identity: Identity, message: CeremonyKey | Dealing | Countersignature
    ) -> Envelope:
        """Sign a message of the ceremony, which belongs to no round."""
        return identity.seal(
            agreement=self.agreement,
            round_=NO_ROUND,
            step=STEP_OF[type(message)],
            payload=encode(message),
        )

    def open(self, envelope: Envelope, kind: type[M], signer: VerifyKey) -> M:
        """Check every binding of ``envelope``, its signature, and that it is of this ceremony.

        Raises:
            SignatureError: not signed by ``signer``.
            UnexpectedMessageError: another step, or another ceremony.
            PeerError: as :func:`protocols.signed.open_signed`.
        """
        step = STEP_OF[kind]
        message = open_signed(
            envelope,
            kind,
            step=step,
            signer=signer,
            agreement=self.agreement,
            round_=NO_ROUND,
            max_bytes=MAX_MESSAGE_BYTES,
        )
        if message.ceremony != self.digest():
            raise UnexpectedMessageError(signer.name, step, "belongs to another ceremony")
        return message

    def open_from_trustee(self, envelope: Envelope, kind: type[M]) -> tuple[int, M]:
        """Open an envelope from any trustee; return its index and the message.

        Raises:
            UnknownPartyError: the sender is no trustee; else as :meth:`open`.
        """
        index = self.index(envelope.sender, envelope.step)
        return index, self.open(envelope, kind, self.trustees[index - 1])
