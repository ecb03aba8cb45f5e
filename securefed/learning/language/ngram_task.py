"""The ``ngram`` task: words, then pairs, then longer n-grams, each order by one exact sum.

The counts are whole numbers, so that the model is the pooled one bit for bit. The coordinator drops
rare n-grams before it publishes; it sees their sums, though not whose they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import NoResultError
from securefed.data.table import Data, require_columns, require_rows
from securefed.learning.exact_sum import ExactSum, Summand
from securefed.learning.language.candidates import Candidates, NgramParameters
from securefed.learning.language.counting import own_counts, published, whole_numbers
from securefed.learning.layout import Arrays, Layout
from securefed.learning.state import State
from securefed.learning.task import Contribution, Numbers, Step

_LARGEST_PERSON = 2**31


class ExactNgramParameters(NgramParameters):
    """Agreement parameters of ``ngram``.

    Attributes:
        per_person: how often one person's use of one n-gram counts, at most. What is published was
            then used by at least ``min_support / per_person`` people.
        max_rows: most words of a party's texts.
        parties: in the agreement, at most.
    """

    per_person: Annotated[int, Field(ge=1, le=10**9)] = 2
    max_rows: Annotated[int, Field(ge=1, le=10**9)] = 2**20
    parties: Annotated[int, Field(ge=1, le=1000)] = 1000


@dataclass(frozen=True, slots=True)
class NgramTask:
    """The ``ngram`` task; rows as of :func:`~securefed.learning.language.text.ngram_data`."""

    parameters: ExactNgramParameters
    kind: ClassVar[str] = "ngram"

    def initial_state(self) -> State:
        """Nothing is counted yet."""
        return self.parameters.initial_state()

    def layout(self) -> Layout:
        """One count a cell, whatever the round counts in it."""
        return self._sums().layout()

    def numbers(self) -> Numbers:
        """Return the ring that holds the counts."""
        return self._sums().numbers()

    def check(self, data: Data) -> None:
        """Refuse data that the agreement does not describe; raises InputError."""
        self._rows(data)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Count one party's n-grams of the order that the state says."""
        del round_in_task, rng  # the phase lies in the state, and counting draws nothing
        candidates = self._candidates(state)
        people, windows = self._rows(data)
        _, places, counts = own_counts(
            people, candidates.places(windows[:, self.parameters.order - candidates.length :])
        )
        capped = np.minimum(counts, self.parameters.per_person)
        total = np.bincount(places, weights=capped, minlength=self.parameters.cells)
        return self._sums().encode({"counts": total})

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Publish the n-grams with enough support."""
        del round_in_task
        counts = self._sums().decode(total)["counts"]
        candidates = self._candidates(state)
        moved, found = published(state, candidates, counts, self.parameters.min_support)
        if candidates.length == 1 and not found:
            raise NoResultError("no word is frequent enough in all companies; lower min_support")
        done = candidates.length == self.parameters.order or not found
        return Step(moved, done, {f"ngrams_{candidates.length}": float(found)})

    def _candidates(self, state: State) -> Candidates:
        return Candidates.of(state, self.parameters, self.initial_state())

    def _sums(self) -> ExactSum:
        counts = Summand((self.parameters.cells,), float(self.parameters.max_rows))
        return ExactSum.of({"counts": counts}, self.parameters.parties)

    def _rows(self, data: Data) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return people, shape (rows,), and n-grams of cells, (rows, order)."""
        parameters = self.parameters
        require_columns(data.features, parameters.order)
        require_rows(data, parameters.max_rows)
        before = whole_numbers(data.features[:, :-1], parameters.cells, "a column of words")
        people = whole_numbers(data.features[:, -1], _LARGEST_PERSON, "the column of people")
        words = whole_numbers(data.labels - 1, parameters.cells - 1, "the labels, less 1,") + 1
        return people, np.column_stack([before, words])
