"""Pairwise ranking over all companies' users by federated averaging: BPR-MF.

Items' factors and biases are the shared model. In every round a party reconstructs its users'
factors at home, takes steps on comparisons of its own users, and sends by how much the items moved.
Objective: Rendle et al. 2009; averaging: McMahan et al. 2017 (arXiv:1602.05629); partly local
models: Singhal et al. 2021 (arXiv:2102.03448).
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
from securefed.learning.recommend.pairwise import Descent, Opponents, PairwiseSide
from securefed.learning.recommend.row_norms import require_short, shortened
from securefed.learning.recommend.support import InteractionParameters, count_unit
from securefed.learning.state import State, require_like
from securefed.learning.task import Contribution, Numbers, Step, scalar

_LARGEST_FACTOR: Final = 16.0
"""Longest row of an item's factors and bias; a longer one is shortened."""
_LARGEST_LOSS: Final = 16.0
_GRID: Final = 2.0**16
"""Least grid units in the longest update of an item."""
_OPPONENTS: Final = 3
"""Items that each of a user's is compared with, when the user's factors are reconstructed."""


class BprParameters(InteractionParameters):
    """Agreement parameters of ``bpr``; further ones as in :class:`InteractionParameters`.

    Attributes:
        factors: d, numbers that describe an item.
        sweeps: rounds of training; a first one counts users.
        learning_rate: of every comparison.
        regularization: on items' and users' squared norms, for every comparison.
        user_regularization: the same, where a user's factors are reconstructed.
        local_epochs: passes of a party over its rows in a round.
        batch_size: comparisons that are taken at the same factors.
        opponent_power: items a user has not are drawn in proportion to users^power; 0 is uniform.
        server_learning_rate: times the parties' mean update; 1 is plain averaging. With 0 it is the
            square root of the number of parties: most items move at a few parties only.
        clip_norm: longest update of an item's factors and bias at one party.
        seed: of the first item factors.
    """

    modulus_bits: Annotated[int, Field(ge=2, le=64)] = 40
    factors: Annotated[int, Field(ge=1, le=1024)] = 32
    sweeps: Annotated[int, Field(ge=1, le=10_000)] = 10
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.05
    regularization: Annotated[float, Field(ge=0, le=10)] = 0.01
    user_regularization: Annotated[float, Field(ge=1e-6, le=1e3)] = 0.05
    local_epochs: Annotated[int, Field(ge=1, le=100)] = 2
    batch_size: Annotated[int, Field(ge=1, le=2**20)] = 512
    opponent_power: Annotated[float, Field(ge=0, le=2)] = 0.75
    server_learning_rate: Annotated[float, Field(ge=0, le=1000)] = 0.0
    clip_norm: Annotated[float, Field(gt=0, le=_LARGEST_FACTOR)] = 4.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


