"""Next-word prediction learnt from all companies' texts, which stay where they are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from securefed.learning.language.characters import Alphabet, character_windows
    from securefed.learning.language.ngram import FederatedNgram
    from securefed.learning.language.private_ngram import DpNgram
    from securefed.learning.language.text import Lexicon, ngram_data, split_words, word_cells

_HOME = {
    "Alphabet": "characters",
    "DpNgram": "private_ngram",
    "FederatedNgram": "ngram",
    "Lexicon": "text",
    "character_windows": "characters",
    "ngram_data": "text",
    "split_words": "text",
    "word_cells": "text",
}

__all__ = [
    "Alphabet",
    "DpNgram",
    "FederatedNgram",
    "Lexicon",
    "character_windows",
    "ngram_data",
    "split_words",
    "word_cells",
]


def __getattr__(name: str) -> Any:
    # The registry of tasks imports from this package while estimators import the registry.
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
