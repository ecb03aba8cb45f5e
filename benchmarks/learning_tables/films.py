"""MovieLens over ten companies: EASE, iALS, popularity, and how far lists lean to the popular."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from recommend import MAX_USERS, Films, local_only, measured, read_films, split

from learning_tables.report import Table, Told
from securefed.learning.recommend import Ease, Evaluation, Ials, Popularity, Recommender

FIGURES = {
    "HR@10": 4, "NDCG@10": 4, "HR@10 of 100": 3, "NDCG@10 of 100": 3, "ARP": 0, "coverage": 3,
    "Gini": 3, "APLT": 3, "PopREO": 2,
}  # fmt: skip
_KEYS = (
    "hit_rate", "ndcg", "sampled_hit_rate", "sampled_ndcg", "arp", "coverage", "gini", "aplt",
    "pop_reo",
)  # fmt: skip


def section(told: Told) -> str:
    """Return the table over all seeds; a seed deals the users to companies anew."""
    films = read_films(told.data / "ml-latest-small")
    table = Table(f"ml-latest-small, 10 companies, {told.seeds} splits", FIGURES)
    table.add([("popularity", row(measured(films, popularity(films).scores)))])
    for name, make in recommenders(films, quick=told.quick).items():
        pooled = make().set_params(max_users=1024).fit_plain([films.holdout.train])
        for seed in range(told.seeds):
            table.add(rows(films, name, make, seed))
        table.add([(f"{name}, pooled", row(measured(films, pooled.scores)))])
    return str(table)


def popularity(films: Films) -> Popularity:
    """Return the floor to beat."""
    return Popularity(films.catalogue, max_users=1024).fit_plain([films.holdout.train])


def recommenders(films: Films, *, quick: bool) -> dict[str, Callable[[], Recommender]]:
    """Return how each recommender of the table is made."""
    cat = films.catalogue
    sweeps = 1 if quick else 8
    return {
        "EASE": lambda: Ease(cat, max_users=MAX_USERS),
        "iALS": lambda: Ials(cat, max_users=MAX_USERS, sweeps=sweeps),
    }


def rows(
    films: Films, name: str, make: Callable[[], Recommender], seed: int
) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield what companies learn alone and together, through plain sums, on one split."""
    # Alone, too few users have an item for the support of all companies.
    least = 2 if name == "EASE" else 1
    alone = local_only(films, seed, lambda: make().set_params(min_support=least))
    yield f"{name}, local-only", row(alone)
    parts = [part.train for part in split(films.holdout, seed)]
    yield f"{name}, federated", row(measured(films, make().fit_plain(parts).scores))


def row(found: Evaluation) -> dict[str, float]:
    """Return the figures of an evaluation under the headings of the table."""
    told = found.row()
    return dict(zip(FIGURES, [told[key] for key in _KEYS], strict=True))
