"""Which n-grams a round counts: those whose parts enough people or texts have already.

An n-gram occurs no more often than the two shorter ones in it, so that nothing with enough support
is missed (the Apriori principle, Agrawal and Srikant 1994, section 2.1), and no n-gram with a rare
word in it is ever counted. Candidates follow from the published state alone, so that every party
and the coordinator list the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocols.errors import WireError
from securefed.learning.state import FloatArray, State, require_like
from securefed.learning.task import scalar

_LARGEST_KEY: Final = 2**53


class NgramParameters(BaseModel):
    """Agreement parameters that counting n-grams takes, with noise or without.

    Attributes:
        order: words of the longest n-gram.
        cells: of the hash of words, and values in the sum of each round.
        vocabulary: most words of the model; at most about the root of ``cells``.
        table: most n-grams of each order in the model; the most frequent ones.
        min_support: least count of a word or n-gram in the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    order: Annotated[int, Field(ge=1, le=5)] = 3
    cells: Annotated[int, Field(ge=2, le=2**26)] = 2**20
    vocabulary: Annotated[int, Field(ge=1, le=2**13)] = 1000
    table: Annotated[int, Field(ge=1, le=2**20)] = 2**15
    min_support: Annotated[int, Field(ge=1, le=10**9)] = 5

    @model_validator(mode="after")
    def _pairs_fit(self) -> Self:
        if self.order > 1 and self.vocabulary * (self.vocabulary + 1) > self.cells:
            raise ValueError(
                "pairs of words have one cell each: raise cells to vocabulary * (vocabulary + 1)"
            )
        if self.base**self.order > _LARGEST_KEY:
            raise ValueError("n-grams are numbered below 2^53: lower the order or the vocabulary")
        return self

    @property
    def base(self) -> int:
        """Numbers that a place of an n-gram takes: the vocabulary's, and 0 for the beginning."""
        return self.vocabulary + 1

    def initial_state(self) -> State:
        """Return the state before the first round; ``phase`` is the order that is counted next."""
        state: State = {"phase": np.array(1.0)}
        for name in ("vocabulary", "counts.1"):
            state[name] = np.zeros(self.vocabulary)
        for length in range(2, self.order + 1):
            for name in ("keys", "counts"):
                state[f"{name}.{length}"] = np.zeros(self.table)
        return state


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The n-grams that one round counts.

    Attributes:
        parameters: as agreed.
        length: n.
        numbers: number of each cell's word, shape (cells + 1,): 1 for the most frequent one, -1 for
            cells outside of the vocabulary, 0 for the beginning. In the first round, of no use.
        words: in the vocabulary.
        keys: n-grams as numbers of base ``vocabulary + 1``, ascending; of three words and more.
    """

    parameters: NgramParameters
    length: int
    numbers: NDArray[np.int64]
    words: int
    keys: NDArray[np.int64]

    @classmethod
    def of(cls, state: State, parameters: NgramParameters, template: State) -> Self:
        """List the candidates of a state from the coordinator, which is hostile.

        Raises:
            WireError: no state of such a task.
        """
        require_like(state, template)
        length = scalar(state, "phase")
        if length not in range(1, parameters.order + 1):
            raise WireError("coordinator", "model", "a phase that the agreed order does not have")
        cells = _whole(state, "vocabulary", parameters.cells)
        known = cells[cells > 0]
        if len(np.unique(known)) != len(known):
            raise WireError("coordinator", "model", "a vocabulary that names a cell twice")
        numbers = np.full(parameters.cells + 1, -1)
        numbers[0] = 0
        numbers[known] = np.flatnonzero(cells) + 1
        shorter = int(length) - 1
        keys = np.zeros(0, dtype=np.int64)
        if shorter >= 2:
            keys = _joined(*_published(state, shorter, parameters), shorter, parameters)
        return cls(parameters, int(length), numbers, len(known), keys)

    @property
    def count(self) -> int:
        """How many there are."""
        if self.length == 1:
            return self.parameters.cells
        return (self.words + 1) * self.words if self.length == 2 else len(self.keys)

    def places(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where in the sum each n-gram is counted, -1 for no candidate.

        Args:
            windows: cells, shape (rows, n); 0 for the beginning of a text.
        """
        if self.length == 1:
            return windows[:, 0] - 1
        numbers = self.numbers[windows]
        possible = (numbers >= 0).all(axis=1) & (numbers[:, -1] > 0)
        keys = self._keys(np.maximum(numbers, 0))
        if self.length == 2:
            return np.where(possible, keys, -1)
        if not len(self.keys):
            return np.full(len(windows), -1)
        found = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(possible & (self.keys[found] == keys), found, -1)

    def keys_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the n-grams of some places; the cells themselves in the first round."""
        if self.length == 1:
            return places + 1
        if self.length > 2:
            return self.keys[places]
        before, word = np.divmod(places, self.words)
        return before * self.parameters.base + word + 1

    def _keys(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.length == 2:
            return numbers[:, 0] * self.words + numbers[:, 1] - 1
        return ngram_keys(numbers, self.parameters.base)


def ngram_keys(numbers: NDArray[np.int64], base: int) -> NDArray[np.int64]:
    """Return n-grams of word numbers, shape (rows, n), as one number each."""
    powers = base ** np.arange(numbers.shape[1] - 1, -1, -1, dtype=np.int64)
    return np.asarray(numbers @ powers, dtype=np.int64)


def spans(
    starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of spans, each repeated, and the numbers from ``starts`` to ``ends``."""
    lengths = ends - starts
    which = np.repeat(np.arange(len(starts)), lengths)
    within = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return which, starts[which] + within


def _whole(state: State, name: str, largest: int) -> NDArray[np.int64]:
    values: FloatArray = state[name]
    if ((values < 0) | (values > largest) | (values != np.floor(values))).any():
        raise WireError("coordinator", "model", f"{name} holds what is no number of an n-gram")
    return values.astype(np.int64)


def _published(
    state: State, length: int, parameters: NgramParameters
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    keys = _whole(state, f"keys.{length}", parameters.base**length - 1)
    kept = keys > 0
    if (np.diff(keys[kept]) <= 0).any():
        raise WireError("coordinator", "model", f"keys.{length} are not in ascending order")
    return keys[kept], state[f"counts.{length}"][kept].astype(np.float64)


def _joined(
    keys: NDArray[np.int64],
    counts: NDArray[np.float64],
    length: int,
    parameters: NgramParameters,
) -> NDArray[np.int64]:
    """Return n-grams whose first and last ``length`` words are published, at most ``cells``.

    Where there would be more, rare parts are left out until they fit.
    """
    tail = parameters.base ** (length - 1)
    thresholds = np.unique(counts)
    low, high = 0, len(thresholds)
    while low < high:
        middle = (low + high) // 2
        kept = keys[counts >= thresholds[middle]]
        starts, ends = _matches(kept, tail, parameters.base)
        if (ends - starts).sum() <= parameters.cells:
            high = middle
        else:
            low = middle + 1
    if low == len(thresholds):
        return np.zeros(0, dtype=np.int64)
    kept = keys[counts >= thresholds[low]]
    starts, ends = _matches(kept, tail, parameters.base)
    first, second = spans(starts, ends)
    return np.asarray(
        kept[first] * parameters.base + kept[second] % parameters.base, dtype=np.int64
    )


def _matches(
    keys: NDArray[np.int64], tail: int, base: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each n-gram, where those begin and end that go on from all but its first word."""
    heads = keys // base
    starts = np.searchsorted(heads, keys % tail, side="left")
    return starts, np.searchsorted(heads, keys % tail, side="right")
