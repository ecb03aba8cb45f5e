"""Counts and pairs of items under differential privacy: what one person adds is bounded.

A person's row is a list of at most ``most`` items, so that the person's vector has a known norm:
sqrt(most) for counts, sqrt(most (most + 1) / 2) for the triangle of pairs. The noise goes into the
very sum that EASE needs (compare Chien et al., "Private Alternating Least Squares", ICML 2021).
Which items take part must come from public knowledge or from noised counts, never from exact ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import AgreementError, InputError
from securefed.data.table import Data
from securefed.learning.layout import Arrays, Layout
from securefed.learning.public_table import chunks
from securefed.learning.recommend.catalogue import tag_number
from securefed.learning.recommend.chosen import ChosenItems
from securefed.learning.recommend.gram import triangle_size
from securefed.learning.recommend.interactions import Interactions
from securefed.learning.state import State, require_like
from securefed.learning.task import Step

MAX_PRIVATE_ITEMS: Final = 2_000
"""A person's vector of pairs then has 2 * 10^6 values; noise outweighs them long before."""


class PersonItemsParameters(ChosenItems):
    """Agreement parameters of ``dp-item-counts`` and ``dp-ease``.

    Attributes:
        items: items in the agreed catalogue.
        chosen: bitmap of the items that take part; must not come from exact counts of people.
        catalogue: its tag; people read with another one are refused.
        most: most items of a person that count.
    """

    most: Annotated[int, Field(ge=1, le=10_000)] = 20


def people_of(interactions: Interactions, chosen: NDArray[np.int64], most: int) -> Data:
    """Return one row a user: the catalogue's tag, then the latest chosen items, plus 1; 0 is none.

    Users with none of the items stay, as rows without any: their number is no secret of theirs.

    Args:
        interactions: of one company.
        chosen: numbers of the items that take part.
        most: most items of a person.
    """
    place = np.zeros(len(interactions.catalogue))
    place[chosen] = np.arange(len(chosen)) + 1.0
    table = np.zeros((interactions.people, most + 1))
    table[:, 0] = tag_number(interactions.catalogue.tag)
    kept = place[interactions.items] > 0
    users, items = interactions.users[kept], place[interactions.items[kept]]
    ends = np.searchsorted(users, users, side="right")
    back = ends - np.arange(len(users))
    recent = back <= most
    table[users[recent], back[recent]] = items[recent]
    return Data(table, np.zeros(interactions.people))


@dataclass(frozen=True, slots=True)
class _PersonSum:
    """One round, one noised sum of vectors that follow from a person's items."""

    parameters: PersonItemsParameters

    def initial_state(self) -> State:
        """Nothing is counted yet, and no noise was added."""
        return {"sum": np.zeros(self.layout().size), "noise": np.array(0.0)}

    def layout(self) -> Layout:
        """Return the shape of a person's vector."""
        raise NotImplementedError

    def check(self, data: Data) -> None:
        """Raise InputError for a table that the task refuses."""
        indicators(data.features[:1], self.parameters)

    def combine(
        self,
        state: State,
        total: Arrays,
        expected_people: float,
        clip_norm: float,
        noise_std: float,
        round_in_task: int,
    ) -> Step:
        """Publish the noised sum with the deviation of its noise."""
        del state, expected_people, clip_norm, round_in_task
        return Step({"sum": total["sum"], "noise": np.array(noise_std)}, True, {"noise": noise_std})


@dataclass(frozen=True, slots=True)
class PersonCounts(_PersonSum):
    """The ``dp-item-counts`` task: one round, noised users of every item."""

    kind: ClassVar[str] = "dp-item-counts"

    def layout(self) -> Layout:
        """One value an item."""
        return Layout.of({"sum": (len(self.parameters.chosen_items()),)})

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield ones at a person's items; zeros for a row that is no person's."""
        del round_in_task, rng  # one round, and counting draws nothing
        require_like(state, self.initial_state())
        for rows in chunks(len(data), self.layout().size):
            yield indicators(data.features[rows], self.parameters)


@dataclass(frozen=True, slots=True)
class PersonGram(_PersonSum):
    """The ``dp-ease`` task: one round, the noised upper triangle of the items' Gram matrix."""

    kind: ClassVar[str] = "dp-ease"

    def layout(self) -> Layout:
        """The upper triangle, row by row, diagonal included."""
        return Layout.of({"sum": (triangle_size(len(self.parameters.chosen_items())),)})

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield ones at the pairs of a person's items; zeros for a row that is no person's."""
        del round_in_task, rng  # one round, and counting draws nothing
        require_like(state, self.initial_state())
        upper = np.triu_indices(len(self.parameters.chosen_items()))
        for rows in chunks(len(data), 2 * len(upper[0])):
            ones = indicators(data.features[rows], self.parameters)
            yield ones[:, upper[0]] * ones[:, upper[1]]


def indicators(
    table: NDArray[np.float64], parameters: PersonItemsParameters
) -> NDArray[np.float64]:
    """Return people by items, shape (people, chosen): 1 where a person has an item.

    A row that is no person's (an unknown item, another catalogue) gives zeros.

    Raises:
        InputError: the table has another number of columns.
    """
    if table.shape[1] != parameters.most + 1:
        raise InputError(
            f"features has {table.shape[1]} columns; build them with people_of and most = "
            f"{parameters.most}"
        )
    items, tags = table[:, 1:], table[:, 0]
    size = len(parameters.chosen_items())
    sound = ((items >= 0) & (items <= size) & (items == np.floor(items))).all(axis=1)
    if parameters.catalogue:
        sound &= tags == tag_number(parameters.catalogue)
    out = np.zeros((len(table), size + 1))
    numbers = np.where(sound[:, np.newaxis], items, 0).astype(np.int64)
    out[np.arange(len(table))[:, np.newaxis], numbers] = 1
    return out[:, 1:]


def count_norm(most: int) -> float:
    """Return the largest norm of a person's counts."""
    return math.sqrt(most)


def pair_norm(most: int) -> float:
    """Return the largest norm of a person's triangle of pairs."""
    return math.sqrt(triangle_size(most))


def build_person_counts(parameters: PersonItemsParameters) -> PersonCounts:
    """Return the task.

    Raises:
        AgreementError: the chosen items are no bitmap of the catalogue.
    """
    parameters.chosen_items()
    return PersonCounts(parameters)


def build_person_gram(parameters: PersonItemsParameters) -> PersonGram:
    """Return the task.

    Raises:
        AgreementError: more items than noise leaves anything of.
    """
    size = len(parameters.chosen_items())
    if size > MAX_PRIVATE_ITEMS:
        raise AgreementError(
            "chosen",
            f"{size} items, and noised pairs are limited to {MAX_PRIVATE_ITEMS}",
            "choose fewer items, by public knowledge or noised counts",
        )
    return PersonGram(parameters)
