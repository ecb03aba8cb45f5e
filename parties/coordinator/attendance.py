"""Who is there: takes note of who comes and goes, and waits until there are enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from parties.coordinator.membership import Membership
from parties.coordinator.outbound import Outbound
from parties.coordinator.ports import ServerEvent
from parties.coordinator.witnesses import Witnesses
from parties.mailbox import Mailbox
from parties.transport.events import Connected, Disconnected, Message, Refused
from protocols.errors import BelowThresholdError, LedgerError, NoResultError

_DRAIN_SECONDS: Final = 0.005
_LONGEST_DRAIN_SECONDS: Final = 0.25
_POLL_SECONDS: Final = 0.1

Tell = Callable[..., None]


class Attendance:
    """Reads the events that belong to no round, and those of connections within one."""

    def __init__(
        self,
        names: Sequence[str],
        membership: Membership,
        outbound: Outbound,
        mailbox: Mailbox[ServerEvent],
        *,
        witnesses: Witnesses,
        holder: Membership | None,
        count_bytes: Callable[[str, int], None],
        tell: Tell,
    ) -> None:
        """Args: all parties' names; what the node is made of; the key holder's membership."""
        self._holder = holder
        self._names, self._membership = names, membership
        self._outbound, self._mailbox = outbound, mailbox
        self._count_bytes, self._tell = count_bytes, tell
        self._witnesses = witnesses

    def note(self, event: Connected | Disconnected | Refused) -> None:
        """Take note of who came and went."""
        match event:
            case Connected(peer=peer, resumed=resumed):
                self._tell("connected", peer=peer, resumed=resumed)
                if peer not in self._names:
                    self._holder_came(peer, resumed=resumed)
                elif resumed:
                    self._membership.came(peer, resumed=True)
                else:
                    # It counts as here once it has said what it holds of the ledger.
                    self._membership.returned(peer, time.monotonic())
                    self._witnesses.forget(peer)
                    self._outbound.forget(peer)
            case Disconnected(peer=peer, reason=reason):
                known = self._membership if peer in self._names else self._holder
                if known is not None:
                    known.went(peer, time.monotonic())
                self._tell("disconnected", peer=peer, reason=reason)
            case Refused(peer=peer, error=error):
                # The one refused may be a second process with the same keys; if it is the one that
                # takes part, its connection ends, which is told next.
                self._tell("refused", peer=peer, step="transport", reason=str(error))

    def _holder_came(self, peer: str, *, resumed: bool) -> None:
        if not resumed:
            self._outbound.forget(peer)
        if self._holder is not None:
            self._holder.came(peer, resumed=resumed)

    def _is_complete(self, have: int) -> bool:
        """Tell whether nobody is missing, of the parties nor who opens their ciphertexts."""
        return have == len(self._names) and self._can_open(1)

    def _can_open(self, need: int) -> bool:
        # A round that nobody can open costs its privacy all the same.
        return self._holder is None or not need or bool(self._holder.connected)

    async def gather(
        self, need: int, *, everybody: bool, hope_seconds: float, patience_seconds: float
    ) -> None:
        """Wait until enough parties are connected for a round.

        Args:
            need: fewest parties with which a round can succeed.
            everybody: wait for all of them, not only for those that were here just now.
            hope_seconds: how long more than ``need`` are waited for.
            patience_seconds: how long ``need`` are waited for.

        Raises:
            BelowThresholdError: they did not come.
        """
        start = time.monotonic()
        pause = _DRAIN_SECONDS
        while True:
            event = await self._mailbox.next(pause)
            if event is not None:
                await self._between_rounds(event)
            now = time.monotonic()
            waited = now - start
            # What has happened already is looked at first; but no flood of events may keep us here.
            if event is not None and waited < _LONGEST_DRAIN_SECONDS:
                pause = _DRAIN_SECONDS
                continue
            have = len(self._membership.invitable)
            enough = have >= need and self._can_open(need)
            awaited = self._membership.next_expiry(self._names, now) is not None
            hoped = everybody or awaited or self._membership.arriving(now)
            if self._is_complete(have):
                return
            if enough and (not hoped or waited >= hope_seconds):
                return
            if have >= need and not enough and waited >= patience_seconds:
                raise NoResultError("the key holder did not connect; start its node, then this one")
            if not enough and waited >= patience_seconds:
                raise BelowThresholdError("connect", have=have, need=need)
            pause = _POLL_SECONDS

    async def cosign(self, *, deadline_seconds: float, patience_seconds: float) -> None:
        """Have the head of the log cosigned, by all who are here and at least by a quorum.

        Args:
            deadline_seconds: how long more than a quorum are waited for.
            patience_seconds: how long a quorum is waited for.

        Raises:
            LedgerError: there is none.
        """
        start, witnesses = time.monotonic(), self._witnesses
        witnesses.begin()
        while True:
            now = time.monotonic()
            waited = now - start
            enough = witnesses.have >= witnesses.need
            waiting = witnesses.waiting(now, waited=waited)
            if enough and (not waiting or waited >= deadline_seconds):
                await witnesses.end()
                return
            if not enough and waited >= max(deadline_seconds, patience_seconds):
                raise LedgerError(
                    "checkpoint-unwitnessed",
                    f"{witnesses.have} parties cosigned the ledger, {witnesses.need} have to; "
                    "start those that are missing, and ask those that refuse what contradicts "
                    "their copies",
                )
            event = await self._mailbox.next(_POLL_SECONDS)
            if event is not None:
                await self._between_rounds(event)

    async def _between_rounds(self, event: ServerEvent) -> None:
        match event:
            case Message(peer=peer, body=body):
                # What does not concern the ledger is late: nobody waits for it any more.
                self._count_bytes(peer, body.nbytes)
                await self._witnesses.take(peer, body)
            case _:
                self.note(event)
