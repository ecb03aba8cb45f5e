"""Bounds on the length of rows, such as items' factors: what is sent follows from them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import WireError
from securefed.learning.state import FloatArray

_TINY: Final = 1e-30


def shortened(rows: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    """Return the rows, none longer than ``longest``."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows * np.minimum(1.0, longest / np.maximum(norms, _TINY)))


def require_short(rows: FloatArray, longest: float) -> None:
    """Check items' factors that a coordinator sent.

    Raises:
        WireError: one is longer than agreed.
    """
    if np.linalg.norm(rows, axis=1).max() > longest * (1 + 1e-9):
        raise WireError("coordinator", "model", "an item's factor is longer than agreed")
