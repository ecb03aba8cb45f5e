"""One SQLite file that is durable after every commit, or says that it is not."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from parties.state_directory import StateDirectory, unusable
from protocols.errors import JournalError

_BUSY_MILLISECONDS: Final = 5000
_PAGE_BYTES: Final = 16384  # between small commits (4 KiB is best) and models (64 KiB is best)


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file must be: SQLite's application id and user version, and the SQL that makes it."""

    application_id: int
    version: int
    sql: str


class Database:
    """A connection in WAL mode with ``synchronous=FULL``, usable by any thread.

    Every failure of the disk is a JournalError. After a failed fsync nothing more is written: the
    kernel may have dropped the page (Rebello et al. 2020), so only a fresh start can tell.
    """

    def __init__(self, directory: StateDirectory, name: str, schema: Schema) -> None:
        """Open ``name`` in a locked directory, or make it.

        Raises:
            JournalError: foreign, newer, damaged, missing though it was here, or not writable.
        """
        self._directory, self._path, self._schema = directory, directory.path / name, schema
        self._guard = threading.RLock()
        self._depth = 0
        self._broken = ""
        self._create_file()
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; nothing is lost if this never runs."""
        with self._guard:
            self._broken = "the journal is closed"
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything in the block durable together, or nothing of it. Never await inside.

        Raises:
            JournalError: the block's changes could not be made durable.
        """
        with self._guard:
            if self._depth == 0:
                self._directory.check()
            begin, commit, undo = _verbs(self._depth)
            self.run(begin)
            self._depth += 1
            try:
                yield
            except BaseException:
                self._undo(undo)
                raise
            finally:
                self._depth -= 1
            try:
                self.run(commit)
            except JournalError:
                self._undo(undo)
                raise

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            JournalError: the disk failed, or a trigger forbids the change.
        """
        with self._guard:
            if self._broken:
                raise JournalError(self._broken)
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._explain(error) from error

    def _undo(self, statements: tuple[str, ...]) -> None:
        # After some disk errors SQLite has rolled back by itself.
        if not self._broken and self._connection.in_transaction:
            for statement in statements:
                self.run(statement)

    def _explain(self, error: sqlite3.Error) -> JournalError:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_CONSTRAINT"):
            return JournalError(f"the journal in {self._directory.path} forbids this: {error}")
        failure = unusable(self._directory.path, f"{name} {error}".strip())
        if name.endswith("FSYNC"):
            self._broken = str(failure)
        return failure

    def _create_file(self) -> None:
        # SQLite would make it readable for others; its WAL takes over the mode of this file.
        try:
            empty = not self._path.exists() or self._path.stat().st_size == 0
            if empty and self._directory.used:
                raise JournalError(
                    f"{self._path} is gone or empty although promises were recorded in it; put it "
                    "back. A node that forgot its promises must get a new identity"
                )
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(descriptor)
        except OSError as error:
            raise unusable(self._directory.path, error) from error

    def _prepare(self) -> None:
        self.run(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        self._check_kind()
        self.run(f"PRAGMA page_size = {_PAGE_BYTES}")
        mode = self.run("PRAGMA journal_mode = WAL")[0][0]
        if mode != "wal":
            raise unusable(self._directory.path, f"SQLite offers journal mode {mode}, not WAL")
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            self.run(f"PRAGMA {pragma}")
        if not self._present():
            self._create_tables()
        problems = self.run("PRAGMA quick_check(1)")
        if problems != [("ok",)]:
            raise JournalError(f"{self._path} is damaged ({problems[0][0]}); restore it by hand")
        self._directory.mark_used()
        for suffix in ("", "-wal"):
            self._directory.watch(Path(f"{self._path}{suffix}"))

    def _present(self) -> bool:
        return bool(self.run("SELECT 1 FROM sqlite_master LIMIT 1"))

    def _check_kind(self) -> None:
        application = self.run("PRAGMA application_id")[0][0]
        version = self.run("PRAGMA user_version")[0][0]
        if not self._present() and (application, version) == (0, 0):
            return
        if application != self._schema.application_id:
            raise JournalError(
                f"{self._path} is not a SecureFed journal; choose another state directory"
            )
        if version != self._schema.version:
            raise JournalError(
                f"{self._path} has format {version}, this release writes {self._schema.version}; "
                "use the release that wrote it"
            )

    def _create_tables(self) -> None:
        with self.transaction():
            for statement in self._schema.sql.split(";\n\n"):
                self.run(statement)
            self.run(f"PRAGMA application_id = {self._schema.application_id}")
            self.run(f"PRAGMA user_version = {self._schema.version}")


def _verbs(depth: int) -> tuple[str, str, tuple[str, ...]]:
    """Return the SQL that begins, keeps and undoes a block inside ``depth`` others."""
    if depth == 0:
        return "BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)
    name = f"block_{depth}"
    return f"SAVEPOINT {name}", f"RELEASE {name}", (f"ROLLBACK TO {name}", f"RELEASE {name}")
