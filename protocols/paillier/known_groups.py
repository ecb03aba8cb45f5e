"""Groups of known prime order for commitments: the safe-prime groups of RFC 7919, appendix A.

P = 2^b - 2^(b-64) + (floor(2^(b-130) e) + X) 2^64 - 1 with the smallest X for which P and
Q = (P - 1) / 2 are prime. Nobody chose them, and 2 generates the subgroup of order Q: the squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from protocols.errors import MisuseError
from protocols.paillier.integers import hash_to_integer, jacobi, mpz

_OFFSETS: Final = {2048: 560316, 3072: 2625351, 4096: 5736041, 6144: 15705020}
"""X for each length, as the RFC lists it."""
_LABEL: Final = b"securefed second generator v1"


@dataclass(frozen=True, slots=True)
class Group:
    """The squares modulo a safe prime.

    Attributes:
        modulus: P, a prime.
        order: Q = (P - 1) / 2, a prime.
        g: generator 2.
        h: another, the square of a hash, so that nobody knows its logarithm to the base g.
    """

    modulus: mpz
    order: mpz
    g: mpz
    h: mpz

    @property
    def element_bytes(self) -> int:
        """Length of an element, and of an exponent."""
        return int(self.modulus.bit_length()) // 8

    def holds(self, value: mpz) -> bool:
        """Whether a value is an element other than 1."""
        return bool(1 < value < self.modulus and jacobi(value, self.modulus) == 1)


@lru_cache
def group(bits: int) -> Group:
    """Return the group of that length.

    Raises:
        MisuseError: there is none of this length.
    """
    if bits not in _OFFSETS:
        raise MisuseError(f"no group of {bits} bits, but of {', '.join(map(str, _OFFSETS))}")
    top = (mpz(1) << bits) - (mpz(1) << (bits - 64)) - 1
    modulus = top + (_e(bits - 130) + _OFFSETS[bits] << 64)
    root = hash_to_integer(modulus, _LABEL, bits.to_bytes(2, "big"))
    return Group(modulus, modulus >> 1, mpz(2), root * root % modulus)


def _e(bits: int) -> mpz:
    """Return floor(2^bits e), from its series."""
    guard = 64
    term = mpz(1) << bits + guard
    total, index = mpz(0), 1
    while term:
        total += term
        term //= index
        index += 1
    return total >> guard
