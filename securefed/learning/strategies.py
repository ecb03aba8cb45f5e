"""What becomes of an averaged update: pure functions over named arrays.

An *update* is a party's trained weights minus the weights that it was given; the *average* is the
sum of weighted updates over the sum of weights, of every trainable array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from securefed.learning.layout import Arrays

Named = Mapping[str, NDArray[Any]]


def clip_l2(update: Named, max_norm: float) -> Arrays:
    """Scale an update down so that the L2 norm over all its arrays is at most ``max_norm``.

    Args:
        update: named arrays, model units.
        max_norm: S > 0, same units.

    Raises:
        InputError: the update is not finite.

    Source: McMahan et al. 2018 (arXiv 1710.06963), flat clipping.
    """
    arrays = {name: np.asarray(array, dtype=np.float64) for name, array in update.items()}
    norm = l2_norm(arrays)
    if not np.isfinite(norm):
        raise InputError(
            "the local update is not finite; agree on a smaller learning_rate or standardize"
        )
    factor = min(1.0, max_norm / norm) if norm > 0 else 1.0
    # Rounding may leave a lone coordinate one float above S, which the encoder would refuse.
    return {name: np.clip(array * factor, -max_norm, max_norm) for name, array in arrays.items()}


def l2_norm(arrays: Named) -> float:
    """Return the L2 norm over all arrays together."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(sum(float(np.vdot(array, array)) for array in arrays.values())))


def federated_average(model: Named, average: Named, learning_rate: float) -> Arrays:
    """Move the model along the averaged update.

    With ``learning_rate`` 1 the result is the weighted mean of the parties' models. Source:
    McMahan et al. 2017 (arXiv 1602.05629), algorithm 1; server rate: Reddi et al. 2021,
    algorithm 1.
    """
    return {name: model[name] + learning_rate * average[name] for name in average}


@dataclass(frozen=True, slots=True)
class AdaptiveRates:
    """Rates of FedAdam and FedYogi, in the letters of Reddi et al. 2021: eta, beta1, beta2, tau."""

    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float


@dataclass(frozen=True, slots=True)
class AdaptiveMoments:
    """Memory of FedAdam and FedYogi: m and v of every trainable array; v starts at tau^2."""

    first: Arrays
    second: Arrays


def federated_adam(
    model: Named, average: Named, moments: AdaptiveMoments, rates: AdaptiveRates
) -> tuple[Arrays, AdaptiveMoments]:
    """Treat the averaged update as a gradient and take one Adam step with it.

    m = beta1 m + (1 - beta1) d, v = beta2 v + (1 - beta2) d^2, x = x + eta m / (sqrt(v) + tau);
    no bias correction. Source: Reddi et al. 2021 (arXiv 2003.00295), algorithm 2.
    """
    second = {
        name: rates.beta2 * moments.second[name] + (1 - rates.beta2) * np.square(d)
        for name, d in average.items()
    }
    return _adaptive_step(model, average, moments.first, second, rates)


def federated_yogi(
    model: Named, average: Named, moments: AdaptiveMoments, rates: AdaptiveRates
) -> tuple[Arrays, AdaptiveMoments]:
    """Take one Yogi step with the averaged update.

    As FedAdam but v = v - (1 - beta2) d^2 sign(v - d^2): v forgets a large update more slowly than
    FedAdam's, and stays positive. Source: Reddi et al. 2021 (arXiv 2003.00295), algorithm 2.
    """
    second = {}
    for name, d in average.items():
        before, square = moments.second[name], np.square(d)
        second[name] = before - (1 - rates.beta2) * square * np.sign(before - square)
    return _adaptive_step(model, average, moments.first, second, rates)


def _adaptive_step(
    model: Named, average: Named, before: Named, second: Arrays, rates: AdaptiveRates
) -> tuple[Arrays, AdaptiveMoments]:
    first = {
        name: rates.beta1 * before[name] + (1 - rates.beta1) * d for name, d in average.items()
    }
    moved = {
        name: model[name]
        + rates.learning_rate * first[name] / (np.sqrt(second[name]) + rates.epsilon)
        for name in average
    }
    return moved, AdaptiveMoments(first, second)
