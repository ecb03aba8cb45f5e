"""The map between a task's named arrays and the one vector that is summed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError

Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Names and shapes in the order in which they lie in the vector.

    ``Layout.of({"sum": (3,), "rows": ()})`` describes a vector of 4 values.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Layout:
        """Build a layout from an ordered mapping of names to shapes.

        Raises:
            MisuseError: no value at all, or a negative dimension.
        """
        layout = cls(tuple((name, tuple(shape)) for name, shape in shapes.items()))
        if any(side < 0 for _, shape in layout.shapes for side in shape) or layout.size == 0:
            raise MisuseError("a layout needs at least one value and no negative dimension")
        return layout

    @property
    def size(self) -> int:
        """Number of values in the vector: the agreement's ``dimension``."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    def zeros(self) -> Arrays:
        """Return an array of zeros for every name, to be filled in by a task."""
        return {name: np.zeros(shape) for name, shape in self.shapes}

    def flatten(self, values: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the vector, shape (size,), float64.

        Raises:
            InputError: a missing or unknown name, a wrong shape, or a non-finite value.
        """
        if set(values) != {name for name, _ in self.shapes}:
            raise InputError(
                f"the task contributes {sorted(values)}, its layout says "
                f"{sorted(name for name, _ in self.shapes)}"
            )
        vector = np.empty(self.size)
        start = 0
        for name, shape in self.shapes:
            array = np.asarray(values[name], dtype=np.float64)
            if array.shape != shape:
                raise InputError(f"{name} has shape {array.shape}, the layout says {shape}")
            vector[start : start + array.size] = array.ravel()
            start += array.size
        # min and max carry NaN and Inf through without a temporary of the vector's length.
        if not np.isfinite([vector.min(), vector.max()]).all():
            raise InputError("the contribution is not finite; check the data and learning rate")
        return vector

    def unflatten(self, vector: NDArray[np.float64]) -> Arrays:
        """Return the named arrays as views of the vector, shape (size,).

        Raises:
            InputError: the vector has another shape.
        """
        if vector.shape != (self.size,):
            raise InputError(f"the sum has shape {vector.shape}, the layout says ({self.size},)")
        arrays: Arrays = {}
        start = 0
        for name, shape in self.shapes:
            stop = start + math.prod(shape)
            arrays[name] = vector[start:stop].reshape(shape)
            start = stop
        return arrays
