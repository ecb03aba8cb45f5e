"""Recommendation on ml-latest-small: local-only, federated and pooled; bias; cold start; privacy.

Run: python benchmarks/recommend.py --data DIR [--part NAME ...] [--svg FILE]. DIR holds
ml-latest-small/ratings.csv and movies.csv. Each user's last rating is hidden; all ratings count as
liked. Parts: table, pairwise, choose, frontier, cold, private. --scale is about generated people
instead and needs no data; --svg then draws how many of them privacy needs.
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
from recommend_plot import drawing, quarters
from recommend_scale import scale

from protocols.errors import NoResultError
from securefed import Federation
from securefed.learning import PersonPrivacy
from securefed.learning.recommend import (
    Bpr,
    Calibration,
    Catalogue,
    ContentBased,
    DpEase,
    DpIals,
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
from securefed.learning.recommend.private_als_task import PERSON_NORM
from securefed.learning.recommend.private_gram import count_norm, pair_norm

COMPANIES = 10
MAX_USERS = 256
SPLITS = 5
DELTA = 1e-5
FEDERATED_GRID: tuple[dict[str, float], ...] = (
    {},
    {"sweeps": 20},
    {"opponent_power": 0.0},
    {"opponent_power": 0.5},
    {"opponent_power": 1.0},
    {"factors": 64},
    {"learning_rate": 0.02},
)
STEPS_GRID: tuple[dict[str, float], ...] = ({}, {"sweeps": 3}, {"sweeps": 5}, {"sweeps": 20})
Trial = Callable[[int, dict[str, float]], Evaluation]
"""From a seed and changed parameters to figures on a validation set."""


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


def pairwise(films: Films) -> None:
    """BPR by federated averaging: local-only, federated, plain averaging, pooled; several seeds."""
    pooled_rows, cat = [films.holdout.train], films.catalogue
    support = Popularity(cat, max_users=1024).fit_plain(pooled_rows)
    print(HEADER)
    show("BPR, local-only", [
        local_only(films, seed, lambda: Bpr(cat, min_support=1)) for seed in range(SPLITS)
    ])  # fmt: skip
    dealt = [[part.train for part in split(films.holdout, seed)] for seed in range(SPLITS)]

    def together(seed: int, **changes: float) -> Evaluation:
        model = Bpr(cat, support=support, max_users=1024, seed=seed).set_params(**changes)
        return measured(films, model.fit_plain(dealt[seed], seed=seed).scores)

    show("BPR, federated", [together(seed) for seed in range(SPLITS)])
    show("BPR, federated, plain averaging (rate 1)",
         [together(seed, server_learning_rate=1.0) for seed in range(SPLITS)])  # fmt: skip
    for name, sweeps in (("the same steps", 10), ("3 sweeps, chosen for it", 3)):
        whole = [
            Bpr(cat, support=support, max_users=1024, sweeps=sweeps, seed=seed).fit_plain(
                pooled_rows, seed=seed
            )
            for seed in range(SPLITS)
        ]
        show(f"BPR, pooled, {name}", [measured(films, model.scores) for model in whole])
    model, cost = federated(films, lambda: Bpr(cat, max_users=MAX_USERS))
    show("BPR, federated, real nodes", [measured(films, model.scores)])
    print(f"\n{cost}")


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
        points = [point for curve in curves.values() for point in curve]
        picture = drawing(
            "Hit rate over catalogue coverage",
            dict(curves),
            quarters("share of the catalogue recommended to anybody", 1.05 * max(points)[0], 2),
            quarters("HR@10, full ranking", 1.1 * max(hits for _, hits in points), 3),
        )
        svg.write_text(picture, encoding="utf-8")


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


def user_auc(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the mean over users of the chance that a liked item stands before another one."""
    found = []
    for row, liked in zip(scores, truth, strict=True):
        if 0 < liked.sum() < len(liked):
            gaps = row[liked][:, np.newaxis] - row[~liked]
            found.append(float((gaps > 0).mean() + (gaps == 0).mean() / 2))
    return float(np.mean(found))


