"""One party in one round: the masking role, the training beside it, and what was promised.

Every message is put on record before it is handed out, so that a party that is killed and started
again can never be brought to say a second, different thing in the same round.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.agreement import Agreement, Task
from protocols.errors import InputError, MisuseError
from protocols.identity import Envelope, Identity
from protocols.masking.party import MaskingParty
from protocols.prg import RandomBytes
from protocols.rounds import round_context
from protocols.wire import Packet, encode


class Promises(Protocol):
    """The part of the journal that a participation needs."""

    def promise(self, round: int, step: str, digest: bytes) -> None:  # noqa: A002
        """Record durably what is about to be said; another digest for the same step raises."""
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """A round that this party admitted, with the global model that it starts from."""

    round: int
    task: Task
    round_in_task: int
    model: bytes
    digest: bytes


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
        context = round_context(agreement, digest, opening.round, opening.task)
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
                return self._say(self.role.receive_confirmations(envelope))
            case _:
                raise MisuseError(f"{envelope.step} is not answered at once")

    def submit(self, values: NDArray[np.float64]) -> bytes:
        """Step 3: encode, mask and sign an update. CPU-bound: call it off the event loop.

        Args:
            values: shape ``(task.dimension,)``, float64, model units.

        Raises:
            InputError: wrong shape, NaN, Inf, or out of the agreed bound; nothing was said.
        """
        task = self.opening.task
        if values.shape != (task.dimension,):
            raise InputError(
                f"task {task.name} computed an update of shape {values.shape}; the agreement "
                f"says ({task.dimension},)"
            )
        words = self._agreement.codec(task).encode(
            values, rounding=task.rounding, random=self._random
        )
        envelope, vector = self.role.submit(words, model=self.opening.digest)
        return self._say(envelope, vector)

    def _say(self, envelope: Envelope, attachment: bytes = b"") -> bytes:
        digest = hashlib.sha256(envelope.payload).digest()
        self._promises.promise(envelope.round, envelope.step, digest)
        return encode(Packet(envelope, memoryview(attachment)))
