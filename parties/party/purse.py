"""A party's own account of what its people have spent: charged before anything is computed.

It knows nothing of what the coordinator says: a round that this party admits is charged, whether it
completes or not, and a restart reads the account back.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from parties.party.ports import PartyJournal
from protocols.agreement import Agreement, Task
from protocols.agreement.noise import (
    composed_releases,
    noise_plan,
    planned_cost,
    spent_epsilon,
)
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

        Raises:
            PrivacyParameterError: the ceiling is negative or no number.
        """
        self._agreement, self._journal = agreement, journal
        agreed = agreement.privacy.epsilon
        stored = journal.get(SPENT_KEY)
        self._counts = {} if stored is None else _SPENT.decode(stored)
        self._empty = Budget(
            party, agreed if ceiling is None else min(ceiling, agreed), agreement.privacy.delta
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
            self._clear(task, plan.release())
        counts = {**self._counts, task.name: self._counts.get(task.name, 0) + 1}
        self._journal.put(SPENT_KEY, msgspec.msgpack.encode(counts))
        self._counts = counts
        self._cleared[task.name] -= 1

    def _clear(self, task: Task, release: Release) -> None:
        """Work out how many more rounds of a task fit, once for all of them.

        Raises:
            BudgetExceededError: not a single one.
        """
        planned = planned_cost(self._agreement)
        left = task.rounds - self._counts.get(task.name, 0)
        # A crash between a charge and its round may charge a task for more rounds than planned.
        within = left > 0 and all(
            self._counts.get(each.name, 0) <= each.rounds for each in self._agreement.tasks
        )
        if within and planned is not None and planned.promised.epsilon_pld <= self._empty.ceiling:
            # Any part of a plan costs at most the plan.
            self._cleared = {task.name: left}
            return
        spent = Budget(self._empty.party, self._empty.ceiling, self._empty.delta, self._releases())
        fitting = spent.affordable(release, most=task.rounds)
        if fitting < 1:
            spent.charge(release)
        # Another task's rounds in between would change the answer, so only this one is kept.
        self._cleared = {task.name: fitting}