@dataclass(frozen=True, slots=True)
class PairwiseRanking:
    """The ``bpr`` task."""

    parameters: BprParameters
    kind: ClassVar[str] = "bpr"

    def initial_state(self) -> State:
        """Small random factors, no biases, and nothing counted yet."""
        items, size = len(self.parameters.chosen_items()), self.parameters.factors
        rng = np.random.default_rng(self.parameters.seed)
        return {
            "round": np.array(0.0),
            "counts": np.zeros(items),
            "factors": rng.normal(0, 1 / math.sqrt(100 + size), (items, size)),
            "biases": np.zeros(items),
        }

    def layout(self) -> Layout:
        """A row an item: by how much factors and bias moved; users of it; loss and parties."""
        items, size = len(self.parameters.chosen_items()), self.parameters.factors
        return Layout.of(
            {"items": (items, size + 1), "counts": (items,), "loss": (), "parties": ()}
        )

    def numbers(self) -> Numbers:
        """Updates in units of their longest, counts in units of the most users: none exceeds 1."""
        return Numbers(
            bound=1.0,
            modulus_bits=self.parameters.modulus_bits,
            min_scale=max(_GRID, count_unit(self.parameters)),
        )

    def check(self, data: Data) -> None:
        """Raise InputError for rows that the task refuses."""
        self.parameters.histories(data)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Count, or say how one party's users move the items."""
        del round_in_task  # the phase lies in the state
        require_like(state, self.initial_state())
        histories = self.parameters.histories(data)
        sums = self.layout().zeros()
        sums["counts"] = histories.raters / count_unit(self.parameters)
        sums["parties"] = np.array(1.0)
        if scalar(state, "round") == 0:
            return sums
        require_short(_rows(state["factors"], state["biases"]), _LARGEST_FACTOR)
        trained = self.trained(state)
        if not trained.size:
            raise WireError("coordinator", "model", "no item is left to train on")
        known = histories.restricted(trained)
        if not len(known.items):
            return sums
        opponents = self._opponents(state, trained)
        side = self._side(state, trained, opponents.draw(rng, (len(trained), _OPPONENTS)))
        factors, biases, loss = self._descent().run(known, side, opponents, rng)
        moved = _rows(factors, biases) - _rows(side.factors, side.biases)
        clip = self.parameters.clip_norm
        sums["items"][trained] = np.clip(shortened(moved, clip) / clip, -1, 1)
        sums["loss"] = np.array(min(loss, _LARGEST_LOSS) / _LARGEST_LOSS)
        return sums

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Publish the counts that reach the support, then move the items by the mean update."""
        del round_in_task
        present = np.round(total["counts"] * count_unit(self.parameters))
        parties = max(1.0, round(scalar(total, "parties")))
        done = scalar(state, "round")
        if done == 0:
            return self._counted(state, present)
        rate = self.parameters.server_learning_rate or math.sqrt(parties)
        # An item moves only while enough users of those who are there have it.
        moving = np.minimum(state["counts"], present) >= self.parameters.min_support
        step = total["items"] * (self.parameters.clip_norm * rate / parties)
        rows = _rows(state["factors"], state["biases"])
        rows = shortened(np.where(moving[:, np.newaxis], rows + step, rows), _LARGEST_FACTOR)
        following: State = {
            "round": np.array(done + 1),
            "factors": np.ascontiguousarray(rows[:, :-1]),
            "biases": rows[:, -1].copy(),
        }
        loss = scalar(total, "loss") * _LARGEST_LOSS / parties
        return Step(state | following, done >= self.parameters.sweeps, {"loss": loss})

    def trained(self, state: State) -> NDArray[np.int64]:
        """Return the places of the items with enough users."""
        return np.flatnonzero(state["counts"] >= self.parameters.min_support).astype(np.int64)

    def public_side(self, state: State) -> tuple[NDArray[np.int64], PairwiseSide]:
        """Return the places of the trained items, and what users follow from, for everybody alike.

        Whom a user's items are compared with is drawn from the agreed seed.
        """
        trained = self.trained(state)
        rng = np.random.default_rng([self.parameters.seed, 1])
        drawn = self._opponents(state, trained).draw(rng, (len(trained), _OPPONENTS))
        return trained, self._side(state, trained, drawn)

    def _opponents(self, state: State, trained: NDArray[np.int64]) -> Opponents:
        counts = np.asarray(state["counts"][trained], dtype=np.float64)
        return Opponents.of(counts, self.parameters.opponent_power)

    def _side(
        self, state: State, trained: NDArray[np.int64], opponents: NDArray[np.int64]
    ) -> PairwiseSide:
        return PairwiseSide(
            np.asarray(state["factors"][trained], dtype=np.float64),
            np.asarray(state["biases"][trained], dtype=np.float64),
            opponents,
            self.parameters.user_regularization,
        )

    def _descent(self) -> Descent:
        told = self.parameters
        return Descent(told.learning_rate, told.regularization, told.local_epochs, told.batch_size)

    def _counted(self, state: State, present: NDArray[np.float64]) -> Step:
        shown = np.where(present >= self.parameters.min_support, present, 0.0)
        if not shown.any():
            raise NoResultError("no item has enough users in all companies; lower min_support")
        known = shown > 0
        factors = np.where(known[:, np.newaxis], state["factors"], 0.0)
        counted: State = {"round": np.array(1.0), "counts": shown, "factors": factors}
        return Step(state | counted, False, {"items": float(known.sum())})


def build_bpr(parameters: BprParameters) -> PairwiseRanking:
    """Return the task.

    Raises:
        AgreementError: the chosen items are no bitmap of the catalogue.
    """
    parameters.chosen_items()
    return PairwiseRanking(parameters)


def _rows(factors: NDArray[np.floating], biases: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.concatenate([factors, biases[:, np.newaxis]], axis=1).astype(np.float64)
