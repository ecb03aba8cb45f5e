"""Powers of one base modulo n^2 from tables, at half the price of a multiplication each.

The exponent is cut into windows of w bits, and every power of the base that one window can ask for
stands in a table: an exponent of |n|/2 bits costs one multiplication per window and no squaring
(Brickell, Gordon, McCurley and Wilson, EUROCRYPT 1992).

An element of Z*_{n^2} is a (1 + c n) with a and c in Z_n, and the product of several is

    prod a_i (1 + n sum c_i)   modulo n^2.

The tables hold a and c apart. A power costs the product of the a_i, of half the length of a residue
modulo n^2: two of them are multiplied before one reduction. The sums of the c_i are numpy's work,
and one multiplication by 1 + n c comes at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from protocols.paillier.integers import invert, mpz, unlocked, whole
from protocols.paillier.keys import PublicKey
from protocols.prg import Ranges

MIN_WINDOW: Final = 4
MAX_WINDOW: Final = 12
ENTRY_COST: Final = 2.0
"""What making an entry costs, in multiplications by one; measured."""
DEFAULT_MAX_BYTES: Final = 256 << 20

_OBJECT_BYTES: Final = 56
"""What Python and GMP add to the limbs of an integer, and a list to hold it."""
_CHUNK: Final = 256
"""Exponents handled at a time: their sums stay in the level 2 cache."""

_Limbs = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FixedBase:
    """Tables for the base of one key; all of it public. Built once, used for every round.

    Attributes:
        key: whose ``h_s`` is the base.
        window: bits of an exponent that one table answers.
    """

    key: PublicKey
    window: int
    _residues: list[list[mpz]]
    _scales: list[_Limbs]

    @property
    def exponent_bytes(self) -> int:
        """Length of an exponent: half of the modulus."""
        return self.key.bits // 16

    @classmethod
    def build(
        cls,
        key: PublicKey,
        *,
        expected: int,
        max_bytes: int = DEFAULT_MAX_BYTES,
        ranges: Ranges | None = None,
    ) -> FixedBase:
        """Make the tables.

        Args:
            key: whose ``h_s`` is the base.
            expected: powers that will be asked for in all; the more, the larger the tables.
            max_bytes: memory that they may take.
            ranges: divides the windows among threads.

        Raises:
            MisuseError: ``expected`` is less than 1.
        """
        window = choose_window(key.bits, expected, max_bytes)
        count = -(-key.bits // 2 // window)
        square = mpz(key.n_squared)
        bases = [key.h_s]
        for _ in range(count - 1):
            base = bases[-1]
            for _ in range(window):
                base = base * base % square
            bases.append(base)
        rows: list[tuple[list[mpz], _Limbs]] = [([], np.empty((0, 0), np.uint32))] * count

        def work(start: int, stop: int) -> None:
            with unlocked():
                rows[start:stop] = [_row(base, mpz(key.n), window) for base in bases[start:stop]]

        (ranges or whole)(work, count)
        residues, scales = zip(*rows, strict=True)
        return cls(key, window, list(residues), list(scales))

    def powers(self, exponents: bytes, *, ranges: Ranges | None = None) -> list[mpz]:
        """Raise the base to several exponents.

        The time depends on the exponents only through the memory that is read; run it where no
        stranger shares the processor's caches.

        Args:
            exponents: ``exponent_bytes`` each, little-endian.
            ranges: divides them among threads.

        Returns:
            Residues modulo n^2, one for each exponent.

        Raises:
            MisuseError: no whole number of exponents.
        """
        size = self.exponent_bytes
        count, rest = divmod(len(exponents), size)
        if rest:
            raise MisuseError(f"an exponent has {size} bytes")
        results = [mpz(0)] * count

        def work(start: int, stop: int) -> None:
            for low in range(start, stop, _CHUNK):
                high = min(stop, low + _CHUNK)
                results[low:high] = self._powers(exponents[low * size : high * size])

        (ranges or whole)(work, count)
        return results

    def _powers(self, exponents: bytes) -> list[mpz]:
        digits = self._digits(exponents)
        n, square = mpz(self.key.n), mpz(self.key.n_squared)
        # One residue, or the product of two, is below n^2 as it is.
        lead = 2 - len(self._residues) % 2
        firsts = self._residues[:lead]
        pairs = list(zip(self._residues[lead::2], self._residues[lead + 1 :: 2], strict=True))
        totals = []
        with unlocked():
            for row in digits.tolist():
                total = prod(one[digit] for one, digit in zip(firsts, row, strict=False))
                odd, even = row[lead::2], row[lead + 1 :: 2]
                for (left, right), one, other in zip(pairs, odd, even, strict=True):
                    total = total * (left[one] * right[other]) % square
                totals.append(total)
        scales = self._scale_sums(digits)
        with unlocked():
            return [
                (total + total % n * scale % n * n) % square
                for total, scale in zip(totals, scales, strict=True)
            ]

    def _scale_sums(self, digits: NDArray[np.uint16]) -> list[mpz]:
        sums = np.zeros((len(digits), self._scales[0].shape[1]), np.uint64)
        for scales, column in zip(self._scales, digits.T, strict=True):
            sums += scales[column]
        # Fewer than 2^32 limbs were added, so that what exceeds a limb fits into the next.
        low, high = sums.astype(np.uint32), (sums >> np.uint64(32)).astype(np.uint32)
        read = mpz.from_bytes
        return [
            read(one.tobytes(), "little") + (read(other.tobytes(), "little") << 32)
            for one, other in zip(low, high, strict=True)
        ]

    def _digits(self, exponents: bytes) -> NDArray[np.uint16]:
        """Cut exponents into windows: shape (number of exponents, number of windows)."""
        table = np.frombuffer(exponents, np.uint8).reshape(-1, self.exponent_bytes)
        spare = len(self._residues) * self.window - 8 * self.exponent_bytes
        bits = np.pad(np.unpackbits(table, axis=1, bitorder="little"), ((0, 0), (0, spare)))
        windows = bits.reshape(len(table), len(self._residues), self.window)
        weights = (1 << np.arange(self.window)).astype(np.uint16)
        digits: NDArray[np.uint16] = windows @ weights
        return digits


def choose_window(modulus_bits: int, expected: int, max_bytes: int = DEFAULT_MAX_BYTES) -> int:
    """Return the window that makes tables and ``expected`` powers cheapest, within memory.

    Raises:
        MisuseError: ``expected`` is less than 1.
    """
    if expected < 1:
        raise MisuseError(f"tables for {expected} powers are for none")
    exponent_bits = modulus_bits // 2
    entry_bytes = 2 * (modulus_bits // 8 + _OBJECT_BYTES)

    def cost(window: int) -> float:
        return -(-exponent_bits // window) * (expected + ENTRY_COST * (1 << window))

    fitting = [
        window
        for window in range(MIN_WINDOW, MAX_WINDOW + 1)
        if -(-exponent_bits // window) * entry_bytes << window <= max_bytes
    ]
    return min(fitting or [MIN_WINDOW], key=cost)


def _row(base: mpz, n: mpz, window: int) -> tuple[list[mpz], _Limbs]:
    """Return base^d as (a, c) with base^d = a (1 + c n) modulo n^2, for d below 2^window."""
    high, step = divmod(base, n)
    step_inverse = invert(step, n)
    step_scale = high * step_inverse % n
    residue, scale, inverse = mpz(1), mpz(0), mpz(1)
    residues, scales = [residue], [scale]
    for _ in range((1 << window) - 1):
        # a a' = a'' + q n = a'' (1 + (q / a'') n) modulo n^2.
        quotient, residue = divmod(residue * step, n)
        inverse = inverse * step_inverse % n
        scale = (scale + step_scale + quotient * inverse) % n
        residues.append(residue)
        scales.append(scale)
    size = n.bit_length() // 8
    limbs = np.frombuffer(b"".join([one.to_bytes(size, "little") for one in scales]), "<u4")
    return residues, limbs.reshape(len(scales), -1)
