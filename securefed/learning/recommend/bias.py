"""How far recommendations lean to what is popular already.

Sources: Abdollahpouri et al. 2019 (arXiv:1907.13286) for ARP and APLT; Zhu et al. 2020 ("Measuring
and Mitigating Item Under-Recommendation Bias in Personalized Ranking Systems") for PopREO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError

HEAD_SHARE = 0.2
"""The head of a catalogue is this share of its items, the most popular ones; the rest is tail."""


@dataclass(frozen=True, slots=True)
class PopularityBias:
    """Figures over the lists of all users.

    Attributes:
        arp: average popularity (users who have it) of a recommended item.
        gini: inequality of how often items are recommended, 0 (alike) to 1 (one item only).
        coverage: share of the catalogue that is recommended to anybody.
        aplt: average share of the tail in a list.
        pop_reo: deviation over mean of the chance that a hidden item is hit, between head and
            tail: 0 is alike, 1 is that only one of them is ever hit. NaN where no hidden item was
            hit, or one of the two groups has none.
    """

    arp: float
    gini: float
    coverage: float
    aplt: float
    pop_reo: float


def head(popularity: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which items belong to the head, shape (items,); the lower number wins a tie."""
    flags = np.zeros(len(popularity), dtype=np.bool_)
    order = np.argsort(-popularity, kind="stable")
    flags[order[: int(HEAD_SHARE * len(popularity))]] = True
    return flags


def gini(counts: NDArray[np.float64]) -> float:
    """Return the Gini coefficient of non-negative counts, in [0, 1]; 0 where all are zero."""
    total = counts.sum()
    if not total:
        return 0.0
    ordered, n = np.sort(counts), len(counts)
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float(weights @ ordered / (n * total))


def popularity_bias(
    lists: Sequence[NDArray[np.int64]],
    hits: NDArray[np.bool_],
    targets: NDArray[np.int64],
    popularity: NDArray[np.float64],
) -> PopularityBias:
    """Measure the bias of recommended lists.

    Args:
        lists: recommended items of each user; empty ones are left out of the averages.
        hits: whether the hidden item was in the list, shape (users,).
        targets: the hidden items, shape (users,).
        popularity: users who have each item, shape (items,).

    Raises:
        InputError: nobody was recommended anything.
    """
    filled = [one for one in lists if len(one)]
    if not filled:
        raise InputError("nobody was recommended anything; there is no bias to measure")
    first = head(popularity)
    shown = np.bincount(np.concatenate(filled), minlength=len(popularity)).astype(np.float64)
    groups = [hits[first[targets]], hits[~first[targets]]]
    chances = np.array([group.mean() if len(group) else np.nan for group in groups])
    mean = chances.mean()
    return PopularityBias(
        arp=float(np.mean([popularity[one].mean() for one in filled])),
        gini=gini(shown),
        coverage=float((shown > 0).mean()),
        aplt=float(np.mean([(~first[one]).mean() for one in filled])),
        pop_reo=float(chances.std() / mean) if mean > 0 else float("nan"),
    )
