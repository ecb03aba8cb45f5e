"""Notes on the ledger as bytes: C2SP signed-note, tlog-checkpoint and tlog-cosignature.

A note is three lines of text (whose log, how many leaves, which root), an empty line, and signature
lines. Stricter than the specifications, so that a note has one byte string: no extension lines,
names in printable ASCII, and Ed25519 only. Nothing here checks a signature.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import Final

from protocols.agreement.model import MAX_PARTIES
from protocols.errors import LedgerError, MisuseError
from protocols.identity import SIGNATURE_BYTES
from protocols.ledger.proofs import HASH_BYTES, MAX_SIZE
from protocols.ledger.records import MAX_NOTE_BYTES

MAX_SIGNATURES: Final = 1 + MAX_PARTIES
MAX_LINE_BYTES: Final = 512
MAX_TIMESTAMP: Final = 2**63 - 1
KEY_ID_BYTES: Final = 4
TIMESTAMP_BYTES: Final = 8
COSIGNATURE_BYTES: Final = TIMESTAMP_BYTES + SIGNATURE_BYTES

_NAME: Final = r"[!-*,-~]{1,255}"
_BODY: Final = re.compile(rf"({_NAME})\n(0|[1-9][0-9]{{0,18}})\n([A-Za-z0-9+/]{{43}}=)\n")
_LINE: Final = re.compile(rf"— ({_NAME}) ([A-Za-z0-9+/]+={{0,2}})\n")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head of one log.

    Attributes:
        origin: which log.
        size: leaves in the tree, at most 2^63 - 1.
        root: of the tree, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if (
            not re.fullmatch(_NAME, self.origin)
            or not 0 <= self.size <= MAX_SIZE
            or len(self.root) != HASH_BYTES
        ):
            raise MisuseError(f"no checkpoint can name {self.size} leaves of {self.origin!r}")

    def body(self) -> bytes:
        """Return the text that the coordinator signs: origin, size and root, a line each."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n".encode()


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line.

    Attributes:
        name: of the key: the log's origin, or a witness's name.
        key_id: first 4 bytes of a hash of name, kind and key.
        blob: the coordinator's signature, 64 bytes; or a witness's time, 8 bytes, and signature.
    """

    name: str
    key_id: bytes
    blob: bytes

    def to_bytes(self) -> bytes:
        """Return the line, with its line end."""
        return f"— {self.name} {b64encode(self.key_id + self.blob).decode()}\n".encode()


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint with signatures, which nothing here has checked.

    Attributes:
        checkpoint: what they are about.
        signatures: the coordinator's, then those of witnesses.
    """

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note as it travels; :func:`parse_note` reads it."""
        lines = [signature.to_bytes() for signature in self.signatures]
        return b"".join((self.checkpoint.body(), b"\n", *lines))


def parse_note(text: bytes, *, party: str) -> Note:
    """Read a note; what it says and who signed it is not checked here.

    Args:
        text: the whole note, from a peer or a file.
        party: who is named when it is refused.

    Raises:
        LedgerError: ``checkpoint-unreadable``, also for what is not the one way to write a note.
    """
    if len(text) > MAX_NOTE_BYTES:
        raise _unreadable(f"the note has {len(text)} bytes, at most {MAX_NOTE_BYTES}", party)
    body, _, rest = text.partition(b"\n\n")
    checkpoint = _parse_body(body + b"\n", party)
    *lines, unfinished = rest.split(b"\n", MAX_SIGNATURES)
    if not lines or unfinished:
        raise _unreadable(f"not 1 to {MAX_SIGNATURES} signature lines after an empty line", party)
    return Note(checkpoint, tuple(parse_signature(line + b"\n", party=party) for line in lines))


def parse_signature(line: bytes, *, party: str) -> NoteSignature:
    """Read one signature line, with its line end; the signature is not checked here.

    Raises:
        LedgerError: ``checkpoint-unreadable``.
    """
    found = _LINE.fullmatch(_decoded(line, party)) if len(line) <= MAX_LINE_BYTES else None
    raw = _strict_base64(found[2]) if found else None
    if found is None or raw is None:
        raise _unreadable("a line is no signature line", party)
    identifier, blob = raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:]
    if len(blob) not in (SIGNATURE_BYTES, COSIGNATURE_BYTES):
        raise _unreadable("a line holds neither a signature nor a cosignature", party)
    if len(blob) == COSIGNATURE_BYTES and int.from_bytes(blob[:TIMESTAMP_BYTES]) > MAX_TIMESTAMP:
        raise _unreadable("a cosignature's time is past what the format holds", party)
    return NoteSignature(found[1], identifier, blob)


def _parse_body(body: bytes, party: str) -> Checkpoint:
    found = _BODY.fullmatch(_decoded(body, party))
    root = _strict_base64(found[3]) if found else None
    if found is None or root is None or int(found[2]) > MAX_SIZE:
        raise _unreadable("its text is not an origin, a size and a root", party)
    return Checkpoint(found[1], int(found[2]), root)


def _decoded(text: bytes, party: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise _unreadable("it is not UTF-8", party) from error


def _strict_base64(text: str) -> bytes | None:
    """Decode; ``None`` if this is not how these bytes are encoded (RFC 4648 section 3.5)."""
    try:
        raw = b64decode(text, validate=True)
    except Base64Error:
        return None
    return raw if b64encode(raw).decode() == text else None


def _unreadable(reason: str, party: str) -> LedgerError:
    return LedgerError("checkpoint-unreadable", reason, party=party)
