"""Recommendation on ml-latest-small: local-only, federated and pooled; bias; cold start; privacy.

Run: python benchmarks/recommend.py --data DIR [--part NAME ...] [--svg FILE]. DIR holds
ml-latest-small/ratings.csv and movies.csv. Each user's last rating is hidden; all ratings count as
liked. Parts: table, choose, frontier, cold, private,
scale.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.errors import NoResultError
from securefed import Federation
from securefed.learning import PersonPrivacy
from securefed.learning.recommend import (
    Calibration,
    Catalogue,
    ContentBased,
    DpEase,
    DpPopularity,
    Ease,
    Evaluation,
    Evaluator,
    Histories,
    Holdout,
    Hybrid,
    Ials,
    Interactions,
    ItemCosine,
    ItemFeatures,
    Popularity,
    Recommender,
    discount_popularity,
    leave_last_out,
)
from securefed.learning.recommend.evaluation import ScoreItems
from securefed.learning.recommend.gram import ease_weights
from securefed.learning.recommend.private_gram import count_norm, pair_norm

COMPANIES = 10
MAX_USERS = 256
SPLITS = 5
DELTA = 1e-5


@dataclass(frozen=True)
class Films:
    """The data set, every user's last rating hidden."""

    catalogue: Catalogue
    holdout: Holdout
    genres: ItemFeatures
    features: ItemFeatures

    @property
    def popularity(self) -> NDArray[np.float64]:
        """Users who have each film in training."""
        return Histories.from_interactions(self.holdout.train).raters.astype(np.float64)


def read_films(folder: Path) -> Films:
    """Read ml-latest-small; the catalogue are the rated films in the order of their numbers."""
    with (folder / "ratings.csv").open(encoding="utf-8") as file:
        ratings = list(csv.reader(file))[1:]
    with (folder / "movies.csv").open(encoding="utf-8") as file:
        told = {row[0]: (row[1], row[2].split("|")) for row in list(csv.reader(file))[1:]}
    catalogue = Catalogue(tuple(sorted({row[1] for row in ratings}, key=int)))
    rows = Interactions.of(
        catalogue,
        [row[0] for row in ratings],
        [row[1] for row in ratings],
        values=[float(row[2]) for row in ratings],
        times=[float(row[3]) for row in ratings],
    )
    genres = ItemFeatures.of_kinds([told[key][1] for key in catalogue.keys])
    years = [re.search(r"\((\d{3})\d\)", told[key][0]) for key in catalogue.keys]
    decades = ItemFeatures.of_kinds([[year[1] + "0s"] if year else [] for year in years])
    both = ItemFeatures(
        np.concatenate([genres.matrix, decades.matrix], axis=1), genres.names + decades.names
    )
    return Films(catalogue, leave_last_out(rows), genres, both)


