"""Where a hidden item comes to stand in a ranking, and which items stand first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError


def ranks(scores: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank of each target, 0 for the first, shape (users,).

    Ties count against the target: a model that scores everything alike ranks it last, and so does
    one that does not know it (-inf).

    Args:
        scores: shape (users, items); items out of the race, such as known ones, must be NaN.
        targets: shape (users,).
    """
    own = scores[np.arange(len(scores)), targets][:, np.newaxis]
    return np.asarray((scores >= own).sum(axis=1) - 1, dtype=np.int64)


def top(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the first ``k`` items of one user's scores, shape (at most k,).

    Items with -inf or NaN are never among them; the lower number wins a tie.

    Args:
        scores: shape (items,).
        k: at least 1.
    """
    if k < 1:
        raise InputError(f"k is {k}; ask for at least one item")
    eligible = np.flatnonzero(scores > -np.inf)
    if len(eligible) > k:
        least = np.partition(scores[eligible], -k)[-k]
        eligible = eligible[scores[eligible] >= least]
    order = np.argsort(-scores[eligible], kind="stable")
    return eligible[order][:k].astype(np.int64)


def without(scores: NDArray[np.float64], known: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one user's scores with the known items out of the race."""
    copy = scores.copy()
    copy[known] = np.nan
    return copy


def gain(rank: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return NDCG@k of one relevant item at each rank, in [0, 1]."""
    return np.where(rank < k, 1 / np.log2(rank + 2.0), 0.0)
