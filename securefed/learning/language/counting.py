"""Counting n-grams of people, and what becomes of the counts of one order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from securefed.learning.language.candidates import Candidates
from securefed.learning.state import State


def own_counts(
    people: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count how often each person has each place; places below 0 are left out.

    Returns:
        People, places and counts, sorted by person, then place.
    """
    kept = places >= 0
    if not kept.any():
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, empty
    width = int(places.max()) + 1
    pairs, counts = np.unique(people[kept] * width + places[kept], return_counts=True)
    return pairs // width, pairs % width, counts.astype(np.int64)


def whole_numbers(values: NDArray[np.float64], largest: int, what: str) -> NDArray[np.int64]:
    """Return a column as integers from 0.

    Raises:
        InputError: a value that is none, or above ``largest``.
    """
    if ((values < 0) | (values > largest) | (values != np.floor(values))).any():
        raise InputError(
            f"{what} holds values that are no whole number from 0 to {largest}; build the table "
            "with ngram_data and the agreed order and cells"
        )
    return values.astype(np.int64)


def published(
    state: State, candidates: Candidates, counts: NDArray[np.float64], least: float
) -> tuple[State, int]:
    """Return the next state and how many n-grams it gained.

    Args:
        state: the last one.
        candidates: that were counted.
        counts: of all cells of the sum, shape (cells,).
        least: what is below is dropped, and so are the rarest beyond the size of the table.
    """
    counted = counts[: candidates.count]
    places = np.flatnonzero(counted >= least)
    length = candidates.length
    names = ("vocabulary", "counts.1") if length == 1 else (f"keys.{length}", f"counts.{length}")
    room = state[names[0]].size
    places = places[np.argsort(-counted[places], kind="stable")[:room]]
    if length > 1:
        places = np.sort(places)
    keys, kept = np.zeros(room), np.zeros(room)
    keys[: len(places)] = candidates.keys_of(places)
    kept[: len(places)] = counted[places]
    following: State = {"phase": np.array(length + 1.0), names[0]: keys, names[1]: kept}
    return {**state, **following}, len(places)