def split(holdout: Holdout, seed: int) -> list[Holdout]:
    """Deal users to companies of uneven sizes."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet([2.0] * COMPANIES)
    owner = rng.choice(COMPANIES, holdout.train.people, p=share)
    parts = [np.flatnonzero(owner == company) for company in range(COMPANIES)]
    return [
        Holdout(holdout.train.rows(np.isin(holdout.train.users, part)), holdout.targets[part])
        for part in parts
        if len(part)
    ]


_COLUMNS = ("method", "HR@10", "NDCG@10", "HR@10 of 100", "NDCG@10 of 100")
_COLUMNS += ("ARP", "coverage", "Gini", "APLT", "PopREO")
HEADER = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"


def show(name: str, found: Sequence[Evaluation]) -> None:
    """Print one row: means, and deviations over splits where there are several."""
    rows = [each.row() for each in found]
    cells = []
    for key, digits in (
        ("hit_rate", 4), ("ndcg", 4), ("sampled_hit_rate", 3), ("sampled_ndcg", 3), ("arp", 0),
        ("coverage", 3), ("gini", 3), ("aplt", 3), ("pop_reo", 2),
    ):  # fmt: skip
        values = [row[key] for row in rows]
        cell = f"{np.mean(values):.{digits}f}"
        if len(values) > 1 and key in ("hit_rate", "ndcg"):
            cell += f" ± {np.std(values, ddof=1):.{digits}f}"
        cells.append(cell)
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measured(films: Films, score: ScoreItems) -> Evaluation:
    """Evaluate one model on all users."""
    evaluator = Evaluator(films.popularity)
    evaluator.add(score, films.holdout)
    return evaluator.result()


def local_only(films: Films, seed: int, make: Callable[[], Recommender]) -> Evaluation:
    """Evaluate the models that the companies of one split train alone."""
    evaluator = Evaluator(films.popularity)
    for part in split(films.holdout, seed):
        evaluator.add(make().fit_plain([part.train]).scores, part)
    return evaluator.result()


def federation(parties: Sequence[Holdout]) -> tuple[Federation, dict[str, Interactions]]:
    """Return a federation of the companies of a split, and their rows."""
    names = [f"company-{number}" for number in range(len(parties))]
    rows = {name: part.train for name, part in zip(names, parties, strict=True)}
    return Federation("films", names, privacy=None), rows


def federated(films: Films, make: Callable[[], Recommender]) -> tuple[Recommender, str]:
    """Train over real nodes in this process; return the model and what it took."""
    lead, rows = federation(split(films.holdout, 0))
    start = time.perf_counter()
    model = make().fit(lead, rows)
    seconds = time.perf_counter() - start
    rounds = sum(len(run.records) for run in model.runs_.values())
    sent = max(sum(run.bytes_up[name] for run in model.runs_.values()) for name in lead.parties)
    return model, f"{rounds} rounds, {sent / 1e6:.1f} MB a party, {seconds:.0f} s"


def table(films: Films) -> None:
    """Local-only, federated and pooled."""
    pooled_rows, cat = [films.holdout.train], films.catalogue
    print(HEADER)
    popularity = Popularity(cat).fit_plain(pooled_rows)
    show("popularity", [measured(films, popularity.scores)])
    cosine = ItemCosine(cat, support=popularity).fit_plain(pooled_rows)
    show("item cosine, pooled = federated", [measured(films, cosine.scores)])
    notes = []
    for name, make, alone in (
        ("EASE", lambda: Ease(cat, max_users=MAX_USERS), lambda: Ease(cat, min_support=2)),
        ("iALS", lambda: Ials(cat, max_users=MAX_USERS), lambda: Ials(cat, min_support=1)),
    ):
        show(f"{name}, local-only", [local_only(films, seed, alone) for seed in range(SPLITS)])
        model, cost = federated(films, make)
        show(f"{name}, federated", [measured(films, model.scores)])
        whole = make().set_params(max_users=1024).fit_plain(pooled_rows)
        show(f"{name}, pooled", [measured(films, whole.scores)])
        ours, theirs = model.scores(films.holdout.train), whole.scores(films.holdout.train)
        known = np.isfinite(theirs)
        gap = np.abs(ours[known] - theirs[known]).max()
        notes.append(f"{name}: {cost}; largest difference of a score from pooled {gap:.1e}")
    content = ContentBased(cat, films.genres).fit_plain(pooled_rows)
    show("content (genres)", [measured(films, content.scores)])
    ease = Ease(cat, support=popularity).fit_plain(pooled_rows)
    show("EASE with content, 0.1", [measured(films, Hybrid(ease, content, weight=0.1).scores)])
    print("\n" + "\n".join(notes))


def frontier(films: Films, svg: Path | None) -> None:
    """Accuracy against coverage: discount, weights in training, calibration."""
    pooled_rows, cat = [films.holdout.train], films.catalogue
    ease = Ease(cat).fit_plain(pooled_rows)
    ials = Ials(cat).fit_plain(pooled_rows)
    curves: dict[str, list[tuple[float, float]]] = {}
    print(HEADER)
    for name, model in (("EASE", ease), ("iALS", ials)):
        for beta in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7):

            def discounted(
                users: Histories, model: Recommender = model, beta: float = beta
            ) -> NDArray[np.float64]:
                return discount_popularity(model.scores(users), model.popularity_, beta)

            found = measured(films, discounted)
            show(f"{name} / pop^{beta}", [found])
            curves.setdefault(f"{name} / pop^b", []).append((found.bias.coverage, found.hit_rate))
    for power in (0.25, 0.5, 0.75):
        model = Ials(cat, propensity=power).fit_plain(pooled_rows)
        found = measured(films, model.scores)
        show(f"iALS, propensity^{power} in training", [found])
        curves.setdefault("iALS, propensity", []).append((found.bias.coverage, found.hit_rate))
    for weight in (0.3, 0.6):
        found = measured(films, calibrated(films, ease, weight))
        show(f"EASE, calibrated {weight}", [found])
        curves.setdefault("EASE, calibrated", []).append((found.bias.coverage, found.hit_rate))
    if svg is not None:
        svg.write_text(drawing(curves), encoding="utf-8")


def calibrated(films: Films, model: Recommender, weight: float) -> ScoreItems:
    """Return scores whose first ten are the calibrated list."""
    keep = Calibration(films.genres.matrix, weight=weight)

    def score(users: Histories) -> NDArray[np.float64]:
        scores = model.scores(users)
        for user, row in enumerate(scores):
            known = users.items[users.starts[user] : users.starts[user + 1]]
            free = row.copy()
            free[known] = np.nan
            chosen = keep.choose(free, known, 10)
            row[chosen] = np.nanmax(free) + 10.0 - np.arange(len(chosen))
        return scores

    return score


def drawing(curves: dict[str, list[tuple[float, float]]]) -> str:
    """Return an SVG of hit rate over coverage."""
    wide, high, edge = 640, 400, 60
    points = [point for curve in curves.values() for point in curve]
    right, top = max(x for x, _ in points) * 1.05, max(y for _, y in points) * 1.1
    colours = ("#1b6ca8", "#c8553d", "#588b3a", "#7b4ea3")

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = edge + point[0] / right * (wide - 2 * edge)
        return x, high - edge - point[1] / top * (high - 2 * edge)

    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" '
            'aria-label="Hit rate over catalogue coverage" font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{wide}" height="{high}" fill="white"/>',
        f'<path d="M{edge} {edge}V{high - edge}H{wide - edge}" fill="none" stroke="#444"/>',
        (
            f'<text x="{wide / 2}" y="{high - 15}" text-anchor="middle">share of the catalogue '
            "recommended to anybody</text>"
        ),
        f'<text x="15" y="{edge - 20}">HR@10, full ranking</text>',
    ]
    for step in range(1, 5):
        x, y = place((right * step / 4, top * step / 4))
        lines.append(f'<text x="{x:.0f}" y="{high - edge + 16}" text-anchor="middle">'
                     f"{right * step / 4:.2f}</text>")  # fmt: skip
        lines.append(f'<text x="{edge - 6}" y="{y + 4:.0f}" text-anchor="end">'
                     f"{top * step / 4:.3f}</text>")  # fmt: skip
    for number, (name, curve) in enumerate(curves.items()):
        colour = colours[number % len(colours)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, curve))
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
            for x, y in map(place, curve)
        ]
        lines.append(f'<text x="{edge + 15}" y="{high - edge - 80 + 18 * number}" fill="{colour}">'
                     f"{name}</text>")  # fmt: skip
    return "\n".join([*lines, "</svg>", ""])


def user_auc(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the mean over users of the chance that a liked item stands before another one."""
    found = []
    for row, liked in zip(scores, truth, strict=True):
        if 0 < liked.sum() < len(liked):
            gaps = row[liked][:, np.newaxis] - row[~liked]
            found.append(float((gaps > 0).mean() + (gaps == 0).mean() / 2))
    return float(np.mean(found))


