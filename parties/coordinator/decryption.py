"""Ciphertexts within one round: held until their header comes, passed on, opened by trustees."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Iterable
from typing import Literal

from parties.coordinator.membership import Membership
from parties.coordinator.outbound import Outbound
from parties.coordinator.ports import ProductOpening
from protocols.errors import DuplicateError, SubmissionError, UnexpectedMessageError
from protocols.identity import Envelope
from protocols.prg import Words
from protocols.wire import Packet, encode

Submit = Callable[[Envelope, bytes], int]
"""Takes the header of a vector, and the digest of its ciphertexts; raises PeerError."""


class Decryption:
    """One round's ciphertexts.

    A vector counts only together with its header: until then nobody else sees it, so that trustees
    and survivor set never differ.
    """

    def __init__(
        self,
        opening: ProductOpening,
        outbound: Outbound,
        membership: Membership,
        trustees: Iterable[str],
        holder: Membership | None,
        vector_bytes: int,
    ) -> None:
        """Begin.

        Args:
            opening: the role.
            outbound: queues to the parties and the key holder.
            membership: of the parties.
            trustees: who opens, by name.
            holder: membership of the key holder, if there is one.
            vector_bytes: agreed length of one party's ciphertexts.
        """
        self._opening, self._outbound = opening, outbound
        self._trustees = tuple(trustees)
        self._membership, self._holder = membership, holder
        self._vector_bytes = vector_bytes
        self._held: dict[str, Packet] = {}
        self._stage: Literal["vectors", "answers", "over"] = "vectors"

    async def take(self, packet: Packet) -> None:
        """Keep a party's ciphertexts until their header comes, or take a trustee's answer.

        Raises:
            UnexpectedMessageError: too early or too late.
            DuplicateError: ciphertexts of a party that sent some already.
            SubmissionError: more or fewer bytes than agreed; they are not kept.
            PeerError: an answer, as :meth:`ProductOpening.receive`.
        """
        name, step = packet.envelope.sender, packet.envelope.step
        if self._stage == "over" and step != "encrypt":
            return  # an honest trustee was slower than as many as were needed
        self._require("vectors" if step == "encrypt" else "answers", name, step)
        if step != "encrypt":
            await asyncio.to_thread(self._opening.receive, packet.envelope, packet.attachment)
        elif name in self._held:
            raise DuplicateError(name, step, "has sent its ciphertexts already")
        elif packet.attachment.nbytes != self._vector_bytes:
            reason = f"{packet.attachment.nbytes} bytes of ciphertexts, not {self._vector_bytes}"
            raise SubmissionError(name, step, reason)
        else:
            self._held[name] = packet

    def _require(self, stage: str, name: str, step: str) -> None:
        if self._stage != stage:
            raise UnexpectedMessageError(name, step, f"came at a time for {self._stage}")

    async def submit(self, envelope: Envelope, submit: Submit) -> None:
        """Take a header and the ciphertexts before it, both or neither, and pass them on.

        Raises:
            SubmissionError: there are none.
            PeerError: as :meth:`ProductOpening.examine`, or as ``submit``.
        """
        name = envelope.sender
        self._require("vectors", name, "submit")
        packet = self._held.get(name)
        if packet is None:
            raise SubmissionError(name, "submit", "sent no ciphertexts before their header")
        examined = await asyncio.to_thread(
            self._opening.examine, packet.envelope, packet.attachment
        )
        submit(envelope, hashlib.sha256(packet.attachment).digest())
        await asyncio.to_thread(self._opening.take, examined)
        # The place stays taken; the bytes are wherever they are still on their way.
        self._held[name] = Packet(packet.envelope)
        body = encode(packet)
        # Who is lost is sent it too, for when it comes back: without every vector it opens nothing.
        for trustee in sorted(set(self._trustees) - {name} - self._members.left.keys()):
            self._outbound.post(trustee, body)

    async def request(self, confirmed: Collection[str]) -> Envelope:
        """Ask for the product; return what is asked, which has to be on record before it is sent.

        Args:
            confirmed: parties that signed the survivor set; of trustees that are parties, only
                these are asked.

        Raises:
            BelowThresholdError: fewer vectors than the minimum cohort.
        """
        self._stage = "answers"
        if self._holder is None:
            self._trustees = tuple(name for name in self._trustees if name in confirmed)
        return await asyncio.to_thread(self._opening.close)

    def ask(self, body: bytes) -> None:
        """Send the request to the trustees."""
        for name in sorted(self._members.expected(self._trustees, time.monotonic())):
            self._outbound.post(name, body)

    def awaited(self, now: float) -> frozenset[str]:
        """Return the trustees that may still answer."""
        asked = [name for name in self._trustees if name not in self._opening.heard]
        return self._members.expected(asked, now)

    @property
    def can_finish(self) -> bool:
        """Whether enough trustees have answered."""
        return self._opening.can_finish

    async def finish(self) -> Words:
        """Return the opened sum; see :meth:`ProductOpening.finish`."""
        self._stage = "over"
        return await asyncio.to_thread(self._opening.finish)

    @property
    def _members(self) -> Membership:
        return self._membership if self._holder is None else self._holder
