"""What the ledger is made of: leaves, each one thing that somebody signed, in canonical bytes.

Leaf 0 is the agreement with every party's signature. Then come signed messages exactly as they
were sent, and checkpoints: signed heads of the tree over everything before them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from protocols.agreement import (
    Agreement,
    AgreementSignature,
    SignedAgreement,
    agreement_from,
    bring_into_force,
)
from protocols.agreement.model import CANONICAL_LABEL, MAX_PARTIES
from protocols.errors import AgreementError, LedgerError
from protocols.identity import SIGNATURE_BYTES, Envelope, Name

MAX_LEAF_BYTES: Final = 16 * 2**20
MAX_NOTE_BYTES: Final = 2**20
RECORDED_STEPS: Final = ("open", "submit", "confirm", "result", "abort", "end")
"""Steps whose messages are kept, beside the agreement and the checkpoints."""

Raw = Annotated[bytes, msgspec.Meta(max_length=MAX_LEAF_BYTES)]
Signature = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class PartySignature(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One party's signature on the agreement, see :mod:`protocols.agreement.signatures`."""

    name: Name
    signature: Signature


class AgreementLeaf(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="agreement"
):
    """Leaf 0: the canonical bytes of the agreement, and every party's signature in their order."""

    canonical: Raw
    signatures: Annotated[tuple[PartySignature, ...], msgspec.Meta(max_length=MAX_PARTIES)]


class MessageLeaf(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="message"
):
    """A signed message, exactly as it was sent; its step is one of :data:`RECORDED_STEPS`."""

    envelope: Envelope


class CheckpointLeaf(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="checkpoint"
):
    """A signed note on the tree of all leaves before this one, with the witnesses' signatures."""

    note: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_NOTE_BYTES)]


class KeyLeaf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="key"):
    """Leaf 1 where vectors are encrypted: the record of the key and of its whole ceremony.

    See :mod:`protocols.paillier.key_record`, which is the only one to look into it.
    """

    record: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_NOTE_BYTES)]


Leaf = AgreementLeaf | KeyLeaf | MessageLeaf | CheckpointLeaf

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Leaf)


def encode_leaf(leaf: Leaf) -> bytes:
    """Return the one byte string of a leaf.

    Raises:
        LedgerError: ``leaf-oversized``.
    """
    data = _ENCODER.encode(leaf)
    if len(data) > MAX_LEAF_BYTES:
        raise LedgerError("leaf-oversized", f"{len(data)} bytes, at most {MAX_LEAF_BYTES}")
    return data


def decode_leaf(data: bytes, position: int) -> Leaf:
    """Parse one leaf; its signatures are not checked here.

    Raises:
        LedgerError: ``leaf-oversized``; ``leaf-unreadable``, also for bytes that are not canonical.
    """
    if len(data) > MAX_LEAF_BYTES:
        raise LedgerError("leaf-oversized", f"{len(data)} bytes", leaf=position)
    try:
        leaf: Leaf = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LedgerError("leaf-unreadable", "its bytes are no leaf", leaf=position) from error
    if _ENCODER.encode(leaf) != data:
        raise LedgerError("leaf-unreadable", "its bytes are not canonical", leaf=position)
    if isinstance(leaf, MessageLeaf) and leaf.envelope.step not in RECORDED_STEPS:
        raise LedgerError("leaf-unreadable", "a step that no ledger holds", leaf=position)
    return leaf


def agreement_leaf(signed: SignedAgreement) -> AgreementLeaf:
    """Return leaf 0 of the ledger of an agreement in force."""
    signatures = tuple(
        PartySignature(one.name, bytes.fromhex(one.signature)) for one in signed.signatures
    )
    return AgreementLeaf(signed.agreement.canonical_bytes(), signatures)


def read_agreement_leaf(leaf: AgreementLeaf) -> SignedAgreement:
    """Bring the agreement of leaf 0 into force again: safe, canonical, signed by every party.

    Raises:
        LedgerError: ``agreement-invalid``.
    """
    agreement = _parse(leaf.canonical)
    digest = agreement.digest().hex()
    order = tuple(party.name for party in agreement.parties)
    if tuple(one.name for one in leaf.signatures) != order:
        raise LedgerError(
            "agreement-invalid", "not one signature of each party, in their order", leaf=0
        )
    try:
        return bring_into_force(
            agreement,
            [AgreementSignature(digest, one.name, one.signature.hex()) for one in leaf.signatures],
        )
    except AgreementError as error:
        raise LedgerError("agreement-invalid", str(error), leaf=0) from error


def _parse(canonical: bytes) -> Agreement:
    try:
        plain = msgspec.msgpack.decode(canonical.removeprefix(CANONICAL_LABEL), type=dict[str, Any])
        agreement = agreement_from(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AgreementError) as error:
        raise LedgerError(
            "agreement-invalid", f"the agreement cannot be read: {type(error).__name__}", leaf=0
        ) from error
    if agreement.canonical_bytes() != canonical:
        raise LedgerError("agreement-invalid", "its bytes are not canonical", leaf=0)
    return agreement
