"""The public side of a threshold key, and one trustee's share of the secret side.

Ciphertexts are those of Damgard and Jurik ("A generalisation, a simplification and some
applications of Paillier's probabilistic public-key system", PKC 2001): with degree s, a plaintext
lies in Z_{n^s} and a ciphertext (1 + n)^M y^{n^s} in Z*_{n^{s+1}}. Degree 1 is Paillier's system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import factorial
from typing import Annotated, Final, NoReturn

import msgspec

from protocols.errors import InputError, MisuseError, UnknownPartyError, WireError
from protocols.paillier.integers import absorb, gcd, hash_to_integer, mpz
from protocols.paillier.keys import PublicKey
from protocols.paillier.messages import MAX_TRUSTEES
from protocols.wire import decode, encode

MAX_DEGREE: Final = 4
MAX_KEY_BYTES: Final = 1024
"""Of one residue modulo n: keys have at most 4096 bits, and there is room to say so by name."""

SLACK_BITS: Final = 128
"""Statistical distance 2^-128 between what is shown and what tells nothing."""

_LABEL_KEY: Final = b"securefed threshold key v1"
_LABEL_BASE: Final = b"securefed threshold base v1"
_STEP: Final = "threshold-key"

_Trustees = msgspec.Meta(min_length=1, max_length=MAX_TRUSTEES)
_Residue = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_KEY_BYTES)]


class ThresholdKeyMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The canonical form of a :class:`ThresholdKey`; residues are big-endian, as long as n is."""

    public: _Residue
    generated: bool
    degree: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEGREE)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=MAX_TRUSTEES)]
    verification: Annotated[tuple[_Residue, ...], _Trustees]


