"""The items' half of the objective, as the coordinator sees it: rows, each with its own matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securefed.learning.state import FloatArray

_TINY: Final = 1e-30


@dataclass(frozen=True, slots=True, eq=False)
class ItemSide:
    """The items' half of the objective: row i is multiplied by its own d x d matrix."""

    weights: NDArray[np.float64]
    gram: FloatArray
    ridge: FloatArray
    trained: NDArray[np.bool_]

    def observed(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the summed part of the product."""
        return np.where(self.trained[:, np.newaxis], sums * self.weights[:, np.newaxis], 0.0)

    def rest(self, rows: FloatArray) -> NDArray[np.float64]:
        """Return the part that needs no sum over pairs."""
        product = rows @ self.gram + self.ridge[:, np.newaxis] * rows
        return np.where(self.trained[:, np.newaxis], product, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What a conjugate-gradient step leads to; all of shape (items, d)."""

    candidate: NDArray[np.float64]
    residual: NDArray[np.float64]
    direction: NDArray[np.float64]


def conjugate_step(
    candidate: FloatArray, residual: FloatArray, direction: FloatArray, image: NDArray[np.float64]
) -> Moved:
    """Take one step for every row at once.

    The direction has unit rows, so that a party can bound what it sends. A step along it is the
    exact line search; it is turned as Fletcher and Reeves do, whose direction has the length
    (residual, residual) / (residual, direction).

    Args:
        candidate: where the rows are.
        residual: right side minus the system times the candidate.
        direction: of unit rows.
        image: the system times the direction.
    """
    along = _dot(residual, direction)
    move = along / np.maximum(_dot(direction, image), _TINY)
    left = residual - move * image
    turned = left + _dot(left, left) / np.maximum(along, _TINY) * direction
    return Moved(candidate + move * direction, left, unit_rows(turned))


def _dot(left: FloatArray, right: FloatArray) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", left, right)[:, np.newaxis], dtype=np.float64)


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of length 1; zero rows stay zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.where(norms > _TINY, rows / np.maximum(norms, _TINY), 0.0))
