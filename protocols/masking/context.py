"""What every role of one masking round knows from the agreement, and how it opens messages."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from protocols.encoding import word_bits_for
from protocols.errors import MisuseError, UnknownPartyError
from protocols.identity import Envelope, Identity, VerifyKey
from protocols.masking.messages import STEP_OF
from protocols.prg import word_type
from protocols.signed import open_signed
from protocols.wire import encode

M = TypeVar("M")

LABEL_ROSTER: Final = b"securefed roster v1"
LABEL_SHARERS: Final = b"securefed sharers v1"
LABEL_SURVIVORS: Final = b"securefed survivors v1"


@dataclass(frozen=True, slots=True)
class RoundContext:
    """The public facts of one round; all but ``round`` come from the signed agreement.

    Attributes:
        agreement: digest of the agreement, 32 bytes.
        round: round number, from 1, never used twice under one agreement.
        coordinator: the coordinator's key.
        parties: every party's key; the position is the party's number.
        threshold: shares that open a secret (t).
        quorum: confirmations needed before a party unmasks (2 quorum > n + colluders).
        min_cohort: fewest survivors whose sum may be revealed.
        max_dropouts: parties that may be missing from the roster or fall out later.
        degree: neighbours a party draws; ``None`` for the complete graph.
        modulus_bits: the sum lives in Z_{2^modulus_bits}.
        count: values in the summed vector.
        max_message_bytes: longest message that is read.
    """

    agreement: bytes
    round: int
    coordinator: VerifyKey
    parties: tuple[VerifyKey, ...] = field(repr=False)
    threshold: int
    quorum: int
    min_cohort: int
    max_dropouts: int
    degree: int | None
    modulus_bits: int
    count: int
    max_message_bytes: int

    def __post_init__(self) -> None:
        """Raises: MisuseError, for values that no validated agreement yields."""
        if self.round < 1 or self.count < 1 or self.threshold < 1:
            raise MisuseError("round, count and threshold are at least 1")
        if not self.threshold < len(self.parties) or self.quorum > len(self.parties):
            raise MisuseError("threshold < parties and quorum <= parties must hold")

    @property
    def min_roster(self) -> int:
        """Fewest parties with which a round may begin or go on."""
        return max(
            self.min_cohort,
            self.quorum,
            self.threshold + 1,
            len(self.parties) - self.max_dropouts,
        )

    @property
    def min_survivors(self) -> int:
        """Fewest survivors that an honest party confirms."""
        return max(self.min_cohort, self.quorum, self.threshold + 1)

    @property
    def word(self) -> np.dtype[np.unsignedinteger[Any]]:
        """Word type that holds one value of the ring."""
        return word_type(word_bits_for(self.modulus_bits))

    def party(self, name: str, step: str) -> int:
        """Return the number of the party called ``name``.

        Raises:
            UnknownPartyError: the agreement names no such party.
        """
        for number, key in enumerate(self.parties):
            if key.name == name:
                return number
        raise UnknownPartyError(name, step, "not a party of this agreement")

    def seal(self, identity: Identity, message: M) -> Envelope:
        """Sign one message of this round as ``identity``."""
        return identity.seal(
            agreement=self.agreement,
            round_=self.round,
            step=STEP_OF[type(message)],  # type: ignore[index]  # M is one of the step messages
            payload=encode(message),  # type: ignore[arg-type]  # and so a msgspec Struct
        )

    def open(self, envelope: Envelope, kind: type[M], signer: VerifyKey) -> M:
        """Check every binding of ``envelope``, then its signature, and only then parse it.

        Raises:
            WireError: another protocol version, or a payload that is not a ``kind``.
            AgreementMismatchError: another agreement.
            ReplayError: another round.
            UnexpectedMessageError: another step than the one of ``kind``.
            SignatureError: not signed by ``signer``.
        """
        return open_signed(
            envelope,
            kind,
            step=STEP_OF[kind],  # type: ignore[index]  # callers pass step messages only
            signer=signer,
            agreement=self.agreement,
            round_=self.round,
            max_bytes=self.max_message_bytes,
        )

    def open_from_party(self, envelope: Envelope, kind: type[M]) -> tuple[int, M]:
        """Open an envelope from any party of the agreement; return its number and the message.

        Raises:
            UnknownPartyError: the sender is not in the agreement; else as :meth:`open`.
        """
        sender = self.party(envelope.sender, envelope.step)
        return sender, self.open(envelope, kind, self.parties[sender])

    def digest(self, label: bytes, *parts: bytes) -> bytes:
        """SHA-256 over a label, the agreement, the round and length-prefixed parts."""
        state = hashlib.sha256()
        for part in (label, self.agreement, struct.pack(">Q", self.round), *parts):
            state.update(struct.pack(">Q", len(part)))
            state.update(part)
        return state.digest()

    def roster_digest(self, advertisements: Sequence[Envelope]) -> bytes:
        """Digest of the whole roster: who advertised which keys, in order of party number."""
        return self.digest(LABEL_ROSTER, *(_identify(one) for one in advertisements))

    def sharers_digest(self, roster: bytes, sharers: Sequence[int]) -> bytes:
        """Digest of the set of parties that dealt shares."""
        return self.digest(LABEL_SHARERS, roster, *(struct.pack(">I", u) for u in sharers))

    def survivors_digest(
        self, sharers: bytes, submissions: Sequence[Envelope], dropouts: Sequence[int]
    ) -> bytes:
        """Digest of the survivor set with every submission in it."""
        gone = b"".join(struct.pack(">I", u) for u in dropouts)
        return self.digest(LABEL_SURVIVORS, sharers, gone, *(_identify(one) for one in submissions))


def _identify(envelope: Envelope) -> bytes:
    # The signature is left out: Ed25519 signatures are not unique, the signed bytes are.
    return envelope.sender.encode() + b"\x00" + envelope.payload
