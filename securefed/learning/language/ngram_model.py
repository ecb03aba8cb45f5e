"""Probabilities of the next word from published counts of n-grams, by interpolation.

Each order takes a discount D off its counts and gives what that frees to the shorter context:
p(w | h) = max(c(h, w) - D, 0) / (c(h) + 1) + rest(h) p(w | h'), with c(h) the sum over the words
that were published after h. Source: interpolated absolute discounting, Chen and Goodman 1998
(TR-10-98), section 2.6; the 1 keeps a share for whatever was too rare to be published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from securefed.learning.language.candidates import ngram_keys, spans
from securefed.learning.public_table import chunks
from securefed.learning.state import State


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """The published n-grams of one length.

    Attributes:
        contexts: of each n-gram, ascending.
        words: number of the last word from 0, in the order of the contexts.
        shares: discounted, of what followed the context.
        rests: what is left to shorter contexts, by n-gram; the same for all of one context.
    """

    contexts: NDArray[np.int64]
    words: NDArray[np.int64]
    shares: NDArray[np.float64]
    rests: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        keys: NDArray[np.int64],
        counts: NDArray[np.float64],
        base: int,
        discount: float,
    ) -> Self:
        contexts, words = keys // base, keys % base - 1
        _, place = np.unique(contexts, return_inverse=True)
        shares = np.maximum(counts - discount, 0) / (_sums(place, counts) + 1)
        rests = 1 - _sums(place, shares)
        return cls(contexts, words, shares, rests)

    def refine(self, scores: NDArray[np.float64], contexts: NDArray[np.int64]) -> None:
        """Mix what followed each context into scores of shape (rows, words), in place."""
        starts = np.searchsorted(self.contexts, contexts, side="left")
        ends = np.searchsorted(self.contexts, contexts, side="right")
        known = np.flatnonzero(ends > starts)
        scores[known] *= self.rests[starts[known]][:, np.newaxis]
        rows, entries = spans(starts, ends)
        scores[rows, self.words[entries]] += self.shares[entries]


@dataclass(frozen=True, slots=True, eq=False)
class NgramModel:
    """A published model.

    Attributes:
        order: words of its longest n-gram.
        vocabulary: cells of the words, the most frequent first, shape (words,).
        unigrams: their share of all published words.
    """

    order: int
    vocabulary: NDArray[np.int64]
    unigrams: NDArray[np.float64]
    _base: int
    _orders: tuple[_Order, ...]

    @classmethod
    def of(cls, state: State, *, order: int, discount: float) -> Self:
        """Read the last state of a task; KeyError where an array is missing."""
        known = state["vocabulary"] > 0
        counts = state["counts.1"][known].astype(np.float64)
        base = known.size + 1
        longer = []
        for length in range(2, order + 1):
            keys, found = state[f"keys.{length}"], state[f"counts.{length}"].astype(np.float64)
            kept = keys > 0
            longer.append(_Order.of(keys[kept].astype(np.int64), found[kept], base, discount))
        cells = state["vocabulary"][known].astype(np.int64)
        return cls(order, cells, counts / counts.sum(), base, tuple(longer))

    @property
    def ngrams(self) -> dict[int, int]:
        """How many n-grams of each length the model has."""
        longer = {length: len(one.words) for length, one in enumerate(self._orders, 2)}
        return {1: len(self.vocabulary), **longer}

    def scores(self, contexts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return probabilities of the words of the vocabulary, shape (rows, words).

        Args:
            contexts: cells before the word, shape (rows, order - 1).
        """
        scores = np.repeat(self.unigrams[np.newaxis], len(contexts), axis=0)
        numbers = self._numbers(contexts)
        for length, one in enumerate(self._orders, 2):
            last = numbers[:, self.order - length :]
            keys = ngram_keys(np.maximum(last, 0), self._base)
            one.refine(scores, np.where((last >= 0).all(axis=1), keys, -1))
        return scores

    def top(self, contexts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return the cells of the most probable words, shape (rows, count); 0 for none.

        Of equally probable words, the more frequent one comes first.
        """
        different, place = np.unique(contexts, axis=0, return_inverse=True)
        best = np.zeros((len(different), count), dtype=np.int64)
        for rows in chunks(len(different), len(self.vocabulary)):
            scores = self.scores(different[rows])
            for rank in range(min(count, len(self.vocabulary))):
                found = scores.argmax(axis=1)
                best[rows, rank] = self.vocabulary[found]
                scores[np.arange(len(scores)), found] = -1
        return best[place.ravel()]

    def _numbers(self, contexts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return numbers of words from 1, 0 for the beginning, -1 for what is unknown."""
        order = np.argsort(self.vocabulary)
        ranked = self.vocabulary[order]
        found = np.minimum(np.searchsorted(ranked, contexts), len(ranked) - 1)
        numbers = np.where(ranked[found] == contexts, order[found] + 1, -1)
        return np.where(contexts == 0, 0, numbers)


def _sums(groups: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each value, the sum of its group."""
    return np.asarray(np.bincount(groups, values, minlength=1)[groups], dtype=np.float64)
