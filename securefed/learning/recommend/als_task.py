"""Matrix factorisation over all companies' users by exact sums: iALS by conjugate gradients.

Every sweep a party solves its users' factors at home from the items' factors. The items' factors
then take a few conjugate-gradient steps, and each of them needs one secure sum of a matrix of the
items' factors' size, far less than summing a Gram matrix for every item. Users' factors are solved
again in every round and kept nowhere. Objective: Rendle et al. 2021, arXiv:2110.14037; conjugate
gradients for it: Takács, Pilászy and Tikk 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import NoResultError, WireError
from securefed.data.table import Data
from securefed.learning.layout import Arrays, Layout
from securefed.learning.recommend.conjugate import ItemSide, conjugate_step, unit_rows
from securefed.learning.recommend.row_norms import require_short, shortened
from securefed.learning.recommend.support import InteractionParameters
from securefed.learning.recommend.user_factors import UserSide, largest_norm
from securefed.learning.state import FloatArray, State, require_like
from securefed.learning.task import Contribution, Numbers, Step, scalar

_COUNT, _RESIDUAL, _STEP = 0.0, 1.0, 2.0
_LARGEST_FACTOR: Final = 16.0
"""Longest factor of an item; a longer one is shortened. Sensible ones are below 4."""
_LARGEST_WEIGHT: Final = 100.0
_GRID: Final = 2.0**10
"""Least grid units in a sum of 1: the rings that are offered by default are far finer."""


class AlsParameters(InteractionParameters):
    """Agreement parameters of ``ials``; further ones as in :class:`InteractionParameters`.

    Attributes:
        factors: d, numbers that describe an item.
        regularization: scaled by frequency, as in :class:`UserSide`.
        unobserved: weight of every pair, observed or not; an observed one has 1 in addition.
        sweeps: times that users and items take turns.
        steps: conjugate-gradient steps of a sweep.
        propensity: exponent p of inverse-propensity weights: an observed pair counts
            (mean users of an item / users of this item)^p, within 1/100 to 100; 0 is off.
        seed: of the first item factors.
    """

    modulus_bits: Annotated[int, Field(ge=2, le=64)] = 64
    factors: Annotated[int, Field(ge=1, le=1024)] = 32
    regularization: Annotated[float, Field(ge=1e-6, le=1e3)] = 0.01
    unobserved: Annotated[float, Field(ge=1e-6, le=1e3)] = 0.1
    sweeps: Annotated[int, Field(ge=1, le=1000)] = 8
    steps: Annotated[int, Field(ge=1, le=100)] = 3
    propensity: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @property
    def rounds(self) -> int:
        """Rounds of a run in which none aborts: the counts, then every sweep's."""
        return 1 + self.sweeps * (1 + self.steps)


