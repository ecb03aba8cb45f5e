"""What the rounds on record cost: every intent is charged, whatever became of its round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocols.agreement import Agreement
from protocols.agreement.noise import composed_epsilon, composed_releases
from protocols.ledger.facts import Finding, PartySpending
from protocols.ledger.verify import LedgerVerifier
from protocols.privacy.accounting import Guarantee, guarantee

ROUNDING: Final = 1e-4
"""Relative error by which the discretised accountant may lie above the true epsilon."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Cost of a whole log.

    Attributes:
        parties: what each party's people spent, in order of the agreement.
        total: of all rounds; ``None`` without noise.
        worst_case: epsilon if all parties but one collude; ``None`` without noise.
    """

    parties: tuple[PartySpending, ...]
    total: Guarantee | None
    worst_case: float | None


class _Prices:
    """Costs by how often each task ran, each computed once: parties mostly share them."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._known: dict[tuple[int, ...], tuple[Guarantee, float]] = {}

    def of(self, counts: Mapping[str, int]) -> tuple[Guarantee, float] | tuple[None, None]:
        agreement = self._agreement
        if agreement.privacy.mechanism == "none":
            return None, None
        key = tuple(counts.get(task.name, 0) for task in agreement.tasks)
        if key not in self._known:
            self._known[key] = (
                guarantee(composed_releases(agreement, counts), agreement.privacy.delta),
                composed_epsilon(agreement, counts, sharers=1),
            )
        return self._known[key]


def account(verifier: LedgerVerifier, agreement: Agreement) -> Spending:
    """Account for every round that a verified log charges, by both accountants.

    Args:
        verifier: that took the whole log.
        agreement: the one in its leaf 0.

    Raises:
        PrivacyParameterError: a plan that the accountants do not cover, which no agreement in force
            has.
    """
    prices = _Prices(agreement)
    total, worst = prices.of(verifier.charged)
    parties = []
    for number, party in enumerate(agreement.parties):
        counts = verifier.invitations_of(number)
        invited, committed = sum(counts.values()), sum(verifier.commits_of(number).values())
        parties.append(PartySpending(party.name, invited, committed, *prices.of(counts)))
    return Spending(tuple(parties), total, worst)


def over_budget(spending: Spending, agreement: Agreement) -> Finding | None:
    """Return the finding ``budget-exceeded`` if the rounds cost more than agreed."""
    total, budget = spending.total, agreement.privacy.epsilon
    if total is None or total.epsilon_pld <= budget * (1 + ROUNDING):
        return None
    return Finding(
        "budget-exceeded",
        f"the rounds cost epsilon {total.epsilon_pld:.4g} at delta {total.delta:g}, and "
        f"{budget:g} are agreed",
        party=agreement.coordinator.name,
    )
