"""What recommenders are given and give back: plans of tasks, histories, lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError, MisuseError
from securefed.learning.state import State

if TYPE_CHECKING:
    from securefed.federation import Federation

SPARE_ROUNDS: Final = 2
"""Rounds beyond those needed, for rounds that abort."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One item of a list.

    Attributes:
        item: its number in the catalogue.
        key: its key.
        score: the model's, after re-ranking; larger is better.
    """

    item: int
    key: str
    score: float


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of a recommender, as :meth:`Federation.add_task` takes it."""

    name: str
    kind: str
    rounds: int
    parameters: dict[str, Any]
    privacy: dict[str, Any] | None = None


def item_numbers(history: ArrayLike) -> NDArray[np.int64]:
    """Return a user's items as integers, shape (n,).

    Raises:
        InputError: no whole numbers.
    """
    array = np.asarray(history)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError("a history is a list of item numbers; see Catalogue.index for keys")
    return array.astype(np.int64)


def state_of(models: Mapping[str, State], name: str) -> State:
    """Return the named state, or the only one there is.

    Raises:
        MisuseError: several, and none of that name.
    """
    if name in models:
        return models[name]
    if len(models) == 1:
        return next(iter(models.values()))
    raise MisuseError(f"no model {name!r} among {', '.join(models) or 'none'}")


def require_shapes(state: State, expected: State) -> None:
    """Check that a loaded state has the arrays of the recommender's task.

    Raises:
        MisuseError: other names or shapes.
    """
    shapes = [{name: array.shape for name, array in each.items()} for each in (state, expected)]
    if shapes[0] != shapes[1]:
        raise MisuseError("the model is of other items or parameters than this recommender's")


def add_plan(federation: Federation, plan: TaskPlan, name: str | None = None) -> Federation:
    """Add a planned task to a federation, under its own name unless another is given."""
    return federation.add_task(
        name or plan.name,
        plan.kind,
        rounds=plan.rounds,
        privacy=plan.privacy,
        **plan.parameters,
    )
