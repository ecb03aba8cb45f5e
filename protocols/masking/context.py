"""What every role of one masking round knows from the agreement, and how it opens messages."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from protocols.errors import MisuseError, UnknownPartyError
from protocols.identity import DIGEST_BYTES, MAX_ROUND, Envelope, Identity, VerifyKey
from protocols.masking.messages import MAX_PARTIES, STEP_OF
from protocols.packing import check_bits, word_bits_for
from protocols.prg import word_type
from protocols.signed import open_signed
from protocols.wire import encode

M = TypeVar("M")

LABEL_ROSTER: Final = b"securefed roster v1"
LABEL_SHARERS: Final = b"securefed sharers v1"
LABEL_SURVIVORS: Final = b"securefed survivors v1"


@dataclass(frozen=True, slots=True)
class RoundContext:
    """The public facts of one round; all but ``round`` and ``purpose`` come from the agreement.

    Every digest of the round binds all of them, so that parties who differ in a single one never
    confirm one survivor set.

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
        purpose: canonical bytes of what is computed, such as the task and its round. A coordinator
            that has one party compute something else than the others gets no sum.
        masked: whether vectors are masked; if not, the five steps begin with the third.
        encrypted_bytes: length of a vector that is encrypted as well; 0 where it is not. Like
            ``masked`` it follows from the agreement, whose digest every digest of the round binds.
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
    purpose: bytes = b""
    masked: bool = True
    encrypted_bytes: int = 0
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)
    _bound: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises: MisuseError, for values that no validated agreement yields."""
        n = len(self.parties)
        numeric = (
            self.round, n, self.threshold, self.quorum, self.min_cohort, self.max_dropouts,
            self.degree or 0, self.modulus_bits, self.count,
        )  # fmt: skip
        if len(self.agreement) != DIGEST_BYTES or n > MAX_PARTIES:
            raise MisuseError(f"a digest has {DIGEST_BYTES} bytes, a round {MAX_PARTIES} parties")
        if min(numeric) < 0 or max(numeric) > MAX_ROUND:
            raise MisuseError(f"the numbers of a round lie between 0 and {MAX_ROUND}")
        if self.round < 1 or self.count < 1 or self.threshold < 1:
            raise MisuseError("round, count and threshold are at least 1")
        if not self.threshold < n or not n < 2 * self.quorum <= 2 * n:
            raise MisuseError("threshold < parties and parties / 2 < quorum <= parties must hold")
        if self.degree is not None and not self.threshold <= self.degree:
            raise MisuseError("fewer neighbours than the threshold could never open a secret")
        if not self.masked and not self.encrypted_bytes:
            raise MisuseError("a vector that is neither masked nor encrypted hides nothing")
        check_bits(self.modulus_bits)
        numbers = {key.name: number for number, key in enumerate(self.parties)}
        if len(numbers) < n or self.coordinator.name in numbers:
            raise MisuseError("two members of the round have one name")
        facts = (self.agreement, struct.pack(f">{len(numeric)}Q", *numeric), self.purpose)
        object.__setattr__(self, "_numbers", numbers)
        object.__setattr__(self, "_bound", b"".join(map(_prefixed, facts)))

    @property
    def min_roster(self) -> int:
        """Fewest parties with which a round may begin or go on."""
        return max(self.min_survivors, len(self.parties) - self.max_dropouts)

    @property
    def min_survivors(self) -> int:
        """Fewest survivors that an honest party confirms."""
        return max(self.min_cohort, self.quorum, self.threshold + 1)

    @property
    def max_colluders(self) -> int:
        """Most colluders c with 2 quorum > n + c: among more parties, one is honest."""
        return 2 * self.quorum - len(self.parties) - 1

    @property
    def word(self) -> np.dtype[np.unsignedinteger[Any]]:
        """Word type that holds one value of the ring."""
        return word_type(word_bits_for(self.modulus_bits))

    def party(self, name: str, step: str) -> int:
        """Return the number of the party called ``name``.

        Raises:
            UnknownPartyError: the agreement names no such party.
        """
        number = self._numbers.get(name)
        if number is None:
            raise UnknownPartyError(name, step, "not a party of this agreement")
        return number

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
        step = STEP_OF[kind]  # type: ignore[index]  # callers pass step messages only
        return open_signed(
            envelope,
            kind,
            step=step,
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
        """SHA-256 over a label, the facts of the round and parts, each with its length."""
        return hashlib.sha256(
            b"".join((_prefixed(label), self._bound, *map(_prefixed, parts)))
        ).digest()

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


def _prefixed(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part


def _identify(envelope: Envelope) -> bytes:
    # The signature is left out: Ed25519 signatures are not unique, the signed bytes are.
    return envelope.sender.encode() + b"\x00" + envelope.payload
