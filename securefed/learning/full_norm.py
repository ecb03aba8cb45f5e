"""Bounded statistics that use the whole clip norm, whatever it is.

A statistic of norm at most 1 is completed by one more value to a norm of exactly 1 and then made
very long. The clip of the trusted core shortens every such vector to norm C: the statistic times C,
with as much signal as the noise allows, and without the task having to know C. The coordinator,
which knows it, divides.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError

_LONG: Final = 2.0**40


def full_norm(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Complete rows of norm at most 1, shape (people, k), to vectors of shape (people, k + 1)."""
    squared = np.einsum("ij,ij->i", statistics, statistics)
    rest = np.sqrt(np.maximum(1 - squared, 0))
    return np.concatenate([statistics, rest[:, np.newaxis]], axis=1) * _LONG


def undo_full_norm(total: NDArray[np.float64], clip_norm: float) -> NDArray[np.float64]:
    """Return the sum of the statistics, shape (k,), from that of clipped vectors, (k + 1,).

    Raises:
        MisuseError: the clip norm is so large that nothing was clipped.
    """
    if clip_norm > _LONG:
        raise MisuseError(f"a clip norm of {clip_norm:g} is beyond 2^40; change the unit")
    return total[:-1] / clip_norm
