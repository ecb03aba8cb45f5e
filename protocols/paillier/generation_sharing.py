"""Shamir's sharing over rings in which a modulus is made, and what is agreed about that.

Ben-Or, Goldwasser and Wigderson (STOC 1988): shares of two factors are multiplied point by point,
which gives points of a polynomial of twice the degree. All k parties open it together, k > 2 tau,
and a random polynomial that is 0 at 0 is added first, so that the points tell nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Final

from protocols.errors import MisuseError
from protocols.identity import DIGEST_BYTES
from protocols.paillier.integers import invert, is_prime, mpz
from protocols.paillier.key_checks import check_size
from protocols.prg import RandomBytes

MIN_PARTIES: Final = 3
MAX_PARTIES: Final = 16
_EXCESS_BYTES: Final = 16
_PRIMALITY_ROUNDS: Final = 40

Points = Mapping[int, Sequence[mpz]]
"""Lists of values by party, from 1."""


@dataclass(frozen=True)
class GenerationContext:
    """The public facts of one key generation.

    Attributes:
        session: 32 bytes that no other generation has had.
        names: of the parties; the first has index 1.
        threshold: shares that decrypt (t), at least 2.
        bits: length of the modulus.
        batch: candidates that are tried at a time.
        allow_small: UNSAFE, for tests: take small moduli.
    """

    session: bytes
    names: tuple[str, ...]
    threshold: int
    bits: int
    batch: int = 64
    allow_small: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        """Raises: MisuseError or InputError, for values that no agreement yields."""
        check_size(self.bits, allow_small=self.allow_small)
        if len(self.session) != DIGEST_BYTES or len(set(self.names)) < len(self.names):
            raise MisuseError(f"a session has {DIGEST_BYTES} bytes, and names are all different")
        if not MIN_PARTIES <= self.parties <= MAX_PARTIES:
            raise MisuseError(f"{MIN_PARTIES} to {MAX_PARTIES} parties make a key together")
        if not 2 <= self.threshold <= self.parties or self.batch < 1:
            raise MisuseError("the threshold lies between 2 and the number of parties")

    @property
    def parties(self) -> int:
        """How many (k)."""
        return len(self.names)

    @property
    def degree(self) -> int:
        """Degree of a sharing (tau): so many parties together learn nothing."""
        return (self.parties - 1) // 2

    @property
    def half(self) -> int:
        """Length of a factor in bits."""
        return self.bits // 2

    @cached_property
    def field_of_products(self) -> mpz:
        """A prime above every candidate modulus."""
        return next_prime(mpz(1) << (self.bits + 1))


def next_prime(start: mpz) -> mpz:
    """Return the least prime above ``start``, the same for everybody."""
    candidate = start + 1 + start % 2
    while not is_prime(candidate, _PRIMALITY_ROUNDS):
        candidate += 2
    return candidate


def draw(count: int, bound: mpz, random: RandomBytes) -> list[mpz]:
    """Draw integers in [0, bound), each within 2^-128 of uniform."""
    size = (bound.bit_length() + 7) // 8 + _EXCESS_BYTES
    drawn = random(size * count)
    return [
        mpz(int.from_bytes(drawn[low : low + size], "big")) % bound
        for low in range(0, len(drawn), size)
    ]


def share_all(
    values: Sequence[mpz], degree: int, parties: int, modulus: mpz, random: RandomBytes
) -> dict[int, list[mpz]]:
    """Share each value with a polynomial of ``degree``; return each party's list of points."""
    drawn = iter(draw(len(values) * degree, modulus, random))
    points: dict[int, list[mpz]] = {index: [] for index in range(1, parties + 1)}
    for value in values:
        coefficients = [next(drawn) for _ in range(degree)]
        for index, held in points.items():
            point = mpz(0)
            for coefficient in coefficients:
                point = (point + coefficient) * index
            held.append((point + value) % modulus)
    return points


def add_points(received: Points, modulus: mpz) -> list[mpz]:
    """Add what all parties dealt us: our points of the sums of their values."""
    return [sum(column, mpz(0)) % modulus for column in zip(*received.values(), strict=True)]


def weights_at_zero(parties: int, modulus: mpz) -> list[mpz]:
    """Return the Lagrange coefficients of points 1 to ``parties`` at 0, in the ring."""
    everybody = range(1, parties + 1)
    return [
        prod((mpz(j) * invert(j - i, modulus) for j in everybody if j != i), start=mpz(1)) % modulus
        for i in everybody
    ]


def open_points(received: Points, modulus: mpz) -> list[mpz]:
    """Interpolate at 0 what every party broadcast; the degree is below the number of parties."""
    weights = weights_at_zero(len(received), modulus)
    ordered = [received[index] for index in sorted(received)]
    return [
        sum(map(mpz.__mul__, weights, column), mpz(0)) % modulus
        for column in zip(*ordered, strict=True)
    ]
