"""Products of ciphertexts at the coordinator, which holds no key. Needs the extra ``paillier``."""

from __future__ import annotations

from collections.abc import Collection

from parties.paillier_workers import PaillierWorkers
from protocols.agreement import SignedAgreement, Task
from protocols.identity import Envelope, Identity
from protocols.masking.context import RoundContext
from protocols.paillier.key_record import read_key_record
from protocols.paillier.threshold_combiner import DecryptionCombiner
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_knowledge import plaintext_knowledge
from protocols.paillier.threshold_product import Examined
from protocols.paillier.vectors import opening_context, read_sum
from protocols.prg import Words


class RoundOpening:
    """One round; implements :class:`parties.coordinator.ports.ProductOpening`."""

    def __init__(
        self, context: OpeningContext, round_: RoundContext, hub: DecryptionCombiner
    ) -> None:
        """Args: facts of the opening and of its round; the role."""
        self._hub = hub
        self._context, self._round = context, round_
        self._heard: set[str] = set()

    def examine(self, envelope: Envelope, vector: memoryview) -> Examined:
        """Check one party's vector; see :meth:`DecryptionCombiner.examine_vector`."""
        return self._hub.examine_vector(envelope, vector)

    def take(self, examined: Examined) -> None:
        """Multiply a vector in that was examined."""
        self._hub.take_vector(examined)

    def close(self) -> Envelope:
        """Return the request for the product of all vectors taken."""
        return self._hub.close_vectors()

    def receive(self, envelope: Envelope, values: memoryview) -> None:
        """Take one trustee's answer; see :meth:`DecryptionCombiner.receive_partial`."""
        self._hub.receive_partial(envelope, values)
        self._heard.add(envelope.sender)

    @property
    def heard(self) -> Collection[str]:
        """Names of the trustees whose answers were taken."""
        return self._heard

    @property
    def can_finish(self) -> bool:
        """Whether enough of them have answered."""
        return self._hub.can_finish

    def finish(self) -> Words:
        """Return the sum of the vectors, shape ``(count,)``.

        Raises:
            BelowThresholdError: too few trustees answered.
            ShareError: no set of answers opens the sum.
            NoResultError: a party encrypted what is no packed vector.
        """
        opened, round_ = self._hub.finish(), self._round
        return read_sum(
            self._context,
            opened.values,
            round_.modulus_bits,
            round_.count,
            vectors=len(opened.submitters),
        )


class SumOpener:
    """Opens sums of one agreement; implements ``ports.CoordinatorCipher``."""

    def __init__(
        self,
        signed: SignedAgreement,
        identity: Identity,
        record: bytes,
        workers: PaillierWorkers,
    ) -> None:
        """Check the key.

        Args:
            signed: the agreement in force.
            identity: the coordinator's.
            record: of the agreement's key.
            workers: where powers are computed.

        Raises:
            PeerError: the record is not in force, or its key not proved well formed.
        """
        self.record = record
        self._agreement, self._identity, self._workers = signed.agreement, identity, workers
        self._key = read_key_record(record, signed.agreement, signed.digest, party="the key file")

    def begin(self, context: RoundContext, task: Task, model: bytes) -> RoundOpening:
        """Begin a round whose model has this digest."""
        facts = opening_context(self._agreement, context, task, self._key, model)
        hub = DecryptionCombiner(
            facts,
            self._identity,
            check_knowledge=plaintext_knowledge(facts, ranges=self._workers.ranges),
            spread=self._workers.spread,
        )
        return RoundOpening(facts, context, hub)

    def close(self) -> None:
        """Let the threads end."""
        self._workers.close()
