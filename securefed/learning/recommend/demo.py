"""Generated shoppers, for examples, tests and benchmarks: tastes, and popular items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.histories import Histories
from securefed.learning.recommend.interactions import Interactions

_PEOPLE_AT_A_TIME: Final = 20_000
_FEWEST: Final = 5
_HEAD: Final = 5
"""How many of the first items are about as popular as one another."""


@dataclass(frozen=True, slots=True)
class Shops:
    """Companies that sell the same items to different people.

    Attributes:
        catalogue: the agreed items.
        parts: rows of each company.
        kinds: which kinds an item is of, shape (items, kinds), zeros and ones.
    """

    catalogue: Catalogue
    parts: tuple[Interactions, ...]
    kinds: NDArray[np.float64]


def shops(
    companies: int = 5,
    *,
    users: int = 60,
    items: int = 120,
    kinds: int = 6,
    length: int = 14,
    seed: int = 0,
) -> Shops:
    """Generate rows: every user likes two kinds, and popular items come up more often.

    Args:
        companies: number of them.
        users: of each company, on average; sizes differ.
        items: in the catalogue.
        kinds: of items; each item is of one or two.
        length: items of a user, on average.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    membership = np.zeros((items, kinds))
    membership[np.arange(items), rng.integers(kinds, size=items)] = 1
    second = np.flatnonzero(rng.random(items) < 0.3)
    membership[second, rng.integers(kinds, size=len(second))] = 1
    popularity = 1 / (1 + rng.permutation(items)) ** 0.7
    catalogue = Catalogue(tuple(f"item-{number:04d}" for number in range(items)))
    parts = []
    for company in range(companies):
        who: list[str] = []
        what: list[NDArray[np.int64]] = []
        for user in range(max(2, round(users * rng.uniform(0.4, 1.6)))):
            taste = np.full(kinds, 0.05)
            taste[rng.choice(kinds, 2, replace=False)] = 1
            weight = popularity * (membership @ taste)
            count = int(np.clip(rng.poisson(length), 3, items // 2))
            what.append(rng.choice(items, count, replace=False, p=weight / weight.sum()))
            who += [f"{company}-{user}"] * count
        parts.append(Interactions.of_numbers(catalogue, who, np.concatenate(what)))
    return Shops(catalogue, tuple(parts), membership)


def crowd(
    people: int,
    *,
    items: int = 1000,
    tastes: int = 8,
    strength: float = 2.0,
    skew: float = 0.9,
    length: int = 15,
    seed: int = 0,
) -> Histories:
    """Generate histories of many people, without keys or companies: 10^6 take about a minute.

    A person draws items without replacement, in proportion to popularity times
    exp(strength * taste . item): Plackett and Luce's model. Popularity falls with the rank as
    1 / (rank + 5)^skew, tastes and items are normal deviates, and numbers of items have a long
    tail too (geometric, 5 to 3 * ``length``). The order in time is drawn at random.

    Args:
        people: number of them; fewer people are the first ones of more.
        items: in the catalogue, above 3 * ``length``.
        tastes: numbers that describe a taste.
        strength: 0 leaves popularity alone.
        skew: of popularity.
        length: items of a person, on average.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(items, tastes)).astype(np.float32) / np.float32(np.sqrt(tastes))
    popular = rng.permutation((_HEAD + np.arange(1, items + 1)) ** -skew).astype(np.float32)
    sizes: list[NDArray[np.int64]] = []
    rows: list[NDArray[np.int64]] = []
    for start in range(0, people, _PEOPLE_AT_A_TIME):
        drawn = np.random.default_rng([seed, start])
        taste = drawn.normal(size=(_PEOPLE_AT_A_TIME, tastes)).astype(np.float32)
        counts = drawn.geometric(1 / (length - _FEWEST + 1), _PEOPLE_AT_A_TIME) + _FEWEST - 1
        counts = np.minimum(counts, 3 * length)
        # Who arrives first in a race at these rates is drawn in proportion to them.
        race = drawn.standard_exponential((len(taste), items), dtype=np.float32)
        race /= popular * np.exp(strength * (taste @ kinds.T))
        first = np.argpartition(race, 3 * length, axis=1)[:, : 3 * length]
        first = np.take_along_axis(first, np.take_along_axis(race, first, 1).argsort(1), 1)
        kept = np.arange(3 * length) < counts[:, np.newaxis]
        mixed = np.where(kept, drawn.random(kept.shape), 2.0).argsort(axis=1)
        count = min(_PEOPLE_AT_A_TIME, people - start)
        rows.append(np.take_along_axis(first, mixed, 1)[:count][kept[:count]])
        sizes.append(counts[:count])
    starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    return Histories(starts, np.concatenate(rows).astype(np.int64), items)
