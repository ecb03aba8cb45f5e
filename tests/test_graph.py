from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import forbidden, seeded

from protocols.errors import AgreementError, MisuseError
from protocols.graph import (
    COMPLETE_UP_TO,
    GraphPlan,
    draw_neighbours,
    plan_graph,
    privacy_failure,
    recovery_failure,
)


def tail(population: int, marked: int, drawn: int, at_least: int) -> Fraction:
    """Chance that a draw takes at least that many marked ones, exactly."""
    ways = sum(
        math.comb(marked, hits) * math.comb(population - marked, drawn - hits)
        for hits in range(at_least, drawn + 1)
    )
    return Fraction(ways, math.comb(population, drawn))


def exact_privacy(n: int, c: int, k: int, t: int) -> Fraction:
    h = n - c
    return sum(
        (math.comb(h, s) * tail(n - 1, s - 1 + c, k, t) ** s for s in range(1, h // 2 + 1)),
        Fraction(0),
    )


def log2(value: Fraction) -> float:
    return math.log2(value.numerator) - math.log2(value.denominator) if value else -math.inf


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, int, int, int]:
    n = draw(st.integers(4, 60))
    c = draw(st.integers(0, n - 2))
    k = draw(st.integers(1, n - 1))
    return n, c, k, draw(st.integers(1, k))


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_the_privacy_bound_is_the_exact_one_rounded_up(graph: tuple[int, int, int, int]) -> None:
    n, c, k, t = graph
    exact = log2(exact_privacy(n, c, k, t))
    bound = privacy_failure(n, colluders=c, degree=k, threshold=t)
    if exact == -math.inf:
        assert bound == -math.inf
    else:
        assert min(0.0, exact) <= bound <= min(0.0, exact + 0.01)


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(0, 59))
def test_the_recovery_bound_is_the_exact_one_rounded_up(
    graph: tuple[int, int, int, int], dropouts: int
) -> None:
    n, _, k, t = graph
    d = min(dropouts, n - 1)
    too_few = Fraction(
        sum(math.comb(n - 1 - d, left) * math.comb(d, k - left) for left in range(t)),
        math.comb(n - 1, k),
    )
    exact = log2(n * too_few)
    bound = recovery_failure(n, max_dropouts=d, degree=k, threshold=t)
    if exact == -math.inf:
        assert bound == -math.inf
    else:
        assert min(0.0, exact) <= bound <= min(0.0, exact + 0.01)


def test_the_bound_holds_at_a_thousand_parties() -> None:
    n, c, k, t = 1000, 50, 31, 19
    bound = privacy_failure(n, colluders=c, degree=k, threshold=t)
    exact = log2(exact_privacy(n, c, k, t))
    assert exact <= bound <= exact + 0.1


Draws = dict[int, tuple[int, ...]]


def closed_sets(draws: Draws, honest: set[int], threshold: int) -> list[set[int]]:
    """Sets of at most half of the honest parties that satisfy (*) of the module's text."""
    found = []
    for size in range(1, len(honest) // 2 + 1):
        for members in itertools.combinations(sorted(honest), size):
            group = set(members)
            if all(
                sum(holder in group or holder not in honest for holder in draws[u]) >= threshold
                for u in members
            ):
                found.append(group)
    return found


def opened_sets(
    draws: Draws, honest: set[int], survivors: set[int], threshold: int
) -> list[set[int]]:
    """Components whose sum a coordinator with the colluders can open for this survivor set."""
    alive = honest & survivors
    helpers = survivors | (set(draws) - honest)
    left, opened = set(alive), []
    while left:
        component, edge = set[int](), {min(left)}
        while edge:
            component |= edge
            edge = {
                v
                for v in alive - component
                if any(v in draws[u] or u in draws[v] for u in component)
            }
        left -= component
        if all(len(helpers & set(draws[u])) >= threshold for u in component):
            opened.append(component)
    return opened


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 8), st.integers(0, 2), st.integers(0, 10**6), st.data())
def test_without_a_closed_set_no_choice_of_survivors_opens_half_of_the_honest(
    n: int, colluders: int, label: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(2, n - 1))
    threshold = data.draw(st.integers(1, k))
    draws = {u: draw_neighbours(u, range(n), k, seeded((label, u))) for u in range(n)}
    honest = set(range(colluders, n))
    closed = closed_sets(draws, honest, threshold)
    for size in range(n + 1):
        for survivors in itertools.combinations(range(n), size):
            opened = opened_sets(draws, honest, set(survivors), threshold)
            small = [group for group in opened if 2 * len(group) <= len(honest)]
            assert all(group in closed for group in small)
            if not closed:
                assert len(opened) <= 1


