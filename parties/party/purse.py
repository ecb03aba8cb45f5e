"""A party's own account of what its people have spent: charged before anything is computed.

It knows nothing of what the coordinator says: a round that this party admits is charged, whether it
completes or not, and a restart reads the account back.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from parties.party.ports import PartyJournal
from protocols.agreement import Agreement, Task
from protocols.agreement.noise import composed_releases, noise_plan, spent_epsilon
from protocols.identity import Name
from protocols.privacy.budget import Budget
from protocols.privacy.releases import Release

SPENT_KEY: Final = "spent"
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_SPENT: Final = msgspec.msgpack.Decoder(dict[Name, Count])


class Purse:
    """The privacy budget of one party under one agreement."""

    def __init__(
        self, agreement: Agreement, party: str, journal: PartyJournal, ceiling: float | None = None
    ) -> None:
        """Read the account.

        Args:
            agreement: in force.
            party: our name.
            journal: durable, for this agreement alone.
            ceiling: our own limit on epsilon, if it is lower than the agreed one.
        """
        self._agreement, self._journal = agreement, journal
        agreed = agreement.privacy.epsilon
        stored = journal.get(SPENT_KEY)
        self._counts = {} if stored is None else _SPENT.decode(stored)
        self._empty = Budget(
            party, agreed if ceiling is None else min(agreed, ceiling), agreement.privacy.delta
        )
        self._cleared: dict[str, int] = {}

    @property
    def charged(self) -> dict[str, int]:
        """Rounds charged so far, by task."""
        return dict(self._counts)

    @property
    def epsilon(self) -> float:
        """Epsilon spent so far, at the agreed delta, within the agreed colluders and dropouts."""
        return spent_epsilon(self._releases(), self._agreement.privacy.delta)

    def _releases(self) -> tuple[Release, ...]:
        return composed_releases(self._agreement, self._counts)

    def charge(self, task: Task) -> None:
        """Charge one round of a task; durable when it returns. The first call takes a second or so.

        Raises:
            BudgetExceededError: it would pass the ceiling; nothing was charged.
            JournalError: it cannot be written down; nothing may be computed.
        """
        plan = noise_plan(self._agreement, task)
        if plan is None:
            return
        if self._cleared.get(task.name, 0) < 1:
            # What fits is worked out once for all rounds of a task; another task's rounds in
            # between would change it, so only this task's answer is kept.
            spent = Budget(
                self._empty.party, self._empty.ceiling, self._empty.delta, self._releases()
            )
            fitting = spent.affordable(plan.release(), most=task.rounds)
            if fitting < 1:
                spent.charge(plan.release())
            self._cleared = {task.name: fitting}
        counts = {**self._counts, task.name: self._counts.get(task.name, 0) + 1}
        self._journal.put(SPENT_KEY, msgspec.msgpack.encode(counts))
        self._counts = counts
        self._cleared[task.name] -= 1
