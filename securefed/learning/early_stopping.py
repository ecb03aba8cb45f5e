"""Early stopping by a validation loss that is a sum over the parties: pure functions.

The arrays ``model.*`` of a state hold the best weights, so that whatever state a task ends with is
the best model; training goes on from ``current.*``. The parties measure the weights that they are
given, before they train: the weights of the last round are never measured, and never best.

Source: Prechelt, Early Stopping - But When?, 1998, section 2 ("UP" with a fixed patience).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from securefed.data.table import Data
from securefed.learning.state import State
from securefed.learning.task import scalar

_MODEL, _CURRENT = "model.", "current."
_BEST, _WAITED = "stopping.best_loss", "stopping.waited"
_NOTHING_YET: Final = 1e9
"""Best loss before any was measured; above every loss, and finite, as a state has to be."""


def split_rows(data: Data, share: float, seed: int) -> tuple[Data, Data | None]:
    """Return the rows to train on, and those held out; ``None`` where a share is below one row.

    The split depends on the seed and the number of rows alone.

    Args:
        data: rows of one party, in an order that stays.
        share: held out, rounded down to whole rows; 0 to 1/2.
        seed: agreed.
    """
    held = int(share * len(data))
    if not held:
        return data, None
    order = np.random.default_rng([seed, len(data)]).permutation(len(data))
    return data.take(np.sort(order[held:])), data.take(np.sort(order[:held]))


def watched(state: State, trainable: Collection[str]) -> State:
    """Return a first state together with what early stopping remembers.

    Args:
        state: with the arrays ``model.*``.
        trainable: names, without ``model.``, of those that training moves.
    """
    current = {_CURRENT + name: state[_MODEL + name].copy() for name in trainable}
    return state | current | {_BEST: np.array(_NOTHING_YET), _WAITED: np.array(0.0)}


def iterate(state: State) -> State:
    """Return a state whose ``model.*`` are the weights to train and measure.

    A state without early stopping is returned as it is.
    """
    return state | {
        _MODEL + name.removeprefix(_CURRENT): array
        for name, array in state.items()
        if name.startswith(_CURRENT)
    }


def judge(
    state: State, moved: State, loss: float, *, patience: int, min_improvement: float
) -> tuple[State, bool]:
    """Return the next state, and whether to stop.

    Args:
        state: the one that the parties were given.
        moved: arrays that the round changed; its ``model.*`` are the new weights.
        loss: mean over the held-out rows of all parties, at the weights that they were given.
        patience: rounds without improvement after which to stop.
        min_improvement: a loss is better if it is lower than the best by more than this.
    """
    measured, best = iterate(state), scalar(state, _BEST)
    better = loss < best - min_improvement
    waited = 0.0 if better else scalar(state, _WAITED) + 1
    names = [name for name in moved if name.startswith(_MODEL)]
    following = {name: array for name, array in moved.items() if name not in names}
    following |= {_CURRENT + name.removeprefix(_MODEL): moved[name] for name in names}
    if better:
        following |= {name: measured[name] for name in names} | {_BEST: np.array(loss)}
    return state | following | {_WAITED: np.array(waited)}, waited >= patience
