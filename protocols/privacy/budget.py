"""A party's privacy budget: what it has spent, and what it may still join.

Arithmetic only; a node keeps the state and writes it down before it computes anything. A charge is
for the intent: a round that aborts has been charged, for it may have leaked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from protocols.errors import BudgetExceededError, PrivacyParameterError
from protocols.privacy.accounting import Guarantee, epsilon, guarantee
from protocols.privacy.releases import MAX_COUNT, Release, check_delta, merged

MAX_CEILING: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What one party may spend on each of its people, and has spent.

    Attributes:
        party: whose budget it is.
        ceiling: most epsilon, by the accountant of privacy loss distributions; 0..1000.
        delta: at which epsilon is taken; 1e-12..1, exclusive.
        spent: releases charged so far, equal ones added up, in order of their parameters.

    Raises:
        PrivacyParameterError: an attribute outside these ranges.
    """

    party: str
    ceiling: float
    delta: float
    spent: tuple[Release, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.ceiling <= MAX_CEILING:
            raise PrivacyParameterError("ceiling", f"{self.ceiling} is not within 0 to 1000")
        check_delta(self.delta)
        object.__setattr__(self, "spent", merged(self.spent))

    @property
    def epsilon(self) -> float:
        """Epsilon spent, at ``delta``."""
        return epsilon(self.spent, self.delta)

    def guarantee(self) -> Guarantee:
        """Account for what was spent by both accountants."""
        return guarantee(self.spent, self.delta)

    def charge(self, release: Release) -> Budget:
        """Return the budget after one more charge.

        Args:
            release: what is about to be joined; its ``count`` is charged at once.

        Returns:
            The state to be written down before anything is computed for the release.

        Raises:
            BudgetExceededError: it would take epsilon past the ceiling; nothing is charged.
        """
        after = replace(self, spent=(*self.spent, release))
        spent = after.epsilon
        if not spent <= self.ceiling:
            raise BudgetExceededError(
                self.party, epsilon=spent, ceiling=self.ceiling, delta=self.delta
            )
        return after

    def affordable(self, release: Release, most: int = MAX_COUNT) -> int:
        """Return how many more such releases, one at a time, fit under the ceiling.

        Args:
            release: one of them; its ``count`` does not matter.
            most: stop counting here; 0..10^6.
        """
        fitting, failing = 0, 1
        while failing <= most and self._fits(release.times(failing)):
            fitting, failing = failing, 2 * failing
        failing = min(failing, most + 1)
        while failing - fitting > 1:
            middle = (fitting + failing) // 2
            if self._fits(release.times(middle)):
                fitting = middle
            else:
                failing = middle
        return fitting

    def _fits(self, release: Release) -> bool:
        try:
            self.charge(release)
        except BudgetExceededError:
            return False
        return True
