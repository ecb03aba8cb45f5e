"""A party's own account of what its people have spent: charged before anything is computed.

It knows nothing of what the coordinator says: a round that this party admits is charged, whether it
completes or not, and a restart reads the account back.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from protocols.errors import JournalError
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
            JournalError: what is on record is no account under this agreement; nothing may be
                spent, for nobody knows what was.
        """
        self._agreement, self._journal = agreement, journal
        agreed = agreement.privacy.epsilon
        self._counts = _counts(journal.get(SPENT_KEY), agreement)
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

    def at_least(self, counts: Mapping[str, int]) -> bool:
        """Charge what the ledger shows that we joined and this account does not know.

        A state that was restored from an older backup has forgotten it.

        Returns:
            Whether anything was missing; the new account is durable.

        Raises:
            JournalError: it cannot be written down.
        """
        names = [task.name for task in self._agreement.tasks if task.privacy is not None]
        known = self._counts
        merged = {name: max(known.get(name, 0), counts.get(name, 0)) for name in names}
        merged = {name: count for name, count in merged.items() if count}
        if all(known.get(name, 0) >= count for name, count in merged.items()):
            return False
        self._journal.put(SPENT_KEY, msgspec.msgpack.encode(merged))
        self._counts, self._cleared = merged, {}
        return True

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


def _counts(stored: bytes | None, agreement: Agreement) -> dict[str, int]:
    """Read the rounds charged so far, by task; fail closed."""
    try:
        counts = {} if stored is None else _SPENT.decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged() from error
    if counts.keys() - {task.name for task in agreement.tasks}:
        raise _damaged()
    return counts


def _damaged() -> JournalError:
    return JournalError(
        "the privacy account on record is damaged or of another release: what was spent is not "
        "known, so nothing more is; use the release that wrote it, or restore the state directory "
        "from a backup made after the last round"
    )
