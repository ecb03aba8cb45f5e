"""Tables in the shape of the real ones, from random models: what settings are chosen on.

Settings that were chosen on the very rows whose people are to be hidden would leak them, without
being charged. These tables share with the real ones the number of rows, columns and companies,
and nothing else.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securefed.data import Data, dirichlet_split
from utility_sets.problem import Column, Problem, one_hot

_FACTORS: Final = 3


def table(
    *,
    rows: int,
    test_rows: int,
    numbers: int,
    categories: tuple[int, ...],
    companies: int,
    share_of_ones: float,
    strength: float,
    seed: int,
) -> Problem:
    """Draw correlated columns of numbers and categories, and labels from a logistic model.

    Args:
        rows: of all companies together.
        test_rows: held out.
        numbers: columns of about unit normal values.
        categories: number of values of each categorical column; rare ones fall off as k^-1.5.
        companies: dealt to with Dirichlet(0.5) label skew.
        share_of_ones: about how many labels are 1.
        strength: deviation of the coefficients.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    count = rows + test_rows
    factors = rng.normal(size=(count, _FACTORS))
    columns = [Column(f"number-{number}") for number in range(numbers)]
    pieces = [
        factors @ rng.normal(size=(_FACTORS, numbers)) / 2 + rng.normal(size=(count, numbers))
    ]
    for number, size in enumerate(categories):
        common = np.log(np.arange(1, size + 1) ** -1.5)
        liking = factors @ rng.normal(scale=0.7, size=(_FACTORS, size)) + common
        chosen = np.argmax(liking + rng.gumbel(size=(count, size)), axis=1)
        pieces.append(np.eye(size)[chosen])
        columns += one_hot(f"category-{number}", [str(value) for value in range(size)])
    features = np.concatenate(pieces, axis=1)
    score = features @ rng.normal(scale=strength, size=features.shape[1])
    score += rng.logistic(size=count) - np.quantile(score, 1 - share_of_ones)
    data = Data(features, (score > 0).astype(float))
    train, test = data.take(np.arange(rows)), data.take(np.arange(rows, count))
    parts = dirichlet_split(train, companies=companies, alpha=0.5, min_per_class=5, seed=seed)
    return Problem(parts, test, tuple(columns))


def like_heart(seed: int) -> Problem:
    """Draw four small companies with 15 columns."""
    return table(
        rows=488, test_rows=2000, numbers=8, categories=(4, 3), companies=4,
        share_of_ones=0.5, strength=0.6, seed=seed,
    )  # fmt: skip


def like_adult(seed: int) -> Problem:
    """Draw ten companies with 104 columns."""
    return table(
        rows=32_561, test_rows=16_000, numbers=5, categories=(8, 16, 7, 14, 6, 5, 2, 41),
        companies=10, share_of_ones=0.24, strength=0.6, seed=seed,
    )  # fmt: skip