@dataclass(frozen=True, slots=True)
class AlternatingLeastSquares:
    """The ``ials`` task."""

    parameters: AlsParameters
    kind: ClassVar[str] = "ials"

    def initial_state(self) -> State:
        """Small random factors, and nothing counted yet."""
        items, size = len(self.parameters.chosen_items()), self.parameters.factors
        rng = np.random.default_rng(self.parameters.seed)
        start = rng.normal(0, 0.1 / math.sqrt(size), (items, size))
        zeros = np.zeros((items, size))
        return {
            "phase": np.array(_COUNT),
            "sweep": np.array(0.0),
            "step": np.array(0.0),
            "users": np.array(0.0),
            "counts": np.zeros(items),
            "present": np.zeros(items),
            "factors": start,
            "candidate": start.copy(),
            "residual": zeros,
            "direction": zeros.copy(),
            "gram": np.zeros((size, size)),
        }

    def layout(self) -> Layout:
        """One matrix of the factors' size, the users' Gram matrix, counts and users."""
        items, size = len(self.parameters.chosen_items()), self.parameters.factors
        return Layout.of(
            {"items": (items, size), "gram": (size, size), "counts": (items,), "users": ()}
        )

    def numbers(self) -> Numbers:
        """Every sum is divided by the most that ``max_users`` users can reach."""
        return Numbers(
            bound=1.0,
            modulus_bits=self.parameters.modulus_bits,
            min_scale=self._unit() * _GRID,
        )

    def check(self, data: Data) -> None:
        """Raise InputError for rows that the task refuses."""
        self.parameters.histories(data)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Return what one party's users add to the sum of this round."""
        del round_in_task, rng  # the phase lies in the state, and an exact sum draws nothing
        require_like(state, self.initial_state())
        histories = self.parameters.histories(data)
        unit = self._unit()
        sums = self.layout().zeros()
        sums["counts"] = histories.raters / unit
        sums["users"] = np.array(histories.people / unit)
        phase = scalar(state, "phase")
        if phase == _COUNT:
            return sums
        factors, probe = state["factors"], state["direction" if phase == _STEP else "candidate"]
        require_short(factors, _LARGEST_FACTOR)
        require_short(probe, 1.0 if phase == _STEP else _LARGEST_FACTOR)
        trained, side = self.user_side(state)
        if not trained.size:
            raise WireError("coordinator", "model", "no item is left to train on")
        known, probe = histories.restricted(trained), probe[trained]
        users = side.solve(known)
        products = np.einsum("nd,nd->n", users[known.users], probe[known.items])
        values = products if phase == _STEP else 1 - products
        sums["items"][trained] = _weighted(users[known.users], values, known.items, len(probe))
        sums["items"] /= unit
        sums["gram"] = users.T @ users / unit
        return sums

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Count, start a sweep, or take one step of it."""
        del round_in_task
        unit = self._unit()
        told: State = {
            "counts": np.round(total["counts"] * unit),
            "users": np.round(total["users"] * unit),
        }
        if scalar(state, "phase") == _COUNT:
            return self._counted(state, told)
        total = {"items": total["items"] * unit, "gram": total["gram"] * unit}
        if scalar(state, "phase") == _RESIDUAL:
            return self._started(state, total, told)
        if not np.array_equal(told["counts"], state["present"]):
            # Somebody left or came back: these sums are of other users than the sweep's.
            return Step(state | {"phase": np.array(_RESIDUAL)}, False, _metrics(state))
        return self._stepped(state, total)

    def user_side(self, state: State) -> tuple[NDArray[np.int64], UserSide]:
        """Return the places of the items with enough users, and what users follow from."""
        trained = np.flatnonzero(state["counts"] >= self.parameters.min_support)
        side = UserSide(
            np.asarray(state["factors"][trained], dtype=np.float64),
            self._weights(state["counts"])[trained],
            self.parameters.unobserved,
            self.parameters.regularization,
        )
        return trained.astype(np.int64), side

    def _unit(self) -> float:
        # A user's factors have at most this norm; a candidate adds at most 1 + norm * longest.
        norm = largest_norm(self.parameters.regularization)
        user = max(1.0, norm * (1 + norm * _LARGEST_FACTOR))
        return float(2.0 ** math.ceil(math.log2(user * self.parameters.max_users)))

    def _weights(self, counts: FloatArray) -> NDArray[np.float64]:
        supported = counts > 0
        if not self.parameters.propensity or not supported.any():
            return np.ones(len(counts))
        ratio = counts[supported].mean() / np.maximum(counts, 1.0)
        weights = ratio**self.parameters.propensity
        return np.asarray(np.clip(weights, 1 / _LARGEST_WEIGHT, _LARGEST_WEIGHT), dtype=np.float64)

    def _counted(self, state: State, told: State) -> Step:
        shown = np.where(told["counts"] >= self.parameters.min_support, told["counts"], 0.0)
        if not shown.any():
            raise NoResultError("no item has enough users in all companies; lower min_support")
        factors = np.where(shown[:, np.newaxis] > 0, state["factors"], 0.0)
        known: State = {
            "phase": np.array(_RESIDUAL),
            "counts": shown,
            "factors": factors,
            "candidate": factors.copy(),
        }
        return Step(state | known, False, {"items": float((shown > 0).sum())})

    def _operator(self, state: State) -> ItemSide:
        weights, present = self._weights(state["counts"]), state["present"]
        everybody = self.parameters.unobserved * scalar(state, "users")
        ridge = self.parameters.regularization * (weights * present + everybody)
        # An item keeps its support only while enough users take part in the sweep.
        trained = np.minimum(state["counts"], present) >= self.parameters.min_support
        return ItemSide(weights, self.parameters.unobserved * state["gram"], ridge, trained)

    def _started(self, state: State, total: Arrays, told: State) -> Step:
        now = {"users": told["users"], "present": told["counts"], "gram": total["gram"]}
        state = state | now
        operator = self._operator(state)
        residual = operator.observed(total["items"]) - operator.rest(state["candidate"])
        started: State = {
            "phase": np.array(_STEP),
            "step": np.array(0.0),
            "residual": residual,
            "direction": unit_rows(residual),
        }
        return Step(state | started, False, _metrics(state | started))

    def _stepped(self, state: State, total: Arrays) -> Step:
        operator = self._operator(state)
        direction = state["direction"]
        image = operator.observed(total["items"]) + operator.rest(direction)
        moved = conjugate_step(state["candidate"], state["residual"], direction, image)
        candidate = shortened(moved.candidate, _LARGEST_FACTOR)
        step = scalar(state, "step") + 1
        following = state | {
            "step": np.array(step),
            "candidate": candidate,
            "residual": moved.residual,
            "direction": moved.direction,
        }
        if step < self.parameters.steps:
            return Step(following, False, _metrics(following))
        sweep = scalar(state, "sweep") + 1
        following |= {
            "sweep": np.array(sweep),
            "phase": np.array(_RESIDUAL),
            "factors": candidate,
        }
        return Step(following, sweep >= self.parameters.sweeps, _metrics(following))


def build_als(parameters: AlsParameters) -> AlternatingLeastSquares:
    """Return the task.

    Raises:
        AgreementError: the chosen items are no bitmap of the catalogue.
    """
    parameters.chosen_items()
    return AlternatingLeastSquares(parameters)


def _weighted(
    rows: NDArray[np.float64], values: NDArray[np.float64], items: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Return for each item the sum of ``values * rows`` over its entries, shape (count, d)."""
    out = np.empty((count, rows.shape[1]))
    for column in range(rows.shape[1]):
        out[:, column] = np.bincount(items, values * rows[:, column], minlength=count)
    return out


def _metrics(state: State) -> dict[str, float]:
    return {
        "sweep": scalar(state, "sweep"),
        "residual": float(np.sqrt(np.square(state["residual"]).sum())),
    }
