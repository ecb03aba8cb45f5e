"""The Merkle tree of RFC 6962 section 2.1, by whoever has its leaves: roots and proofs.

Trees take hashes of leaves, see :func:`leaf_hash`, and not leaves. Positions count from 0; ``MTH``
below is the RFC's name for the root of a list of leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from protocols.errors import MisuseError
from protocols.ledger.proofs import (
    EMPTY_ROOT,
    HASH_BYTES,
    MAX_SIZE,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "MAX_SIZE",
    "Frontier",
    "Tree",
    "leaf_hash",
    "node_hash",
    "verify_consistency",
    "verify_inclusion",
]


class Frontier:
    """A tree that can be appended to, and keeps no more than it needs for its root.

    The RFC's tree of n leaves consists of complete subtrees, one for each one-bit of n, the largest
    on the left. Their roots, at most 63, are all that a root of a longer tree depends on.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Args: leaves so far and :attr:`peaks` of a frontier that was put away.

        Raises:
            MisuseError: no tree of this size has these peaks.
        """
        if (
            not 0 <= size <= MAX_SIZE
            or len(peaks) != size.bit_count()
            or any(len(peak) != HASH_BYTES for peak in peaks)
        ):
            raise MisuseError(f"{len(peaks)} peaks are no frontier of {size} leaves")
        self._size, self._peaks = size, list(peaks)

    def __repr__(self) -> str:
        return f"Frontier({self._size} leaves, root {self.root().hex()[:16]}…)"

    @property
    def size(self) -> int:
        """How many leaves were appended."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Roots of the complete subtrees, 32 bytes each, from the largest to the smallest."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Append the hash of one leaf, 32 bytes.

        Raises:
            MisuseError: not 32 bytes, so that it is no hash.
        """
        if len(leaf) != HASH_BYTES:
            raise MisuseError(f"a leaf's hash has {HASH_BYTES} bytes; see leaf_hash")
        peaks, size = self._peaks, self._size
        # Adding one to a binary counter: each carry merges two subtrees of one size.
        while size & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append the hashes of several leaves, in order.

        Raises:
            MisuseError: one of them is no hash; those before it were appended.
        """
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """Return the root over all leaves so far, 32 bytes."""
        return _fold(self._peaks)


class Tree:
    """A tree that keeps every node, so that roots and proofs of all its sizes are O(log n).

    Level k holds, one after the other, the roots of all complete subtrees of 2^k leaves: 64 bytes
    per leaf in all.
    """

    __slots__ = ("_levels",)

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """Args: hashes of the first leaves, 32 bytes each.

        Raises:
            MisuseError: one of them is no hash.
        """
        self._levels = [bytearray()]
        self.extend(leaves)

    def __repr__(self) -> str:
        return f"Tree({self.size} leaves)"

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0]) // HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Append the hash of one leaf, 32 bytes.

        Raises:
            MisuseError: not 32 bytes, so that it is no hash.
        """
        if len(leaf) != HASH_BYTES:
            raise MisuseError(f"a leaf's hash has {HASH_BYTES} bytes; see leaf_hash")
        level, nodes = 0, self._levels[0]
        nodes += leaf
        while not len(nodes) % (2 * HASH_BYTES):
            parent = sha256(b"\x01" + nodes[-2 * HASH_BYTES :]).digest()
            level += 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            nodes = self._levels[level]
            nodes += parent

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append the hashes of several leaves, in order.

        Raises:
            MisuseError: one of them is no hash; those before it were appended.
        """
        for leaf in leaves:
            self.append(leaf)

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first ``size`` leaves, by default all, 32 bytes.

        Raises:
            MisuseError: the tree has fewer leaves, or ``size`` is negative.
        """
        size = self.size if size is None else size
        self._check_size(size)
        return self._range_root(0, size)

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return ``PATH(index, D[0:size])`` of RFC 6962 section 2.1.1, from the leaf upwards.

        Raises:
            MisuseError: no leaf ``index`` among the first ``size``, or fewer than ``size`` leaves.
        """
        self._check_size(size)
        if not 0 <= index < size:
            raise MisuseError(f"there is no leaf {index} among {size}")
        path, start, end = [], 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range_root(middle, end))
                end = middle
            else:
                path.append(self._range_root(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency_proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return ``PROOF(old, D[0:new])`` of RFC 6962 section 2.1.2.

        It is empty for ``old == 0``, of which the RFC says nothing (C2SP tlog-witness does).

        Raises:
            MisuseError: ``old`` exceeds ``new``, or there are fewer than ``new`` leaves.
        """
        self._check_size(new)
        if not 0 <= old <= new:
            raise MisuseError(f"a tree of {new} leaves has no beginning of {old}")
        if old == 0:
            return ()
        path, start, end = [], 0, new
        while old != end:
            middle = start + _split(end - start)
            if old <= middle:
                path.append(self._range_root(middle, end))
                end = middle
            else:
                path.append(self._range_root(start, middle))
                start = middle
        # A verifier knows the old root; it needs the subtree where both trees part otherwise.
        if start:
            path.append(self._range_root(start, end))
        return tuple(reversed(path))

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise MisuseError(f"the tree has {self.size} leaves, not {size}")

    def _range_root(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]) where ``start`` is one at which the RFC splits a tree."""
        peaks = []
        while start < end:
            level = (end - start).bit_length() - 1
            place = (start >> level) * HASH_BYTES
            peaks.append(bytes(self._levels[level][place : place + HASH_BYTES]))
            start += 1 << level
        return _fold(peaks)


def _split(size: int) -> int:
    """Leaves on the left of a tree of at least two: the largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Root of neighbouring complete subtrees, the largest on the left."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root