def test_drawn_graphs_fail_no_more_often_than_the_bound_says() -> None:
    n, c, k, t, trials = 9, 1, 4, 3, 400
    bound = 2 ** privacy_failure(n, colluders=c, degree=k, threshold=t)
    assert 0.02 < bound < 0.5
    honest = set(range(c, n))
    failures = sum(
        bool(
            closed_sets(
                {u: draw_neighbours(u, range(n), k, seeded((trial, u))) for u in range(n)},
                honest,
                t,
            )
        )
        for trial in range(trials)
    )
    deviation = math.sqrt(bound * (1 - bound) / trials)
    assert 0 < failures / trials < bound + 4 * deviation


@pytest.mark.parametrize(
    ("parties", "colluders", "dropouts"),
    [(33, 1, 1), (60, 6, 6), (100, 10, 10), (100, 33, 20), (300, 30, 60), (1000, 100, 100)],
)
def test_a_drawn_plan_meets_both_bounds_and_no_smaller_one_does(
    parties: int, colluders: int, dropouts: int
) -> None:
    plan = plan_graph(parties, colluders=colluders, max_dropouts=dropouts)
    assert not plan.complete
    assert colluders < parties - dropouts
    meets = [
        (degree, threshold)
        for degree in range(1, plan.degree + 1)
        for threshold in range(1, degree + 1)
        if recovery_failure(parties, max_dropouts=dropouts, degree=degree, threshold=threshold)
        <= -20
        and privacy_failure(parties, colluders=colluders, degree=degree, threshold=threshold) <= -40
    ]
    assert min(meets) == (plan.degree, plan.threshold)


def test_a_thousand_parties_need_few_holders_each() -> None:
    assert plan_graph(1000, colluders=50, max_dropouts=50).degree < 40


@pytest.mark.parametrize("parties", [2, 3, 10, COMPLETE_UP_TO])
def test_small_federations_use_the_complete_graph(parties: int) -> None:
    plan = plan_graph(parties, colluders=0, max_dropouts=0)
    assert plan.complete
    assert plan.degree == parties - 1


@settings(max_examples=100, deadline=None)
@given(st.integers(2, COMPLETE_UP_TO), st.integers(0, 31), st.integers(0, 31))
def test_a_complete_plan_is_safe_and_in_reach_or_refused(
    parties: int, colluders: int, dropouts: int
) -> None:
    c, d = min(colluders, parties - 1), min(dropouts, parties - 1)
    if parties - 1 - d <= c:
        with pytest.raises(AgreementError, match="no threshold is safe") as caught:
            plan_graph(parties, colluders=c, max_dropouts=d)
        assert caught.value.key == "aggregation.max_dropouts"
    else:
        plan = plan_graph(parties, colluders=c, max_dropouts=d)
        assert c < plan.threshold <= parties - 1 - d


def test_the_complete_graph_is_used_where_no_sparse_one_will_do() -> None:
    plan = plan_graph(100, colluders=33, max_dropouts=40)
    assert plan == GraphPlan(degree=99, threshold=59, complete=True)


@pytest.mark.parametrize(
    ("parties", "colluders", "dropouts"), [(1, 0, 0), (5, 5, 0), (5, -1, 0), (5, 0, 5), (5, 0, -1)]
)
def test_a_graph_without_meaning_is_refused(parties: int, colluders: int, dropouts: int) -> None:
    with pytest.raises(MisuseError):
        plan_graph(parties, colluders=colluders, max_dropouts=dropouts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=2, max_size=20, unique=True), st.data())
def test_a_party_draws_distinct_others_in_order(parties: list[int], data: st.DataObject) -> None:
    own = data.draw(st.sampled_from(parties))
    degree = data.draw(st.integers(1, len(parties) - 1))
    drawn = draw_neighbours(own, parties, degree, seeded("draw"))
    assert len(drawn) == degree
    assert set(drawn) <= set(parties) - {own}
    assert list(drawn) == sorted(set(drawn))


def test_every_set_of_holders_is_equally_likely() -> None:
    random, trials = seeded("uniform"), 6000
    counts = Counter(draw_neighbours(2, range(6), 2, random) for _ in range(trials))
    assert len(counts) == 10
    deviation = math.sqrt(trials * 0.1 * 0.9)
    assert max(abs(count - trials / 10) for count in counts.values()) < 4 * deviation


def test_the_order_of_the_roster_does_not_matter() -> None:
    one = draw_neighbours(3, list(range(40)), 7, seeded("order"))
    two = draw_neighbours(3, list(np.random.default_rng(1).permutation(40)), 7, seeded("order"))
    assert one == two


@pytest.mark.parametrize("degree", [0, 4, -1])
def test_more_holders_than_others_are_refused(degree: int) -> None:
    with pytest.raises(MisuseError, match="cannot be drawn"):
        draw_neighbours(0, [0, 1, 2, 3], degree, forbidden)


def test_a_roster_with_one_party_twice_is_refused() -> None:
    with pytest.raises(MisuseError, match="once"):
        draw_neighbours(0, [0, 1, 1, 2], 2, forbidden)
