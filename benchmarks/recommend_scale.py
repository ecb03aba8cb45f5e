"""How many people private recommenders need: generated people from 10^3 to 10^6.

The sums are plain ones with the noise that the private sum would hold, from the very plan of the
agreement (`PersonPrivacy.plan`), as normal deviates: the same distribution up to the grid. Where
people are few, the private sum itself is run beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recommend_plot import Axis, Curve, drawing
from scipy import sparse

from protocols.errors import NoResultError
from securefed.learning import PersonPrivacy
from securefed.learning.recommend import Catalogue, DpEase, DpIals, Histories, Interactions
from securefed.learning.recommend.demo import crowd
from securefed.learning.recommend.gram import ease_weights, triangle_size
from securefed.learning.recommend.private_als_task import PERSON_NORM, PersonAls
from securefed.learning.recommend.private_factors import PersonSums
from securefed.learning.recommend.private_gram import count_norm, pair_norm
from securefed.learning.recommend.ranking import gain, ranks
from securefed.learning.registry import build_task

PARTIES = 10
DELTA = 1e-7
MOST = 20
ITEMS = 1_000
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FEW = 10_000
"""People of the run through the private sum itself."""
TESTED = 5_000
EPSILONS = (8.0, 3.0, 1.0)

Scores = Callable[[Any], NDArray[np.float64]]
"""From a sparse matrix of people by items to scores of the same shape."""


@dataclass(frozen=True)
class People:
    """Who is learnt from, as a sparse matrix of people by items, and who is tested."""

    owned: Any
    known: Any
    hidden: NDArray[np.int64]

    def ndcg(self, score: Scores) -> float:
        """Return NDCG@10 of the full ranking of people who were not learnt from."""
        found = []
        for start in range(0, len(self.hidden), 1_000):
            known = self.known[start : start + 1_000]
            scores = np.array(score(known))
            scores[known.nonzero()] = np.nan
            found.append(gain(ranks(scores, self.hidden[start : start + 1_000]), 10))
        return float(np.concatenate(found).mean())

    @property
    def counts(self) -> NDArray[np.float64]:
        """People who have each item."""
        return np.asarray(self.owned.sum(axis=0)).ravel()


def latest(histories: Histories, most: int) -> Any:
    """Return who has what among each one's latest items, sparse."""
    ends = np.repeat(histories.starts[1:], histories.sizes)
    kept = ends - np.arange(len(histories.items)) <= most
    who, what = histories.users[kept], histories.items[kept]
    shape = (histories.people, histories.count)
    return sparse.csr_matrix((np.ones(len(who)), (who, what)), shape=shape)


def people_from(whole: Histories, people: int) -> People:
    """Return the first people to learn from and the last ones to test, an item of each hidden."""
    tested = whole.slice(whole.people - TESTED, whole.people)
    last = tested.starts[1:] - 1
    rest = Histories(
        tested.starts - np.arange(TESTED + 1), np.delete(tested.items, last), tested.count
    )
    return People(latest(whole.slice(0, people), MOST), latest(rest, MOST), tested.items[last])


def deviation(epsilon: float, norm: float, size: int, rounds: int, people: int) -> float:
    """Return the noise of a sum, such that all rounds together cost ``epsilon``."""
    start = PersonPrivacy(norm, 1.0, 1.0, PARTIES, DELTA)
    level = start.at_epsilon(epsilon, dimension=size, rounds=rounds)
    return level.plan(size, parties=PARTIES, people=people).noise_deviation


def private_task(items: int, *, item_products: bool) -> PersonAls:
    """Return the task of a :class:`DpIals` with its default parameters."""
    model = DpIals(Catalogue.numbered(items), people=1, most=MOST, item_products=item_products)
    plan = model.plan(PARTIES)
    task = build_task(plan.kind, plan.parameters)
    if not isinstance(task, PersonAls):
        raise TypeError(plan.kind)
    return task


def learnt(
    people: People, task: PersonAls, noise: float, seed: int
) -> tuple[PersonSums, NDArray[np.float64]]:
    """Run the rounds of private iALS on plain sums and normal deviates; return the factors."""
    rng, sums, layout = np.random.default_rng(seed), task.parameters.sums, task.layout()
    state, owned, turned = task.initial_state(), people.owned, people.owned.T.tocsr()
    done, number = False, 0
    while not done:
        number += 1
        total = layout.zeros()
        if number == 1:
            total["items"][:, 0] = people.counts / np.sqrt(MOST)
        else:
            users = sums.directions(owned, np.asarray(state["factors"], dtype=np.float64))
            total["items"] = turned @ sums.for_items(users)
            total["once"] = sums.once(users).sum(axis=0)
        noised = {name: array + rng.normal(0, noise, array.shape) for name, array in total.items()}
        step = task.combine(state, noised, float(owned.shape[0]), PERSON_NORM, noise, number)
        state, done = step.state, step.done
    return sums, np.asarray(state["factors"], dtype=np.float64)


def factor_score(people: People, task: PersonAls, noise: float, seed: int = 0) -> float:
    """Return NDCG@10 of private iALS; 0 where nothing rises above the noise."""
    try:
        sums, factors = learnt(people, task, noise, seed)
    except NoResultError:
        return 0.0
    return people.ndcg(lambda known: sums.directions(known, factors) @ factors.T)