def choose(films: Films) -> None:
    """Choose parameters on each user's last but one rating; the test stays unseen."""
    inner = leave_last_out(films.holdout.train)
    counts = Histories.from_interactions(inner.train).raters.astype(np.float64)

    def found(model: Recommender) -> Evaluation:
        evaluator = Evaluator(counts)
        evaluator.add(model.scores, inner)
        return evaluator.result()

    model = Ease(films.catalogue).fit_plain([inner.train])
    print("| EASE, regularization | HR@10 | NDCG@10 |")
    print("| --- | --- | --- |")
    for value in (50.0, 100.0, 200.0, 400.0, 800.0):
        seen = found(model.reweight(value))
        print(f"| {value:g} | {seen.hit_rate:.4f} | {seen.ndcg:.4f} |", flush=True)
    parts = [part.train for part in split(inner, 0)]
    support = Popularity(films.catalogue, max_users=1024).fit_plain(parts)

    def together(rows: list[Interactions]) -> Trial:
        def run(seed: int, changes: dict[str, float]) -> Evaluation:
            model = Bpr(films.catalogue, support=support, max_users=1024, seed=seed)
            return found(model.set_params(**changes).fit_plain(rows, seed=seed))

        return run

    def alone(seed: int, changes: dict[str, float]) -> Evaluation:
        evaluator = Evaluator(counts)
        for part in split(inner, 0):
            model = Bpr(films.catalogue, min_support=1, seed=seed).set_params(**changes)
            evaluator.add(model.fit_plain([part.train], seed=seed).scores, part)
        return evaluator.result()

    for title, trial, grid in (
        ("BPR, ten companies", together(parts), FEDERATED_GRID),
        ("BPR, pooled", together([inner.train]), STEPS_GRID),
        ("BPR, local-only", alone, STEPS_GRID),
    ):
        print(f"\n| {title}, three seeds | HR@10 | NDCG@10 | HR@10 of 100 |")
        print("| --- | --- | --- | --- |")
        for changes in grid:
            runs = [trial(seed, changes) for seed in range(3)]
            means = [
                f"{np.mean([getattr(run, name) for run in runs]):.4f}"
                for name in ("hit_rate", "ndcg", "sampled_hit_rate")
            ]
            print(f"| {changes or 'defaults'} | {' | '.join(means)} |", flush=True)


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


def noise_for(epsilon: float, norm: float, size: int, parties: int, rounds: int) -> PersonPrivacy:
    """Return the least noise for some sums that cost ``epsilon`` together, all parties honest."""
    start = PersonPrivacy(norm, 1.0, 1.0, parties, DELTA)
    return start.at_epsilon(epsilon, dimension=size, rounds=rounds)


def private(films: Films) -> None:
    """The same 610 users under differential privacy: it fails, and by how much."""
    parts = [part.train for part in split(films.holdout, 0)]
    people, cat = films.holdout.train.people, films.catalogue
    chosen = np.argsort(-films.popularity, kind="stable")[:400].tolist()
    print(HEADER)
    for epsilon in (8.0, 3.0, 1.0):
        for name, model, norm, size, rounds in (
            ("popularity", DpPopularity(cat, people=people), count_norm(20), len(cat), 1),
            ("EASE", DpEase(cat, chosen=chosen, people=people), pair_norm(20), 400 * 401 // 2, 1),
            ("iALS", DpIals(cat, chosen=chosen, people=people), PERSON_NORM, 400 * 8 + 36, 4),
        ):
            level = noise_for(epsilon, norm, size, len(parts), rounds)
            title = f"noised {name}, eps {epsilon:g}"
            try:
                found = [
                    measured(films, model.fit_noised(parts, level, seed=seed).scores)
                    for seed in range(SPLITS)
                ]
            except NoResultError:
                print(f"| {title} | nothing rises above the noise |", flush=True)
            else:
                show(title, found)


def main() -> None:
    """Print the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--part", action="append", default=[])
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--svg", type=Path, default=None)
    told = parser.parse_args()
    if told.scale:
        scale(told.svg)
        return
    if told.data is None:
        parser.error("give --data DIR, or --scale")
    films = read_films(told.data / "ml-latest-small")
    plain = {"table": table, "pairwise": pairwise, "choose": choose, "cold": cold,
             "private": private}  # fmt: skip
    for name in told.part or ["table", "pairwise", "choose", "frontier", "cold", "private"]:
        start = time.perf_counter()
        print(f"\n## {name}\n")
        if name == "frontier":
            frontier(films, told.svg)
        else:
            plain[name](films)
        print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
