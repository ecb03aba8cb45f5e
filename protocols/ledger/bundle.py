"""A ledger in one file, for whoever audits it far away from the nodes that hold it.

A magic line; each leaf after its length, 4 bytes, big-endian; at last the length 0xFFFFFFFF, which
no leaf has, and a footer: canonical msgpack of an array of the number of leaves and the root of the
tree over them. The footer finds damage, not fraud: whoever writes a bundle can write any footer.
Only the signatures in the leaves say who stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from protocols.errors import LedgerError
from protocols.ledger.merkle import Frontier, leaf_hash
from protocols.ledger.records import MAX_LEAF_BYTES

MAX_LEAVES: Final = 2**40

_MAGIC: Final = b"securefed ledger v1\n"
_BEFORE_VERSION: Final = _MAGIC[: -len(b"1\n")]
_LENGTH_BYTES: Final = 4
_END: Final = b"\xff" * _LENGTH_BYTES


def bundle_parts(leaves: Iterable[bytes]) -> Iterator[bytes]:
    """Return the bytes of a bundle, part by part, without ever holding more than one leaf.

    Raises:
        LedgerError: ``leaf-oversized`` or ``too-many-leaves``; the parts so far are no bundle.
    """
    frontier = Frontier()
    yield _MAGIC
    for leaf in leaves:
        _check_bounds(len(leaf), frontier.size)
        frontier.append(leaf_hash(leaf))
        yield len(leaf).to_bytes(_LENGTH_BYTES) + leaf
    yield _END + _footer(frontier)


def read_leaves(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Read the leaves of a bundle, one at a time.

    Damage may show only after the last leaf: what was made of the leaves counts for nothing until
    the iterator has ended without an error.

    Args:
        read: returns at least one and at most so many next bytes, and none at the end, like
            ``read`` of a binary file.

    Raises:
        LedgerError: ``not-a-bundle``; ``unknown-version``; ``truncated``; ``leaf-oversized`` and
            ``too-many-leaves``, before the leaf is read; ``footer-mismatch``: another number of
            leaves or another root than the footer says; ``trailing-bytes``.
    """
    _read_magic(read)
    frontier = Frontier()
    while (length := _read_exactly(read, _LENGTH_BYTES, frontier.size)) != _END:
        count = int.from_bytes(length)
        _check_bounds(count, frontier.size)
        leaf = _read_exactly(read, count, frontier.size)
        frontier.append(leaf_hash(leaf))
        yield leaf
    footer = _footer(frontier)
    if _read_exactly(read, len(footer), None) != footer:
        raise LedgerError(
            "footer-mismatch", f"the footer is not that of these {frontier.size} leaves"
        )
    if read(1):
        raise LedgerError("trailing-bytes", "the file goes on after the end of the bundle")


def _footer(frontier: Frontier) -> bytes:
    return msgspec.msgpack.encode((frontier.size, frontier.root()))


def _check_bounds(length: int, position: int) -> None:
    if length > MAX_LEAF_BYTES:
        raise LedgerError(
            "leaf-oversized", f"{length} bytes, at most {MAX_LEAF_BYTES}", leaf=position
        )
    if position >= MAX_LEAVES:
        raise LedgerError("too-many-leaves", f"at most {MAX_LEAVES} fit", leaf=position)


def _read_magic(read: Callable[[int], bytes]) -> None:
    magic = _read(read, len(_MAGIC))
    if magic == _MAGIC:
        return
    if _MAGIC.startswith(magic):
        raise LedgerError("truncated", "the file ends before its first leaf")
    if magic.startswith(_BEFORE_VERSION):
        raise LedgerError(
            "unknown-version", "a later release wrote this bundle; read it with that one"
        )
    raise LedgerError("not-a-bundle", "the file does not begin like an exported ledger")


def _read_exactly(read: Callable[[int], bytes], count: int, leaf: int | None) -> bytes:
    data = _read(read, count)
    if len(data) < count:
        raise LedgerError("truncated", "the file ends in the middle", leaf=leaf)
    return data


def _read(read: Callable[[int], bytes], count: int) -> bytes:
    """Read ``count`` bytes, fewer only at the end; a pipe may give them piece by piece."""
    data = read(count) if count else b""
    if not data or len(data) == count:
        return data
    pieces, missing = [data], count - len(data)
    while missing > 0 and (data := read(missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)
