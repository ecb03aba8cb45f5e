"""One party in one round: the masking role, the training beside it, and what was promised.

Every message is put on record before it is handed out, so that a party that is killed and started
again can never be brought to say a second, different thing in the same round.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Protocol

from parties.party.contribution import TellFailure, contribution
from parties.party.trainer import Trainer
from protocols.agreement import Agreement, Task
from protocols.errors import MisuseError
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


class Promises(Protocol):
    """The part of the journal that a participation needs."""

    def promise(self, round: int, step: str, digest: bytes) -> None:  # noqa: A002
        """Record durably what is about to be said; another digest for the same step raises."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Store a value durably."""
        ...


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

    def advertise(self) -> bytes:
        """Step 1; see :meth:`MaskingParty.advertise`."""
        return self._say(self.role.advertise())

    def answer(self, envelope: Envelope) -> bytes:
        """Answer a roster, a survivor set or confirmations.

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
            case _:
                raise MisuseError(f"{envelope.step} is not answered at once")

    def submit(self, trainer: Trainer, failed: TellFailure) -> bytes:
        """Step 3: compute, encode, mask and sign an update. CPU-bound: call it in a thread.

        Args:
            trainer: computes from our data.
            failed: told why people of ours counted as zero, for our own operator alone.

        Raises:
            SecureFedError: the update cannot be made or is out of its bounds; nothing was said.
        """
        opening = self.opening
        words = contribution(
            self._agreement,
            opening.task,
            trainer,
            model=opening.model,
            round_in_task=opening.round_in_task,
            random=self._random,
            failed=failed,
        )
        envelope, vector = self.role.submit(
            words,
            model=opening.digest,
            statement=statement(opening.intent, opening.terms),
        )
        # The next round waits until the ledger holds this commit, whether it arrives or not.
        self._promises.put(COMMIT_KEY, encode(envelope))
        return self._say(envelope, vector)

    def _say(self, envelope: Envelope, attachment: bytes = b"") -> bytes:
        digest = hashlib.sha256(envelope.payload).digest()
        self._promises.promise(envelope.round, envelope.step, digest)
        return encode(Packet(envelope, memoryview(attachment)))
