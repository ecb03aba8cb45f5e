"""What anybody can tell about a public key alone, before any proof.

These checks catch accidents and crude attacks. That a modulus is the product of two large primes is
shown by the proofs of ``modulus_proof.py`` and ``factor_proof.py``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from protocols.errors import InputError
from protocols.paillier.integers import gcd, is_prime, mpz, primorial

DEFAULT_BITS: Final = 3072
"""128-bit security (NIST SP 800-57 part 1, table 2)."""
MIN_BITS: Final = 2048
"""112-bit security; allowed, but callers warn: see ``PublicKey.short``."""
MAX_BITS: Final = 4096
BITS_STEP: Final = 64
SMALLEST_TEST_BITS: Final = 256
"""With ``allow_small``, for tests alone."""

SMALL_FACTOR_BOUND: Final = 2**20

_PRIMALITY_ROUNDS: Final = 32
"""A composite that passed as a prime would merely be refused, and a prime never passes."""


def check_size(bits: int, *, allow_small: bool = False) -> None:
    """Refuse a modulus of a size that is unsafe or that nobody needs.

    Args:
        bits: length of the modulus.
        allow_small: UNSAFE, for tests: take from 256 bits.

    Raises:
        InputError: fewer than 2048 bits, more than 4096, or no multiple of 64.
    """
    least = SMALLEST_TEST_BITS if allow_small else MIN_BITS
    if not least <= bits <= MAX_BITS or bits % BITS_STEP:
        raise InputError(
            f"a Paillier modulus has {MIN_BITS} to {MAX_BITS} bits, a multiple of {BITS_STEP}, "
            f"not {bits}; make one of {DEFAULT_BITS} bits"
        )


def check_public_key(n: int, *, allow_small: bool = False) -> None:
    """Refuse a modulus of which anybody can see that it is no product of two large primes.

    About 10 ms at 2048 bits and 30 ms at 3072. Size is looked at before any arithmetic.

    Args:
        n: from the wire, hostile.
        allow_small: UNSAFE, for tests: take from 256 bits.

    Raises:
        InputError: another size, even, a factor below 2^20, a perfect power, or a prime.
    """
    check_size(n.bit_length() if n > 0 else 0, allow_small=allow_small)
    modulus = mpz(n)
    if modulus.is_even():
        raise InputError("the Paillier modulus is even; its owner has to make another key")
    if gcd(modulus, _small_primes()) != 1:
        raise InputError(
            "the Paillier modulus has a factor below 2^20; its owner has to make another key"
        )
    if modulus.is_power():
        raise InputError(
            "the Paillier modulus is a power of one number; its owner has to make another key"
        )
    if is_prime(modulus, _PRIMALITY_ROUNDS):
        raise InputError("the Paillier modulus is a prime; its owner has to make another key")


@lru_cache(1)
def _small_primes() -> mpz:
    """Return the product of all primes below the bound, 1.5 million bits."""
    return primorial(SMALL_FACTOR_BOUND)
