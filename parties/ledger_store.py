"""A node's copy of the ledger: leaves in order, in its journal, append-only by triggers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from parties.database import Database
from parties.journal_schema import JOURNAL_FILE, JOURNAL_SCHEMA
from protocols.errors import JournalError

_PAGE: Final = 512
_SIZE: Final = "SELECT coalesce(max(position) + 1, 0) FROM leaves"
_SELECT: Final = "SELECT position, leaf FROM leaves WHERE position >= ? ORDER BY position LIMIT ?"


class LeafStore(Protocol):
    """Where a node keeps its leaves."""

    @property
    def size(self) -> int: ...
    def append(self, leaves: Sequence[bytes]) -> None: ...
    def leaf(self, position: int) -> bytes: ...
    def leaves(self, start: int = 0) -> Iterator[bytes]: ...


class LedgerStore:
    """The leaves of one run. What is appended is durable with the journal's transaction."""

    def __init__(self, database: Database) -> None:
        """Args: the open file of the node's journal."""
        self._database = database

    @property
    def size(self) -> int:
        """How many leaves are here."""
        return int(self._database.run(_SIZE)[0][0])

    def append(self, leaves: Sequence[bytes]) -> None:
        """Add leaves at the end, all of them or none; durable when the transaction is.

        Raises:
            JournalError: they cannot be made durable.
        """
        with self._database.transaction():
            for position, leaf in enumerate(leaves, self.size):
                self._database.run("INSERT INTO leaves VALUES (?, ?)", (position, leaf))

    def leaf(self, position: int) -> bytes:
        """Return one leaf.

        Raises:
            JournalError: there is none at this position.
        """
        rows = self._database.run(_SELECT, (position, 1))
        if not rows or rows[0][0] != position:
            raise JournalError(f"the ledger holds no leaf {position}; it has {self.size}")
        return bytes(rows[0][1])

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        """Return the leaves from a position on, in order."""
        while rows := self._database.run(_SELECT, (start, _PAGE)):
            for _, leaf in rows:
                yield bytes(leaf)
            start += len(rows)


def read_ledger(state: Path) -> Iterator[bytes]:
    """Read the leaves in a node's state directory, also while the node runs.

    Raises:
        JournalError: there is no journal of this release.
    """
    path = state / JOURNAL_FILE
    if not path.is_file():
        raise JournalError(f"{state} is no state directory of a node: it holds no {JOURNAL_FILE}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as reader:
            kind = reader.execute("PRAGMA application_id").fetchone()[0]
            version = reader.execute("PRAGMA user_version").fetchone()[0]
            if (kind, version) != (JOURNAL_SCHEMA.application_id, JOURNAL_SCHEMA.version):
                raise JournalError(
                    f"{path} is no journal of this release; use the one that wrote it"
                )
            for expected, (position, leaf) in enumerate(reader.execute(_SELECT, (0, -1))):
                if position != expected:
                    raise JournalError(f"{path}: leaf {expected} is gone")
                yield bytes(leaf)
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
