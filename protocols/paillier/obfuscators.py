"""Obfuscators: what hides a plaintext, each used once.

h_s^alpha with alpha of |n|/2 bits cannot be told from a random element of the group that h_s
generates, unless n is easy to factor (Goldreich and Rosen, "On the security of modular
exponentiation with application to the construction of pseudorandom generators", J. Cryptology
16(2), 2003; used so by Damgard, Jurik and Nielsen 2010). Two ciphertexts with one obfuscator tell
everybody the difference of their plaintexts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from protocols.errors import InputError, MisuseError
from protocols.paillier.integers import mpz
from protocols.paillier.keys import PublicKey
from protocols.prg import RandomBytes

Powers: TypeAlias = Callable[[bytes], Sequence[mpz]]
"""``FixedBase.powers``, or what spreads it over processes: exponents of ``key.bits / 16`` bytes
each, little-endian, to powers of h_s."""


class Obfuscator:
    """One value h_s^alpha that hides one plaintext and is then gone.

    There is no way to look at it without using it up, except :meth:`to_secret_bytes`, for the layer
    that keeps a pool on disk. Copying and pickling are refused.
    """

    __slots__ = ("_content", "key_digest")

    def __init__(self, key: PublicKey, value: mpz, exponent: int) -> None:
        """Args: key; h_s^exponent; the exponent."""
        self.key_digest = key.digest()
        self._content: tuple[mpz, int] | None = (value, exponent)

    def __repr__(self) -> str:
        return f"Obfuscator({'unused' if self._content else 'used'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Obfuscator is never copied or serialised: it could be used twice")

    @property
    def used(self) -> bool:
        """Whether it has hidden a plaintext."""
        return self._content is None

    def use(self) -> tuple[mpz, int]:
        """Return value and exponent, and forget them.

        Raises:
            MisuseError: it was used before.
        """
        content, self._content = self._content, None
        if content is None:
            raise MisuseError("an obfuscator hides one plaintext; this one was used before")
        return content

    def to_secret_bytes(self, key: PublicKey) -> bytes:
        """Return exponent and value IN CLEAR, for a pool that encrypts them at once, and forget.

        Raises:
            MisuseError: it was used before.
        """
        value, exponent = self.use()
        return exponent.to_bytes(key.bits // 16, "big") + bytes(
            value.to_bytes(key.ciphertext_bytes, "big")
        )

    @classmethod
    def from_secret_bytes(cls, key: PublicKey, secret: bytes) -> Obfuscator:
        """Read what :meth:`to_secret_bytes` gave; that the value is h_s^exponent is trusted.

        Raises:
            InputError: another length, or a value that is no residue modulo n^2.
        """
        size = key.bits // 16
        value = mpz.from_bytes(secret[size:], "big")
        if len(secret) != size + key.ciphertext_bytes or not 0 < value < key.n_squared:
            raise InputError("a stored obfuscator is damaged; empty the pool and fill it again")
        return cls(key, value, int.from_bytes(secret[:size], "big"))


def make_obfuscators(
    key: PublicKey, count: int, *, random: RandomBytes, powers: Powers
) -> list[Obfuscator]:
    """Draw exponents and raise the base to them.

    Args:
        key: whose base.
        count: how many, >= 0.
        random: asked once, for ``count * key.bits / 16`` bytes.
        powers: ``FixedBase.powers`` of the same key, or what spreads it over processes.

    Raises:
        MisuseError: ``count`` is negative, or not one power per exponent came back.
    """
    if count < 0:
        raise MisuseError(f"cannot make {count} obfuscators")
    size = key.bits // 16
    drawn = random(count * size)
    values = powers(drawn) if count else []
    if len(drawn) != count * size or len(values) != count:
        raise MisuseError("not one power came back for each exponent")
    return [
        Obfuscator(key, value, int.from_bytes(drawn[low : low + size], "little"))
        for value, low in zip(values, range(0, len(drawn), size), strict=True)
    ]
