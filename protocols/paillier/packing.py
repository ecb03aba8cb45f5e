"""Many words in one plaintext.

A word of ``ring_bits`` bits gets a lane with ceil(log2 summands) guard bits above it. The sum of at
most ``summands`` words is at most summands * (2^ring_bits - 1) < 2^lane_bits: no lane ever carries
into the next, and the lanes together stay below 2^(modulus_bits - 1) <= n. Reading a lane of a sum
modulo 2^ring_bits is therefore exactly the sum in the ring.

Lane i of a plaintext fills its bits ``[i * lane_bits, (i + 1) * lane_bits)``; the last plaintext of
a vector ends with empty lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from protocols.errors import InputError, MisuseError
from protocols.packing import (
    MAX_BITS,
    check_bits,
    lane_bits,
    lanes_within,
    pack,
    unpack,
    word_bits_for,
)
from protocols.paillier.integers import mpz
from protocols.prg import Words, word_type

_GROUP: Final = 8
"""Lanes that always fill whole bytes."""
_CHUNK: Final = 64 * 1024
"""Lanes handled at a time: temporaries stay in the level 2 cache."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How the words of a vector lie in plaintexts.

    Attributes:
        ring_bits: 2..64, of a word.
        summands: most vectors that are ever added up, >= 1.
        modulus_bits: length of the Paillier modulus.

    Raises:
        MisuseError: an attribute out of range, or a lane that is wider than a plaintext.
    """

    ring_bits: int
    summands: int
    modulus_bits: int

    def __post_init__(self) -> None:
        check_bits(self.ring_bits)
        if self.summands < 1:
            raise MisuseError(f"a sum of {self.summands} vectors has no terms")
        if self.lanes < 1:
            raise MisuseError(
                f"a lane of {self.lane_bits} bits does not fit a modulus of {self.modulus_bits}"
            )

    @property
    def lane_bits(self) -> int:
        """Bits of a lane: the word and its guard."""
        return lane_bits(self.ring_bits, self.summands)

    @property
    def lanes(self) -> int:
        """Lanes of a plaintext."""
        return lanes_within(self.modulus_bits, self.lane_bits)

    def plaintexts(self, count: int) -> int:
        """Return how many plaintexts ``count`` words take.

        Raises:
            MisuseError: ``count`` is negative.
        """
        if count < 0:
            raise MisuseError(f"cannot pack {count} words")
        return -(-count // self.lanes)

    def pack(self, words: Words) -> list[mpz]:
        """Pack the low ``ring_bits`` bits of each word.

        Args:
            words: shape (d,), of the width of :func:`protocols.packing.word_bits_for`.

        Returns:
            ``plaintexts(d)`` integers below 2^(modulus_bits - 1).

        Raises:
            MisuseError: words of another width or shape.
        """
        width = word_bits_for(self.ring_bits)
        if words.dtype != word_type(width) or words.ndim != 1:
            raise MisuseError(f"{self.ring_bits} bits are packed from a flat vector of {width}")
        step = self._rows_at_once * self.lanes
        packed: list[mpz] = []
        for low in range(0, words.size, step):
            packed += self._pack_rows(words[low : low + step])
        return packed

    def unpack(self, plaintexts: Sequence[mpz], count: int) -> Words:
        """Read ``count`` words, each lane modulo 2^ring_bits.

        Args:
            plaintexts: packed vectors, or sums of at most ``summands`` of them.
            count: number of words, >= 0.

        Returns:
            Words in ``[0, 2^ring_bits)``, shape (count,).

        Raises:
            InputError: another number of plaintexts, one that is too large for its lanes, or an
                empty lane at the end that is not zero: no sum of packed vectors of this length.
            MisuseError: ``count`` is negative.
        """
        if len(plaintexts) != self.plaintexts(count):
            raise InputError(
                f"{count} words take {self.plaintexts(count)} plaintexts, not {len(plaintexts)}"
            )
        words = np.empty(len(plaintexts) * self.lanes, word_type(word_bits_for(self.ring_bits)))
        self._check_range(plaintexts, count)
        for low in range(0, len(plaintexts), self._rows_at_once):
            rows = plaintexts[low : low + self._rows_at_once]
            words[low * self.lanes :][: len(rows) * self.lanes] = self._unpack_rows(rows)
        return words[:count]

    def _check_range(self, plaintexts: Sequence[mpz], count: int) -> None:
        end = mpz(1) << self.lanes * self.lane_bits
        last = mpz(1) << ((count - 1) % self.lanes + 1) * self.lane_bits
        if plaintexts and (min(plaintexts) < 0 or max(plaintexts) >= end or plaintexts[-1] >= last):
            raise InputError("a plaintext holds more than the lanes of a packed sum")

    @property
    def _rows_at_once(self) -> int:
        return max(1, _CHUNK // self.lanes)

    @property
    def _padded(self) -> int:
        """Lanes of a row in memory, which begins and ends on a byte."""
        return -(-self.lanes // _GROUP) * _GROUP

    @property
    def _row_bytes(self) -> int:
        return self._padded * self.lane_bits // 8

    def _pack_rows(self, words: Words) -> list[mpz]:
        rows, lanes = self.plaintexts(words.size), self.lanes
        kind = word_type(word_bits_for(min(self.lane_bits, MAX_BITS)))
        table = np.zeros((rows, self._padded), kind)
        full = words.size // lanes
        table[:full, :lanes] = words[: full * lanes].reshape(full, lanes)
        if full < rows:
            table[full, : words.size - full * lanes] = words[full * lanes :]
        if self.ring_bits % 8 or self.ring_bits != word_bits_for(self.ring_bits):
            np.bitwise_and(table, kind.type(2**self.ring_bits - 1), out=table)
        flat = table.reshape(-1)
        wire = (
            pack(flat, self.lane_bits)
            if self.lane_bits <= MAX_BITS
            else _pack_wide(flat, self.lane_bits)
        )
        size, read = self._row_bytes, mpz.from_bytes
        return [read(wire[low : low + size], "little") for low in range(0, len(wire), size)]

    def _unpack_rows(self, rows: Sequence[mpz]) -> Words:
        size, lane_bits = self._row_bytes, self.lane_bits
        wire = b"".join([value.to_bytes(size, "little") for value in rows])
        count = len(rows) * self._padded
        flat = (
            unpack(wire, lane_bits, count)
            if lane_bits <= MAX_BITS
            else _unpack_wide(wire, lane_bits, count)
        )
        flat &= flat.dtype.type(2**self.ring_bits - 1)
        return flat.reshape(len(rows), self._padded)[:, : self.lanes].reshape(-1)


def _pack_wide(words: Words, lane_bits: int) -> bytes:
    """Do :func:`protocols.packing.pack` for lanes wider than a word, of which the rest is zero."""
    out = np.zeros(words.size * lane_bits // 8 + 8, np.uint8)
    for index, column in enumerate(words.reshape(-1, _GROUP).T):
        byte, shift = divmod(index * lane_bits, 8)
        window = np.ndarray((column.size,), "<u8", out.data, byte, (lane_bits,))
        window |= column << np.uint64(shift)
        if shift:
            out[byte + 8 :: lane_bits][: column.size] |= (column >> np.uint64(64 - shift)).astype(
                np.uint8
            )
    return out[:-8].tobytes()


def _unpack_wide(wire: bytes, lane_bits: int, count: int) -> Words:
    """Read the low 64 bits of each lane."""
    padded = np.frombuffer(wire + bytes(8), np.uint8)
    words = np.empty((count // _GROUP, _GROUP), np.uint64)
    for index in range(_GROUP):
        byte, shift = divmod(index * lane_bits, 8)
        window = np.ndarray((len(words),), "<u8", padded.data, byte, (lane_bits,))
        words[:, index] = window >> np.uint64(shift)
        if shift:
            high = padded[byte + 8 :: lane_bits][: len(words)].astype(np.uint64)
            words[:, index] |= high << np.uint64(64 - shift)
    return words.reshape(-1)
