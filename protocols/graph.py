r"""Who holds whose shares: the complete graph, or k holders that every party draws for itself.

Source: Bell, Bonawitz, Gascón, Lepoint, Raykova, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead", CCS 2020, the variant for a malicious server. After the roster is
frozen, each party draws ``degree`` holders among the others, uniformly, and deals its shares to
them. Two parties share a pairwise mask if either drew the other. Nobody but the dealer, so no
coordinator and no colluder, influences who holds an honest dealer's shares.

**What the parameters guarantee.** n parties, a set C of at most c colluders with the coordinator,
fixed before the draws; h = n - c honest parties; k holders each, threshold t. The coordinator sees
the whole graph and then names one survivor set V as it likes (the confirm step makes it one set).
Let S be a nonempty set of honest survivors whose sum it can open: no pairwise mask between S and
another honest survivor exists, and the self-mask of every u in S is recoverable. The self-mask of
u takes shares of t holders in V or C, and u has no honest holder in V outside S. Hence

    every u in S has at least t of its k holders in (S minus u) or C.                         (*)

For one fixed S of size s the draws are independent, so (*) has probability T(s)^s, where T(s) is
the chance that a draw of k out of n - 1 takes at least t of s - 1 + c marked ones. By the union
bound, some S of at most h/2 parties satisfies (*) with probability at most

    sum over s = 1 .. h/2 of  binomial(h, s) * T(s)^s.                                        (**)

If none does, every set that can be opened has more than h/2 parties. Any two such sets then meet,
so at most one sum is opened in a round; and if all self-masks of V are recoverable, as a completed
round requires, each component of the graph on the honest survivors holds more than half of them:
the graph is connected, and the one sum opened is that of all of them. The bound covers survivor
sets chosen after seeing the graph, since V does not occur in (**). Its first term is the chance
that the colluders hold t shares of one honest party.

Tails are summed in logarithms and rounded up.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import AgreementError, MisuseError
from protocols.prg import RandomBytes, uniform_below

COMPLETE_UP_TO: Final = 32
"""Parties up to which every other party is a holder: a sparse graph would save nothing."""

_ROUND_UP: Final = 2.0**-16
"""Bits added to every bound, far above the rounding error of log-gamma below 10^5 parties."""


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """How many holders each party has, and how many of them recover its secrets.

    Attributes:
        degree: holders of each party's shares, 1..parties - 1.
        threshold: shares needed.
        complete: every other party is a holder; nothing is drawn.
    """

    degree: int
    threshold: int
    complete: bool


@lru_cache(maxsize=128)
def plan_graph(
    parties: int,
    *,
    colluders: int,
    max_dropouts: int,
    security_bits: int = 40,
    correctness_bits: int = 20,
) -> GraphPlan:
    """Choose the smallest degree, then the smallest threshold, that meet both bounds.

    Args:
        parties: n, in the roster; >= 2.
        colluders: c, parties that work with the coordinator; 0..n - 1.
        max_dropouts: d, parties that may vanish, independently of the draws; 0..n - 1.
        security_bits: the coordinator opens a sum of at most half of the honest parties with
            probability at most 2^-security_bits, see the module's text.
        correctness_bits: with d dropouts, some party has fewer than ``threshold`` holders left with
            probability at most 2^-correctness_bits.

    Returns:
        The plan: complete up to :data:`COMPLETE_UP_TO` parties, or where no smaller degree will do.

    Raises:
        MisuseError: an argument outside its range.
        AgreementError: not even the complete graph has a threshold above ``colluders`` that
            ``max_dropouts`` leaves within reach.
    """
    if parties < 2 or not (0 <= colluders < parties and 0 <= max_dropouts < parties):
        raise MisuseError(
            f"no graph of {parties} parties has {colluders} colluders and {max_dropouts} dropouts"
        )
    if parties > COMPLETE_UP_TO:
        for degree in range(1, parties - 1):
            threshold = _threshold(
                parties, colluders, max_dropouts, degree, (security_bits, correctness_bits)
            )
            if threshold is not None:
                return GraphPlan(degree, threshold, complete=False)
    return _complete_plan(parties, colluders, max_dropouts)


def privacy_failure(parties: int, *, colluders: int, degree: int, threshold: int) -> float:
    """Bound the chance that a sum of at most half of the honest parties can be opened.

    Args:
        parties: n.
        colluders: c.
        degree: k holders drawn by each party, 1..n - 1.
        threshold: t.

    Returns:
        Base-2 logarithm of the bound (**) of the module's text, rounded up; at most 0.
    """
    honest = parties - colluders
    sizes = np.arange(1, max(honest // 2, 1) + 1)
    terms = _terms(honest, sizes, colluders, degree, threshold)
    return min(0.0, _log2_sum(terms) + _ROUND_UP)


def recovery_failure(parties: int, *, max_dropouts: int, degree: int, threshold: int) -> float:
    """Bound the chance that some party has fewer than ``threshold`` holders left.

    Args:
        parties: n.
        max_dropouts: d, of the other n - 1 parties, chosen independently of the draws.
        degree: k.
        threshold: t.

    Returns:
        Base-2 logarithm of the bound, n times the tail, rounded up; at most 0.
    """
    # Fewer than t of k holders are left when at least k - t + 1 of them dropped.
    dropped = np.array([min(max_dropouts, parties - 1)])
    tail = _log2_tails(parties - 1, dropped, degree, degree - threshold + 1)
    return min(0.0, math.log2(parties) + float(tail[0]) + _ROUND_UP)


def draw_neighbours(
    own: int, parties: Sequence[int], degree: int, random: RandomBytes
) -> tuple[int, ...]:
    """Draw the holders of one's own shares, uniformly without replacement.

    Args:
        own: the drawing party.
        parties: the roster, distinct; ``own`` may be among them.
        degree: holders to draw, 1..number of others.
        random: source of the draw.

    Returns:
        The holders in ascending order, never ``own``.

    Raises:
        MisuseError: ``degree`` is out of range, or a party is listed twice.
    """
    others = sorted(party for party in parties if party != own)
    if len(set(others)) != len(others):
        raise MisuseError("a roster lists every party once")
    if not 1 <= degree <= len(others):
        raise MisuseError(f"{degree} holders cannot be drawn among {len(others)} other parties")
    # The first steps of a Fisher-Yates shuffle.
    for index in range(degree):
        chosen = index + uniform_below(len(others) - index, random)
        others[index], others[chosen] = others[chosen], others[index]
    return tuple(sorted(others[:degree]))


def _complete_plan(parties: int, colluders: int, max_dropouts: int) -> GraphPlan:
    # All honest survivors are neighbours, so (*) leaves t > c alone. Half way up, two survivor sets
    # could not both be unmasked even without the confirm step.
    holders = parties - 1
    reachable = holders - max_dropouts
    if reachable <= colluders:
        raise AgreementError(
            "aggregation.max_dropouts",
            f"with {max_dropouts} of {parties} parties gone, the {reachable} holders left are no "
            f"more than the {colluders} colluders, so no threshold is safe and in reach",
            "lower max_dropouts or colluders, or add parties",
        )
    threshold = min((holders + colluders) // 2 + 1, reachable)
    return GraphPlan(holders, threshold, complete=True)


def _threshold(
    parties: int, colluders: int, max_dropouts: int, degree: int, bits: tuple[int, int]
) -> int | None:
    """Find the smallest threshold that meets both bounds at this degree, if one does."""
    security_bits, correctness_bits = bits

    def is_private(threshold: int) -> bool:
        # The largest set alone rules most degrees out, at a fraction of the cost.
        return all(
            bound(parties, colluders=colluders, degree=degree, threshold=threshold)
            <= -security_bits
            for bound in (_largest_term, privacy_failure)
        )

    def is_recoverable(threshold: int) -> bool:
        failure = recovery_failure(
            parties, max_dropouts=max_dropouts, degree=degree, threshold=threshold
        )
        return failure <= -correctness_bits

    # A higher threshold makes the one less likely to fail, and the other more.
    thresholds = range(1, degree + 1)
    highest = bisect_left(thresholds, x=True, key=lambda t: not is_recoverable(t))
    if highest == 0 or not is_private(highest):
        return None
    return 1 + bisect_left(thresholds, x=True, hi=highest, key=is_private)


def _largest_term(parties: int, *, colluders: int, degree: int, threshold: int) -> float:
    honest = parties - colluders
    return float(_terms(honest, np.array([max(honest // 2, 1)]), colluders, degree, threshold)[0])


def _terms(
    honest: int, sizes: NDArray[np.int64], colluders: int, degree: int, threshold: int
) -> NDArray[np.float64]:
    """Logarithms of the terms of (**) for these sizes s."""
    tails = _log2_tails(honest + colluders - 1, sizes - 1 + colluders, degree, threshold)
    terms: NDArray[np.float64] = _log2_binomial(honest, sizes) + sizes * (tails + _ROUND_UP)
    return terms


@lru_cache(maxsize=8)
def _log2_factorials(largest: int) -> NDArray[np.float64]:
    natural = np.array([math.lgamma(n + 1) for n in range(largest + 1)], np.float64)
    table: NDArray[np.float64] = natural / math.log(2)
    return table


def _log2_binomial(above: NDArray[np.int64] | int, below: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithms of binomial coefficients, -inf where the coefficient is zero."""
    top, bottom = np.broadcast_arrays(np.asarray(above), below)
    table = _log2_factorials(int(top.max(initial=0)))
    possible = (bottom >= 0) & (bottom <= top)
    inside = np.where(possible, bottom, 0)
    values = table[top] - table[inside] - table[top - inside]
    logarithms: NDArray[np.float64] = np.where(possible, values, -np.inf)
    return logarithms


def _log2_tails(
    population: int, marked: NDArray[np.int64], drawn: int, at_least: int
) -> NDArray[np.float64]:
    """Chances, in log2, that ``drawn`` of ``population`` take at least that many marked ones."""
    hits = np.arange(max(at_least, 0), drawn + 1)[np.newaxis, :]
    marks = marked[:, np.newaxis]
    terms = _log2_binomial(marks, hits) + _log2_binomial(population - marks, drawn - hits)
    total = float(_log2_binomial(population, np.array([drawn]))[0])
    tails = np.array([_log2_sum(row) for row in terms - total], np.float64)
    np.minimum(tails, 0.0, out=tails)
    return tails


def _log2_sum(terms: NDArray[np.float64]) -> float:
    """Add numbers given by their base-2 logarithms."""
    largest = float(terms.max(initial=-np.inf))
    if largest == -math.inf:
        return largest
    return largest + math.log2(float(np.exp2(terms - largest).sum()))
