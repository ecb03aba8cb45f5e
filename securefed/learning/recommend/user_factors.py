"""What a user is in a factor model: solved at home from the items' factors, never sent.

The objective is that of iALS with frequency-scaled regularisation (Rendle et al. 2021,
arXiv:2110.14037): observed pairs have target 1, all pairs have target 0 with weight ``unobserved``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securefed.learning.recommend.histories import Histories

_USERS_AT_A_TIME: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class UserSide:
    """The users' half of the objective.

    Attributes:
        factors: of the items, shape (items, d).
        weights: of an observed pair by its item, shape (items,), positive.
        unobserved: weight of all pairs.
        regularization: times (a user's summed weights + ``unobserved`` * items), on the norm.
    """

    factors: NDArray[np.float64]
    weights: NDArray[np.float64]
    unobserved: float
    regularization: float

    def shared(self) -> NDArray[np.float64]:
        """Return the part of every user's system that all users share, shape (d, d)."""
        items, size = self.factors.shape
        ridge = self.regularization * self.unobserved * items
        return np.asarray(self.unobserved * (self.factors.T @ self.factors) + ridge * np.eye(size))

    def system(
        self, items: NDArray[np.int64], shared: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return one user's matrix, shape (d, d), and the right side item by item, (n, d)."""
        rows, weights = self.factors[items], self.weights[items]
        sides = rows * weights[:, np.newaxis]
        ridge = self.regularization * float(weights.sum())
        return shared + rows.T @ sides + ridge * np.eye(rows.shape[1]), sides

    def solve(self, histories: Histories) -> NDArray[np.float64]:
        """Return the users' factors, shape (people, d); zero for a user without items.

        No norm is above ``largest_norm(regularization)``.
        """
        size = self.factors.shape[1]
        shared = self.shared()
        out = np.zeros((histories.people, size))
        for start in range(0, histories.people, _USERS_AT_A_TIME):
            block = range(start, min(start + _USERS_AT_A_TIME, histories.people))
            systems = np.empty((len(block), size, size))
            sides = np.empty((len(block), size))
            for place, user in enumerate(block):
                items = histories.items[histories.starts[user] : histories.starts[user + 1]]
                systems[place], parts = self.system(items, shared)
                sides[place] = parts.sum(axis=0)
            out[block.start : block.stop] = np.linalg.solve(systems, sides[..., np.newaxis])[..., 0]
        return out


def largest_norm(regularization: float) -> float:
    """Return the norm that no user's factors exceed.

    With s the user's summed weights, |A'y| for A'A + (lambda s) I gives at most
    sqrt(s) / (2 sqrt(lambda s)), whatever the items' factors are.
    """
    return 1 / (2 * math.sqrt(regularization))