@dataclass(frozen=True, slots=True)
class ThresholdKey:
    """What everybody knows of a key that no one holds.

    Attributes:
        public: the Paillier key.
        degree: s; a ciphertext carries s |n| bits.
        threshold: trustees that decrypt (t).
        verification: v_i = v^{Delta s_i} mod n of trustee i = 1, 2, ...
        generated: whether the trustees made it themselves; shares are longer integers then.
        base: v, a square hashed from the key, so that nobody chose its order.
        delta: factorial of the number of trustees.
        plain_modulus: n^s.
        cipher_modulus: n^{s+1}.
    """

    public: PublicKey
    degree: int
    threshold: int
    verification: tuple[mpz, ...] = field(repr=False)
    generated: bool = False
    base: mpz = field(init=False, repr=False, compare=False)
    delta: mpz = field(init=False, repr=False, compare=False)
    plain_modulus: mpz = field(init=False, repr=False, compare=False)
    cipher_modulus: mpz = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises: InputError, for numbers out of range or a residue that is no unit."""
        count = len(self.verification)
        if not 1 <= self.threshold <= count <= MAX_TRUSTEES:
            raise InputError(
                f"a threshold key has 1 to {MAX_TRUSTEES} trustees and a threshold within"
            )
        if not 1 <= self.degree <= MAX_DEGREE:
            raise InputError(f"the degree of a ciphertext is 1 to {MAX_DEGREE}, not {self.degree}")
        n = mpz(self.public.n)
        if not all(0 < one < n and gcd(one, n) == 1 for one in self.verification):
            raise InputError("a verification key is no unit modulo n; deal anew")
        object.__setattr__(self, "base", verification_base(self.public))
        object.__setattr__(self, "delta", mpz(factorial(count)))
        object.__setattr__(self, "plain_modulus", n**self.degree)
        object.__setattr__(self, "cipher_modulus", n ** (self.degree + 1))

    @property
    def n(self) -> mpz:
        """The modulus, for arithmetic."""
        return mpz(self.public.n)

    @property
    def trustees(self) -> int:
        """How many hold a share."""
        return len(self.verification)

    @property
    def scale(self) -> mpz:
        """What the shares interpolate to at 0, times n^s, modulo the order of the squares.

        1 for dealt shares. Shares of trustees who know no order are integers, and a polynomial over
        the integers hides its constant only as a multiple of Delta.
        """
        return self.delta if self.generated else mpz(1)

    @property
    def share_bits(self) -> int:
        """Most bits of a share."""
        if not self.generated:
            return self.public.bits
        return generated_share_bits(self.public.bits, self.trustees)

    @property
    def residue_bytes(self) -> int:
        """Length of a residue modulo n, such as one partial decryption."""
        return self.public.bits // 8

    @property
    def ciphertext_bytes(self) -> int:
        """Length of one ciphertext."""
        return (self.degree + 1) * self.residue_bytes

    def verification_of(self, index: int, name: str, step: str) -> mpz:
        """Return v_i of trustee ``index``, from 1.

        Raises:
            UnknownPartyError: there is no such trustee; names ``name``.
        """
        if not 1 <= index <= self.trustees:
            raise UnknownPartyError(name, step, f"there are trustees 1 to {self.trustees} only")
        return self.verification[index - 1]

    def to_bytes(self) -> bytes:
        """Return the one canonical encoding."""
        return encode(
            ThresholdKeyMessage(
                self.public.to_bytes(),
                self.generated,
                self.degree,
                self.threshold,
                tuple(residue_to_bytes(self, one) for one in self.verification),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, party: str) -> ThresholdKey:
        """Read a key from the wire.

        Raises:
            WireError: not canonical, or values that no dealer may publish; names ``party``.
        """
        most = 64 + (MAX_TRUSTEES + 2) * (MAX_KEY_BYTES + 4)
        message = decode(ThresholdKeyMessage, data, party=party, step=_STEP, max_bytes=most)
        public = PublicKey.from_bytes(message.public, party=party, step=_STEP)
        if {len(one) for one in message.verification} != {public.bits // 8}:
            raise WireError(party, _STEP, "a verification key has another length than the modulus")
        residues = tuple(mpz(int.from_bytes(one, "big")) for one in message.verification)
        try:
            return cls(public, message.degree, message.threshold, residues, message.generated)
        except InputError as error:
            raise WireError(party, _STEP, str(error)) from error

    def digest(self) -> bytes:
        """Return SHA-256 over the encoding, 32 bytes."""
        return absorb(_LABEL_KEY, self.to_bytes()).digest()


@dataclass(frozen=True, slots=True)
class KeyShare:
    """One trustee's share. Its ``repr`` shows the index only, and it cannot be pickled.

    Attributes:
        index: which trustee, from 1.
        value: s_i, not negative, of at most ``key.share_bits`` bits.
    """

    index: int
    value: mpz = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a KeyShare is never serialised; seal it for its holder")


def generated_share_bits(bits: int, trustees: int) -> int:
    """Return the most bits of a share that the trustees made themselves.

    Twice the modulus for the root exponent, slack for hiding it in a sum and under a polynomial,
    and the polynomial's growth up to the last trustee.
    """
    delta = factorial(trustees).bit_length()
    return 2 * bits + 4 * SLACK_BITS + 2 * delta + trustees * trustees.bit_length()


def verification_base(public: PublicKey) -> mpz:
    """Return v: the square of a residue hashed from the whole key.

    A random square generates all squares except with probability near 1/p' + 1/q'.
    """
    n = mpz(public.n)
    return hash_to_integer(n, _LABEL_BASE, public.to_bytes()) ** 2 % n


def residue_to_bytes(key: ThresholdKey, residue: mpz) -> bytes:
    """Encode a residue modulo n, big-endian, as long as n is."""
    return int(residue).to_bytes(key.residue_bytes, "big")


def join_residues(residues: Sequence[mpz], width: int) -> bytes:
    """Join residues of ``width`` bytes each, big-endian.

    Raises:
        MisuseError: a residue needs more bytes.
    """
    try:
        return b"".join([int(one).to_bytes(width, "big") for one in residues])
    except OverflowError as error:
        raise MisuseError(f"a residue is negative or longer than {width} bytes") from error


def split_residues(data: bytes | memoryview, count: int, width: int) -> list[mpz] | None:
    """Undo :func:`join_residues`; ``None`` when the length is not that of ``count`` residues."""
    view = memoryview(data)
    if view.nbytes != count * width:
        return None
    raw = view.tobytes()
    return [
        mpz(int.from_bytes(raw[start : start + width], "big"))
        for start in range(0, len(raw), width)
    ]
