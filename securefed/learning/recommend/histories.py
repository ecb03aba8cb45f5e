"""Users' items as a sparse matrix of zeros and ones, and the sums that recommenders need of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from securefed.data.table import Data
from securefed.learning.recommend.catalogue import tag_number
from securefed.learning.recommend.interactions import COLUMNS, Interactions

_CHUNK_VALUES: Final = 2**22
"""Values of a temporary array: 32 MiB in float64."""


@dataclass(frozen=True, eq=False)
class Histories:
    """Users by items, shape (people, count), one where a user has an item.

    Attributes:
        starts: where each user's items begin, and the end, shape (people + 1,).
        items: item numbers, user by user, each user's in the order of time.
        count: number of items.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, sequences: Sequence[NDArray[np.int64]], count: int) -> Self:
        """Build from one array of item numbers a user.

        Raises:
            InputError: a number outside of the catalogue, or an item twice in one history.
        """
        sizes = [len(one) for one in sequences]
        starts = np.cumsum([0, *sizes]).astype(np.int64)
        items = np.concatenate([np.asarray(one, dtype=np.int64) for one in sequences])
        if items.size and not (items.min() >= 0 and items.max() < count):
            raise InputError(f"a history has an item outside 0 to {count - 1}")
        built = cls(starts, items, count)
        if len(np.unique(built.users * count + items)) != len(items):
            raise InputError("a history has an item twice; give every item once")
        return built

    @classmethod
    def from_interactions(cls, interactions: Interactions) -> Self:
        """Build from a company's rows."""
        return cls(interactions.starts, interactions.items, len(interactions.catalogue))

    @classmethod
    def from_data(cls, data: Data, count: int, tag: str = "", *, max_users: int) -> Self:
        """Build from rows as the nodes carry them.

        Args:
            data: see :meth:`Interactions.to_data`.
            count: items that the agreement names.
            tag: of the catalogue that the agreement names; any unless given.
            max_users: most users that it allows.

        Raises:
            InputError: not such rows, another catalogue, an item outside of it, an item twice,
                or too many users.
        """
        if data.features.shape[1] != COLUMNS:
            raise InputError(
                f"features has {data.features.shape[1]} columns; a recommender reads interactions: "
                "build them with Interactions.to_data()"
            )
        if tag and (data.features[:, 3] != tag_number(tag)).any():
            raise InputError(
                "the interactions were read with another catalogue than the agreed one; "
                "read them again with the agreed list of items"
            )
        users, items = data.labels, data.features[:, 0]
        for name, values in (("labels", users), ("items", items)):
            if values.min() < 0 or (values != np.floor(values)).any():
                raise InputError(f"{name} are no numbers 0, 1, ...; use Interactions.to_data()")
        if items.max() >= count:
            raise InputError(f"an item is outside of the agreed catalogue of {count} items")
        if users.max() >= max_users:
            raise InputError(
                f"there are {int(users.max()) + 1} users here and the agreement allows "
                f"max_users = {max_users}; leave some out or agree on more"
            )
        order = np.argsort(users, kind="stable")
        who, what = users[order].astype(np.int64), items[order].astype(np.int64)
        if len(np.unique(who * count + what)) != len(who):
            raise InputError("a user has an item twice; drop the repetition")
        starts = np.searchsorted(who, np.arange(int(who[-1]) + 2))
        return cls(starts.astype(np.int64), what, count)

    @property
    def people(self) -> int:
        """Number of users."""
        return len(self.starts) - 1

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Items of each user, shape (people,)."""
        return np.diff(self.starts)

    @cached_property
    def users(self) -> NDArray[np.int64]:
        """User of each entry, shape (entries,)."""
        return np.repeat(np.arange(self.people), self.sizes)

    @cached_property
    def raters(self) -> NDArray[np.int64]:
        """Users who have each item, shape (count,)."""
        return np.bincount(self.items, minlength=self.count)

    @cached_property
    def by_item(self) -> NDArray[np.int64]:
        """Order of the entries by item."""
        return np.argsort(self.items, kind="stable")

    def restricted(self, chosen: NDArray[np.int64]) -> Self:
        """Return the same users with the chosen items only, which are numbered anew in order."""
        number = np.full(self.count, -1)
        number[chosen] = np.arange(len(chosen))
        renamed = number[self.items]
        kept = renamed >= 0
        sizes = np.bincount(self.users[kept], minlength=self.people)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return type(self)(starts, renamed[kept], len(chosen))

    def slice(self, start: int, stop: int) -> Self:
        """Return the users from ``start`` to before ``stop``."""
        low, high = self.starts[start], self.starts[stop]
        return type(self)(self.starts[start : stop + 1] - low, self.items[low:high], self.count)

    def dense(self) -> NDArray[np.float64]:
        """Return the matrix itself, shape (people, count)."""
        matrix = np.zeros((self.people, self.count))
        matrix[self.users, self.items] = 1
        return matrix

    def sum_over_items(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each user the sum of its items' rows: (count, d) to (people, d)."""
        return _grouped(rows, self.items, self.starts)

    def sum_over_users(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each item the sum of its users' rows: (people, d) to (count, d)."""
        starts = np.concatenate([[0], np.cumsum(self.raters)]).astype(np.int64)
        return _grouped(rows, self.users[self.by_item], starts)

    def gram(self) -> NDArray[np.float32]:
        """Return how many users have both items, shape (count, count); exact below 2^24 users."""
        total = np.zeros((self.count, self.count), np.float32)
        step = max(1, _CHUNK_VALUES // self.count)
        for start in range(0, self.people, step):
            rows = self.slice(start, min(start + step, self.people))
            block = np.zeros((rows.people, self.count), np.float32)
            block[rows.users, rows.items] = 1
            total += block.T @ block
        return total


def _spans(starts: NDArray[np.int64], width: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of groups whose entries, ``width`` values each, fit into a temporary array."""
    budget = max(1, _CHUNK_VALUES // max(1, width))
    low = 0
    while low < len(starts) - 1:
        high = int(np.searchsorted(starts, starts[low] + budget, side="right")) - 1
        high = max(low + 1, high)
        yield low, high
        low = high


def _grouped(
    rows: NDArray[np.float64], picked: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return sums of ``rows[picked]`` by group, shape (groups, d)."""
    out = np.zeros((len(starts) - 1, rows.shape[1]))
    for low, high in _spans(starts, rows.shape[1]):
        begin, end = starts[low], starts[high]
        filled = np.flatnonzero(np.diff(starts[low : high + 1])) + low
        if filled.size:
            # Empty groups are left out: reduceat would give them the next group's first row.
            out[filled] = np.add.reduceat(rows[picked[begin:end]], starts[filled] - begin, axis=0)
    return out
