"""Two copies of what should be one ledger: does one continue the other, or do they part?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from protocols.agreement import Agreement
from protocols.errors import LedgerError
from protocols.ledger.checkpoint import parse_note
from protocols.ledger.records import CheckpointLeaf, decode_leaf
from protocols.ledger.split_view import SplitView, check, prove
from securefed.audit.leaves import (
    LeafFacts,
    describe,
    readable_agreement,
    signed_by,
    signed_head,
)
from securefed.audit.sources import leaves_of

Relation = Literal["same", "first-is-shorter", "second-is-shorter", "differ"]


@dataclass(frozen=True, slots=True)
class Parting:
    """The first leaf in which two copies differ.

    Attributes:
        position: of the leaf.
        leaves: what each copy holds there.
        signers: names of those whose signature on each of the two holds.
    """

    position: int
    leaves: tuple[LeafFacts, LeafFacts]
    signers: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def signed_both(self) -> tuple[str, ...]:
        """Names of those whose signature on both of them holds."""
        return tuple(name for name in self.signers[0] if name in self.signers[1])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two copies have to do with each other.

    Attributes:
        relation: of the first to the second.
        sizes: leaves of each; where they differ, those that were compared.
        parting: where they differ; ``None`` if they do not.
        proof: that the coordinator signed both; ``None`` if that cannot be proved from them.
        deceivers: names of those who signed both heads of the proof.
    """

    relation: Relation
    sizes: tuple[int, int]
    parting: Parting | None = None
    proof: SplitView | None = field(default=None, repr=False)
    deceivers: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers."""
        plain: dict[str, Any] = {"relation": self.relation, "leaves": list(self.sizes)}
        if self.parting is None:
            return plain
        one, other = (
            {
                "kind": leaf.kind,
                "step": leaf.step,
                "round": leaf.round,
                "text": leaf.text,
                "hash": leaf.hash,
                "signed_by": list(who),
            }
            for leaf, who in zip(self.parting.leaves, self.parting.signers, strict=True)
        )
        return plain | {
            "leaf": self.parting.position,
            "first": one,
            "second": other,
            "signed_both": list(self.parting.signed_both),
            "split_view_proven": self.proof is not None,
            "signed_both_heads": list(self.deceivers),
        }


def compare(first: Path, second: Path, agreement: Agreement | None = None) -> Comparison:
    """Compare two bundles or state directories, leaf by leaf.

    Args:
        first: one of them.
        second: the other.
        agreement: whose keys count; that of leaf 0 unless given.

    Raises:
        InputError, JournalError, LedgerError: one of them cannot be read.
        MisuseError: they part in their key, and the extra that checks keys is not installed.
    """
    parted = _first_difference(leaves_of(first), leaves_of(second))
    if isinstance(parted, Comparison):
        return parted
    position, pair = parted
    if agreement is None:
        agreement = readable_agreement(next(iter(leaves_of(first)), b""))
    one, other = pair
    who = tuple(() if agreement is None else signed_by(leaf, position, agreement) for leaf in pair)
    told = (describe(one, position, agreement), describe(other, position, agreement))
    parting = Parting(position, told, (who[0], who[1]))
    proof = None
    if agreement is not None and position:
        proof = _proof(first, second, agreement)
    sizes = (position + 1, position + 1)
    if proof is None or agreement is None:
        return Comparison("differ", sizes, parting)
    one_head = _signers(first, position, proof.first, agreement)
    other_head = _signers(second, position, proof.second, agreement)
    both = tuple(name for name in one_head if name in other_head)
    return Comparison("differ", sizes, parting, proof, both)


def _first_difference(
    first: Iterable[bytes], second: Iterable[bytes]
) -> Comparison | tuple[int, tuple[bytes, bytes]]:
    sizes = [0, 0]
    for position, (one, other) in enumerate(zip_longest(first, second)):
        if one is not None and other is not None and one != other:
            return position, (one, other)
        sizes[0] += one is not None
        sizes[1] += other is not None
    relation: Relation = "same"
    if sizes[0] != sizes[1]:
        relation = "first-is-shorter" if sizes[0] < sizes[1] else "second-is-shorter"
    return Comparison(relation, (sizes[0], sizes[1]))


def _signers(path: Path, position: int, head: bytes, agreement: Agreement) -> tuple[str, ...]:
    """Return who signed a head in a copy, its witnesses too, which a proof leaves out."""
    wanted = parse_note(head, party="").checkpoint
    for place, data in enumerate(leaves_of(path)):
        if place <= position:
            continue
        try:
            leaf = decode_leaf(data, place)
            note = leaf.note if isinstance(leaf, CheckpointLeaf) else b""
            if note and parse_note(note, party="").checkpoint == wanted:
                return signed_head(note, agreement)
        except LedgerError:
            continue  # a leaf that nobody can read, or a note with a signature of nobody's
    return ()


def _proof(first: Path, second: Path, agreement: Agreement) -> SplitView | None:
    view = prove(leaves_of(first), leaves_of(second))
    if view is None:
        return None
    try:
        check(view.to_json(), agreement)
    except LedgerError:
        # The heads are not signed by the coordinator: a copy was made up, and nobody can be blamed.
        return None
    return view
