"""Paillier key pairs for packed sums.

Source: Paillier, EUROCRYPT 1999, with generator 1 + n; Damgard, Jurik and Nielsen, "A
generalization of Paillier's public-key system", IJIS 9(6), 2010, section 4, for the base h_s.

A plaintext m lies in Z_n and a ciphertext in Z*_{n^2}: (1 + n)^m u with u any n-th residue. Ours
are u = h_s^alpha with a short alpha; those of plain ``phe`` are u = r^n. Both decrypt alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import Final, NoReturn

from phe.paillier import (  # type: ignore[import-untyped]  # it carries no types
    PaillierPrivateKey,
    PaillierPublicKey,
)

from protocols.errors import InputError, WireError
from protocols.paillier.decryption import Half, check_units
from protocols.paillier.integers import (
    absorb,
    gcd,
    hash_to_integer,
    invert,
    is_prime,
    mpz,
    powmod,
    unlocked,
    whole,
)
from protocols.paillier.key_checks import DEFAULT_BITS, check_public_key, check_size
from protocols.paillier.primes import random_blum_prime
from protocols.prg import RandomBytes, Ranges

SEED_BYTES: Final = 32

_LABEL_KEY: Final = b"securefed paillier public key v1"
_LABEL_BASE: Final = b"securefed paillier base v1"
_MIN_DISTANCE_BITS: Final = 100
"""|p - q| > 2^(|n|/2 - 100), against Fermat's factoring (FIPS 186-5 section A.1.3)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A modulus and the public seed from which everybody derives the base of obfuscators.

    No key that fails :func:`protocols.paillier.key_checks.check_public_key` becomes an object; a
    peer's key is used only after its proofs (``modulus_proof.py``, ``factor_proof.py``) as well.

    Attributes:
        n: the modulus.
        seed: 32 bytes. The base is hashed from it, so that nobody can choose one of small order.
        bits: length of the modulus.
        n_squared: modulus of the ciphertexts.
        h_s: (-x^2)^n mod n^2 with x hashed from seed and modulus; every obfuscator is a power of
            it.

    Raises:
        InputError: a modulus that cannot be one, or a seed of another length.
    """

    n: int
    seed: bytes
    allow_small: InitVar[bool] = False
    bits: int = field(init=False, repr=False, compare=False)
    n_squared: int = field(init=False, repr=False, compare=False)
    h_s: mpz = field(init=False, repr=False, compare=False)
    _digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self, allow_small: bool) -> None:
        if len(self.seed) != SEED_BYTES:
            raise InputError(f"the seed of a Paillier key has {SEED_BYTES} bytes")
        check_public_key(self.n, allow_small=allow_small)
        modulus = mpz(self.n)
        object.__setattr__(self, "bits", self.n.bit_length())
        object.__setattr__(self, "n_squared", self.n**2)
        object.__setattr__(self, "h_s", _derive_base(modulus, self.seed))
        object.__setattr__(self, "_digest", absorb(_LABEL_KEY, self.to_bytes()).digest())

    def __repr__(self) -> str:
        return f"PublicKey({self.bits} bits, {self.digest().hex()[:16]}…)"

    @property
    def short(self) -> bool:
        """Whether the modulus is below 3072 bits, 128-bit security: say so to the operator."""
        return self.bits < DEFAULT_BITS

    @property
    def ciphertext_bytes(self) -> int:
        """Length of one ciphertext on the wire."""
        return self.bits // 4

    def to_bytes(self) -> bytes:
        """Return the one encoding: the seed and the modulus, big-endian without leading zeros."""
        return self.seed + self.n.to_bytes(self.bits // 8, "big")

    @classmethod
    def from_bytes(cls, data: bytes, *, party: str, step: str) -> PublicKey:
        """Read a key from the wire. Small keys are refused, and there is no switch for it here.

        Args:
            data: what :meth:`to_bytes` gave.
            party: who is named when the key is refused.
            step: protocol step for the same purpose.

        Raises:
            WireError: another length, not canonical, or a modulus that cannot be one.
        """
        size = len(data) - SEED_BYTES
        try:
            check_size(8 * size)
            n = int.from_bytes(data[SEED_BYTES:], "big")
            # A modulus with leading zeros has another size than its bytes tell.
            check_size(8 * size if n.bit_length() == 8 * size else 0)
            return cls(n, bytes(data[:SEED_BYTES]))
        except InputError as error:
            raise WireError(party, step, str(error)) from error

    def digest(self) -> bytes:
        """Return SHA-256 over the encoding, 32 bytes."""
        return self._digest

    def to_phe(self) -> PaillierPublicKey:
        """Return the same key for plain ``phe``; ciphertexts pass both ways as raw integers."""
        return PaillierPublicKey(self.n)


@dataclass(frozen=True, slots=True, eq=False)
class PrivateKey:
    """The factors of a modulus, and decryption by the Chinese remainder theorem.

    Neither ``repr`` nor pickle shows a secret. :meth:`to_secret_bytes` does, for the layer that
    encrypts key files.

    Attributes:
        p: prime, 3 modulo 4.
        q: another, of the same length, with gcd(p - 1, q - 1) = 2.
        seed: of the public key.
        public: the public key.

    Raises:
        InputError: primes that make no such key.
    """

    p: int = field(repr=False)
    q: int = field(repr=False)
    seed: InitVar[bytes]
    allow_small: InitVar[bool] = False
    public: PublicKey = field(init=False)
    _halves: tuple[Half, Half] = field(init=False, repr=False)
    _p_inverse: mpz = field(init=False, repr=False)

    def __post_init__(self, seed: bytes, allow_small: bool) -> None:
        p, q = mpz(self.p), mpz(self.q)
        check_size((p * q).bit_length() if min(p, q) > 1 else 0, allow_small=allow_small)
        if not (
            p.bit_length() == q.bit_length()
            and p % 4 == q % 4 == 3
            and gcd(p - 1, q - 1) == 2
            and abs(p - q).bit_length() > (p * q).bit_length() // 2 - _MIN_DISTANCE_BITS
            and is_prime(p)
            and is_prime(q)
        ):
            raise InputError(
                "these factors make no Paillier key; they are two primes of one length, far "
                "apart, 3 modulo 4, with gcd(p - 1, q - 1) = 2"
            )
        object.__setattr__(self, "public", PublicKey(int(p * q), seed, allow_small))
        object.__setattr__(self, "_halves", (Half(p, q), Half(q, p)))
        object.__setattr__(self, "_p_inverse", invert(p, q))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PrivateKey is never serialised; encrypt what to_secret_bytes gives")

    def to_secret_bytes(self) -> bytes:
        """Return seed, p and q IN CLEAR, for a caller that encrypts them at once."""
        size = self.public.bits // 16
        return self.public.seed + self.p.to_bytes(size, "big") + self.q.to_bytes(size, "big")

    @classmethod
    def from_secret_bytes(cls, secret: bytes, *, allow_small: bool = False) -> PrivateKey:
        """Read what :meth:`to_secret_bytes` gave.

        Raises:
            InputError: another length, or primes that make no key.
        """
        size, odd = divmod(len(secret) - SEED_BYTES, 2)
        check_size(16 * size, allow_small=allow_small)
        if odd:
            raise InputError("the bytes of a Paillier key are not whole")
        p, q = secret[SEED_BYTES : SEED_BYTES + size], secret[SEED_BYTES + size :]
        return cls(
            int.from_bytes(p, "big"),
            int.from_bytes(q, "big"),
            bytes(secret[:SEED_BYTES]),
            allow_small,
        )

    def decrypt(self, ciphertexts: Sequence[mpz], *, ranges: Ranges | None = None) -> list[mpz]:
        """Decrypt, modulo p^2 and q^2 apart.

        The exponentiations are not constant in time: give no stranger a clock on single ones.

        Args:
            ciphertexts: below n^2.
            ranges: divides the work, of twice as many pieces as there are ciphertexts, among
                threads; the calls release the interpreter lock.

        Returns:
            Plaintexts in ``[0, n)``, in the order of the ciphertexts.

        Raises:
            InputError: a ciphertext that is not in Z*_{n^2}. Nothing was decrypted.
        """
        check_units(ciphertexts, self.public.n)
        count = len(ciphertexts)
        parts = [mpz(0)] * (2 * count)

        def work(start: int, stop: int) -> None:
            for half, low in zip(self._halves, (0, count), strict=True):
                first, last = max(start, low), min(stop, low + count)
                if first < last:
                    parts[first:last] = half.decrypt(ciphertexts[first - low : last - low])

        if count:
            (ranges or whole)(work, 2 * count)
        p, q, inverse = mpz(self.p), mpz(self.q), self._p_inverse
        with unlocked():
            return [
                a + p * ((b - a) * inverse % q)
                for a, b in zip(parts[:count], parts[count:], strict=True)
            ]

    def to_phe(self) -> PaillierPrivateKey:
        """Return the same key for plain ``phe``."""
        return PaillierPrivateKey(self.public.to_phe(), self.p, self.q)


def generate_key(
    bits: int = DEFAULT_BITS, *, random: RandomBytes, allow_small: bool = False
) -> PrivateKey:
    """Make a key pair.

    About 0.3 s at 2048 bits and 1 s at 3072.

    Args:
        bits: length of the modulus: 2048 to 4096, a multiple of 64. Below 3072 ``public.short``.
        random: the only source of randomness; the key is a function of what it returns.
        allow_small: UNSAFE, for tests: take from 256 bits. Nothing that reads a key from the wire
            takes such a key.

    Raises:
        InputError: another size.
    """
    check_size(bits, allow_small=allow_small)
    seed = random(SEED_BYTES)
    while True:
        p, q = (random_blum_prime(bits // 2, random) for _ in range(2))
        # Two draws nearly always do: gcd(p - 1, q - 1) = 2 has a probability of about 0.75.
        if gcd(p - 1, q - 1) == 2 and abs(p - q).bit_length() > bits // 2 - _MIN_DISTANCE_BITS:
            return PrivateKey(int(p), int(q), seed, allow_small)


def _derive_base(n: mpz, seed: bytes) -> mpz:
    x = hash_to_integer(n, _LABEL_BASE, seed, int(n).to_bytes((n.bit_length() + 7) // 8, "big"))
    if gcd(x, n) != 1:
        raise InputError("the seed of the Paillier key hashes to a factor of its modulus")
    return powmod(-x * x % n, n, n * n)
