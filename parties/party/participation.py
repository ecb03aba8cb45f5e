"""One party in one round: its roles, the training beside them, and what was promised.

Every message is put on record before it is handed out, so that a party that is killed and started
again can never be brought to say a second, different thing in the same round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from parties.party.contribution import TellFailure, contribution
from parties.party.ports import PartyCipher, Promises, RoundCipher
from parties.party.trainer import Trainer
from protocols.agreement import Agreement, Task
from protocols.errors import MisuseError, PeerError, UnexpectedMessageError
from protocols.identity import Envelope, Identity
from protocols.intent import Terms, statement
from protocols.masking.party import MaskingParty
from protocols.prg import RandomBytes
from protocols.rounds import round_context
from protocols.wire import Packet, encode

COMMIT_KEY: Final = "commit"
"""Where the journal holds our last commit."""
UNMASKED_KEY: Final = "unmasked"
"""Where the journal holds the number of the last round whose sum we helped to open."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A round that this party admitted, with the global model that it starts from.

    Attributes:
        round: its number.
        task: of the agreement.
        round_in_task: its number within the task.
        model: the global model.
        digest: of the model, 32 bytes.
        intent: digest of the intent that we keep in our copy of the ledger, 32 bytes.
        terms: under which our vector is made; ``None`` without noise.
    """

    round: int
    task: Task
    round_in_task: int
    model: bytes
    digest: bytes
    intent: bytes
    terms: Terms | None


class Participation:
    """Runs :class:`MaskingParty` and makes each answer durable before returning it as bytes."""

    def __init__(
        self,
        agreement: Agreement,
        digest: bytes,
        opening: Opening,
        identity: Identity,
        promises: Promises,
        random: RandomBytes,
        cipher: PartyCipher | None = None,
    ) -> None:
        """Args: agreement in force and its digest; the admitted round; our key; the journal."""
        self.opening = opening
        self._agreement, self._promises, self._random = agreement, promises, random
        context = round_context(
            agreement,
            digest,
            opening.round,
            opening.task,
            opening.round_in_task,
            opening.intent,
        )
        self.role = MaskingParty(context, identity, random)
        self._masked = context.masked
        self._cipher: RoundCipher | None = None
        if cipher is not None:
            self._cipher = cipher.begin(context, opening.task, opening.digest)

    def begin(self, invited: Sequence[int]) -> bytes:
        """Step 1, see :meth:`MaskingParty.advertise`; empty where nothing is masked.

        Args:
            invited: who is asked to take part, by number, ascending.
        """
        if self._masked:
            return self._say(self.role.advertise())
        self.role.skip_masks(invited)
        return b""

    def leave(self, reason: str) -> None:
        """Leave the round for good and forget its secrets."""
        self.role.withdraw(reason)
        if self._cipher is not None:
            self._cipher.withdraw(reason)

    def answer(self, envelope: Envelope) -> bytes:
        """Answer a roster, a survivor set, confirmations or the request to open a sum.

        Raises:
            MisuseError: another step.
            PeerError: a refusal, see :class:`MaskingParty`.
            JournalError: the answer could not be made durable; nothing was said.
        """
        match envelope.step:
            case "roster":
                return self._say(self.role.receive_roster(envelope))
            case "survivors":
                return self._say(self.role.receive_survivors(envelope))
            case "confirmations":
                unmask = self.role.receive_confirmations(envelope)
                # The ledger must show that quorum, whatever becomes of the round.
                self._promises.put(UNMASKED_KEY, b"%d" % envelope.round)
                return self._say(unmask)
            case "open-product":
                return self._open_product(envelope)
            case _:
                raise MisuseError(f"{envelope.step} is not answered at once")

    def receive_vector(self, packet: Packet) -> None:
        """Take another party's ciphertexts, which we may be asked to open a sum with.

        Raises:
            UnexpectedMessageError: nothing is encrypted in this round.
            PeerError: a refusal; the vector is left out.
        """
        self._require_cipher(packet.envelope).receive(packet.envelope, packet.attachment)

    def _open_product(self, envelope: Envelope) -> bytes:
        cipher, confirmed = self._require_cipher(envelope), self.role.confirmed
        if confirmed is None:
            raise UnexpectedMessageError(
                envelope.sender, envelope.step, "asks to open a sum that we have not confirmed"
            )
        try:
            answer, values = cipher.open(envelope, dict(confirmed))
        except PeerError as error:
            if cipher.withdrawn:
                self.role.withdraw(error.reason)
            raise
        # One product in this round and no other, also after a restart; and it shows in the ledger.
        self._promises.promise(envelope.round, envelope.step, cipher.promise)
        self._promises.put(UNMASKED_KEY, b"%d" % envelope.round)
        return self._say(answer, values)

    def _require_cipher(self, envelope: Envelope) -> RoundCipher:
        if self._cipher is None:
            raise UnexpectedMessageError(
                envelope.sender, envelope.step, "nothing is encrypted under this agreement"
            )
        return self._cipher

    def submit(self, trainer: Trainer, failed: TellFailure) -> tuple[bytes, ...]:
        """Step 3: compute, encode, hide and sign an update. CPU-bound: call it in a thread.

        Returns the packets to send, in order: where vectors are encrypted, ciphertexts come first.

        Args:
            trainer: computes from our data.
            failed: told why people of ours counted as zero, for our own operator alone.

        Raises:
            SecureFedError: the update cannot be made or is out of its bounds; nothing was said.
        """
        opening = self.opening
        envelope, vector = self.role.submit(
            # Not by a name of ours, which would hold the words while the message is put together.
            contribution(
                self._agreement,
                opening.task,
                trainer,
                model=opening.model,
                round_in_task=opening.round_in_task,
                random=self._random,
                failed=failed,
            ),
            model=opening.digest,
            statement=statement(opening.intent, opening.terms),
            encrypt=None if self._cipher is None else self._cipher.encrypt,
        )
        # The next round waits until the ledger holds this commit, whether it arrives or not.
        self._promises.put(COMMIT_KEY, encode(envelope))
        if self._cipher is None:
            return (self._say(envelope, vector),)
        return (self._say(*self._cipher.submission), self._say(envelope))

    def _say(self, envelope: Envelope, attachment: bytes = b"") -> bytes:
        digest = hashlib.sha256(envelope.payload).digest()
        self._promises.promise(envelope.round, envelope.step, digest)
        return encode(Packet(envelope, memoryview(attachment)))
