"""Which colluders and dropouts a new federation withstands, and the numbers that follow."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.agreement.neighbours import suggest_graph
from protocols.graph import COMPLETE_UP_TO


@dataclass(frozen=True, slots=True)
class Resilience:
    """What a federation withstands: colluding parties, missing parties, and what follows.

    Attributes:
        colluders: parties that may side with the coordinator.
        max_dropouts: parties that may be missing in a round that still succeeds.
        threshold: shares that open a mask.
        min_cohort: fewest parties whose sum is revealed.
        neighbours: ``"complete"`` or how many neighbours a party draws.
    """

    colluders: int
    max_dropouts: int
    threshold: int
    min_cohort: int
    neighbours: str | int

    @classmethod
    def for_parties(
        cls,
        parties: int,
        *,
        rounds: int,
        colluders: int | None = None,
        max_dropouts: int | None = None,
    ) -> Resilience:
        """Choose numbers that ``validate`` accepts.

        Args:
            parties: 2 or more.
            rounds: of all tasks together; each draws its own neighbours.
            colluders: by default a quarter of up to 32 parties, a tenth of more, so that a party
                needs to draw only a few dozen neighbours.
            max_dropouts: by default as many as the quorum leaves of up to 32 parties, a tenth of
                more.
        """
        few = parties <= COMPLETE_UP_TO
        c = (parties // 4 if few else parties // 10) if colluders is None else colluders
        quorum = (parties + c) // 2 + 1
        most = max(0, parties - quorum)
        d = (most if few else min(most, parties // 10)) if max_dropouts is None else max_dropouts
        plan = suggest_graph(parties, c, d, rounds)
        if plan is not None and not plan.complete:
            threshold, neighbours = plan.threshold, plan.degree
            return cls(c, d, threshold, max(quorum, c + 2), neighbours)
        threshold = max(c + 1, (c + parties - d) // 2)
        return cls(c, d, threshold, max(quorum, c + 2), "complete")
