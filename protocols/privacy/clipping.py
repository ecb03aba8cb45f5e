"""From people's vectors to one integer sum of bounded sensitivity.

Each person's vector is clipped in floats, put on the integer grid by stochastic rounding, and only
then judged: its squared norm is computed in int64, exactly, and must not exceed Delta^2. Nothing
about the guarantee rests on floating-point arithmetic (Mironov 2012; Casacuberta et al. 2022).

Stochastic rounding lengthens a vector; Delta leaves room for it as in Kairouz, Liu and Steinke 2021
(Lemma 4.3, here with a probability of 2^-40). A vector that needs more room is rounded
towards zero instead, which never lengthens it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, PrivacyParameterError
from protocols.prg import SEED_BYTES, RandomBytes, expand
from protocols.privacy.lattice import MAX_SENSITIVITY

_ROUNDING_LOG: Final = 40 * math.log(2)
_BLOCK_VALUES: Final = 64 * 1024
_COIN_BITS: Final = 32
_ROUNDING_ERROR: Final = 1 + 1e-6


@dataclass(frozen=True, slots=True)
class GridClip:
    """How a person's vector becomes integers of bounded norm.

    Attributes:
        clip_norm: C, largest Euclidean norm of a vector, model units, > 0.
        scale: grid units per model unit, > 0.
        dimension: values in a vector, 1..2^28.
        indicator: B, grid units. Above 0, one value is appended for each person: B where the norm
            was within C before clipping, else -B, for adaptive clipping.

    Raises:
        PrivacyParameterError: an attribute outside these ranges, or a sensitivity above 2^31.
    """

    clip_norm: float
    scale: float
    dimension: int
    indicator: int = 0

    def __post_init__(self) -> None:
        for name, value in (("clip_norm", self.clip_norm), ("scale", self.scale)):
            if not 0 < value < math.inf:
                raise PrivacyParameterError(name, f"{value} is not positive and finite")
        if not 1 <= self.dimension <= 2**28:
            raise PrivacyParameterError("dimension", f"{self.dimension} is not within 1 to 2^28")
        if not 0 <= self.indicator <= MAX_SENSITIVITY:
            raise PrivacyParameterError("indicator", f"{self.indicator} is not within 0 to 2^31")
        if not self._room() < MAX_SENSITIVITY - 1:
            raise PrivacyParameterError(
                "scale", "norms on this grid exceed 2^31, which int64 squares do not hold"
            )

    @classmethod
    def of_grid_norm(
        cls, clip_norm: float, dimension: int, *, grid_norm: float = 2.0**14, indicator: int = 0
    ) -> GridClip:
        """Choose the scale so that ``clip_norm`` is ``grid_norm`` grid units.

        Raises:
            PrivacyParameterError: as the class.
        """
        if not 0 < clip_norm < math.inf:
            raise PrivacyParameterError("clip_norm", f"{clip_norm} is not positive and finite")
        return cls(clip_norm, grid_norm / clip_norm, dimension, indicator)

    @property
    def length(self) -> int:
        """Values in the sum: the dimension, and the indicator if there is one."""
        return self.dimension + (1 if self.indicator else 0)

    @property
    def sensitivity(self) -> int:
        """Delta: no person adds an integer vector of a larger norm. Grid units."""
        return math.ceil(self._room())

    def _room(self) -> float:
        norm, root = self.clip_norm * self.scale, math.sqrt(self.dimension)
        likely = norm**2 + root**2 / 4 + math.sqrt(2 * _ROUNDING_LOG) * (norm + root / 2)
        return math.sqrt(min((norm + root) ** 2, likely) + self.indicator**2)


@dataclass(frozen=True, slots=True, eq=False)
class PeopleSum:
    """The sum over the people of one party in one round, before noise: never leaves the party.

    Attributes:
        values: int64, shape (clip.length,), grid units.
        unusable: people whose vector was not finite or too small to square, and counted as
            zero. Depends on their data: for this party's eyes only.
    """

    values: NDArray[np.int64] = field(repr=False)
    unusable: int = field(repr=False)


def sum_of_people(
    vectors: NDArray[np.float64] | NDArray[np.float32], clip: GridClip, random: RandomBytes
) -> PeopleSum:
    """Clip, quantise, check and add up the vectors of a party's people.

    A vector with a NaN or Inf, or too small to square, counts as zero. To abort would tell that
    such a person is there.

    Args:
        vectors: one row a person, shape (people, clip.dimension), model units. No rows are fine.
        clip: bound and grid.
        random: asked for one 32-byte seed for the rounding.

    Returns:
        The sum, in which every person has a norm of at most ``clip.sensitivity``.

    Raises:
        InputError: another shape or dtype.
    """
    if vectors.ndim != 2 or vectors.shape[1] != clip.dimension:
        raise InputError(
            f"people's vectors have shape (people, {clip.dimension}), not {vectors.shape}"
        )
    if vectors.dtype not in (np.float64, np.float32):
        raise InputError(f"people's vectors are floats of 32 or 64 bits, not {vectors.dtype}")
    seed = random(SEED_BYTES)
    total, unusable = np.zeros(clip.length, np.int64), 0
    people = max(1, _BLOCK_VALUES // clip.dimension)
    for low in range(0, vectors.shape[0], people):
        scaled, norms = _clip(vectors[low : low + people], clip)
        coins = expand(seed, scaled.size, _COIN_BITS, low * clip.dimension)
        grid = _quantise(scaled, coins.reshape(scaled.shape), clip)
        total[: clip.dimension] += grid.sum(axis=0)
        usable = np.isfinite(norms)
        unusable += usable.size - int(np.count_nonzero(usable))
        if clip.indicator:
            within = int(np.count_nonzero(norms <= clip.clip_norm))
            total[-1] += clip.indicator * (2 * within - norms.size)
    return PeopleSum(total, unusable)


def _clip(
    rows: NDArray[np.float64] | NDArray[np.float32], clip: GridClip
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clip rows and scale them to grid units; return their norms before, not finite if unusable."""
    scaled = rows.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    usable = np.isfinite(norms)
    if not usable.all():
        scaled[~usable] = 0
    bounded = np.maximum(np.where(usable, norms, 0), clip.clip_norm)
    grid_norm = clip.clip_norm * clip.scale
    with np.errstate(over="ignore", invalid="ignore"):
        scaled *= (grid_norm / bounded)[:, np.newaxis]
        lengths = np.einsum("ij,ij->i", scaled, scaled)
    # Squares of tiny numbers vanish, so that a norm seems short; what is too long on the grid would
    # leave int64, where the check of the sensitivity could not see it.
    long = ~(lengths <= (grid_norm * _ROUNDING_ERROR) ** 2)
    if long.any():
        scaled[long] = 0
        norms[long] = math.inf
    return scaled, norms


def _quantise(
    scaled: NDArray[np.float64], coins: NDArray[np.unsignedinteger[Any]], clip: GridClip
) -> NDArray[np.int64]:
    """Round rows to integers of norm at most Delta, judged in integers."""
    whole = np.trunc(scaled)
    # Exact in float64, unlike the distance to the floor of a small negative value.
    fractions = np.abs(scaled - whole)
    up = coins < np.ldexp(fractions, _COIN_BITS)
    grid = (whole + np.copysign(up, scaled)).astype(np.int64)
    limit = clip.sensitivity**2 - clip.indicator**2
    long = np.flatnonzero(np.einsum("ij,ij->i", grid, grid) > limit)
    if long.size:
        shortest = whole[long].astype(np.int64)
        # Clipping leaves none that is still too long; an error would tell of it, zeros do not.
        shortest[np.einsum("ij,ij->i", shortest, shortest) > limit] = 0
        grid[long] = shortest
    return grid
