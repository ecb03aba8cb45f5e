"""Label-skewed splits of one data set over several companies, for demonstrations and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from securefed.data.table import Data

_ATTEMPTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Split:
    """One data set cut into companies and a test set that no company holds."""

    parts: tuple[Data, ...]
    test: Data


def train_test_split(data: Data, *, test_fraction: float, seed: int) -> tuple[Data, Data]:
    """Split rows at random, each class in the same proportion.

    Args:
        data: rows with class labels.
        test_fraction: share of each class that is held out, strictly between 0 and 1.
        seed: seed of the draw.

    Raises:
        InputError: the fraction is out of range.
    """
    if not 0 < test_fraction < 1:
        raise InputError("test_fraction lies strictly between 0 and 1")
    rng = np.random.default_rng(seed)
    held_out: list[NDArray[np.int64]] = []
    kept: list[NDArray[np.int64]] = []
    for label in np.unique(data.labels):
        rows = rng.permutation(np.flatnonzero(data.labels == label))
        cut = round(len(rows) * test_fraction)
        held_out.append(rows[:cut])
        kept.append(rows[cut:])
    return data.take(np.sort(np.concatenate(kept))), data.take(np.sort(np.concatenate(held_out)))


def dirichlet_split(
    data: Data, *, companies: int, alpha: float, min_per_class: int, seed: int
) -> tuple[Data, ...]:
    """Deal the rows of each class over companies in Dirichlet(alpha) proportions.

    Small ``alpha`` gives each company mostly one class. Draws are repeated until every company
    holds at least ``min_per_class`` rows of every class.

    Args:
        data: rows with class labels.
        companies: number of parts, at least 2.
        alpha: concentration, above 0; 0.5 is strongly skewed, 100 nearly even.
        min_per_class: fewest rows of each class at each company.
        seed: seed of the draw.

    Raises:
        InputError: no draw satisfies ``min_per_class``, or an argument is out of range.

    Source: Hsu, Qi and Brown 2019 (arXiv 1909.06335), section 2, per class as in NIID-Bench
    (Li et al. 2022, section 4.1).
    """
    if companies < 2 or alpha <= 0 or min_per_class < 0:
        raise InputError("companies is at least 2, alpha above 0, min_per_class at least 0")
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(data.labels == label) for label in np.unique(data.labels)]
    for _ in range(_ATTEMPTS):
        cuts = [_cuts(len(rows), companies, alpha, rng) for rows in classes]
        if min(int(np.diff(cut).min()) for cut in cuts) >= max(min_per_class, 0):
            break
    else:
        raise InputError(
            f"no split of {len(data)} rows gives {companies} companies {min_per_class} rows of "
            "each class; raise alpha or lower min_per_class"
        )
    shuffled = [rng.permutation(rows) for rows in classes]
    return tuple(
        data.take(
            rng.permutation(
                np.concatenate(
                    [
                        rows[cut[company] : cut[company + 1]]
                        for rows, cut in zip(shuffled, cuts, strict=True)
                    ]
                )
            )
        )
        for company in range(companies)
    )


def _cuts(rows: int, companies: int, alpha: float, rng: np.random.Generator) -> NDArray[np.int64]:
    shares = rng.dirichlet(np.full(companies, alpha))
    inner = np.round(np.cumsum(shares)[:-1] * rows).astype(np.int64)
    return np.concatenate([[0], inner, [rows]]).astype(np.int64)
