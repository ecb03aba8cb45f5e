"""Vectors of ciphertexts: from and to the wire, and their running product."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.errors import InputError, MisuseError, SubmissionError
from protocols.paillier.decryption import check_units
from protocols.paillier.integers import mpz, unlocked, whole
from protocols.paillier.keys import PublicKey
from protocols.prg import Ranges


def ciphertexts_to_bytes(key: PublicKey, ciphertexts: Sequence[mpz]) -> bytes:
    """Join ciphertexts, each big-endian and of ``key.ciphertext_bytes`` bytes.

    Raises:
        MisuseError: a value that is no residue modulo n^2.
    """
    square, size = mpz(key.n_squared), key.ciphertext_bytes
    if any(not 0 <= value < square for value in ciphertexts):
        raise MisuseError("a ciphertext is a residue modulo n^2")
    return b"".join([value.to_bytes(size, "big") for value in ciphertexts])


def ciphertexts_from_bytes(
    key: PublicKey, data: bytes | memoryview, count: int, *, party: str, step: str
) -> list[mpz]:
    """Read a vector of ciphertexts from the wire.

    Args:
        key: whose ciphertexts.
        data: hostile bytes.
        count: ciphertexts that the agreement asks for.
        party: who is named when the bytes are refused.
        step: protocol step for the same purpose.

    Returns:
        ``count`` elements of Z*_{n^2}.

    Raises:
        SubmissionError: another length, or a value that is not in Z*_{n^2}.
    """
    view, size = memoryview(data).cast("B"), key.ciphertext_bytes
    if view.nbytes != count * size:
        raise SubmissionError(
            party, step, f"{count} ciphertexts take {count * size} bytes, not {view.nbytes}"
        )
    read = mpz.from_bytes
    values = [read(bytes(view[low : low + size]), "big") for low in range(0, view.nbytes, size)]
    try:
        check_units(values, key.n)
    except InputError as error:
        raise SubmissionError(party, step, str(error)) from error
    return values


class Product:
    """The product of vectors of ciphertexts so far, which encrypts the sum of their plaintexts.

    Every vector is multiplied in on arrival, so that memory does not grow with the parties. Who is
    in it is the caller's to remember.

    Attributes:
        key: whose ciphertexts.
        summands: vectors in it.
        limit: most vectors that may be, for which the lanes have room.
    """

    __slots__ = ("_values", "key", "limit", "summands")

    def __init__(self, key: PublicKey, count: int, *, limit: int) -> None:
        """Start with no vector in it.

        Args:
            key: whose ciphertexts.
            count: ciphertexts of a vector.
            limit: ``summands`` of the lanes.

        Raises:
            MisuseError: ``count`` or ``limit`` is less than 1.
        """
        if count < 1 or limit < 1:
            raise MisuseError(f"a product of {limit} vectors of {count} ciphertexts is none")
        self.key, self.limit, self.summands = key, limit, 0
        self._values = [mpz(1)] * count

    def __repr__(self) -> str:
        return f"Product({len(self._values)} ciphertexts, {self.summands} of {self.limit} vectors)"

    def multiply(self, ciphertexts: Sequence[mpz], *, ranges: Ranges | None = None) -> None:
        """Multiply one more vector in.

        Args:
            ciphertexts: as :func:`ciphertexts_from_bytes` returns them.
            ranges: divides the vector among threads.

        Raises:
            MisuseError: another length, or more vectors than the lanes have room for; nothing has
                changed then.
        """
        values = self._values
        if len(ciphertexts) != len(values):
            raise MisuseError(f"{len(ciphertexts)} ciphertexts do not fit {len(values)}")
        if self.summands >= self.limit:
            raise MisuseError(f"the lanes have room for {self.limit} vectors")
        square = mpz(self.key.n_squared)

        def work(start: int, stop: int) -> None:
            with unlocked():
                values[start:stop] = [
                    one * other % square
                    for one, other in zip(values[start:stop], ciphertexts[start:stop], strict=True)
                ]

        self.summands += 1
        (ranges or whole)(work, len(values))

    def ciphertexts(self) -> list[mpz]:
        """Return the product; a copy.

        Raises:
            MisuseError: no vector is in it yet.
        """
        if not self.summands:
            raise MisuseError("a product of no vectors encrypts nothing")
        return list(self._values)
