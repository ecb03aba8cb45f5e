"""How many users have each item, by one secure sum: the smallest thing worth knowing.

The counts decide which items may be used at all. Where fewer than ``min_support`` users have an
item, the published count is zero and no recommender trains on it. The coordinator, who adds up the
sum, sees the small counts too: an exact sum cannot hide them from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from protocols.errors import NoResultError
from securefed.data.table import Data
from securefed.learning.layout import Arrays, Layout
from securefed.learning.recommend.chosen import ChosenItems
from securefed.learning.recommend.histories import Histories
from securefed.learning.state import State, require_like
from securefed.learning.task import Contribution, Numbers, Step


class InteractionParameters(ChosenItems):
    """Agreement parameters of every task on exact sums of interactions.

    Attributes:
        items: items in the agreed catalogue.
        catalogue: its tag, 12 hexadecimal digits; interactions read with another one are refused.
        chosen: bitmap of the items that take part, see :func:`items_to_texts`; all unless given.
        max_users: most users that any party may bring.
        min_support: fewest users of all parties together that an item needs.
        modulus_bits: size of the ring.
    """

    max_users: Annotated[int, Field(ge=1, le=2**24)] = 10_000
    min_support: Annotated[int, Field(ge=1, le=10**9)] = 5
    modulus_bits: Annotated[int, Field(ge=2, le=64)] = 32

    def histories(self, data: Data) -> Histories:
        """Read a party's rows, restricted to the items that take part.

        Raises:
            InputError: see :meth:`Histories.from_data`.
        """
        whole = Histories.from_data(data, self.items, self.catalogue, max_users=self.max_users)
        return whole.restricted(self.chosen_items()) if self.chosen else whole


def count_unit(parameters: InteractionParameters) -> float:
    """Return the power of two by which counts of users are divided: at least ``max_users``."""
    return 2.0 ** math.ceil(math.log2(parameters.max_users))


def count_numbers(parameters: InteractionParameters) -> Numbers:
    """Return the ring for counts of users: exact, as every count lies on the grid."""
    return Numbers(
        bound=1.0,
        modulus_bits=parameters.modulus_bits,
        min_scale=max(2.0, count_unit(parameters)),
    )


def count_bits(max_users: int, parties: int) -> int:
    """Return the fewest bits of a ring that holds counts of so many users of so many parties."""
    users = max(1, math.ceil(math.log2(max_users)))
    return users + math.ceil(math.log2(max(2, parties))) + 2


@dataclass(frozen=True, slots=True)
class ItemSupport:
    """The ``item-support`` task: one round, one count an item."""

    parameters: InteractionParameters
    kind: ClassVar[str] = "item-support"

    def initial_state(self) -> State:
        """No item is counted yet."""
        return {"users": np.zeros(len(self.parameters.chosen_items()))}

    def layout(self) -> Layout:
        """One value an item."""
        return Layout.of({"users": (len(self.parameters.chosen_items()),)})

    def numbers(self) -> Numbers:
        """Counts in units of a power of two, so that the agreed grid is a power of two too."""
        return count_numbers(self.parameters)

    def check(self, data: Data) -> None:
        """Raise InputError for rows that the task refuses."""
        self.parameters.histories(data)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Count the users of each item at one party."""
        del round_in_task, rng  # one round, and counting draws nothing
        require_like(state, self.initial_state())
        return {"users": self.parameters.histories(data).raters / count_unit(self.parameters)}

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Publish the counts that reach the support, zero for the others."""
        del state, round_in_task
        counts = np.round(total["users"] * count_unit(self.parameters))
        shown = np.where(counts >= self.parameters.min_support, counts, 0.0)
        supported = int((shown > 0).sum())
        if not supported:
            raise NoResultError("no item has enough users in all companies; lower min_support")
        return Step({"users": shown}, True, {"items": float(supported)})


def build_support(parameters: InteractionParameters) -> ItemSupport:
    """Return the task.

    Raises:
        AgreementError: the chosen items are no bitmap of the catalogue.
    """
    parameters.chosen_items()
    return ItemSupport(parameters)
