"""Users and items in a pairwise model: what somebody took should score above what they did not.

The objective is that of Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit
Feedback". A user's factors are reconstructed from the public item factors wherever they are
needed and kept nowhere, as in federated reconstruction (Singhal et al. 2021, arXiv:2102.03448), so
that a user of training, a later one and one of a new company are treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securefed.learning.recommend.histories import Histories

_BOUND_STEPS: Final = 5
"""Times that a user's system is solved; the objective never falls, and hardly moves afterwards."""
_REDRAWS: Final = 4
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Opponents:
    """From where items are drawn that a user has not: in proportion to users^power.

    With power 0 every item is as likely. Popular opponents are harder to beat and teach more about
    the top of a list (Rendle and Freudenthaler 2014).

    Attributes:
        cumulative: of the weights, shape (items,), ascending, the last one above 0.
    """

    cumulative: NDArray[np.float64]

    @classmethod
    def of(cls, users: NDArray[np.float64], power: float) -> Opponents:
        """Weigh items by how many users have them, at least 1 each."""
        return cls(np.cumsum(np.maximum(users, 1.0) ** power))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return item numbers."""
        level = rng.random(shape) * self.cumulative[-1]
        found = np.searchsorted(self.cumulative, level, side="right")
        return np.asarray(np.minimum(found, len(self.cumulative) - 1), dtype=np.int64)

    def against(
        self, users: NDArray[np.int64], taken: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Draw an item for each user that the user does not have.

        Args:
            users: numbers of users, shape (n,).
            taken: user * items + item of everything that users have, ascending, at least one.
            rng: draws.

        Returns:
            Items, and which of them the user really does not have: after a few attempts at users
            who have nearly all, some may be left.
        """
        items, count = self.draw(rng, (len(users),)), len(self.cumulative)
        clash = np.arange(len(users))
        for attempt in range(_REDRAWS + 1):
            keys = users[clash] * count + items[clash]
            places = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
            clash = clash[taken[places] == keys]
            if not clash.size or attempt == _REDRAWS:
                break
            items[clash] = self.draw(rng, (len(clash),))
        valid = np.ones(len(users), dtype=np.bool_)
        valid[clash] = False
        return items, valid


@dataclass(frozen=True, slots=True, eq=False)
class PairwiseSide:
    """The users' half of the objective, for fixed items.

    Attributes:
        factors: of the items, shape (items, d).
        biases: of the items, shape (items,).
        opponents: items that each item is compared with, shape (items, k).
        regularization: on a user's squared norm, times the user's number of comparisons.
    """

    factors: NDArray[np.float64]
    biases: NDArray[np.float64]
    opponents: NDArray[np.int64]
    regularization: float

    def system(self, items: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a user's matrix, shape (d, d), and the right side item by item, (n, d).

        The user's factors solve the system. It is that of the quadratic bound of Jaakkola and
        Jordan 2000 ("Bayesian parameter estimation via variational methods"), tight at the last of
        a few solutions: each is at least as good as the one before, whatever the items are.
        """
        count, size = self.opponents.shape[1], self.factors.shape[1]
        others = self.opponents[items].ravel()
        mine = np.zeros(len(self.factors), dtype=np.bool_)
        mine[items] = True
        valid = ~mine[others]
        firsts = np.repeat(items, count)
        rows = (self.factors[firsts] - self.factors[others]) * valid[:, np.newaxis]
        ahead = self.biases[firsts] - self.biases[others]
        ridge = self.regularization * max(1.0, float(valid.sum())) * np.eye(size)
        matrix, right, user = ridge, np.zeros_like(rows), np.zeros(size)
        for _ in range(_BOUND_STEPS):
            margin = np.maximum(np.abs(rows @ user + ahead), _TINY)
            curve = np.tanh(margin / 2) / (2 * margin)
            matrix = (rows * curve[:, np.newaxis]).T @ rows + ridge
            right = rows * (0.5 - curve * ahead)[:, np.newaxis]
            user = np.linalg.solve(matrix, right.sum(axis=0))
        return matrix, right.reshape(len(items), count, size).sum(axis=1)

    def solve(self, histories: Histories) -> NDArray[np.float64]:
        """Return the users' factors, shape (people, d); zero for a user without items."""
        out = np.zeros((histories.people, self.factors.shape[1]))
        for user in np.flatnonzero(histories.sizes):
            items = histories.items[histories.starts[user] : histories.starts[user + 1]]
            matrix, right = self.system(items)
            out[user] = np.linalg.solve(matrix, right.sum(axis=0))
        return out


@dataclass(frozen=True, slots=True)
class Descent:
    """How a party's steps are taken.

    Attributes:
        learning_rate: of every comparison; those of a batch are added.
        regularization: on squared norms, for every comparison that a row takes part in.
        epochs: passes over a party's rows.
        batch_size: comparisons that are taken at the same factors.
    """

    learning_rate: float
    regularization: float
    epochs: int
    batch_size: int

    def run(
        self,
        histories: Histories,
        side: PairwiseSide,
        opponents: Opponents,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Move items, and users for the time being, along sampled comparisons.

        Args:
            histories: of one party, with at least one row.
            side: where to start.
            opponents: what rows are compared with.
            rng: draws the order and the opponents.

        Returns:
            Factors, biases, and the mean of -log sigmoid(margin) over the comparisons.
        """
        table = np.concatenate([side.factors, side.biases[:, np.newaxis]], axis=1)
        # The bias of an item is met by a number of every user that stays 1.
        users = np.pad(side.solve(histories), ((0, 0), (0, 1)), constant_values=1.0)
        taken = np.sort(histories.users * histories.count + histories.items)
        loss, compared = 0.0, 0
        for _ in range(self.epochs):
            order = rng.permutation(len(histories.items))
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                who, first = histories.users[rows], histories.items[rows]
                other, valid = opponents.against(who, taken, rng)
                who, first, other = who[valid], first[valid], other[valid]
                gap, mine = table[first] - table[other], users[who]
                margin = np.einsum("nd,nd->n", mine, gap)
                loss, compared = loss + float(np.logaddexp(0, -margin).sum()), compared + len(who)
                push = 1 / (1 + np.exp(np.clip(margin, -50, 50)))[:, np.newaxis]
                pull = push * mine
                self._move(users[:, :-1], who, push * gap[:, :-1])
                self._move(table, np.concatenate([first, other]), np.concatenate([pull, -pull]))
        return table[:, :-1], table[:, -1], loss / max(1, compared)

    def _move(
        self, table: NDArray[np.float64], places: NDArray[np.int64], steps: NDArray[np.float64]
    ) -> None:
        """Add the steps of a batch to a table in place, each shrinking its row a little."""
        touched, local = np.unique(places, return_inverse=True)
        size = table.shape[1]
        flat = (local[:, np.newaxis] * size + np.arange(size)).ravel()
        total = np.bincount(flat, steps.ravel(), minlength=len(touched) * size)
        shrink = self.regularization * np.bincount(local)[:, np.newaxis] * table[touched]
        table[touched] += self.learning_rate * (total.reshape(-1, size) - shrink)
