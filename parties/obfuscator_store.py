"""Obfuscators that outlive a process, each encrypted, and deleted before it is handed out.

A node that goes on in another process finds those again that it had made. The price is a write and
two flushes before a vector can be encrypted, and that a copy of the file is a danger: obfuscators
of a restored copy have hidden plaintexts already. So each deletion is also counted in the node's
journal. A file that is behind its journal is emptied, unread. When both are put back together
nothing shows it: neither belongs into a backup.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from parties import key_files
from parties.database import Database, Schema
from parties.key_files import SALT_BYTES, derive_key
from parties.state_directory import StateDirectory
from parties.store import Journal
from protocols.errors import JournalError
from protocols.paillier.keys import PublicKey
from protocols.paillier.pool import Pool, Record

FILE: Final = "obfuscators.sqlite"
_SCHEMA: Final = Schema(
    application_id=0x53464F31,  # "SFO1"
    version=1,
    sql="""
CREATE TABLE records (serial INTEGER PRIMARY KEY, nonce BLOB NOT NULL, sealed BLOB NOT NULL) STRICT;

CREATE TABLE facts (
    only INTEGER PRIMARY KEY CHECK (only = 1), key BLOB NOT NULL, salt BLOB NOT NULL,
    cost INTEGER NOT NULL, next INTEGER NOT NULL, deletions INTEGER NOT NULL
) STRICT""",
)
_NONCE_BYTES: Final = 12


class ObfuscatorStore:
    """A :class:`protocols.paillier.pool.Store` of one key in a directory. Any thread may use it."""

    def __init__(
        self, directory: Path, key: PublicKey, passphrase: bytes, journal: Journal
    ) -> None:
        """Open the store, or begin one.

        Args:
            directory: of its own; made with mode 0700.
            key: whose obfuscators.
            passphrase: of the party's keys.
            journal: the party's, which outlives this.

        Raises:
            JournalError: in use, damaged, missing though it was here, or not writable.
        """
        self._key, self._journal = key, journal
        self._entry = f"obfuscators/{key.digest().hex()}"
        self._directory = StateDirectory(directory)
        try:
            self._database = Database(self._directory, FILE, _SCHEMA)
            try:
                self._cipher = self._prepare(passphrase)
            except BaseException:
                self._database.close()
                raise
        except BaseException:
            self._directory.close()
            raise

    def close(self) -> None:
        """Close the file; nothing is lost if this never runs."""
        self._database.close()
        self._directory.close()

    def pool(self) -> Pool:
        """Return a pool of what is there.

        Raises:
            JournalError: a record does not open: another passphrase, or damage.
            InputError: as :class:`~protocols.paillier.pool.Pool`.
        """
        rows = self._database.run("SELECT serial, nonce, sealed FROM records")
        records = [(serial, self._open(serial, nonce, sealed)) for serial, nonce, sealed in rows]
        [(start,)] = self._database.run("SELECT next FROM facts")
        return Pool(self._key, store=self, records=records, start=start)

    def keep(self, records: Sequence[Record]) -> None:
        """Write records, each sealed.

        Raises:
            JournalError: a serial number was there before, or the disk refuses.
        """
        with self._database.transaction():
            [(start,)] = self._database.run("SELECT next FROM facts")
            for serial, secret in records:
                if serial < start:
                    raise JournalError(f"obfuscator {serial} was kept before; make it anew")
                nonce = secrets.token_bytes(_NONCE_BYTES)
                sealed = self._cipher.encrypt(nonce, secret, self._bound(serial))
                self._database.run("INSERT INTO records VALUES (?, ?, ?)", (serial, nonce, sealed))
            last = max((serial for serial, _ in records), default=0)
            self._database.run("UPDATE facts SET next = max(next, ?)", (last + 1,))

    def forget(self, serials: Sequence[int]) -> None:
        """Delete records for good, all or none.

        Raises:
            JournalError: one is not there, or the disk refuses.
        """
        with self._database.transaction():
            gone = self._database.run(
                "DELETE FROM records WHERE serial IN (SELECT value FROM json_each(?)) "
                "RETURNING serial",
                (json.dumps(list(serials)),),
            )
            if len(gone) != len(serials):
                raise JournalError("obfuscators were taken by somebody else; take others")
            self._database.run("UPDATE facts SET deletions = deletions + 1")
        self._tell_journal()

    def _prepare(self, passphrase: bytes) -> AESGCM:
        digest = self._key.digest()
        facts = self._database.run("SELECT key, salt, cost, deletions FROM facts")
        told = self._journal.get(self._entry)
        current = bool(facts) and facts[0][0] == digest and told == _number(facts[0][3])
        if not current:
            salt, cost = secrets.token_bytes(SALT_BYTES), key_files.LOG2_COST
            count = 1 + int.from_bytes(told or b"", "big")
            with self._database.transaction():
                self._database.run("DELETE FROM records")
                self._database.run(
                    "INSERT OR REPLACE INTO facts VALUES (1, ?, ?, ?, "
                    "coalesce((SELECT next FROM facts), 1), ?)",
                    (digest, salt, cost, count),
                )
            self._tell_journal()
        else:
            _, salt, cost, _ = facts[0]
        return AESGCM(derive_key(passphrase, salt, cost))

    def _tell_journal(self) -> None:
        [(count,)] = self._database.run("SELECT deletions FROM facts")
        self._journal.put(self._entry, _number(count))

    def _bound(self, serial: int) -> bytes:
        return self._key.digest() + _number(serial)

    def _open(self, serial: int, nonce: bytes, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(nonce, sealed, self._bound(serial))
        except InvalidTag as error:
            raise JournalError(
                f"obfuscator {serial} in {self._directory.path} does not open: give the passphrase "
                "of the party's keys, or delete the directory; what it held is made anew"
            ) from error


def _number(count: int) -> bytes:
    return count.to_bytes(8, "big")
