"""Alternating least squares whose sums hide every person: what one adds, and what noise leaves.

A person adds, for each of its items, its factors w, and once w w': what iALS solves the items from.
w is brought to length 1, so that all of it has a norm that is known beforehand, and noise goes into
these very sums (Chien et al., "Private Alternating Least Squares", ICML 2021). A person's factors
are solved at home and kept nowhere.

iALS sums w w' also for every item. Such a sum is about as many people's w w' as have the item, so
it may be left out and what all people add be taken in proportion: a small loss, and far less noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

_TINY: Final = 1e-12


class Owned(Protocol):
    """A matrix of people by items, ones and zeros: a dense or a sparse one."""

    def __matmul__(self, other: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the product with a dense matrix."""
        ...


@dataclass(frozen=True, slots=True)
class PersonSums:
    """What is summed of people, in units in which no person adds a vector longer than 1.

    Attributes:
        size: d, numbers that describe an item.
        most: items of a person, at most.
        item_products: whether w w' is summed for every item too.
        unobserved: weight of every pair of a person and an item; an observed one has 1 in addition.
        regularization: scaled by frequency.
    """

    size: int
    most: int
    item_products: bool
    unobserved: float
    regularization: float

    @property
    def triangle(self) -> int:
        """Values of w w'."""
        return self.size * (self.size + 1) // 2

    @property
    def width(self) -> int:
        """Values that a person adds to each of its items."""
        return self.size + (self.triangle if self.item_products else 0)

    @property
    def shares(self) -> tuple[float, float, float]:
        """Norms of what a person adds in vectors, in products, and once; the squares sum to 1.

        The vectors say what tells items apart; the products of all people rise above any noise.
        """
        if self.item_products:
            return 0.9, 0.3, math.sqrt(1 - 0.9**2 - 0.3**2)
        return 0.95, 0.0, math.sqrt(1 - 0.95**2)

    def directions(self, owned: Owned, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve people's factors as iALS does, and return their directions, shape (people, d).

        Args:
            owned: shape (people, items).
            factors: of the items, shape (items, d).
        """
        items = len(factors)
        counts = owned @ np.ones((items, 1))
        ridge = self.regularization * (counts + self.unobserved * items)
        systems = matrices(owned @ products(factors), self.size)
        systems += self.unobserved * (factors.T @ factors)
        systems += ridge[:, :, np.newaxis] * np.eye(self.size)
        users = np.linalg.solve(systems, (owned @ factors)[..., np.newaxis])[..., 0]
        norms = np.linalg.norm(users, axis=1, keepdims=True)
        return np.asarray(np.where(norms > _TINY, users / np.maximum(norms, _TINY), 0.0))

    def for_items(self, users: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what people of such directions add to each of their items, (people, width)."""
        vectors, pairs, _ = self.shares
        share = 1 / math.sqrt(self.most)
        if not self.item_products:
            return np.asarray(users * (vectors * share))
        both = [users * (vectors * share), products(users) * (pairs * share)]
        return np.concatenate(both, axis=1)

    def once(self, users: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what people of such directions add once, shape (people, triangle)."""
        return products(users) * self.shares[2]

    def factors(
        self,
        items: NDArray[np.float64],
        once: NDArray[np.float64],
        *,
        noise: float,
        counts: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Solve the items from what rises above the noise, shape (items, d).

        Args:
            items: sum of :meth:`for_items`, shape (items, width).
            once: sum of :meth:`once`, shape (triangle,).
            noise: standard deviation of the noise of each value of both.
            counts: noised people of each item, not negative.
        """
        vectors, pairs, everybody = self.shares
        weight = counts / math.sqrt(self.most)
        right = _shrunk(items[:, : self.size] / vectors, 0.0, noise / vectors, weight)
        values, basis = np.linalg.eigh(matrices(once[np.newaxis] / everybody, self.size)[0])
        # Each adds a trace of 1; there are no fewer people than have the most popular item.
        people = max(float(values.sum()), float(counts.max()), 1.0)
        whole = products_of((basis * np.maximum(values, 0)) @ basis.T)
        own = weight[:, np.newaxis] * whole / people
        if self.item_products:
            own = _shrunk(items[:, self.size :] / pairs, own, noise / pairs, weight)
        unseen = self.unobserved / math.sqrt(self.most)
        levels, bases = np.linalg.eigh(matrices(own + unseen * whole, self.size))
        ridge = self.regularization * (weight + unseen * people)
        levels = np.maximum(levels, 0) + ridge[:, np.newaxis]
        return np.asarray(
            np.einsum("nij,nj->ni", bases, np.einsum("nji,nj->ni", bases, right) / levels)
        )


def products(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return w w' of each row as a vector of the same norm, shape (n, d (d + 1) / 2)."""
    upper, twice = _triangle(rows.shape[1])
    return np.asarray(rows[:, upper[0]] * rows[:, upper[1]] * twice)


def products_of(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a symmetric matrix as a vector of the same norm, shape (d (d + 1) / 2,)."""
    upper, twice = _triangle(len(matrix))
    return np.asarray(matrix[upper] * twice)


def matrices(flat: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the symmetric matrices of such vectors, shape (n, d, d)."""
    upper, twice = _triangle(size)
    out = np.zeros((len(flat), size, size))
    out[:, upper[0], upper[1]] = out[:, upper[1], upper[0]] = flat / twice
    return out


def _triangle(
    size: int,
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]]:
    upper = np.triu_indices(size)
    return upper, np.where(upper[0] == upper[1], 1.0, math.sqrt(2))


def _shrunk(
    sums: NDArray[np.float64],
    towards: NDArray[np.float64] | float,
    noise: float,
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Shrink rows as much as noise explains them (empirical Bayes; Efron and Morris 1973).

    What tells an item's people apart from others is taken to grow with their number, by one factor
    that is estimated over all items; a row's own length would be too noisy a measure.
    """
    off = sums - towards
    chance = off.shape[1] * noise**2
    spread = max(0.0, float((np.square(off).sum(axis=1) - chance).sum()))
    signal = spread / max(float(np.square(weight).sum()), _TINY) * np.square(weight)
    kept = signal / np.maximum(signal + chance, _TINY)
    return np.asarray(towards + kept[:, np.newaxis] * off)
