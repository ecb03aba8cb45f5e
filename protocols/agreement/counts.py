"""Which numbers of colluders, dropouts, shares and survivors are safe and possible together.

Sources: Bonawitz et al. 2017, section 6 (threshold and consistency round); Bell et al. 2020,
section 3 (neighbour graph). Why 2Q > n + c: two sets of Q confirmations out of n share at least
2Q - n > c parties, so an honest one is in both, and an honest party confirms one set only.
"""

from __future__ import annotations

from collections.abc import Iterator

from protocols.agreement.model import Aggregation, quorum_of
from protocols.agreement.neighbours import (
    CORRECTNESS_BITS,
    SECURITY_BITS,
    safe_thresholds,
    suggest_graph,
)
from protocols.errors import AgreementError


def count_problems(n: int, rules: Aggregation, rounds: int) -> Iterator[AgreementError]:
    """Check colluders, dropouts, threshold and cohort for ``n`` parties in so many rounds.

    Later rules assume that the earlier ones hold, so an impossible set yields one problem.
    """
    c, d, quorum = rules.colluders, rules.max_dropouts, quorum_of(n, rules.colluders)
    if c > n - 2:
        yield AgreementError(
            "aggregation.colluders",
            f"is {c} of {n} parties, which leaves fewer than two honest ones to hide each other",
            f"set it to at most {n - 2}",
        )
        return
    if quorum > n - d:
        fewer = n - 2 * d - 1
        other = f", or aggregation.colluders to at most {fewer}" if fewer >= 0 else ""
        yield AgreementError(
            "aggregation.max_dropouts",
            f"is {d}, but {quorum} of {n} parties (half of parties and {c} colluders, and one "
            f"more) must confirm each sum and only {max(n - d, 0)} would be left",
            f"set it to at most {n - quorum}{other}",
        )
        return
    yield from _threshold(n, rules, rounds)
    if not quorum <= rules.min_cohort <= n - d:
        yield AgreementError(
            "aggregation.min_cohort",
            f"is {rules.min_cohort}; at least {quorum} parties confirm each sum, and at most "
            f"{n - d} are sure to be left after {d} dropouts",
            f"set it from {quorum} to {n - d}, for example to {quorum}",
        )


def _threshold(n: int, rules: Aggregation, rounds: int) -> Iterator[AgreementError]:
    if rules.neighbours != "complete":
        yield from _graph(n, rules, rules.neighbours, rounds)
        return
    low, high = rules.colluders + 1, n - 1 - rules.max_dropouts
    if rules.threshold < low:
        yield AgreementError(
            "aggregation.threshold",
            f"is {rules.threshold}, so {rules.colluders} colluders could open a mask alone",
            f"set it from {low} to {high}",
        )
    if rules.threshold > high:
        yield AgreementError(
            "aggregation.threshold",
            f"is {rules.threshold}, but of the {n - 1} parties that hold a party's shares only "
            f"{high} are sure to be left after {rules.max_dropouts} dropouts",
            f"set it from {low} to {high}",
        )


def _graph(n: int, rules: Aggregation, degree: int, rounds: int) -> Iterator[AgreementError]:
    safe = safe_thresholds(n, rules.colluders, rules.max_dropouts, degree, rounds)
    whom = f"{n} parties, {rules.colluders} colluders and {rules.max_dropouts} dropouts"
    if safe is None:
        plan = suggest_graph(n, rules.colluders, rules.max_dropouts, rounds)
        drawn = "" if plan is None else f"{plan.degree} with threshold = {plan.threshold}, or to "
        yield AgreementError(
            "aggregation.neighbours",
            f"is {degree}: with {whom} no threshold keeps privacy up to a chance of "
            f"2^-{SECURITY_BITS} over {rounds} rounds and a round alive up to "
            f"2^-{CORRECTNESS_BITS}",
            f'set it to {drawn}"complete"',
        )
    elif not safe[0] <= rules.threshold <= safe[1]:
        yield AgreementError(
            "aggregation.threshold",
            f"is {rules.threshold}; with {degree} neighbours drawn among {whom}, fewer shares "
            f"lose privacy with more than 2^-{SECURITY_BITS} over {rounds} rounds, more lose a "
            f"round with more than 2^-{CORRECTNESS_BITS}",
            f"set it from {safe[0]} to {safe[1]}",
        )
