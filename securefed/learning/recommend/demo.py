"""Generated shoppers, for examples and tests: tastes of a few kinds, and popular items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefed.learning.recommend.catalogue import Catalogue
from securefed.learning.recommend.interactions import Interactions


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
