"""Who is there: takes note of who comes and goes, and waits until there are enough."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from parties.coordinator.membership import Membership
from parties.coordinator.outbound import Outbound
from parties.coordinator.ports import ServerEvent
from parties.mailbox import Mailbox
from parties.transport.events import Connected, Disconnected, Message, Refused
from protocols.errors import BelowThresholdError

_DRAIN_SECONDS: Final = 0.005
_LONGEST_DRAIN_SECONDS: Final = 0.25
_POLL_SECONDS: Final = 0.1

Tell = Callable[..., None]
Greetings = Callable[[], Awaitable[Sequence[bytes]]]
"""What a party is sent that comes with a new session: the models that it may have missed."""


class Attendance:
    """Reads the events that belong to no round, and those of connections within one."""

    def __init__(
        self,
        names: Sequence[str],
        membership: Membership,
        outbound: Outbound,
        mailbox: Mailbox[ServerEvent],
        *,
        greetings: Greetings,
        count_bytes: Callable[[str, int], None],
        tell: Tell,
    ) -> None:
        """Args: all parties' names, and what the node is made of."""
        self._names, self._membership = names, membership
        self._outbound, self._mailbox = outbound, mailbox
        self._greetings, self._count_bytes, self._tell = greetings, count_bytes, tell

    async def note(self, event: Connected | Disconnected | Refused) -> None:
        """Take note of who came and went."""
        match event:
            case Connected(peer=peer, resumed=resumed):
                self._membership.came(peer, resumed=resumed)
                self._tell("connected", peer=peer, resumed=resumed)
                if not resumed:
                    self._outbound.forget(peer)
                    for body in await self._greetings():
                        self._outbound.post(peer, body)
            case Disconnected(peer=peer, reason=reason):
                self._membership.went(peer, time.monotonic())
                self._tell("disconnected", peer=peer, reason=reason)
            case Refused(peer=peer, error=error):
                # The one refused may be a second process with the same keys; if it is the one that
                # takes part, its connection ends, which is told next.
                self._tell("refused", peer=peer, step="transport", reason=str(error))

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
            have = len(self._membership.connected)
            hoped = everybody or self._membership.next_expiry(self._names, now) is not None
            if have == len(self._names):
                return
            if have >= need and (not hoped or waited >= hope_seconds):
                return
            if have < need and waited >= patience_seconds:
                raise BelowThresholdError("connect", have=have, need=need)
            pause = _POLL_SECONDS

    async def _between_rounds(self, event: ServerEvent) -> None:
        match event:
            case Message(peer=peer, body=body):
                # It is late: nobody waits for it any more.
                self._count_bytes(peer, body.nbytes)
            case _:
                await self.note(event)
