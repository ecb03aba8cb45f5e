"""Big integers of GMP, the one module that imports gmpy2, and hashing integers to bytes and back.

gmpy2 carries no types. What it returns is ``Any`` to the type checker; every function of this
package declares what it takes and gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gmpy2  # type: ignore[import-untyped]  # it carries no types
from gmpy2 import (
    gcd,
    invert,
    is_prime,
    isqrt,
    jacobi,
    mpz,
    powmod,
    powmod_base_list,
    powmod_exp_list,
    primorial,
)

__all__ = [
    "absorb",
    "gcd",
    "hash_to_bytes",
    "hash_to_integer",
    "invert",
    "is_prime",
    "isqrt",
    "jacobi",
    "mpz",
    "powmod",
    "powmod_base_list",
    "powmod_exp_list",
    "primorial",
    "product",
    "unlocked",
    "whole",
]


def whole(work: Callable[[int, int], None], count: int) -> None:
    """Do all the work in one range and in this thread: the plainest of ``protocols.prg.Ranges``."""
    if count:
        work(0, count)


@contextmanager
def unlocked() -> Iterator[None]:
    """Let other threads run during each operation of this thread on big integers.

    The setting belongs to the thread's context and is put back at the end.
    """
    with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):
        yield


def absorb(label: bytes, *parts: bytes) -> hashlib._Hash:
    """Return SHA-256 over the label and the parts, each after its length in 8 bytes, big-endian."""
    state = hashlib.sha256()
    for part in (label, *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state


def hash_to_bytes(count: int, label: bytes, *parts: bytes) -> bytes:
    """Return ``count`` bytes of SHAKE-256 over the label and the parts, each after its length."""
    state = hashlib.shake_256()
    for part in (label, *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest(count)


def hash_to_integer(bound: mpz, label: bytes, *parts: bytes) -> mpz:
    """Return an integer in ``[0, bound)``, within 2^-128 of uniform for a random oracle.

    128 bits more than ``bound`` has are reduced modulo it, as RFC 9380 section 5.1 advises.
    """
    count = (bound.bit_length() + 7) // 8 + 16
    return mpz(int.from_bytes(hash_to_bytes(count, label, *parts), "big")) % bound


def product(values: list[mpz], modulus: mpz) -> mpz:
    """Return the product modulo ``modulus``; 1 of no values."""
    total = mpz(1)
    for value in values:
        total = total * value % modulus
    return total
