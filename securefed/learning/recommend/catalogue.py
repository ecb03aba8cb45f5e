"""The items that all companies speak about: a public list, agreed before anything is computed."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError

MAX_ITEMS: Final = 2**20
"""Most items of a catalogue."""

_TAG_BYTES: Final = 6
"""48 bits of a digest: the longest whole bytes that float64 holds exactly."""

_CHUNK_BYTES: Final = 2048
"""Bytes of a bitmap in one text of an agreement, which holds 4096 characters."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Catalogue:
    """Item keys in the order that every company uses; an item's position is its number.

    Attributes:
        keys: one name an item, such as a product code, all different.
        digest: SHA-256 of the keys in their order, 32 bytes.

    Raises:
        InputError: no key or too many, an empty one, or one that stands there twice.
    """

    keys: tuple[str, ...]
    digest: bytes = field(init=False)
    _numbers: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= MAX_ITEMS:
            raise InputError(f"a catalogue has 1 to {MAX_ITEMS} items, this one {len(self.keys)}")
        if not all(self.keys):
            raise InputError("a catalogue's key is empty; give every item a name")
        numbers = {key: number for number, key in enumerate(self.keys)}
        if len(numbers) != len(self.keys):
            raise InputError("a key stands in the catalogue twice; give every item its own")
        hasher = hashlib.sha256()
        for key in self.keys:
            raw = key.encode()
            hasher.update(len(raw).to_bytes(4, "big") + raw)
        object.__setattr__(self, "digest", hasher.digest())
        object.__setattr__(self, "_numbers", numbers)

    @classmethod
    def of(cls, keys: Iterable[str]) -> Self:
        """Build a catalogue from keys in any order; they are sorted."""
        return cls(tuple(sorted(keys)))

    @classmethod
    def numbered(cls, count: int) -> Self:
        """Build a catalogue whose keys are 0, 1, ..., ``count - 1``."""
        return cls(tuple(str(number) for number in range(count)))

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"Catalogue({len(self)} items, {self.digest.hex()[:12]})"

    @property
    def tag(self) -> str:
        """The first 48 bits of the digest, 12 hexadecimal digits: for an agreement."""
        return self.digest[:_TAG_BYTES].hex()

    def index(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of items, shape (len(keys),).

        Raises:
            InputError: an item is not in the catalogue; says in which row it stands.
        """
        found = [self._numbers.get(key, -1) for key in keys]
        if -1 in found:
            raise InputError(
                f"row {found.index(-1)} has an item that the catalogue does not list "
                f"({found.count(-1)} such rows); leave them out or agree on a larger catalogue"
            )
        return np.array(found, dtype=np.int64)


def tag_number(tag: str) -> float:
    """Return a tag as a float64, in which 48 bits are exact."""
    return float(int(tag, 16))


def items_to_texts(items: NDArray[np.int64], count: int) -> tuple[str, ...]:
    """Return a set of items as a bitmap in hexadecimal texts that an agreement can hold.

    Args:
        items: numbers of the chosen items.
        count: items in the catalogue.
    """
    flags = np.zeros(count, dtype=np.bool_)
    flags[items] = True
    raw = np.packbits(flags).tobytes()
    return tuple(chunk.hex() for chunk in map(bytes, _batched(raw, _CHUNK_BYTES)))


def items_from_texts(texts: Sequence[str], count: int) -> NDArray[np.int64]:
    """Undo :func:`items_to_texts`; no text at all is every item.

    Raises:
        MisuseError: no bitmap of ``count`` items, or an empty one.
    """
    if not texts:
        return np.arange(count, dtype=np.int64)
    try:
        raw = bytes.fromhex("".join(texts))
    except ValueError as error:
        raise MisuseError("the chosen items are no hexadecimal bitmap") from error
    flags = np.unpackbits(np.frombuffer(raw, np.uint8))
    if len(raw) != -(-count // 8) or flags[count:].any():
        raise MisuseError(f"the chosen items are no bitmap of {count} items")
    chosen = np.flatnonzero(flags).astype(np.int64)
    if not chosen.size:
        raise MisuseError("no item is chosen; lower min_support")
    return chosen


def _batched(raw: bytes, size: int) -> Iterable[tuple[int, ...]]:
    rest = iter(raw)
    while batch := tuple(itertools.islice(rest, size)):
        yield batch
