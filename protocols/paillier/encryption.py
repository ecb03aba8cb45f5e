"""Encryption with obfuscators made ahead.

Source: Damgard, Jurik and Nielsen, IJIS 9(6), 2010, section 4, with s = 1:
c = (1 + m n) h_s^alpha modulo n^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from protocols.errors import InputError, MisuseError
from protocols.paillier.integers import mpz, unlocked, whole
from protocols.paillier.keys import PublicKey
from protocols.paillier.obfuscators import Obfuscator
from protocols.prg import Ranges


@dataclass(frozen=True, slots=True, eq=False)
class Encrypted:
    """A vector of ciphertexts, and what opens them.

    Attributes:
        key: under which it is encrypted.
        ciphertexts: what is sent.
        plaintexts: SECRET, one for each.
        exponents: SECRET, of the obfuscators; for the proof of knowledge, and then to be dropped.
    """

    key: PublicKey
    ciphertexts: list[mpz] = field(repr=False)
    plaintexts: Sequence[mpz] = field(repr=False)
    exponents: Sequence[int] = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Encrypted holds plaintexts and is never serialised; send ciphertexts")


def encrypt(
    key: PublicKey,
    plaintexts: Sequence[mpz],
    obfuscators: Sequence[Obfuscator],
    *,
    ranges: Ranges | None = None,
) -> Encrypted:
    """Hide each plaintext behind an obfuscator of its own; two multiplications each.

    Args:
        key: whose owner can decrypt.
        plaintexts: in ``[0, n)``.
        obfuscators: as many, of the same key, unused; used up by this.
        ranges: divides the vector among threads.

    Raises:
        MisuseError: not one obfuscator for each plaintext, one of another key, or a used one, and
            then nothing is encrypted; those before it are used up.
        InputError: a plaintext outside of ``[0, n)``; no obfuscator is used up then.
    """
    n, square = mpz(key.n), mpz(key.n_squared)
    if len(plaintexts) != len(obfuscators):
        raise MisuseError(f"{len(obfuscators)} obfuscators for {len(plaintexts)} plaintexts")
    if any(not 0 <= plaintext < n for plaintext in plaintexts):
        raise InputError("a plaintext lies outside of 0 to n - 1")
    digest = key.digest()
    if any(one.key_digest != digest for one in obfuscators):
        raise MisuseError("an obfuscator belongs to another key")
    values, exponents = [], []
    for one in obfuscators:
        value, exponent = one.use()
        values.append(value)
        exponents.append(exponent)
    ciphertexts = values.copy()

    def work(start: int, stop: int) -> None:
        with unlocked():
            ciphertexts[start:stop] = [
                # (1 + m n) u = u + (m u mod n) n modulo n^2.
                (value + plaintext * (value % n) % n * n) % square
                for plaintext, value in zip(plaintexts[start:stop], values[start:stop], strict=True)
            ]

    (ranges or whole)(work, len(values))
    return Encrypted(key, ciphertexts, plaintexts, exponents)
