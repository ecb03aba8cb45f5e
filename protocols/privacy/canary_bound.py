"""A lower bound on epsilon from guesses about canaries that one run did or did not include.

Source: Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One (1) Training Run", Theorem 5.2
and the procedure of its appendix D.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.errors import PrivacyParameterError

_PRECISION = 1e-4
_MOST_EPSILON = 1000.0


def p_value(epsilon: float, *, canaries: int, guesses: int, right: int, delta: float) -> float:
    """Bound the chance that an (epsilon, delta)-private run lets so many guesses be right.

    Args:
        epsilon: the hypothesis, >= 0.
        canaries: m, each included with probability one half, independently.
        guesses: r <= m, how many canaries were guessed about; the others were abstained from.
        right: v <= r, guesses that were right.
        delta: of the hypothesis, 0..1.

    Returns:
        A probability. Below 1 minus the confidence, the hypothesis is refuted.

    Raises:
        PrivacyParameterError: the counts do not fit, or epsilon or delta is out of range.
    """
    if not 0 <= right <= guesses <= canaries or not 0 <= delta <= 1 or not epsilon >= 0:
        raise PrivacyParameterError("canaries", "counts, epsilon or delta do not fit together")
    if right == 0:
        return 1.0
    # Of randomised response, the most revealing mechanism with that epsilon.
    log_right, log_wrong = (
        -math.log1p(math.exp(-epsilon)),
        -epsilon - math.log1p(math.exp(-epsilon)),
    )
    masses = np.exp(_log_binomials(guesses, log_right, log_wrong))
    above = float(masses[right:].sum())
    below = np.cumsum(masses[:right][::-1])
    steps = np.arange(1, right + 1)
    alpha = float((below / steps).max())
    return min(1.0, above + 2 * canaries * delta * alpha)


def _log_binomials(count: int, log_right: float, log_wrong: float) -> NDArray[np.float64]:
    """Return log probabilities of 0..count successes."""
    number = np.arange(1, count + 1, dtype=np.float64)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(number))])
    successes = np.arange(count + 1)
    choose = factorials[count] - factorials - factorials[::-1]
    return np.asarray(choose + successes * log_right + (count - successes) * log_wrong)


def epsilon_lower_bound(
    *, canaries: int, guesses: int, right: int, delta: float, confidence: float
) -> float:
    """Return the largest epsilon that the guesses refute; 0 if they refute none.

    Args:
        canaries: m, as for :func:`p_value`.
        guesses: r, fixed before the run.
        right: guesses that were right.
        delta: at which epsilon is taken.
        confidence: probability with which the bound holds, in (0, 1).

    Raises:
        PrivacyParameterError: as :func:`p_value`, or the confidence is out of range.
    """
    if not 0 < confidence < 1:
        raise PrivacyParameterError("confidence", f"{confidence} is not within 0 to 1")

    def refuted(epsilon: float) -> bool:
        return (
            p_value(epsilon, canaries=canaries, guesses=guesses, right=right, delta=delta)
            < 1 - confidence
        )

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high) and high < _MOST_EPSILON:
        low, high = high, 2 * high
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
