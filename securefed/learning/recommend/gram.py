"""How many users have both of two items, for all pairs, by one secure sum: EASE in one round.

The sum is one of integers, so the Gram matrix is the pooled one bit for bit, and so is every model
that follows from it: EASE (Steck 2019, arXiv:1905.03375) and item-item cosine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import AgreementError, NoResultError
from securefed.data.table import Data
from securefed.learning.layout import Arrays, Layout
from securefed.learning.recommend.support import (
    InteractionParameters,
    count_numbers,
    count_unit,
)
from securefed.learning.state import FloatArray, State, require_like
from securefed.learning.task import Contribution, Numbers, Step

MAX_GRAM_ITEMS: Final = 20_000
"""The triangle of so many items has 2 * 10^8 values; choose the items by their support."""

_MAX_SINGLE: Final = 2**14
"""Users of a party below which the counts of 1000 parties are exact in float32."""


class GramParameters(InteractionParameters):
    """Agreement parameters of ``ease``; those of every task on interactions."""


@dataclass(frozen=True, slots=True)
class ItemGram:
    """The ``ease`` task: one round, the upper triangle of the items' Gram matrix."""

    parameters: GramParameters
    kind: ClassVar[str] = "ease"

    def initial_state(self) -> State:
        """No pair is counted yet."""
        return {"gram": self._stored(np.zeros(self.layout().size))}

    def layout(self) -> Layout:
        """The upper triangle, row by row, diagonal included."""
        return Layout.of({"gram": (triangle_size(len(self.parameters.chosen_items())),)})

    def numbers(self) -> Numbers:
        """Counts in units of a power of two, so that the agreed grid is a power of two too."""
        return count_numbers(self.parameters)

    def check(self, data: Data) -> None:
        """Raise InputError for rows that the task refuses."""
        self.parameters.histories(data)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Count the users of each pair of items at one party."""
        del round_in_task, rng  # one round, and counting draws nothing
        require_like(state, self.initial_state())
        gram = self.parameters.histories(data).gram()
        return {"gram": gram[np.triu_indices(len(gram))] / count_unit(self.parameters)}

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Publish the counts; an item below the support is left out with all its pairs."""
        del state, round_in_task
        size = len(self.parameters.chosen_items())
        gram = full_gram(np.round(total["gram"] * count_unit(self.parameters)), size)
        supported = np.diagonal(gram) >= self.parameters.min_support
        if not supported.any():
            raise NoResultError("no item has enough users in all companies; lower min_support")
        gram[~supported] = 0
        gram[:, ~supported] = 0
        triangle = self._stored(gram[np.triu_indices(size)])
        return Step({"gram": triangle}, True, {"items": float(supported.sum())})

    def _stored(self, counts: NDArray[np.float64]) -> FloatArray:
        return counts.astype(np.float32) if self.parameters.max_users < _MAX_SINGLE else counts


def build_gram(parameters: GramParameters) -> ItemGram:
    """Return the task.

    Raises:
        AgreementError: more items than a dense matrix is good for.
    """
    size = len(parameters.chosen_items())
    if size > MAX_GRAM_ITEMS:
        raise AgreementError(
            "chosen",
            f"{size} items, and a matrix of pairs is limited to {MAX_GRAM_ITEMS}",
            "choose items with more users, or take the kind 'ials'",
        )
    return ItemGram(parameters)


def triangle_size(items: int) -> int:
    """Return the number of values of an upper triangle with its diagonal."""
    return items * (items + 1) // 2


def full_gram(triangle: FloatArray, size: int) -> NDArray[np.float64]:
    """Return the symmetric matrix of an upper triangle, shape (size, size)."""
    gram = np.zeros((size, size))
    gram[np.triu_indices(size)] = triangle
    gram += np.triu(gram, 1).T
    return gram


def ease_weights(gram: NDArray[np.float64], regularization: float) -> NDArray[np.float64]:
    """Return B, shape (items, items): a user's scores are the sum of its items' rows.

    B minimises |X - XB|^2 + regularization |B|^2 with a zero diagonal (Steck 2019, eq. 8).
    """
    system = gram.copy()
    system[np.diag_indices_from(system)] += regularization
    inverse = np.linalg.inv(system)
    weights: NDArray[np.float64] = inverse / -np.diagonal(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def cosine_weights(gram: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """Return item-item cosines with a zero diagonal, shape (items, items).

    Few common users prove little: a pair's cosine is multiplied by n / (n + shrinkage).
    """
    length = np.sqrt(np.maximum(np.diagonal(gram), 1.0))
    cosine = gram / length / length[:, np.newaxis] * (gram / np.maximum(gram + shrinkage, 1.0))
    np.fill_diagonal(cosine, 0.0)
    return cosine
