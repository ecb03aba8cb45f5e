"""Words of b bits as bytes, for any b from 2 to 64.

Word ``i`` occupies bits ``[i * b, (i + 1) * b)`` of the byte string, least significant bit first;
bit ``j`` of the string is bit ``j % 8`` of byte ``j // 8``. Padding bits are zero, so that one
vector has one encoding. Eight words fill b bytes: a range of words that starts at a multiple of
eight can be read alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from protocols.prg import Words, word_type

MIN_BITS: Final = 2
MAX_BITS: Final = 64

_CHUNK: Final = 64 * 1024
"""Words handled at a time, a multiple of ``_GROUP``: enough to hide the cost of numpy calls."""
_GROUP: Final = 512


def check_bits(bits: int) -> None:
    """Refuse a width that no word has.

    Raises:
        MisuseError: ``bits`` is not between 2 and 64.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise MisuseError(f"words have {MIN_BITS} to {MAX_BITS} bits, not {bits}")


def word_bits_for(bits: int) -> int:
    """Return the smallest word width, of 16, 32 and 64, that holds ``bits`` bits.

    Raises:
        MisuseError: ``bits`` is not between 2 and 64.
    """
    check_bits(bits)
    return next(width for width in (16, 32, 64) if bits <= width)


def packed_size(count: int, bits: int) -> int:
    """Return the bytes that ``count`` words of ``bits`` bits take on the wire.

    Raises:
        MisuseError: ``count`` is negative, or ``bits`` not between 2 and 64.
    """
    check_bits(bits)
    if count < 0:
        raise MisuseError(f"cannot pack {count} words")
    return (count * bits + 7) // 8


def lane_bits(ring_bits: int, summands: int) -> int:
    """Return the bits in which a sum of so many words never carries: ceil(log2 summands) more."""
    return ring_bits + (summands - 1).bit_length()


def lanes_within(modulus_bits: int, width: int) -> int:
    """Return how many lanes of ``width`` bits stay below every modulus of so many bits."""
    return (modulus_bits - 1) // width


def pack(words: Words, bits: int) -> bytes:
    """Pack the low ``bits`` bits of each word.

    Args:
        words: shape (d,), of the width of :func:`word_bits_for`. Higher bits are dropped.
        bits: 2..64.

    Returns:
        ``packed_size(d, bits)`` bytes.

    Raises:
        MisuseError: words of another width, or ``bits`` out of range.
    """
    width = word_bits_for(bits)
    if words.dtype != word_type(width) or words.ndim != 1:
        raise MisuseError(f"{bits} bits are packed from a flat vector of {width}-bit words")
    if bits == width:
        return words.tobytes()
    return b"".join(
        _pack_chunk(words[low : low + _CHUNK], bits) for low in range(0, words.size, _CHUNK)
    )


def unpack(wire: bytes | memoryview, bits: int, count: int) -> Words:
    """Read ``count`` words of ``bits`` bits.

    Args:
        wire: exactly ``packed_size(count, bits)`` bytes.
        bits: 2..64.
        count: number of words, >= 0.

    Returns:
        Words in ``[0, 2^bits)``, shape (count,), of the width of :func:`word_bits_for`.

    Raises:
        InputError: another length, or padding that is not zero.
        MisuseError: ``bits`` or ``count`` out of range.
    """
    view = memoryview(wire)
    # Before allocating what the length does not bear out.
    _check_wire(view, bits, count)
    words = np.zeros(count, word_type(word_bits_for(bits)))
    unpack_add(words, view, bits)
    return words


def unpack_add(target: Words, wire: memoryview, bits: int) -> None:
    """Add packed words to ``target`` in place, chunk by chunk, modulo 2 to the width of a word.

    Args:
        target: shape (d,), of the width of :func:`word_bits_for`.
        wire: exactly ``packed_size(d, bits)`` bytes.
        bits: 2..64.

    Raises:
        InputError: another length, or padding that is not zero; ``target`` is then untouched.
        MisuseError: words of another width, or ``bits`` out of range.
    """
    width = word_bits_for(bits)
    if target.dtype != word_type(width) or target.ndim != 1:
        raise MisuseError(f"{bits} bits are unpacked to a flat vector of {width}-bit words")
    wire = wire.cast("B")
    _check_wire(wire, bits, target.size)
    if bits == width:
        np.add(target, np.frombuffer(wire, target.dtype), out=target)
        return
    for low in range(0, target.size, _CHUNK):
        piece = target[low : low + _CHUNK]
        start = low * bits // 8
        words = _unpack_chunk(wire[start : start + packed_size(piece.size, bits)], bits)
        np.add(piece, words[: piece.size], out=piece, casting="unsafe")


def _check_wire(wire: memoryview, bits: int, count: int) -> None:
    size = packed_size(count, bits)
    if wire.nbytes != size:
        raise InputError(f"{count} words of {bits} bits take {size} bytes, not {wire.nbytes}")
    used = count * bits % 8
    if used and wire[-1] >> used:
        raise InputError("the bits after the last word are not zero")


def _pack_chunk(words: Words, bits: int) -> bytes:
    merged = np.zeros(-(-words.size // _GROUP) * _GROUP, np.uint64)
    np.bitwise_and(words, 2**bits - 1, out=merged[: words.size])
    width = bits
    while 2 * width <= MAX_BITS:
        merged = merged[0::2] | merged[1::2] << np.uint64(width)
        width *= 2
    if width == MAX_BITS:
        return merged.astype("<u8").tobytes()[: packed_size(words.size, bits)]
    # Eight fields of ``width`` bits fill ``width`` bytes. A field touches at most nine of them, so
    # one strided column of windows never overlaps itself.
    columns = merged.reshape(-1, 8).T
    rows = columns.shape[1]
    out = np.zeros(rows * width + 8, np.uint8)
    for index, column in enumerate(columns):
        byte, shift = divmod(index * width, 8)
        window = np.ndarray((rows,), "<u8", out.data, byte, (width,))
        window |= column << np.uint64(shift)
        if width + shift > MAX_BITS:
            out[byte + 8 :: width][:rows] |= (column >> np.uint64(64 - shift)).astype(np.uint8)
    return out[: packed_size(words.size, bits)].tobytes()


def _unpack_chunk(wire: memoryview, bits: int) -> NDArray[np.uint64]:
    rows = -(-wire.nbytes // bits)
    # Windows of the last fields reach past the end.
    padded = np.zeros(rows * bits + 8, np.uint8)
    padded[: wire.nbytes] = wire
    words = np.empty((rows, 8), np.uint64)
    for index in range(8):
        byte, shift = divmod(index * bits, 8)
        window = np.ndarray((rows,), "<u8", padded.data, byte, (bits,))
        field = window >> np.uint64(shift)
        if bits + shift > MAX_BITS:
            field |= padded[byte + 8 :: bits][:rows].astype(np.uint64) << np.uint64(64 - shift)
        np.bitwise_and(field, np.uint64(2**bits - 1), out=words[:, index])
    return words.reshape(-1)
