"""Signatures on the ledger's heads: the coordinator's, who keeps it, and those of its witnesses.

The coordinator's line comes first; every other is a party's, as a witness. A line by a key that the
agreement does not know is refused, and not ignored as in C2SP signed-note: it would put bytes that
nobody answers for into the ledger.

No signature in a note can pass for another signature by the same key, nor the other way round:

- All else that :mod:`protocols.identity` signs is a domain, a *zero byte* and a message. The texts
  signed here hold no zero byte; :meth:`~protocols.identity.Identity.sign_text` refuses one.
- The second line of what the coordinator signs is a number. That of what a witness signs begins
  with ``time``. So one key may serve as both without one statement passing for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from protocols.errors import LedgerError, MisuseError
from protocols.identity import SIGNATURE_BYTES, Identity, VerifyKey
from protocols.ledger.note import (
    COSIGNATURE_BYTES,
    KEY_ID_BYTES,
    MAX_TIMESTAMP,
    TIMESTAMP_BYTES,
    Checkpoint,
    Note,
    NoteSignature,
    parse_note,
    parse_signature,
)

__all__ = [
    "Checkpoint",
    "Cosignature",
    "Note",
    "NoteSignature",
    "SignatureCheck",
    "coordinator_check",
    "cosign",
    "cosignature_check",
    "cosignature_checks",
    "key_id",
    "origin_of",
    "parse_note",
    "parse_signature",
    "sign_checkpoint",
    "witness_name",
]

WITNESS_PREFIX: Final = "securefed.party/"

_ED25519: Final = b"\x01"
_COSIGNATURE_V1: Final = b"\x04"


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """One Ed25519 check that is still to be made, so that a verifier can make many at once.

    Attributes:
        key: under which the signature must hold.
        message: exactly what was signed.
        signature: 64 bytes.
    """

    key: VerifyKey
    message: bytes
    signature: bytes

    def holds(self) -> bool:
        """Tell whether the key signed the message."""
        return self.key.accepts(self.message, self.signature)


class Cosignature(NamedTuple):
    """What one line of a witness says.

    Attributes:
        party: name of the witness in the agreement.
        timestamp: when it says it signed, Unix seconds.
        check: that it did.
    """

    party: str
    timestamp: int
    check: SignatureCheck


def origin_of(federation: str, agreement_digest: bytes) -> str:
    """Return the origin of the ledger of one agreement, given its digest of 32 bytes."""
    return f"securefed.ledger/{federation}/{agreement_digest.hex()}"


def witness_name(party: str) -> str:
    """Return the key name under which a party cosigns."""
    return WITNESS_PREFIX + party


def key_id(name: str, kind: bytes, public_key: bytes) -> bytes:
    """Return the first 4 bytes of SHA-256(name || 0x0A || kind || key) (C2SP signed-note)."""
    return sha256(name.encode() + b"\n" + kind + public_key).digest()[:KEY_ID_BYTES]


def sign_checkpoint(checkpoint: Checkpoint, identity: Identity) -> bytes:
    """Return the coordinator's signature line; the name of its key is the origin of the log."""
    name = checkpoint.origin
    signature = identity.sign_text(checkpoint.body())
    identifier = key_id(name, _ED25519, identity.public.raw)
    return NoteSignature(name, identifier, signature).to_bytes()


def cosign(checkpoint: Checkpoint, identity: Identity, timestamp: int) -> bytes:
    """Return a party's signature line as a witness: it saw no larger tree of this log before.

    Args:
        checkpoint: of a tree that begins with every tree of the log that it cosigned.
        identity: of the party.
        timestamp: now, Unix seconds.

    Raises:
        MisuseError: a time before 1970, or past what the format holds.
    """
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        raise MisuseError(f"no cosignature can carry the time {timestamp}")
    name = witness_name(identity.name)
    signature = identity.sign_text(_cosigned_text(checkpoint, timestamp))
    identifier = key_id(name, _COSIGNATURE_V1, identity.public.raw)
    return NoteSignature(
        name, identifier, timestamp.to_bytes(TIMESTAMP_BYTES) + signature
    ).to_bytes()


def coordinator_check(note: Note, key: VerifyKey) -> SignatureCheck:
    """Return what is to be checked of the first line, which must be the coordinator's.

    Args:
        note: whose origin the caller has compared.
        key: the coordinator's.

    Raises:
        LedgerError: ``checkpoint-unsigned``: the first line has another name or there is none;
            ``checkpoint-foreign-signature``: it is by another key.
    """
    checkpoint = note.checkpoint
    if not note.signatures or note.signatures[0].name != checkpoint.origin:
        raise LedgerError(
            "checkpoint-unsigned", "its first signature is not the coordinator's", party=key.name
        )
    signature = note.signatures[0]
    identifier = key_id(checkpoint.origin, _ED25519, key.raw)
    if signature.key_id != identifier or len(signature.blob) != SIGNATURE_BYTES:
        raise _foreign(signature, key.name)
    return SignatureCheck(key, checkpoint.body(), signature.blob)


def cosignature_checks(note: Note, keys: Mapping[str, VerifyKey]) -> list[Cosignature]:
    """Return what is to be checked of every line but the first, in order.

    Args:
        note: as :func:`coordinator_check` takes it.
        keys: of all parties, by name, no two the same.

    Raises:
        LedgerError: ``checkpoint-foreign-signature``: a line by no party's key, the coordinator's
            included; ``checkpoint-duplicate-signature``: two lines by one party.
    """
    found: dict[str, Cosignature] = {}
    for signature in note.signatures[1:]:
        one = cosignature_check(note.checkpoint, signature, keys)
        if one.party in found:
            raise LedgerError(
                "checkpoint-duplicate-signature", f"{one.party} signed it twice", party=one.party
            )
        found[one.party] = one
    return list(found.values())


def cosignature_check(
    checkpoint: Checkpoint, signature: NoteSignature, keys: Mapping[str, VerifyKey]
) -> Cosignature:
    """Return what is to be checked of one witness's line, as it comes back from the party.

    Raises:
        LedgerError: ``checkpoint-foreign-signature``: it is by no party's key.
    """
    party = signature.name.removeprefix(WITNESS_PREFIX)
    key = keys.get(party)
    if key is None or signature.name != witness_name(party):
        raise _foreign(signature, "")
    identifier = key_id(signature.name, _COSIGNATURE_V1, key.raw)
    if signature.key_id != identifier or len(signature.blob) != COSIGNATURE_BYTES:
        raise _foreign(signature, party)
    timestamp = int.from_bytes(signature.blob[:TIMESTAMP_BYTES])
    message = _cosigned_text(checkpoint, timestamp)
    return Cosignature(
        party, timestamp, SignatureCheck(key, message, signature.blob[TIMESTAMP_BYTES:])
    )


def _cosigned_text(checkpoint: Checkpoint, timestamp: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (timestamp, checkpoint.body())


def _foreign(signature: NoteSignature, party: str) -> LedgerError:
    return LedgerError(
        "checkpoint-foreign-signature",
        f"the signature named {signature.name} is by a key that the agreement does not know",
        party=party,
    )
