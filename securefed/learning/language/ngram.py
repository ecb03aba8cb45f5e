"""An n-gram model of all companies' texts: the pooled one bit for bit, by one sum an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import checked
from securefed.learning.estimator import FederatedEstimator, TaskPlan
from securefed.learning.language.ngram_model import NgramModel
from securefed.learning.language.ngram_task import NgramTask
from securefed.learning.language.text import BEGIN, Lexicon, split_words, word_cells
from securefed.learning.state import State

_SPARE_ROUNDS: Final = 2


class NgramEstimator(FederatedEstimator):
    """What models with exact counts and with noised ones share.

    Features are the cells of the ``order - 1`` words before, and the person, who counts in
    training only; labels are the cells of words: see
    :func:`~securefed.learning.language.text.ngram_data`.

    Attributes:
        model_: the published counts, as probabilities.
        ngrams_: how many n-grams of each length the model has.
    """

    order: int
    cells: int
    vocabulary: int
    table: int
    min_support: int
    discount: float
    model_: NgramModel
    ngrams_: dict[int, int]

    def read(self, states: Mapping[str, State]) -> None:
        """Set the model."""
        self.model_ = NgramModel.of(states[""], order=self.order, discount=self.discount)
        self.ngrams_, self.n_features_in_ = self.model_.ngrams, self.order

    def predict(self, features: ArrayLike) -> NDArray[np.int64]:
        """Return the cell of the most probable next word of each row, shape (rows,)."""
        return self.predict_top(features, 1)[:, 0]

    def predict_top(self, features: ArrayLike, count: int = 3) -> NDArray[np.int64]:
        """Return the cells of the ``count`` most probable next words, shape (rows, count).

        Raises:
            MisuseError: not fitted yet, or a count below 1.
            InputError: another number of columns than ``order``.
        """
        if count < 1:
            raise MisuseError("ask for at least one word")
        table = self._table(features)
        return self.model_.top(table[:, :-1].astype(np.int64), count)

    def score(self, features: ArrayLike, labels: ArrayLike, *, top: int = 1) -> float:
        """Return how often the next word is among the ``top`` most probable ones.

        A word outside of the vocabulary is always missed.
        """
        words = checked("labels", labels, ndim=1)
        found = self.predict_top(features, top)
        if len(words) != len(found):
            raise InputError(f"there are {len(words)} labels for {len(found)} rows")
        return float((found == words[:, np.newaxis]).any(axis=1).mean())

    def next_words(self, text: str, lexicon: Lexicon, count: int = 3) -> list[str]:
        """Return the most probable next words after a text, of those that the lexicon knows.

        Args:
            text: what was written so far.
            lexicon: words that this company knows; see :meth:`Lexicon.of`.
            count: most words.
        """
        self._require_fitted()
        before = word_cells(split_words(text), self.cells)[-(self.order - 1) :]
        context = np.full((1, self.order - 1), BEGIN, dtype=np.int64)
        if self.order > 1 and len(before):
            context[0, -len(before) :] = before
        ranked = self.model_.top(context, len(self.model_.vocabulary))[0]
        words = (lexicon.word(int(cell)) for cell in ranked)
        return [word for word in words if word is not None][:count]

    def _common(self) -> dict[str, Any]:
        return {
            "order": self.order,
            "cells": self.cells,
            "vocabulary": self.vocabulary,
            "table": self.table,
            "min_support": self.min_support,
        }


class FederatedNgram(NgramEstimator):
    """N-grams counted over all companies, in ``order`` rounds; see :class:`NgramEstimator`."""

    default_name = "ngram"

    def __init__(
        self,
        order: int = 3,
        *,
        cells: int = 2**20,
        vocabulary: int = 1000,
        table: int = 2**15,
        min_support: int = 5,
        per_person: int = 2,
        discount: float = 0.75,
        max_rows: int = 2**20,
    ) -> None:
        """Describe a model.

        Args:
            order: words of the longest n-gram, 1 to 5.
            cells: of the hash of words, and values of a sum; at least vocabulary^2 + vocabulary.
            vocabulary: most words of the model.
            table: most n-grams of each length above 1.
            min_support: least count of a word or n-gram in the model.
            per_person: how often one person's use of one n-gram counts, at most. The model then has
                nothing that fewer than ``min_support / per_person`` people used.
            discount: D, from 0 to ``min_support``.
            max_rows: most words of a party's texts.
        """
        self.order, self.cells, self.vocabulary, self.table = order, cells, vocabulary, table
        self.min_support, self.per_person = min_support, per_person
        self.discount, self.max_rows = discount, max_rows

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task of ``order`` rounds."""
        del features
        own = {"per_person": self.per_person, "max_rows": self.max_rows, "parties": parties}
        rounds = self.order + _SPARE_ROUNDS
        return (TaskPlan("", NgramTask.kind, rounds, self._common() | own),)

    def _private_form(self) -> str:
        return "exact counts would tell about people; DpNgram is the form with noise"
