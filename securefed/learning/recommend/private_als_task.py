"""iALS under differential privacy for people: a noised count of every item, then noised sweeps.

Every round is one noised sum and is charged; what a person adds in it is bounded, see
:mod:`securefed.learning.recommend.private_factors`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import AgreementError, NoResultError
from securefed.data.table import Data
from securefed.learning.layout import Arrays, Layout
from securefed.learning.public_table import chunks
from securefed.learning.recommend.private_factors import PersonSums
from securefed.learning.recommend.private_gram import PersonItemsParameters, indicators
from securefed.learning.recommend.row_norms import require_short, shortened
from securefed.learning.state import State, require_like
from securefed.learning.task import Step, scalar

PERSON_NORM: Final = 1.0
"""Longest vector of a person, whatever its items and the model are: the clip norm to agree on."""

_LARGEST_FACTOR: Final = 16.0
_MOST_VALUES: Final = 2**26
"""Values of a person's vector, which is dense: 512 MiB."""


class PersonAlsParameters(PersonItemsParameters):
    """Agreement parameters of ``dp-ials``; further ones as in :class:`PersonItemsParameters`.

    Attributes:
        factors: d, numbers that describe an item.
        regularization: scaled by frequency.
        unobserved: weight of every pair; an observed one has 1 in addition.
        sweeps: times that people and items take turns; each costs one noised sum.
        item_products: sum products of people's factors for every item as well.
        seed: of the first item factors.
    """

    factors: Annotated[int, Field(ge=1, le=128)] = 8
    regularization: Annotated[float, Field(ge=1e-6, le=1e3)] = 0.03
    unobserved: Annotated[float, Field(ge=1e-6, le=1e3)] = 0.1
    sweeps: Annotated[int, Field(ge=1, le=100)] = 3
    item_products: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @property
    def sums(self) -> PersonSums:
        """What is summed of people."""
        return PersonSums(
            self.factors, self.most, self.item_products, self.unobserved, self.regularization
        )


@dataclass(frozen=True, slots=True)
class PersonAls:
    """The ``dp-ials`` task."""

    parameters: PersonAlsParameters
    kind: ClassVar[str] = "dp-ials"

    def initial_state(self) -> State:
        """Small random factors, and nothing counted yet."""
        items, size = len(self.parameters.chosen_items()), self.parameters.factors
        rng = np.random.default_rng(self.parameters.seed)
        return {
            "round": np.array(0.0),
            "counts": np.zeros(items),
            "noise": np.array(0.0),
            "factors": rng.normal(0, 0.3 / math.sqrt(size), (items, size)),
        }

    def layout(self) -> Layout:
        """A row an item, whose first value is the count in the first round, and one for all."""
        sums, items = self.parameters.sums, len(self.parameters.chosen_items())
        return Layout.of({"items": (items, sums.width), "once": (sums.triangle,)})

    def check(self, data: Data) -> None:
        """Raise InputError for a table that the task refuses."""
        indicators(data.features[:1], self.parameters)

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield a person's count of its items, or its factors there; no vector is longer than 1."""
        del round_in_task, rng  # the phase lies in the state, and a sum of people draws nothing
        require_like(state, self.initial_state())
        require_short(state["factors"], _LARGEST_FACTOR)
        sums, layout = self.parameters.sums, self.layout()
        factors = np.asarray(state["factors"], dtype=np.float64)
        counting = scalar(state, "round") == 0
        items = len(factors)
        for rows in chunks(len(data), 2 * layout.size):
            owned = indicators(data.features[rows], self.parameters)
            out = np.zeros((len(owned), layout.size))
            inner = out[:, : items * sums.width].reshape(len(owned), items, sums.width)
            if counting:
                inner[:, :, 0] = owned / math.sqrt(self.parameters.most)
            else:
                users = sums.directions(owned, factors)
                inner[:] = owned[:, :, np.newaxis] * sums.for_items(users)[:, np.newaxis]
                out[:, items * sums.width :] = sums.once(users)
            yield out

    def combine(
        self,
        state: State,
        total: Arrays,
        expected_people: float,
        clip_norm: float,
        noise_std: float,
        round_in_task: int,
    ) -> Step:
        """Take the noised counts, or solve the items once more.

        Raises:
            NoResultError: noise is all there is.
        """
        del expected_people, clip_norm, round_in_task
        done, root = scalar(state, "round"), math.sqrt(self.parameters.most)
        following: State = {"round": np.array(done + 1)}
        if done == 0:
            counts = np.maximum(total["items"][:, 0] * root, 0.0)
            following |= {"counts": counts, "noise": np.array(noise_std * root)}
            return Step(state | following, False, {"noise": noise_std * root})
        factors = self.parameters.sums.factors(
            total["items"],
            total["once"],
            noise=noise_std,
            counts=np.asarray(state["counts"], dtype=np.float64),
        )
        if not factors.any():
            raise NoResultError(
                "no factor rises above its noise: this needs more people or a larger epsilon"
            )
        following["factors"] = shortened(factors, _LARGEST_FACTOR)
        return Step(state | following, done >= self.parameters.sweeps, {"noise": noise_std})


def build_person_als(parameters: PersonAlsParameters) -> PersonAls:
    """Return the task.

    Raises:
        AgreementError: the chosen items are no bitmap of the catalogue, or a person's vector would
            be too long.
    """
    task = PersonAls(parameters)
    if task.layout().size > _MOST_VALUES:
        raise AgreementError(
            "factors",
            f"a person's vector would have {task.layout().size} values, and {_MOST_VALUES} are "
            "the most",
            "choose fewer factors or items, or leave item_products out",
        )
    return task
