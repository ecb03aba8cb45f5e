"""Text as rows of character numbers, for models of the next character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import Data

UNKNOWN: Final = 0
"""Number of every character that the alphabet does not have."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The public characters of a model, the same at every company; numbered from 1.

    Attributes:
        characters: all different.
    """

    characters: str = "\n !'(),-.:;?abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

    def __post_init__(self) -> None:
        if not self.characters or len(set(self.characters)) != len(self.characters):
            raise MisuseError("an alphabet has at least one character, and none twice")

    @property
    def classes(self) -> int:
        """Numbers in use: the characters and :data:`UNKNOWN`."""
        return len(self.characters) + 1

    def numbers(self, text: str) -> NDArray[np.int64]:
        """Return the number of each character, shape (characters,)."""
        known = {character: number for number, character in enumerate(self.characters, 1)}
        return np.array([known.get(character, UNKNOWN) for character in text], dtype=np.int64)

    def text(self, numbers: Sequence[int] | NDArray[np.int64]) -> str:
        """Return the text of some numbers; the replacement character for unknown ones."""
        return "".join(self.characters[n - 1] if n > 0 else "\ufffd" for n in map(int, numbers))


def character_windows(
    text: str, alphabet: Alphabet, *, length: int = 64, stride: int | None = None
) -> Data:
    """Return rows of ``length`` character numbers; the label is the character that follows.

    Args:
        text: of one company.
        alphabet: the agreed one.
        length: characters of a row.
        stride: from the beginning of one row to that of the next; ``length`` unless given.

    Raises:
        InputError: the text has no more than ``length`` characters.
        MisuseError: a length or stride below 1.
    """
    step = length if stride is None else stride
    if length < 1 or step < 1:
        raise MisuseError("length and stride are at least 1")
    numbers = alphabet.numbers(text)
    if len(numbers) <= length:
        raise InputError(
            f"the text has {len(numbers)} characters, a row with its label takes {length + 1}"
        )
    rows = np.lib.stride_tricks.sliding_window_view(numbers, length + 1)[::step]
    return Data(rows[:, :-1].astype(np.float64), rows[:, -1].astype(np.float64))
