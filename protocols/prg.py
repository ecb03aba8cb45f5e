"""Mask expansion: AES-256 in counter mode, seekable, added in place in cache-sized chunks.

A mask is the keystream of AES-256-CTR (NIST SP 800-38A section 6.5) under its own 32-byte seed as
the key, cut into little-endian words. The counter block starts at zero, a 128-bit big-endian
integer. A zero nonce is safe here because a seed is the key of one keystream and hides one vector:
nonces keep apart several messages under one key, and there is never a second message. Whoever
derives a seed answers for that: one seed, one mask.

Word ``i`` depends on nothing but the seed and ``i``, so any range of a mask can be computed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from protocols.errors import MisuseError

RandomBytes: TypeAlias = Callable[[int], bytes]
"""Returns that many bytes nobody else can predict; ``secrets.token_bytes`` outside of tests."""

Words: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""A vector over Z_{2^w}, one dimension, of ``uint16``, ``uint32`` or ``uint64``."""

Ranges: TypeAlias = Callable[[Callable[[int, int], None], int], None]
"""Runs ``f(start, stop)`` over a partition of ``range(count)``, in any order or at once.

A range is never empty. It returns after the last ``f`` has."""

SEED_BYTES: Final = 32
BLOCK_BYTES: Final = 16
CHUNK_BYTES: Final = 256 * 1024
"""Keystream held at a time: it and the same span of the target stay in a level 2 cache, and a call
is long enough to hide its overhead and the handing over of the interpreter lock between threads."""

MASKS_AT_ONCE: Final = 64
"""Keystreams open at a time: the target crosses memory once for all of them, and however many masks
there are, few ciphers are held."""

_ZEROS: Final = memoryview(bytes(CHUNK_BYTES))
_WORD_TYPES: Final = {bits: np.dtype(f"<u{bits // 8}") for bits in (16, 32, 64)}


def word_type(word_bits: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the little-endian unsigned type of ``word_bits`` bits.

    Raises:
        MisuseError: ``word_bits`` is not 16, 32 or 64.
    """
    if word_bits not in _WORD_TYPES:
        raise MisuseError(f"words have 16, 32 or 64 bits, not {word_bits}")
    return _WORD_TYPES[word_bits]


def expand(seed: bytes, count: int, word_bits: int, start: int = 0) -> Words:
    """Return words ``[start, start + count)`` of the mask of ``seed``.

    Args:
        seed: key of this one mask, 32 bytes.
        count: number of words, >= 0.
        word_bits: 16, 32 or 64.
        start: index of the first word, >= 0.

    Returns:
        Uniform words, shape (count,).

    Raises:
        MisuseError: an argument outside these ranges.
    """
    if count < 0:
        raise MisuseError(f"cannot expand {count} words")
    out = np.empty(count, word_type(word_bits))
    keystream = _keystream(seed, start * out.itemsize)
    view = out.view(np.uint8)
    for low in range(0, view.size, CHUNK_BYTES):
        piece = view[low : low + CHUNK_BYTES]
        keystream.update_into(_ZEROS[: piece.size], piece.data)
    return out


def add_masks(target: Words, masks: Iterable[tuple[bytes, bool]], *, start: int = 0) -> None:
    """Add or subtract masks in place, modulo 2 to the width of a word.

    A batch of masks is applied to one chunk before the next chunk is touched: the target crosses
    memory once a batch, and no mask is ever held whole.

    Args:
        target: words ``[start, start + len(target))`` of the whole vector; contiguous, writable.
        masks: (seed, True to add or False to subtract). Each seed has 32 bytes.
        start: index of the first word of ``target`` in the whole vector.

    Raises:
        MisuseError: ``target`` is no contiguous word vector, or a seed has another length; of the
            batch that holds it nothing is added.
    """
    item = target.dtype.itemsize
    flat = target.ndim == 1 and target.flags.c_contiguous and target.flags.writeable
    if not flat or target.dtype not in _WORD_TYPES.values():
        raise MisuseError("masks are added to a flat writable vector of uint16, uint32 or uint64")
    buffer = bytearray(min(CHUNK_BYTES, target.nbytes))
    words = np.frombuffer(buffer, target.dtype)
    remaining = iter(masks)
    while batch := list(islice(remaining, MASKS_AT_ONCE)):
        streams = [
            (_keystream(seed, start * item).update_into, np.add if added else np.subtract)
            for seed, added in batch
        ]
        for low in range(0, target.size, CHUNK_BYTES // item):
            piece = target[low : low + CHUNK_BYTES // item]
            zeros, mask = _ZEROS[: piece.nbytes], words[: piece.size]
            for expand_into, apply in streams:
                expand_into(zeros, buffer)
                apply(piece, mask, out=piece)


def uniform_below(bound: int, random: RandomBytes) -> int:
    """Draw an integer uniform in ``[0, bound)`` by rejection, without modulo bias.

    Raises:
        MisuseError: ``bound`` is not positive.
    """
    if bound < 1:
        raise MisuseError(f"no integer is below {bound} and not negative")
    bits = (bound - 1).bit_length()
    size = (bits + 7) // 8
    while True:
        # Excess high bits are dropped first, so that at least every second draw is taken.
        value = int.from_bytes(random(size), "little") >> (8 * size - bits)
        if value < bound:
            return value


def _keystream(seed: bytes, start_byte: int) -> CipherContext:
    """Open the keystream of ``seed`` at ``start_byte``."""
    if len(seed) != SEED_BYTES:
        raise MisuseError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    if start_byte < 0:
        raise MisuseError("a mask starts at word 0")
    block, lead = divmod(start_byte, BLOCK_BYTES)
    counter = modes.CTR(block.to_bytes(BLOCK_BYTES, "big"))
    keystream = Cipher(algorithms.AES256(seed), counter).encryptor()
    if lead:
        keystream.update(bytes(lead))
    return keystream
