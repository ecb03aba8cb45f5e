"""Where leaves come from: an exported bundle, or the state directory of a node."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final

from parties.ledger_store import read_ledger
from protocols.errors import InputError, LedgerError
from protocols.ledger.bundle import bundle_parts, read_leaves
from protocols.ledger.checkpoint import Note, parse_note
from protocols.ledger.records import MAX_NOTE_BYTES, CheckpointLeaf, decode_leaf

_REST: Final = 2**20


class HashedFile:
    """Reads a file once and hashes what was read."""

    def __init__(self, stream: BinaryIO) -> None:
        """Args: the file, open at its beginning."""
        self._stream = stream
        self._hash = hashlib.sha256()
        self.bytes = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most ``count``."""
        data = self._stream.read(count)
        self._hash.update(data)
        self.bytes += len(data)
        return data

    def digest(self) -> str:
        """Read the rest and return the SHA-256 of all of it, 64 hexadecimal digits."""
        while self.read(_REST):
            pass
        return self._hash.hexdigest()


def leaves_of(path: Path) -> Iterator[bytes]:
    """Read the leaves of a bundle or of a node's state directory, one at a time.

    Raises:
        InputError: it cannot be read.
        JournalError: the directory holds no state of this release.
        LedgerError: the file is damaged or no bundle, perhaps only after its last leaf.
    """
    if path.is_dir():
        yield from read_ledger(path)
        return
    with closing(open_bundle(path)) as stream:
        yield from read_leaves(stream.read)


def open_bundle(path: Path) -> BinaryIO:
    """Open a bundle.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def write_bundle(path: Path, leaves: Iterable[bytes]) -> int:
    """Write a bundle, whole or not at all, and return its length in bytes.

    Raises:
        InputError: it exists already, or the disk refuses.
        LedgerError: the leaves fit into no bundle.
    """
    if path.exists():
        raise InputError(f"{path} exists already; it is not replaced, choose another name")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    length = 0
    try:
        with draft.open("xb") as stream:
            for part in bundle_parts(leaves):
                length += stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        draft.rename(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return length


def read_head(path: Path) -> Note:
    """Read a head that somebody kept; who signed it is not checked here.

    Raises:
        InputError: the file cannot be read, or holds no head.
    """
    try:
        with path.open("rb") as stream:
            return parse_note(stream.read(MAX_NOTE_BYTES + 1), party="")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except LedgerError as error:
        raise InputError(
            f"{path} holds no head of a ledger: {error.reason}; securefed ledger head prints one"
        ) from error


def last_head(leaves: Iterable[bytes]) -> bytes:
    """Return the note of the last checkpoint.

    Raises:
        LedgerError: ``checkpoint-missing`` if there is none; a leaf that is none.
    """
    note = b""
    for position, leaf in enumerate(leaves):
        found = decode_leaf(leaf, position)
        if isinstance(found, CheckpointLeaf):
            note = found.note
    if not note:
        raise LedgerError("checkpoint-missing", "the ledger holds no checkpoint yet")
    return note