def choose(films: Films) -> None:
    """Choose EASE's regularisation on each user's last but one rating; the test stays unseen."""
    inner = leave_last_out(films.holdout.train)
    counts = Histories.from_interactions(inner.train).raters.astype(np.float64)
    model = Ease(films.catalogue).fit_plain([inner.train])
    print("| regularization | HR@10 | NDCG@10 |")
    print("| --- | --- | --- |")
    for value in (50.0, 100.0, 200.0, 400.0, 800.0):
        evaluator = Evaluator(counts)
        evaluator.add(model.reweight(value).scores, inner)
        found = evaluator.result()
        print(f"| {value:g} | {found.hit_rate:.4f} | {found.ndcg:.4f} |", flush=True)


def cold(films: Films) -> None:
    """New users, new films, a new company."""
    train, cat = films.holdout.train, films.catalogue
    ease, ials = Ease(cat).fit_plain([train]), Ials(cat).fit_plain([train])
    print("| latest items of a user | iALS HR@10 | of 100 | EASE HR@10 | of 100 |")
    print("| --- | --- | --- | --- | --- |")
    for k in (0, 1, 2, 3, 5, 10, 20):

        def recent(model: Recommender, k: int = k) -> ScoreItems:
            def score(users: Histories) -> NDArray[np.float64]:
                picked = [
                    users.items[max(low, high - k) : high]
                    for low, high in zip(users.starts[:-1], users.starts[1:], strict=True)
                ]
                return model.scores(Histories.of(picked, users.count))

            return score

        cells = []
        for model in (ials, ease):
            found = measured(films, recent(model))
            cells += [f"{found.hit_rate:.4f}", f"{found.sampled_hit_rate:.3f}"]
        print(f"| {k} | {' | '.join(cells)} |", flush=True)
    popular = np.flatnonzero(films.popularity >= 5)
    hidden = np.sort(np.random.default_rng(5).permutation(popular)[: len(popular) // 5])
    seen = train.rows(~np.isin(train.items, hidden))
    people = np.array([train.user_keys.index(key) for key in seen.user_keys])
    truth = Histories.from_interactions(train).dense()[people][:, hidden] > 0
    warm = Ials(cat).fit_plain([seen]).with_cold_items(films.features.matrix)
    content = ContentBased(cat, films.features).fit_plain([seen])
    print(f"\n{len(hidden)} hidden films, mean AUC of a user:")
    for name, model in (("factors from features", warm), ("content", content)):
        print(f"  {name} {user_auc(model.scores(seen)[:, hidden], truth):.3f}")
    oracle = np.tile(films.popularity[hidden], (len(people), 1))
    print(f"  popularity, if it were known {user_auc(oracle, truth):.3f}")
    parts = split(films.holdout, 0)
    newest = max(range(len(parts)), key=lambda number: parts[number].train.people)
    rest = [part.train for number, part in enumerate(parts) if number != newest]
    print(f"\na company of {parts[newest].train.people} users joins after training:")
    for name, model in (
        ("EASE of the other nine", Ease(cat).fit_plain(rest)),
        ("iALS of the other nine", Ials(cat).fit_plain(rest)),
        ("its own EASE", Ease(cat, min_support=2).fit_plain([parts[newest].train])),
    ):
        evaluator = Evaluator(films.popularity)
        evaluator.add(model.scores, parts[newest])
        found = evaluator.result()
        print(f"  {name}: HR@10 {found.hit_rate:.3f}, of 100 {found.sampled_hit_rate:.3f}")


def noise_for(epsilon: float, norm: float, size: int, parties: int) -> PersonPrivacy:
    """Return the least noise for one sum at ``epsilon``, all parties honest."""
    start = PersonPrivacy(norm, 1.0, 1.0, parties, DELTA)
    return start.at_epsilon(epsilon, dimension=size, rounds=1)


def private(films: Films) -> None:
    """The same 610 users under differential privacy: it fails, and by how much."""
    parts = [part.train for part in split(films.holdout, 0)]
    people, cat = films.holdout.train.people, films.catalogue
    chosen = np.argsort(-films.popularity, kind="stable")[:400]
    print(HEADER)
    for epsilon in (8.0, 3.0, 1.0):
        floor = DpPopularity(cat, people=people)
        level = noise_for(epsilon, count_norm(20), len(cat), len(parts))
        try:
            found = measured(films, floor.fit_noised(parts, level).scores)
        except NoResultError:
            print(f"| noised popularity, eps {epsilon:g} | nothing rises above the noise |")
        else:
            show(f"noised popularity, eps {epsilon:g}", [found])
        pairs = DpEase(cat, chosen=chosen.tolist(), people=people)
        level = noise_for(epsilon, pair_norm(20), 400 * 401 // 2, len(parts))
        show(f"noised EASE, eps {epsilon:g}",
             [measured(films, pairs.fit_noised(parts, level).scores)])  # fmt: skip


def scale() -> None:
    """Generated people from 10^3 to 10^6: where noised pairs begin to beat noised counts.

    Beyond 10^4 people the exact matrix is summed and Gaussian noise of the deviation that the
    private sum would have is added: the same distribution up to the grid.
    """
    items, most = 200, 12
    print("| people | eps | popularity HR@10 | noised EASE | EASE without noise |")
    print("| --- | --- | --- | --- | --- |")
    for people in (1_000, 10_000, 100_000, 1_000_000):
        train, test = crowd(people, items, most)
        gram = train.gram().astype(np.float64)
        exact = sampled_hits(ease_weights(gram, 50.0), test)
        floor = sampled_hits(np.tile(np.diagonal(gram), (items, 1)), test)
        for epsilon in (8.0, 1.0):
            level = noise_for(epsilon, pair_norm(most), items * (items + 1) // 2, COMPANIES)
            deviation = level.plan(
                items * (items + 1) // 2, parties=COMPANIES, people=people
            ).noise_deviation
            rng = np.random.default_rng(0)
            noise = np.triu(rng.normal(0, deviation, (items, items)))
            model = DpEase(Catalogue.numbered(items), chosen=range(items), people=people)
            model.noise_ = deviation
            weights = model.weights(gram + noise + np.triu(noise, 1).T)
            found = sampled_hits(weights, test)
            print(f"| {people:,} | {epsilon:g} | {floor:.4f} | {found:.4f} | {exact:.4f} |",
                  flush=True)  # fmt: skip


def crowd(
    people: int, items: int, most: int
) -> tuple[Histories, tuple[Histories, NDArray[np.int64]]]:
    """Return generated histories, and 5000 tested users with a hidden item each."""
    rng = np.random.default_rng(1)
    kinds = rng.integers(10, size=items)
    popularity = 1 / (1 + rng.permutation(items)) ** 0.7
    tastes = np.full((10, items), 0.05) + (kinds == np.arange(10)[:, np.newaxis])
    rows: list[NDArray[np.int64]] = []
    for start in range(0, people + 5_000, 50_000):
        count = min(50_000, people + 5_000 - start)
        liked = np.stack([rng.integers(10, size=count) for _ in range(2)])
        weight = np.log(popularity * (tastes[liked[0]] + tastes[liked[1]]))
        keys = weight + rng.gumbel(size=weight.shape)
        rows.append(np.argpartition(-keys, most + 1, axis=1)[:, : most + 1].astype(np.int64))
    whole = np.concatenate(rows)
    order = rng.permuted(whole, axis=1)

    def histories(block: NDArray[np.int64]) -> Histories:
        starts = np.arange(len(block) + 1, dtype=np.int64) * block.shape[1]
        return Histories(starts, block.ravel(), items)

    tested = order[people:]
    return histories(order[:people, :most]), (histories(tested[:, :most]), tested[:, most])


def sampled_hits(weights: NDArray[np.float64], test: tuple[Histories, NDArray[np.int64]]) -> float:
    """Return HR@10 of the full ranking."""
    histories, targets = test
    known = histories.dense()
    scores = np.where(known > 0, np.nan, known @ weights)
    own = scores[np.arange(len(targets)), targets][:, np.newaxis]
    return float(((scores >= own).sum(axis=1) <= 10).mean())


def main() -> None:
    """Print the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", action="append", default=[])
    parser.add_argument("--svg", type=Path, default=None)
    told = parser.parse_args()
    parts = told.part or ["table", "choose", "frontier", "cold", "private", "scale"]
    films = read_films(told.data / "ml-latest-small")
    for name in parts:
        start = time.perf_counter()
        print(f"\n## {name}\n")
        if name == "scale":
            scale()
        elif name == "frontier":
            frontier(films, told.svg)
        else:
            {"table": table, "choose": choose, "cold": cold, "private": private}[name](films)
        print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
