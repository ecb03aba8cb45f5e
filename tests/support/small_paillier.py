"""Small Paillier keys for quick tests; the code under test refuses them from the wire."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.keys import PrivateKey, generate_key
from protocols.paillier.obfuscators import Obfuscator, make_obfuscators
from support.seeded import seeded

BITS = 512


@lru_cache(8)
def small_key(label: str = "owner", bits: int = BITS) -> PrivateKey:
    return generate_key(bits, random=seeded(f"paillier key {label}"), allow_small=True)


@lru_cache(8)
def small_base(label: str = "owner", bits: int = BITS) -> FixedBase:
    return FixedBase.build(small_key(label, bits).public, expected=100)


def small_obfuscators(count: int, label: object = "", owner: str = "owner") -> list[Obfuscator]:
    return make_obfuscators(
        small_key(owner).public,
        count,
        random=seeded(f"obfuscators {label}"),
        powers=small_base(owner).powers,
    )


def two_threads(work: Callable[[int, int], None], count: int) -> None:
    """A Ranges that cuts even short work into several pieces."""
    edges = [count * piece // 5 for piece in range(6)]
    with ThreadPoolExecutor(2) as pool:
        pieces = [pool.submit(work, low, high) for low, high in pairwise(edges) if low < high]
        for piece in pieces:
            piece.result()
