"""Trees over binned features: finding splits from summed histograms, and following them.

Histograms hold whole numbers, so that equal sums give equal trees to the last bit.
Source: Chen and Guestrin 2016 (XGBoost), equations 5 to 7, and section 3.4 for missing values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_SPLIT = -1.0
"""Every row goes left."""

Array = NDArray[np.float64]
Codes = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class SplitRules:
    """What a split has to bring.

    Attributes:
        l2: added to every sum of second derivatives.
        min_child_weight: least sum of second derivatives of either side.
        min_gain: a split brings more than this.
    """

    l2: float
    min_child_weight: float
    min_gain: float


@dataclass(frozen=True, slots=True)
class Splits:
    """The best split of every node of a level.

    Attributes:
        codes: packed by :func:`pack`, shape (nodes,).
        gains: of each split, 0 without one, shape (nodes,).
        leaves: -G / (H + l2) of left and right children, shape (2 * nodes,).
    """

    codes: Array
    gains: Array
    leaves: Array


def pack(feature: Array, bin_: Array, missing_left: Array, bins: int) -> Array:
    """Return one whole number for a split: feature, last bin on the left, where gaps go."""
    return np.asarray((feature * bins + bin_) * 2 + missing_left, dtype=np.float64)


def unpack(
    codes: Array, bins: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return feature, last bin on the left and where gaps go; ``NO_SPLIT`` sends all left."""
    whole = codes.astype(np.int64)
    split = whole >= 0
    rest = np.where(split, whole >> 1, 0)
    last = np.where(split, rest % bins, bins)
    return rest // bins, last, np.where(split, whole & 1, 1).astype(bool)


def best_splits(gradients: Array, hessians: Array, rules: SplitRules) -> Splits:
    """Find the best split of each node.

    Args:
        gradients: sums per node, feature and bin, shape (nodes, features, bins); the last bin holds
            the rows whose value is missing.
        hessians: of the same shape.
        rules: what a split has to bring.
    """
    nodes, _, bins = gradients.shape
    g_all, h_all = gradients[:, 0].sum(axis=1), hessians[:, 0].sum(axis=1)
    # Candidates: each last bin on the left, with gaps on the right and with gaps on the left.
    g_left = _both_ways(gradients)
    h_left = _both_ways(hessians)
    g_right = g_all[:, np.newaxis, np.newaxis, np.newaxis] - g_left
    h_right = h_all[:, np.newaxis, np.newaxis, np.newaxis] - h_left
    whole = _strength(g_all, h_all, rules.l2)
    gain = _strength(g_left, h_left, rules.l2) + _strength(g_right, h_right, rules.l2)
    gain -= whole[:, np.newaxis, np.newaxis, np.newaxis]
    least = rules.min_child_weight
    allowed = (h_left >= least) & (h_right >= least) & (h_left > 0) & (h_right > 0)
    gain = np.where(allowed, gain, -np.inf).reshape(nodes, -1)
    best = np.argmax(gain, axis=1)
    found = np.take_along_axis(gain, best[:, np.newaxis], axis=1)[:, 0]
    split = found > rules.min_gain

    def chosen(values: Array) -> Array:
        return np.take_along_axis(values.reshape(nodes, -1), best[:, np.newaxis], axis=1)[:, 0]

    feature, place = np.divmod(best, 2 * (bins - 1))
    at = (np.arange(nodes), feature, -1)
    last, missing_left = np.divmod(place, 2)
    # Where no gap was seen, later ones go to the heavier side.
    heavier = chosen(h_left) >= chosen(h_right)
    missing_left = np.where(hessians[at] + np.abs(gradients[at]) > 0, missing_left, heavier)
    codes = np.where(split, pack(feature, last, missing_left, bins), NO_SPLIT)
    # Without a split every row goes left.
    g_first, h_first = (
        np.where(split, chosen(g_left), g_all),
        np.where(split, chosen(h_left), h_all),
    )
    left = _leaf(g_first, h_first, rules.l2)
    right = np.where(split, _leaf(chosen(g_right), chosen(h_right), rules.l2), 0.0)
    gains = np.where(split, found, 0.0)
    return Splits(codes, gains, np.stack([left, right], axis=1).ravel())


def _both_ways(sums: Array) -> Array:
    """Return sums left of each candidate, shape (nodes, features, bins - 1, 2)."""
    left = np.cumsum(sums[:, :, :-1], axis=2)
    return np.stack([left, left + sums[:, :, -1:]], axis=3)


def _strength(gradient: Array, hessian: Array, l2: float) -> Array:
    total = hessian + l2
    return np.asarray(np.where(total > 0, gradient**2 / np.where(total > 0, total, 1.0), 0.0))


def _leaf(gradient: Array, hessian: Array, l2: float) -> Array:
    total = hessian + l2
    return np.asarray(np.where(total > 0, -gradient / np.where(total > 0, total, 1.0), 0.0))


def bin_codes(features: Array, edges: Array) -> Codes:
    """Return the bin of every value, shape (rows, features); gaps get the last one.

    Args:
        features: shape (rows, features), NaN being a gap.
        edges: ascending, shape (features, edges): bin b holds edges[b - 1] < x <= edges[b].
    """
    codes = np.empty(features.shape, dtype=np.int16)
    for column in range(features.shape[1]):
        codes[:, column] = np.searchsorted(edges[column], features[:, column], side="left")
    codes[np.isnan(features)] = edges.shape[1] + 1
    return codes


def follow(codes: Codes, splits: Array, levels: int, bins: int) -> NDArray[np.int64]:
    """Return the node of a level that every row reaches, shape (rows,).

    Args:
        codes: as :func:`bin_codes`.
        splits: packed, of the nodes of a tree level by level, shape (nodes,).
        levels: how many to follow.
        bins: of a feature, the one of gaps included.
    """
    feature, last, missing_left = unpack(splits, bins)
    rows = np.arange(len(codes))
    node = np.zeros(len(codes), dtype=np.int64)
    for level in range(levels):
        place = node + 2**level - 1
        seen = codes[rows, feature[place]]
        gap = seen == bins - 1
        left = np.where(gap, missing_left[place], seen <= last[place])
        node = 2 * node + ~left.astype(bool)
    return node
