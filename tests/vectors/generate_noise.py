"""Regenerate the vectors of the noise sampler: ``python tests/vectors/generate_noise.py``.

An implementation of its own, one value at a time: exact rationals and 120 digits for the weights,
AES in ECB mode for single counter blocks. It shares nothing with the code that it checks but the
algorithm, as ``noise.md`` states it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isqrt
from pathlib import Path
from typing import Any

import mpmath
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FOLDER = Path(__file__).parent
TOTAL = 2**128
ONE_TABLE = 2**22
VARIANCES = (
    Fraction(1, 16),
    Fraction(1),
    Fraction(5, 2),
    Fraction(10**4),
    Fraction(10**7) + Fraction(1, 3),
    Fraction(10**12),
    Fraction(2**60),
)
SHOWN = 8


def weights(variance: Fraction) -> list[int]:
    """Weights of 0, 1, .., M: rounded down to 2^-128, the rest to zero."""
    with mpmath.workdps(120):
        v = mpmath.mpf(variance.numerator) / variance.denominator
        mass = [mpmath.mpf(1)]
        total = mpmath.mpf(1)
        while True:
            x = len(mass)
            here = mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * v))
            ratio = mpmath.exp(-(2 * mpmath.mpf(x) + 1) / (2 * v))
            if 2 * here / (1 - ratio) <= total * mpmath.mpf(2) ** -108:
                break
            mass.append(here)
            total += 2 * here
        kept = [int(mpmath.floor(each / total * TOTAL)) for each in mass]
    kept[0] = TOTAL - 2 * sum(kept[1:])
    return kept


@dataclass
class Columns:
    """An alias table, laid out in Vose's order with stacks."""

    bits: int
    half_width: int
    thresholds: list[int]
    aliases: list[int]

    @classmethod
    def of(cls, half: list[int]) -> Columns:
        width = len(half) - 1
        left = half[:0:-1] + half
        bits = (len(left) - 1).bit_length()
        full = TOTAL >> bits
        left += [0] * ((1 << bits) - len(left))
        thresholds, aliases = [full] * len(left), list(range(len(left)))
        poor = [i for i, w in enumerate(left) if w < full]
        rich = [i for i, w in enumerate(left) if w > full]
        while poor:
            i, j = poor.pop(), rich[-1]
            thresholds[i], aliases[i] = left[i], j
            left[j] -= full - left[i]
            if left[j] <= full:
                rich.pop()
                poor += [j] if left[j] < full else []
        return cls(bits, width, thresholds, aliases)

    def value(self, word: int, more: int) -> tuple[int, bool]:
        """The value of a 32-bit word, and whether the 128 further bits were looked at."""
        column = word >> (32 - self.bits)
        rest = 128 - self.bits - 16
        prefix, threshold = word & 0xFFFF, self.thresholds[column]
        tie = self.aliases[column] != column and prefix == threshold >> rest
        fraction = (prefix << rest) | (more >> (128 - rest))
        index = column if fraction < threshold else self.aliases[column]
        return index - self.half_width, tie


def levels(variance: Fraction) -> list[tuple[int, Columns]]:
    """Factors and tables of a variance."""
    found, factor = [], 1
    while variance > ONE_TABLE:
        step = min(isqrt(isqrt(int(variance) // 6)), isqrt(ONE_TABLE // 7))
        fine = 6 * step**2
        fine += ceil(Fraction(2 * fine**2) / variance)
        found.append((factor, Columns.of(weights(Fraction(fine)))))
        variance = (variance - fine) / step**2
        factor *= step
    return [*found, (factor, Columns.of(weights(variance)))]


def block(key: bytes, number: int) -> bytes:
    """Counter block ``number`` of the keystream of ``key``."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block of CTR
    return cipher.update(number.to_bytes(16, "big"))


def value(key: bytes, tables: list[tuple[int, Columns]], position: int) -> tuple[int, bool]:
    """Value ``position`` of the stream of ``key``, and whether any table had a tie."""
    total, tied = 0, False
    for level, (factor, columns) in enumerate(tables):
        words = block(key, 2**64 * level + position // 4)
        at = 4 * (position % 4)
        word = int.from_bytes(words[at : at + 4], "little")
        more = int.from_bytes(block(key, 2**96 + 2**64 * level + position), "little")
        drawn, tie = columns.value(word, more)
        total += factor * drawn
        tied |= tie
    return total, tied


def digest(columns: Columns) -> str:
    """SHA-256 of all thresholds, 16 bytes each, and aliases, 2 bytes each, little-endian."""
    data = b"".join(each.to_bytes(16, "little") for each in columns.thresholds)
    data += b"".join(each.to_bytes(2, "little") for each in columns.aliases)
    return hashlib.sha256(data).hexdigest()


def noise_vectors(variances: Sequence[Fraction] = VARIANCES) -> list[dict[str, Any]]:
    """Tables and values of each variance; with one table, also the first position with a tie."""
    cases = []
    for variance in variances:
        key = hashlib.sha256(f"noise {variance}".encode()).digest()
        tables = levels(variance)
        positions = [*range(SHOWN), 10**6, 2**40 + 3]
        if len(tables) == 1:
            positions.append(next(at for at in range(2**21) if value(key, tables, at)[1]))
        cases.append(
            {
                "variance": [str(variance.numerator), str(variance.denominator)],
                "tables": [
                    {
                        "factor": factor,
                        "column_bits": columns.bits,
                        "half_width": columns.half_width,
                        "sha256": digest(columns),
                    }
                    for factor, columns in tables
                ],
                "key": key.hex(),
                "values": [[at, *value(key, tables, at)] for at in positions],
            }
        )
    return cases


def main() -> None:
    """Write the file anew."""
    text = json.dumps(noise_vectors(), indent=1, sort_keys=True) + "\n"
    (FOLDER / "noise.json").write_text(text)


if __name__ == "__main__":
    main()
