"""A split view that anybody can check: the coordinator signed two ledgers that contradict.

An honest log only grows: leaf p is one and the same under every head that it ever signs. So two
signed heads of one log prove a lie if they are of one size with different roots or, at any two
sizes, if two different leaves are proved to lie at one position. The proof shows hashes of leaves
only, so that it may be published.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, Final

import msgspec

from protocols.agreement import Agreement
from protocols.errors import LedgerError
from protocols.identity import VerifyKey
from protocols.ledger.checkpoint import (
    Checkpoint,
    Note,
    coordinator_check,
    origin_of,
    parse_note,
)
from protocols.ledger.facts import Finding
from protocols.ledger.merkle import Tree, leaf_hash, verify_inclusion
from protocols.ledger.records import MAX_NOTE_BYTES, CheckpointLeaf, decode_leaf

MAX_PROOF_BYTES: Final = 4 * MAX_NOTE_BYTES
_FORMAT: Final = "securefed split view v1"
_MAX_PATH: Final = 63

_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Text = Annotated[str, msgspec.Meta(max_length=2 * MAX_NOTE_BYTES)]


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That one leaf lies under one head.

    Attributes:
        leaf: hash of the leaf, 64 hexadecimal digits.
        path: its inclusion proof, from the leaf upwards, as hexadecimal digits.
    """

    leaf: _Hash
    path: Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=_MAX_PATH)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    first: _Text
    second: _Text
    position: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None
    branches: Annotated[tuple[Branch, ...], msgspec.Meta(max_length=2)]


@dataclass(frozen=True, slots=True)
class SplitView:
    """Two heads that contradict each other.

    Attributes:
        first: a note that the coordinator alone signed.
        second: another one.
        position: of the leaf in which they differ; ``None`` for two heads of one size, whose roots
            say enough.
        branches: that this leaf lies under the first, and another one under the second.
    """

    first: bytes
    second: bytes
    position: int | None = None
    branches: tuple[Branch, ...] = ()

    def to_json(self) -> bytes:
        """Return the one text of this proof, a file to hand on."""
        notes = (b64encode(self.first).decode(), b64encode(self.second).decode())
        plain = _File(_FORMAT, *notes, self.position, self.branches)
        return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def prove(first: Iterable[bytes], second: Iterable[bytes]) -> SplitView | None:
    """Find a proof in two copies of what should be one ledger.

    Args:
        first: leaves of one copy, in order; nothing of it has to be verified.
        second: those of the other.

    Returns:
        The proof; ``None`` if one copy only goes on where the other ends, or if one of them has no
        checkpoint that covers the leaf in which they differ: then the signed leaves themselves are
        all the evidence there is.
    """
    copies = (list(first), list(second))
    position = _first_difference(*copies)
    if position is None:
        return None
    one, other = (_covered(copy, position) for copy in copies)
    if one is None or other is None:
        return None
    return SplitView(one[0], other[0], position, (one[1], other[1]))


def from_heads(first: Note, second: Note) -> SplitView | None:
    """Return the proof that two heads are; ``None`` unless their sizes are equal, not their roots.

    Their signatures are not checked here; :func:`check` does.
    """
    one, other = first.checkpoint, second.checkpoint
    if (one.origin, one.size) != (other.origin, other.size) or one.root == other.root:
        return None
    return SplitView(_bare(first), _bare(second))


def check(proof: bytes, agreement: Agreement) -> Finding:
    """Check a proof, whoever hands it over.

    Args:
        proof: text of :meth:`SplitView.to_json`.
        agreement: of the federation whose coordinator is accused.

    Returns:
        The finding ``split-view``, which names the coordinator.

    Raises:
        LedgerError: ``split-view-unproven``: it is no such file, or does not prove that.
    """
    view = _parse(proof)
    coordinator = agreement.verify_key(agreement.coordinator.name)
    origin = origin_of(agreement.federation, agreement.digest())
    try:
        one, other = (_signed_head(note, origin, coordinator) for note in (view.first, view.second))
        if view.position is None:
            differ = one.size == other.size and one.root != other.root
        else:
            for head, branch in zip((one, other), view.branches, strict=True):
                path = [bytes.fromhex(node) for node in branch.path]
                leaf = bytes.fromhex(branch.leaf)
                verify_inclusion(view.position, leaf, head.size, head.root, path)
            differ = view.branches[0].leaf != view.branches[1].leaf
    except LedgerError as error:
        raise _unproven(error.reason) from error
    if not differ:
        raise _unproven("its heads do not contradict each other")
    where = "" if view.position is None else f"; they differ in leaf {view.position}"
    return Finding(
        "split-view",
        f"{coordinator.name} signed one ledger of {one.size} leaves and another of "
        f"{other.size}{where}",
        leaf=view.position,
        party=coordinator.name,
    )


def _signed_head(text: bytes, origin: str, coordinator: VerifyKey) -> Checkpoint:
    note = parse_note(text, party="")
    if len(note.signatures) != 1:
        raise _unproven("a head bears other signatures than the coordinator's")
    if note.checkpoint.origin != origin or not coordinator_check(note, coordinator).holds():
        raise _unproven("one of its heads is not one that the coordinator signed")
    return note.checkpoint


def _parse(proof: bytes) -> SplitView:
    if len(proof) > MAX_PROOF_BYTES:
        raise _unproven("it is too long")
    try:
        plain = msgspec.json.decode(proof, type=_File)
        view = SplitView(
            b64decode(plain.first, validate=True),
            b64decode(plain.second, validate=True),
            plain.position,
            plain.branches,
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise _unproven("it is not such a file") from error
    # One text for each proof, so that a copy can be told from another proof.
    if plain.format != _FORMAT or view.to_json() != proof:
        raise _unproven("it is not such a file, or not in its one form")
    if len(view.branches) != (0 if view.position is None else 2):
        raise _unproven("it has no two branches for its leaf")
    return view


def _first_difference(first: list[bytes], second: list[bytes]) -> int | None:
    for position, (one, other) in enumerate(zip_longest(first, second)):
        if one is None or other is None:
            return None
        if one != other:
            return position
    return None


def _covered(leaves: list[bytes], position: int) -> tuple[bytes, Branch] | None:
    """Return the first head in a copy that covers a leaf, and the leaf's branch."""
    for place, note in _heads(leaves, position):
        tree = Tree(map(leaf_hash, leaves[:place]))
        if note.checkpoint.size == place and note.checkpoint.root == tree.root():
            path = tuple(node.hex() for node in tree.inclusion_proof(position, place))
            return _bare(note), Branch(leaf_hash(leaves[position]).hex(), path)
    return None


def _heads(leaves: list[bytes], position: int) -> Iterator[tuple[int, Note]]:
    for place in range(position + 1, len(leaves)):
        try:
            leaf = decode_leaf(leaves[place], place)
            if isinstance(leaf, CheckpointLeaf):
                yield place, parse_note(leaf.note, party="")
        except LedgerError:
            continue  # a copy may be damaged there; a later head will do


def _bare(note: Note) -> bytes:
    """The head as the coordinator alone signed it: who cosigned it proves nothing here."""
    return Note(note.checkpoint, note.signatures[:1]).to_bytes()


def _unproven(reason: str) -> LedgerError:
    return LedgerError("split-view-unproven", reason)
