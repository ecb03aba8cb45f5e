"""From text to the numbers that n-gram models count, and back at whoever knows the words.

Companies have no common list of words, and a list made of theirs would tell about people. So a word
is the number of a cell that a public hash gives; only who knows a word can name its cell. Two words
in one cell are one word to the model.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from securefed.data.table import Data

BEGIN: Final = 0
"""Stands where a context reaches back before the first word; cells count from 1."""

_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*'?|'[^\W\d_]+|[.,;:!?]")


def split_words(text: str) -> list[str]:
    """Return lower-case words, with their apostrophes, and the marks ``. , ; : ! ?``."""
    return _WORD.findall(text.lower())


def word_cells(words: Iterable[str], cells: int) -> NDArray[np.int64]:
    """Return the cell of each word, 1 to ``cells``: SHA-256 of UTF-8, the same everywhere."""
    numbers = [
        int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") % cells + 1
        for word in words
    ]
    return np.array(numbers, dtype=np.int64)


def ngram_data(
    people: Sequence[Hashable], texts: Sequence[str], *, order: int = 3, cells: int = 2**20
) -> Data:
    """Return one row a word: the ``order - 1`` cells before it, and its person; label: its cell.

    Args:
        people: who wrote each text; the table has local numbers instead.
        texts: in the order in which each person wrote them; no context reaches across two texts.
        order: words of the longest n-gram, at least 1.
        cells: of the agreed hash.

    Raises:
        InputError: no word in all texts, or lists of different lengths.
    """
    if len(people) != len(texts):
        raise InputError(f"there are {len(people)} people's names for {len(texts)} texts")
    local: dict[Hashable, int] = {}
    blocks: list[NDArray[np.int64]] = []
    known: dict[str, int] = {}
    for person, text in zip(people, texts, strict=True):
        words = split_words(text)
        fresh = [word for word in dict.fromkeys(words) if word not in known]
        known.update(zip(fresh, word_cells(fresh, cells).tolist(), strict=True))
        number = local.setdefault(person, len(local))
        padded = np.array([BEGIN] * (order - 1) + [known[word] for word in words], dtype=np.int64)
        if words:
            rows = np.lib.stride_tricks.sliding_window_view(padded, order)
            who = np.full((len(rows), 1), number)
            blocks.append(np.concatenate([rows[:, :-1], who, rows[:, -1:]], axis=1))
    if not blocks:
        raise InputError("there is no word in these texts; a company without any takes no part")
    table = np.concatenate(blocks).astype(np.float64)
    return Data(table[:, :-1], table[:, -1])


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words that one company knows, by cell; it never leaves the company.

    Attributes:
        cells: of the agreed hash.
        words: by cell; of several words in one cell, the one most often used here.
    """

    cells: int
    words: dict[int, str] = field(repr=False)

    @classmethod
    def of(cls, texts: Iterable[str], *, cells: int = 2**20) -> Self:
        """Build a lexicon from texts, such as the company's own or a public word list."""
        counts = Counter(word for text in texts for word in split_words(text))
        ranked = sorted(counts, key=lambda word: (counts[word], word))
        return cls(cells, dict(zip(word_cells(ranked, cells).tolist(), ranked, strict=True)))

    def word(self, cell: int) -> str | None:
        """Return the word of a cell, or None where none is known here."""
        return self.words.get(cell)
