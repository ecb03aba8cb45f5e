"""How the ledger travels: what a party has, what is added to it, and its signature as a witness.

All of it is outside any round, signed like every other message. A long addition is sent in several
:class:`Extension` messages, the last of which names the new head.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from protocols.identity import NO_ROUND, Digest, Envelope, Identity
from protocols.ledger.records import MAX_LEAF_BYTES, MAX_NOTE_BYTES
from protocols.rounds import LeafCount
from protocols.wire import encode

MAX_LEAVES: Final = 65_536
MAX_PROOF: Final = 128


class Holding(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Party to coordinator, whenever a session begins: how much of the ledger we hold.

    Attributes:
        size: leaves.
        root: over them, 32 bytes.
    """

    size: LeafCount
    root: Digest


class Extension(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Coordinator to party: leaves that follow, and with the last of them a head to cosign.

    Attributes:
        start: position of the first of them.
        leaves: in order.
        head: signed note on the whole tree, without witnesses; empty when more leaves follow.
        proof: that the tree of ``start`` leaves is the beginning of that of the head.
    """

    start: LeafCount
    leaves: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_LEAF_BYTES)], ...],
        msgspec.Meta(max_length=MAX_LEAVES),
    ]
    head: Annotated[bytes, msgspec.Meta(max_length=MAX_NOTE_BYTES)]
    proof: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=MAX_PROOF)]


class Cosigned(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Party to coordinator: our signature on the head, as a witness.

    Attributes:
        size: of the head's tree.
        line: the signature line of the note.
        missing: a commit of ours that the ledger lacks; ``None`` if it lacks none.
    """

    size: LeafCount
    line: Annotated[bytes, msgspec.Meta(min_length=1, max_length=512)]
    missing: Envelope | None


STEPS: Final[dict[type[msgspec.Struct], str]] = {
    Holding: "holding",
    Extension: "extend",
    Cosigned: "cosign",
}


def seal_ledger(identity: Identity, agreement: bytes, message: msgspec.Struct) -> Envelope:
    """Sign one of the messages of this module."""
    return identity.seal(
        agreement=agreement, round_=NO_ROUND, step=STEPS[type(message)], payload=encode(message)
    )
