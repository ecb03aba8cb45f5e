"""The ``dp-ngram`` task: n-grams counted under noise, what one person adds being bounded.

A person's row is the person's text. In each round the person counts with at most ``most`` different
n-grams, once each, so that the vector has a norm of at most sqrt(most). What is published lies
above what noise alone reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import NoResultError
from securefed.data.table import Data, require_columns
from securefed.learning.language.candidates import Candidates, NgramParameters
from securefed.learning.language.counting import own_counts, published
from securefed.learning.layout import Arrays, Layout
from securefed.learning.public_table import chunks
from securefed.learning.state import State
from securefed.learning.task import Step


class PersonNgramParameters(NgramParameters):
    """Agreement parameters of ``dp-ngram``.

    Attributes:
        tokens: columns of a person's row: the cells of the words, 0 between texts.
        most: most n-grams of a person that count in a round, those the person uses most.
    """

    tokens: Annotated[int, Field(ge=1, le=2**20)] = 1000
    most: Annotated[int, Field(ge=1, le=10**6)] = 50


@dataclass(frozen=True, slots=True)
class PersonNgrams:
    """The ``dp-ngram`` task."""

    parameters: PersonNgramParameters
    kind: ClassVar[str] = "dp-ngram"

    def initial_state(self) -> State:
        """Nothing is counted yet, and no noise was added."""
        return {**self.parameters.initial_state(), "noise": np.array(0.0)}

    def layout(self) -> Layout:
        """One count a cell, whatever the round counts in it."""
        return Layout.of({"counts": (self.parameters.cells,)})

    def check(self, data: Data) -> None:
        """Raise InputError for a table that the task refuses."""
        require_columns(data.features, self.parameters.tokens)

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield ones at a person's most used n-grams; zeros for a row that is no text."""
        del round_in_task, rng  # the phase lies in the state, and counting draws nothing
        candidates = self._candidates(state)
        self.check(data)
        for rows in chunks(len(data), max(self.parameters.cells, self.parameters.tokens)):
            yield self._vectors(candidates, data.features[rows])

    def combine(
        self,
        state: State,
        total: Arrays,
        expected_people: float,
        clip_norm: float,
        noise_std: float,
        round_in_task: int,
    ) -> Step:
        """Publish the n-grams whose noised counts are beyond the reach of noise."""
        del expected_people, clip_norm, round_in_task
        candidates = self._candidates(state)
        # The largest of so many draws of noise alone is expected about here.
        chance = math.sqrt(2 * math.log(max(2, candidates.count))) * noise_std
        least = max(float(self.parameters.min_support), chance)
        moved, found = published(state, candidates, total["counts"], least)
        if candidates.length == 1 and not found:
            raise NoResultError(
                "no word rises above the noise: this needs more people, a larger epsilon, or a "
                "smaller most"
            )
        done = candidates.length == self.parameters.order or not found
        metrics = {f"ngrams_{candidates.length}": float(found), "noise": noise_std}
        return Step({**moved, "noise": np.array(noise_std)}, done, metrics)

    def _candidates(self, state: State) -> Candidates:
        return Candidates.of(state, self.parameters, self.initial_state())

    def _vectors(self, candidates: Candidates, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors of shape (people, cells)."""
        cells = self.parameters.cells
        sound = ((table >= 0) & (table <= cells) & (table == np.floor(table))).all(axis=1)
        tokens = np.where(sound[:, np.newaxis], table, 0).astype(np.int64)
        length = candidates.length
        before = np.zeros((len(tokens), length - 1), dtype=np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.concatenate([before, tokens], axis=1), length, axis=1
        ).reshape(-1, length)
        people = np.repeat(np.arange(len(tokens)), tokens.shape[1])
        who, places, counts = own_counts(people, candidates.places(windows))
        order = np.lexsort((places, -counts, who))
        who, places = who[order], places[order]
        rank = np.arange(len(who)) - np.searchsorted(who, who, side="left")
        kept = rank < self.parameters.most
        vectors = np.zeros((len(table), cells))
        vectors[who[kept], places[kept]] = 1
        return vectors


def person_texts(data: Data, tokens: int) -> Data:
    """Return one row a person: the cells of all words, 0 before each text, from rows of words.

    Args:
        data: as :func:`~securefed.learning.language.text.ngram_data` returns it, order 2 or more.
        tokens: columns; what a person wrote beyond them is left out.
    """
    people = data.features[:, -1].astype(np.int64)
    begins = (data.features[:, -2] == 0).astype(np.int64)
    order = np.argsort(people, kind="stable")
    people, words, begins = people[order], data.labels[order], begins[order]
    first = np.searchsorted(people, people, side="left")
    passed = np.cumsum(1 + begins)
    started = passed[first] - (1 + begins[first])
    column = passed - started - 1
    present, row = np.unique(people, return_inverse=True)
    table = np.zeros((len(present), tokens))
    kept = column < tokens
    table[row[kept], column[kept]] = words[kept]
    return Data(table, np.zeros(len(present)))


def person_norm(most: int) -> float:
    """Return the largest norm of a person's vector."""
    return math.sqrt(most)
