"""Is a drawn neighbour graph good enough, and which one would be.

A round may begin without the parties that are missing, so the graph must be private on every roster
from the smallest to the largest (the bound is not monotone between them), and its shares must be
recoverable after all dropouts.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import Final

from protocols.errors import AgreementError
from protocols.graph import (
    COMPLETE_UP_TO,
    GraphPlan,
    plan_graph,
    privacy_failure,
    recovery_failure,
)

SECURITY_BITS: Final = 40
"""Privacy may fail with probability at most 2^-40 in all rounds of an agreement together, each of
which draws a graph of its own (Bell et al. 2020)."""
CORRECTNESS_BITS: Final = 20
"""A round may be lost to an unlucky draw with probability at most 2^-20."""


def bits_per_round(rounds: int) -> int:
    """Return b such that so many graphs, each failing with 2^-b, fail with 2^-40 at most."""
    return SECURITY_BITS + (rounds - 1).bit_length()


def privacy_bits(
    parties: int, colluders: int, max_dropouts: int, degree: int, threshold: int
) -> float:
    """Return b such that a round's privacy fails with probability at most 2^-b."""
    rosters = range(parties - max_dropouts, parties + 1)
    return min(_privacy_bits(one, colluders, degree, threshold) for one in rosters)


def _privacy_bits(roster: int, colluders: int, degree: int, threshold: int) -> float:
    return -privacy_failure(roster, colluders=colluders, degree=degree, threshold=threshold)


def recovery_bits(parties: int, max_dropouts: int, degree: int, threshold: int) -> float:
    """Return b such that a round is lost for lack of shares with probability at most 2^-b."""
    return -recovery_failure(parties, max_dropouts=max_dropouts, degree=degree, threshold=threshold)


def safe_thresholds(
    parties: int, colluders: int, max_dropouts: int, degree: int, rounds: int
) -> tuple[int, int] | None:
    """Return the smallest and the largest threshold that are good enough for this degree.

    Args:
        parties: in the agreement.
        colluders: at most.
        max_dropouts: at most.
        degree: holders that each party draws.
        rounds: of the agreement, at most.

    Returns:
        ``None`` where no threshold is, or where the smallest roster lacks so many others.
    """
    return _safe_thresholds(parties, colluders, max_dropouts, degree, bits_per_round(rounds))


@lru_cache(maxsize=256)
def _safe_thresholds(
    parties: int, colluders: int, max_dropouts: int, degree: int, bits: int
) -> tuple[int, int] | None:
    fewest = parties - max_dropouts
    if fewest <= COMPLETE_UP_TO or colluders > fewest - 2 or not 1 <= degree < fewest - 1:
        return None

    def private_at_the_ends(threshold: int) -> bool:
        return all(
            _privacy_bits(roster, colluders, degree, threshold) >= bits
            for roster in (fewest, parties)
        )

    def lost(threshold: int) -> bool:
        return recovery_bits(parties, max_dropouts, degree, threshold) < CORRECTNESS_BITS

    # A larger threshold only helps privacy and only hurts recovery. The ends of the range of
    # rosters, which are quick to check, leave little to do for the check of every roster.
    candidates = range(1, degree + 1)
    low = bisect_left(candidates, True, key=private_at_the_ends) + 1
    high = bisect_left(candidates, True, key=lost)
    while low <= high and privacy_bits(parties, colluders, max_dropouts, degree, low) < bits:
        low += 1
    return (low, high) if low <= high else None


def suggest_graph(parties: int, colluders: int, max_dropouts: int, rounds: int) -> GraphPlan | None:
    """Return the smallest drawn graph that is good enough on every roster, in so many rounds.

    Returns:
        ``None`` where only the complete graph is.
    """
    return _suggest_graph(parties, colluders, max_dropouts, bits_per_round(rounds))


@lru_cache(maxsize=64)
def _suggest_graph(parties: int, colluders: int, max_dropouts: int, bits: int) -> GraphPlan | None:
    if parties - max_dropouts <= COMPLETE_UP_TO:
        return None
    try:
        start = plan_graph(
            parties, colluders=colluders, max_dropouts=max_dropouts, security_bits=bits
        )
    except AgreementError:  # not even the complete graph would do
        return None
    for degree in range(start.degree, parties - max_dropouts - 1):
        thresholds = _safe_thresholds(parties, colluders, max_dropouts, degree, bits)
        if thresholds is not None:
            return GraphPlan(degree, thresholds[0], complete=False)
    return None
