"""Merkle hashes, and proofs about trees that the reader does not have (RFC 6962 section 2.1).

Everything but :func:`leaf_hash` takes hashes of leaves, not leaves. Positions count from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from protocols.errors import LedgerError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without leaves."""
MAX_SIZE: Final = 2**63 - 1
"""Leaves of the largest tree that a checkpoint can name."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf), 32 bytes."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes, of two hashes of 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


def verify_inclusion(
    index: int, leaf: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that leaf ``index`` of the tree of ``size`` leaves with this root has this hash.

    Args:
        index: position of the leaf, from 0.
        leaf: hash of the leaf, 32 bytes.
        size: leaves of the tree.
        root: of the tree, 32 bytes.
        proof: hashes from the leaf upwards, 32 bytes each.

    Raises:
        LedgerError: ``inclusion-proof-invalid``; for hostile arguments too.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise _no_inclusion(f"a tree of {size} leaves cannot have a leaf {index}")
    if any(len(node) != HASH_BYTES for node in (leaf, root, *proof)):
        raise _no_inclusion(f"a hash does not have {HASH_BYTES} bytes")
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise _no_inclusion("the proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            fn, sn = _skip(fn, sn)
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise _no_inclusion("the proof is too short")
    if node != root:
        raise _no_inclusion(f"leaf {index} is not in the tree of {size} leaves")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``new_size`` leaves begins with that of ``old_size``.

    Args:
        old_size: leaves of the earlier tree; 0 is consistent with every tree, by an empty proof.
        old_root: of the earlier tree, 32 bytes.
        new_size: leaves of the later tree.
        new_root: of the later tree, 32 bytes.
        proof: hashes, 32 bytes each.

    Raises:
        LedgerError: ``consistency-proof-invalid``; for hostile arguments too.

    Source: RFC 9162 section 2.1.4.2; C2SP tlog-witness for ``old_size == 0``.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise _no_consistency(f"a tree of {new_size} leaves cannot begin with one of {old_size}")
    if any(len(node) != HASH_BYTES for node in (old_root, new_root, *proof)):
        raise _no_consistency(f"a hash does not have {HASH_BYTES} bytes")
    if old_size in (0, new_size):
        _check_without_proof(old_size, old_root, new_size, new_root, proof)
        return
    if (old_size & (old_size - 1)) == 0:
        # A complete tree is a node of the later one, so that the proof leaves its root out.
        proof = (old_root, *proof)
    if not proof:
        raise _no_consistency("the proof is too short")
    if _roots_of(old_size, new_size, proof) != (old_root, new_root):
        raise _no_consistency(
            f"the tree of {new_size} leaves does not begin with that of {old_size}"
        )


def _check_without_proof(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """What there is to check where the earlier tree is empty or the later one itself."""
    if proof:
        raise _no_consistency("the proof is too long")
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise _no_consistency("a tree without leaves has another root")
    if old_size == new_size and old_root != new_root:
        raise _no_consistency(f"two different trees of {new_size} leaves")


def _roots_of(old_size: int, new_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Roots of both trees by a non-empty path, for 0 < old_size < new_size."""
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for node in path[1:]:
        if sn == 0:
            raise _no_consistency("the proof is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(node, old), node_hash(node, new)
            fn, sn = _skip(fn, sn)
        else:
            new = node_hash(new, node)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise _no_consistency("the proof is too short")
    return old, new


def _skip(fn: int, sn: int) -> tuple[int, int]:
    """Go up past levels at which the last node has no sibling."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _no_inclusion(reason: str) -> LedgerError:
    return LedgerError("inclusion-proof-invalid", reason)


def _no_consistency(reason: str) -> LedgerError:
    return LedgerError("consistency-proof-invalid", reason)
