"""Who took what at one company: the rows that a recommender learns from and that never leave."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError
from securefed.data.table import Data, checked
from securefed.learning.recommend.catalogue import Catalogue, tag_number

COLUMNS = 4
"""Columns of the features that stand for interactions: item, value, time, catalogue."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Interactions:
    """Rows sorted by user, then time; built by :meth:`of` or :meth:`of_numbers`.

    Attributes:
        catalogue: the agreed items.
        user_keys: who the users are, by their local number; stays here.
        users: local number of each row's user, shape (rows,), ascending.
        items: number of each row's item, shape (rows,).
        values: a rating, an amount, or 1; shape (rows,).
        times: any clock, later is larger; the order of the rows where none was given.
    """

    catalogue: Catalogue
    user_keys: tuple[Hashable, ...] = field(repr=False)
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        users: Sequence[Hashable],
        items: Sequence[str],
        *,
        values: ArrayLike | None = None,
        times: ArrayLike | None = None,
        duplicates: Literal["refuse", "last"] = "refuse",
    ) -> Self:
        """Read rows of (user, item key).

        Args:
            catalogue: the agreed items.
            users: a key of each row's user, such as an account number; never sent.
            items: the key of each row's item.
            values: one finite number a row; 1 unless given.
            times: one finite number a row; the order of the rows unless given.
            duplicates: what to do where a user has an item twice: refuse, or keep the last one.

        Raises:
            InputError: an unknown item, a user with an item twice, NaN, no row, or columns of
                different lengths; names the row.
        """
        numbers = catalogue.index(items)
        return cls.of_numbers(
            catalogue, users, numbers, values=values, times=times, duplicates=duplicates
        )

    @classmethod
    def of_numbers(
        cls,
        catalogue: Catalogue,
        users: Sequence[Hashable] | NDArray[Any],
        items: ArrayLike,
        *,
        values: ArrayLike | None = None,
        times: ArrayLike | None = None,
        duplicates: Literal["refuse", "last"] = "refuse",
    ) -> Self:
        """Read rows of (user, item number); otherwise as :meth:`of`."""
        if not len(users):
            raise InputError("there is no interaction; a company without any does not take part")
        numbers = _item_numbers(items, len(catalogue))
        worth = np.ones(len(users)) if values is None else checked("values", values, ndim=1)
        clock = np.arange(len(users), dtype=np.float64)
        clock = clock if times is None else checked("times", times, ndim=1)
        if not len(users) == len(numbers) == len(worth) == len(clock):
            raise InputError("users, items, values and times have different lengths")
        local: dict[Hashable, int] = {}
        who = np.array([local.setdefault(_plain(user), len(local)) for user in users])
        order = np.lexsort((np.arange(len(who)), clock, who))
        keep = order[_distinct(who[order], numbers[order], len(catalogue), duplicates)]
        return cls(
            catalogue, tuple(local), who[keep].astype(np.int64), numbers[keep], worth[keep],
            clock[keep],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Interactions({len(self)} rows, {self.people} users, {self.catalogue!r})"

    @property
    def people(self) -> int:
        """Number of users."""
        return len(self.user_keys)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each user's rows begin, and the end, shape (people + 1,)."""
        return np.searchsorted(self.users, np.arange(self.people + 1)).astype(np.int64)

    def history(self, user: Hashable) -> NDArray[np.int64]:
        """Return the items of one user, the latest last.

        Raises:
            InputError: no such user.
        """
        try:
            number = self.user_keys.index(user)
        except ValueError as error:
            raise InputError("there is no such user here") from error
        low, high = np.searchsorted(self.users, [number, number + 1])
        return self.items[low:high]

    def rows(self, chosen: NDArray[Any]) -> Self:
        """Return the chosen rows, a mask or ascending numbers; users are numbered anew.

        Raises:
            InputError: no row is left.
        """
        who = self.users[chosen]
        if not len(who):
            raise InputError("no interaction is left; a company without any does not take part")
        present, numbers = np.unique(who, return_inverse=True)
        return type(self)(
            self.catalogue,
            tuple(self.user_keys[number] for number in present),
            numbers.astype(np.int64),
            self.items[chosen],
            self.values[chosen],
            self.times[chosen],
        )

    def at_least(self, value: float) -> Self:
        """Return the rows whose value is at least ``value``: what counts as liked."""
        return self.rows(self.values >= value)

    def to_data(self) -> Data:
        """Return the rows as the nodes carry them.

        Features are item, value, time and the catalogue's tag, labels the local user numbers: a
        party's file for ``securefed.data.save_party_data``. Keys of users are not in it.
        """
        tag = np.full(len(self), tag_number(self.catalogue.tag))
        features = np.stack([self.items.astype(np.float64), self.values, self.times, tag], axis=1)
        return Data(features, self.users.astype(np.float64))


def merge(parts: Sequence[Interactions]) -> Interactions:
    """Return the rows of all companies: the pooled data that a federation never holds.

    A user of two companies counts as two: no company knows of the other's.

    Raises:
        InputError: no part, or different catalogues.
    """
    if len({part.catalogue.digest for part in parts}) != 1:
        raise InputError("the parts have different catalogues, or there is none")
    offsets = np.cumsum([0] + [part.people for part in parts])
    return Interactions(
        parts[0].catalogue,
        tuple((company, key) for company, part in enumerate(parts) for key in part.user_keys),
        np.concatenate([part.users + start for part, start in zip(parts, offsets, strict=False)]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.times for part in parts]),
    )


def _plain(user: Hashable) -> Hashable:
    # Numpy's scalars compare equal to Python's but print and compare by identity elsewhere.
    plain: Hashable = user.item() if isinstance(user, np.generic) else user
    if plain != plain or plain is None:  # noqa: PLR0124 - NaN is the value unequal to itself
        raise InputError("a user's key is missing (NaN or None); drop those rows first")
    return plain


def _item_numbers(items: ArrayLike, count: int) -> NDArray[np.int64]:
    numbers = checked("items", items, ndim=1)
    wrong = (numbers < 0) | (numbers >= count) | (numbers != np.floor(numbers))
    if wrong.any():
        raise InputError(
            f"row {int(wrong.argmax())} has an item that the catalogue does not list "
            f"({int(wrong.sum())} such rows); leave them out or agree on a larger catalogue"
        )
    return numbers.astype(np.int64)


def _distinct(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    count: int,
    duplicates: Literal["refuse", "last"],
) -> NDArray[np.int64]:
    """Return positions of the rows to keep, ascending, of rows in the order of users and time."""
    pairs = users.astype(np.int64) * count + items
    _, last = np.unique(pairs[::-1], return_index=True)
    kept = np.sort(len(pairs) - 1 - last)
    if len(kept) != len(pairs) and duplicates == "refuse":
        raise InputError(
            f"{len(pairs) - len(kept)} rows repeat an item of the same user; drop them, or say "
            "duplicates='last'"
        )
    return kept