def popularity_score(people: People, noise: float, seed: int = 0) -> float:
    """Return NDCG@10 of noised counts."""
    counts = people.counts + np.random.default_rng(seed).normal(0, noise, ITEMS)
    return people.ndcg(lambda known: np.tile(counts, (known.shape[0], 1)))


def ease_score(people: People, noise: float, seed: int = 0) -> float:
    """Return NDCG@10 of EASE from noised pairs."""
    gram = (people.owned.T @ people.owned).toarray()
    if noise:
        drawn = np.triu(np.random.default_rng(seed).normal(0, noise, gram.shape))
        gram = gram + drawn + np.triu(drawn, 1).T
        model = DpEase(Catalogue.numbered(ITEMS), chosen=range(ITEMS), people=1)
        model.noise_ = noise
        weights = model.weights(gram)
    else:
        weights = ease_weights(gram, 200.0)
    return people.ndcg(lambda known: np.asarray(known @ weights))


def through_the_private_sum(whole: Histories, people: People, epsilon: float) -> float:
    """Return NDCG@10 of :class:`DpIals` from the private sum itself, with ten parties."""
    count = people.owned.shape[0]
    catalogue, train = Catalogue.numbered(ITEMS), whole.slice(0, count)
    parts = [
        Interactions.of_numbers(catalogue, rows.users, rows.items)
        for rows in (
            train.slice(count * part // PARTIES, count * (part + 1) // PARTIES)
            for part in range(PARTIES)
        )
    ]
    model = DpIals(catalogue, people=count, most=MOST)
    size = private_task(ITEMS, item_products=False).layout().size
    start = PersonPrivacy(PERSON_NORM, 1.0, 1.0, PARTIES, DELTA)
    model.fit_noised(parts, start.at_epsilon(epsilon, dimension=size, rounds=1 + model.sweeps))
    sums = PersonSums(
        model.factors, MOST, model.item_products, model.unobserved, model.regularization
    )
    return people.ndcg(lambda known: sums.directions(known, model.factors_) @ model.factors_.T)


def scale(svg: Path | None) -> None:
    """Print and draw NDCG@10 over the number of people, relative to iALS without noise."""
    start = time.perf_counter()
    whole = crowd(max(SIZES) + TESTED, items=ITEMS, seed=1)
    print(f"{len(whole.items):,} rows generated in {time.perf_counter() - start:.0f} s\n")
    curves: dict[str, list[tuple[float, float]]] = {}
    small, large = (private_task(ITEMS, item_products=each) for each in (False, True))
    print("| people | eps | iALS without noise | `DpIals` | with item products | `DpEase` | "
          "`DpPopularity` |\n|" + " --- |" * 7)  # fmt: skip
    for size in SIZES:
        people = people_from(whole, size)
        best = factor_score(people, large, 0.0)
        for epsilon in EPSILONS:
            noises = {
                "factors": deviation(epsilon, PERSON_NORM, small.layout().size, 4, size),
                "products": deviation(epsilon, PERSON_NORM, large.layout().size, 4, size),
                "pairs": deviation(epsilon, pair_norm(MOST), triangle_size(ITEMS), 1, size),
                "counts": deviation(epsilon, count_norm(MOST), ITEMS, 1, size),
            }
            seeds = range(3 if size <= 100_000 else 1)
            factors = np.mean([factor_score(people, small, noises["factors"], s) for s in seeds])
            products = np.mean([factor_score(people, large, noises["products"], s) for s in seeds])
            pairs = ease_score(people, noises["pairs"])
            floor = popularity_score(people, noises["counts"])
            print(f"| {size:,} | {epsilon:g} | {best:.4f} | {factors:.4f} | {products:.4f} | "
                  f"{pairs:.4f} | {floor:.4f} |", flush=True)  # fmt: skip
            for name, found in (("iALS", factors), ("EASE", pairs), ("popularity", floor)):
                label = f"{name}, epsilon {epsilon:g}"
                curves.setdefault(label, []).append((size, float(found) / best))
        plain = factor_score(people, small, 0.0)
        print(f"| {size:,} | none | {best:.4f} | {plain:.4f} | {best:.4f} | "
              f"{ease_score(people, 0.0):.4f} | {popularity_score(people, 0.0):.4f} |")  # fmt: skip
    through = through_the_private_sum(whole, people_from(whole, FEW), 3.0)
    print(f"\n{FEW:,} people, eps 3, through the private sum itself: {through:.4f}")
    if svg is not None:
        svg.write_text(picture(curves), encoding="utf-8")


def picture(curves: dict[str, list[tuple[float, float]]]) -> str:
    """Return the plot: private iALS, EASE at the strictest epsilon, noised popularity."""
    strict = [f"{name}, epsilon {EPSILONS[-1]:g}" for name in ("EASE", "popularity")]
    chosen: dict[str, Curve] = {
        name: curve for name, curve in curves.items() if name.startswith("iALS") or name in strict
    }
    ticks = [(10.0**power, f"{10**power:,}") for power in (3, 4, 5, 6)]
    heights = [(step / 5, f"{step * 20} %") for step in range(7)]
    return drawing(
        "Quality of private recommendation over the number of people",
        chosen,
        Axis("people", min(SIZES), max(SIZES), ticks, logarithmic=True),
        Axis("NDCG@10, share of iALS without noise", 0.0, 1.2, heights),
        dashed=strict,
        legend=(400, 257),
    )
