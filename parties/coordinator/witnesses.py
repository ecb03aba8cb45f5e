"""The parties as witnesses: what each holds of the ledger, and their signatures on its heads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from parties.attachments import require_bare
from parties.coordinator.keeper import LedgerKeeper
from parties.coordinator.membership import Membership
from parties.coordinator.outbound import Outbound
from protocols.agreement import SignedAgreement
from protocols.errors import LedgerError, PeerError, SignatureError, UnknownPartyError
from protocols.identity import NO_ROUND, Envelope
from protocols.ledger.checkpoint import (
    Note,
    NoteSignature,
    cosignature_check,
    parse_signature,
)
from protocols.ledger.messages import STEPS, Cosigned, Holding
from protocols.ledger.reading import is_plausible_time
from protocols.masking.messages import Submission
from protocols.signed import open_signed
from protocols.wire import Packet, decode_packet

M = TypeVar("M", bound=msgspec.Struct)
_STEPS: Final = frozenset({"holding", "cosign"})
_SLOW_SECONDS: Final = 1.0
_MOST_ASKED: Final = 8
"""How often a party may ask for the log anew while one head is witnessed."""


Greetings = Callable[[], Awaitable[Sequence[bytes]]]
"""What a party is sent that comes with a new session: the models that it may have missed."""


class Witnesses:
    """Takes the parties' words on the ledger, whenever they come."""

    def __init__(
        self,
        signed: SignedAgreement,
        keeper: LedgerKeeper,
        outbound: Outbound,
        membership: Membership,
        *,
        greetings: Greetings,
        tell: Callable[..., None],
    ) -> None:
        """Args: the agreement in force, our log, and what the node is made of."""
        self._greetings = greetings
        self._signed, self._keeper, self._outbound = signed, keeper, outbound
        self._membership, self._tell = membership, tell
        self._max_bytes = signed.agreement.aggregation.max_message_bytes
        self._names = [party.name for party in signed.agreement.parties]
        self._held: dict[str, int] = {}
        self._ahead: set[str] = set()
        self._asked: Counter[str] = Counter()
        self._spoilt: set[str] = set()
        self._head: Note | None = None
        self._lines: dict[str, NoteSignature] = {}
        self._missing: dict[str, Envelope] = {}
        self._packets: tuple[tuple[int, int, bool], list[bytes]] = ((-1, -1, False), [])

    @property
    def have(self) -> int:
        """How many parties have cosigned the head."""
        return len(self._lines)

    def forget(self, name: str) -> None:
        """A party lost its session: what was sent to it may not have arrived."""
        self._held.pop(name, None)

    async def take(self, peer: str, body: memoryview) -> bool:
        """Take a message on the ledger; return whether it was one. Others are left alone.

        What is wrong with one is told, and it has no effect.
        """
        try:
            packet = decode_packet(body, party=peer, max_bytes=self._max_bytes)
        except PeerError:
            return False
        if packet.envelope.step not in _STEPS:
            return False
        try:
            if packet.envelope.sender != peer or peer not in self._names:
                raise UnknownPartyError(peer, packet.envelope.step, "speaks for somebody else")
            require_bare(packet)
            if packet.envelope.step == "holding":
                await self._holding(peer, self._open(packet, Holding))
            else:
                self._cosigned(peer, self._open(packet, Cosigned))
        except (PeerError, LedgerError) as error:
            # It has answered: who has a wrong clock costs nobody a deadline.
            self._spoilt.add(peer)
            self._tell("refused", peer=peer, step=packet.envelope.step, reason=str(error))
        return True

    def _open(self, packet: Packet, kind: type[M]) -> M:
        envelope = packet.envelope
        return open_signed(
            envelope,
            kind,
            step=STEPS[kind],
            signer=self._signed.agreement.verify_key(envelope.sender),
            agreement=self._signed.digest,
            round_=NO_ROUND,
            max_bytes=self._max_bytes,
        )

    async def _holding(self, peer: str, message: Holding) -> None:
        self._ahead.discard(peer)
        if message.size > self._keeper.size:
            # It will refuse every round, and its operator is told so; ours is told here.
            self._ahead.add(peer)
            self._tell("ledger-behind", peer=peer, ours=self._keeper.size, theirs=message.size)
        elif self._keeper.differs(message.size, message.root):
            self._tell("ledger-differs", peer=peer, size=message.size)
        self._held[peer] = min(message.size, self._keeper.size)
        self._membership.came(peer, resumed=False)
        self._asked[peer] += 1
        if self._asked[peer] > _MOST_ASKED:
            return  # each answer costs us a whole log; the next head comes by itself
        self._outbound.post(peer, *await self._greetings())
        if self._head is not None:
            self._send(peer, self._head)

    def _cosigned(self, peer: str, message: Cosigned) -> None:
        if message.missing is not None:
            # Whatever became of that head: a slow party would never come in again.
            self._remind(peer, message.missing)
        head = self._head
        if head is None or message.size != head.checkpoint.size:
            return  # of a head that has its quorum already
        line = parse_signature(message.line, party=peer)
        keys = {peer: self._signed.agreement.verify_key(peer)}
        cosignature = cosignature_check(head.checkpoint, line, keys)
        if not cosignature.check.holds():
            raise SignatureError(peer, "cosign", "its signature on the head is not valid")
        if not is_plausible_time(cosignature.timestamp):
            raise LedgerError(
                "checkpoint-time", f"it says that it signed at {cosignature.timestamp}", party=peer
            )
        self._lines[peer] = line

    def _remind(self, peer: str, commit: Envelope) -> None:
        open_signed(
            commit,
            Submission,
            step="submit",
            signer=self._signed.agreement.verify_key(peer),
            agreement=self._signed.digest,
            round_=commit.round,
            max_bytes=self._max_bytes,
        )
        if self._keeper.lacks(self._names.index(peer), commit):
            self._missing[peer] = commit

    # Sending

    def bring_up_to_date(self, names: Sequence[str]) -> None:
        """Send each of these parties the leaves that it lacks."""
        for name in names:
            self._send(name, None)

    def begin(self) -> None:
        """Ask every party that is here to cosign the head of the log.

        Raises:
            LedgerError: so many hold more of it than we do that no quorum would: our state is old.
        """
        self.require_current()
        self._head, self._lines = self._keeper.head(), {}
        self._asked.clear()
        self._spoilt.clear()
        for name in sorted(self._membership.connected):
            self._send(name, self._head)

    def require_current(self) -> None:
        """Check that we have not lost a part of the log that we signed.

        Raises:
            LedgerError: as :meth:`begin`. Nothing may be signed then: it would be a second ledger.
        """
        if len(self._names) - len(self._ahead) < self.need:
            raise LedgerError(
                "rolled-back",
                f"{len(self._ahead)} parties hold more of the ledger than the {self._keeper.size} "
                "leaves here; restore a state directory that is not older than theirs",
            )

    async def end(self) -> None:
        """Put the head with its witnesses into the log, and the commits that it lacked after it."""
        head, self._head = self._head, None
        if head is None:
            return
        await asyncio.to_thread(self._keeper.witnessed, head, self._lines)
        missing, self._missing = self._missing, {}
        for peer in sorted(missing, key=self._names.index):
            if not self._keeper.lacks(self._names.index(peer), missing[peer]):
                continue
            try:
                await asyncio.to_thread(self._keeper.late, missing[peer])
            except LedgerError as error:
                self._tell("refused", peer=peer, step="cosign", reason=error.reason)

    def _send(self, name: str, head: Note | None) -> None:
        start = self._held.get(name)
        if start is None or (head is None and start == self._keeper.size):
            return
        # Most parties lack the same leaves.
        wanted = (start, self._keeper.size, head is None)
        if self._packets[0] != wanted:
            self._packets = (wanted, self._keeper.extensions(start, head, self._max_bytes))
        self._outbound.post(name, *self._packets[1])
        self._held[name] = self._keeper.size

    def waiting(self, now: float, *, waited: float) -> frozenset[str]:
        """Return who may still cosign the head.

        Who fell out of the round is waited for a little while only; it may have a commit to add.
        """
        here = self._membership.expected(self._names, now)
        if waited < _SLOW_SECONDS:
            here |= self._membership.connected
        return (here & self._held.keys()) - self._lines.keys() - self._spoilt

    @property
    def need(self) -> int:
        """How many have to."""
        return self._signed.agreement.quorum
