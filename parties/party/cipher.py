"""Encrypting our vectors and opening sums, over all rounds. Needs the extra ``paillier``."""

from __future__ import annotations

from dataclasses import dataclass, field

from parties.obfuscation import ObfuscatorSupply
from parties.paillier_workers import PaillierWorkers
from protocols.agreement import SignedAgreement, Task
from protocols.errors import MisuseError, UnexpectedMessageError
from protocols.identity import Envelope, Identity
from protocols.masking.context import RoundContext
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from protocols.paillier.threshold_knowledge import plaintext_knowledge
from protocols.paillier.threshold_party import DecryptingParty
from protocols.paillier.vectors import encrypt_vector, opening_context
from protocols.prg import RandomBytes, Words


@dataclass(frozen=True, slots=True)
class CipherTools:
    """What one node encrypts and opens with.

    Attributes:
        signed: the agreement in force.
        identity: ours.
        record: of the agreement's key.
        key: in that record, checked.
        workers: where powers are computed.
        random: cryptographically secure.
        share: our share of the key; ``None`` where somebody else opens.
    """

    signed: SignedAgreement
    identity: Identity
    record: bytes
    key: ThresholdKey
    workers: PaillierWorkers
    random: RandomBytes
    share: KeyShare | None = field(default=None, repr=False)

    def trustee(self, context: OpeningContext) -> DecryptingParty:
        """Return our role as a trustee in one opening.

        Raises:
            MisuseError: we hold no share.
        """
        if self.share is None:
            raise MisuseError(f"{self.identity.name} holds no share of the key")
        return DecryptingParty(
            context,
            self.identity,
            self.share,
            self.random,
            check_knowledge=plaintext_knowledge(context, ranges=self.workers.ranges),
            spread=self.workers.spread,
            ranges=self.workers.ranges,
        )


class RoundCiphertexts:
    """One round; implements :class:`parties.party.ports.RoundCipher`."""

    def __init__(
        self, tools: CipherTools, supply: ObfuscatorSupply, context: OpeningContext, ring_bits: int
    ) -> None:
        """Args: with what; where obfuscators come from; the opening; bits of a word."""
        self._tools, self._supply, self._context = tools, supply, context
        self._ring_bits = ring_bits
        self._opener = None if tools.share is None else tools.trustee(context)
        self._own: tuple[Envelope, bytes] | None = None
        supply.request(context.count)

    def encrypt(self, words: Words) -> bytes:
        """Return our vector's ciphertexts; their signed header is :attr:`submission`."""
        self._own = encrypt_vector(
            self._context,
            self._tools.identity,
            words,
            self._ring_bits,
            take=self._supply.take,
            random=self._tools.random,
            ranges=self._tools.workers.ranges,
        )
        return self._own[1]

    @property
    def submission(self) -> tuple[Envelope, bytes]:
        """Our ciphertexts with their signed header.

        Raises:
            MisuseError: nothing is encrypted yet.
        """
        if self._own is None:
            raise MisuseError("nothing is encrypted yet")
        return self._own

    def receive(self, envelope: Envelope, vector: memoryview) -> None:
        """Multiply another party's vector in, as the coordinator passed it on.

        Raises:
            UnexpectedMessageError: somebody else opens.
            PeerError: see :meth:`DecryptingParty.receive_vector`.
        """
        self._require_opener(envelope).receive_vector(envelope, vector)

    def open(self, envelope: Envelope, confirmed: dict[int, bytes]) -> tuple[Envelope, bytes]:
        """Decrypt our part of the product of the vectors that we confirmed, and of no other.

        Raises:
            UnexpectedMessageError: somebody else opens.
            PeerError: see :meth:`DecryptingParty.receive_request`.
        """
        opener, own = self._require_opener(envelope), self._own
        if own is not None:
            # Ours was never passed on to us. It goes in now, in the thread that does all the rest.
            opener.receive_vector(*own)
            self._own = None
        return opener.receive_request(envelope, confirmed=confirmed)

    @property
    def promise(self) -> bytes:
        """Digest of the request that was answered.

        Raises:
            MisuseError: none was.
        """
        if self._opener is None or self._opener.promise is None:
            raise MisuseError("no request was answered")
        return self._opener.promise

    @property
    def withdrawn(self) -> bool:
        """Whether what the coordinator asked for made us leave the round."""
        return self._opener is not None and self._opener.state == "Withdrawn"

    def withdraw(self, reason: str) -> None:
        """Open nothing in this round any more."""
        if self._opener is not None:
            self._opener.withdraw(reason)

    def _require_opener(self, envelope: Envelope) -> DecryptingParty:
        if self._opener is None:
            name, reason = self._context.coordinator.name, "sums are opened by the key holder"
            raise UnexpectedMessageError(name, envelope.step, reason)
        return self._opener


class PartyCiphers:
    """Makes the ciphers of each round; implements :class:`parties.party.ports.PartyCipher`."""

    def __init__(self, tools: CipherTools, supply: ObfuscatorSupply) -> None:
        """Args: with what; where obfuscators come from."""
        self._tools, self._supply = tools, supply
        self.record = tools.record

    def begin(self, context: RoundContext, task: Task, model: bytes) -> RoundCiphertexts:
        """Begin a round whose model has this digest; obfuscators for it begin to be made."""
        tools = self._tools
        facts = opening_context(tools.signed.agreement, context, task, tools.key, model)
        return RoundCiphertexts(tools, self._supply, facts, context.modulus_bits)

    def close(self) -> None:
        """Let the threads end."""
        self._supply.close()
        self._tools.workers.close()
