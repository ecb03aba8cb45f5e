"""The tables of a node's journal. Promises, outcomes and leaves are append-only, by triggers."""

from __future__ import annotations

from typing import Final

from parties.database import Schema

JOURNAL_FILE: Final = "journal.sqlite"

JOURNAL_SCHEMA: Final = Schema(
    application_id=0x53464A31,  # "SFJ1"
    version=2,
    sql="""
CREATE TABLE promises (
    round INTEGER NOT NULL CHECK (round >= 0), step TEXT NOT NULL, digest BLOB NOT NULL,
    seal BLOB NOT NULL, PRIMARY KEY (round, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, seal BLOB NOT NULL) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, round INTEGER NOT NULL, kind TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE records (
    round INTEGER PRIMARY KEY, task TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('completed', 'aborted')),
    reason TEXT NOT NULL, dropouts TEXT NOT NULL, model BLOB
) STRICT;

CREATE TABLE leaves (
    position INTEGER PRIMARY KEY CHECK (position >= 0), leaf BLOB NOT NULL
) STRICT;

CREATE TRIGGER leaves_in_order BEFORE INSERT ON leaves
    WHEN NEW.position <> (SELECT coalesce(max(position) + 1, 0) FROM leaves)
    BEGIN SELECT RAISE(ABORT, 'a leaf is added at the end of the ledger, once'); END;

CREATE TRIGGER leaves_stay BEFORE UPDATE ON leaves
    BEGIN SELECT RAISE(ABORT, 'a leaf is never changed'); END;

CREATE TRIGGER leaves_last BEFORE DELETE ON leaves
    BEGIN SELECT RAISE(ABORT, 'a leaf is never deleted'); END;

CREATE TRIGGER promises_stay BEFORE UPDATE ON promises
    BEGIN SELECT RAISE(ABORT, 'a promise is never changed'); END;

CREATE TRIGGER promises_last BEFORE DELETE ON promises
    BEGIN SELECT RAISE(ABORT, 'a promise is never deleted'); END;

CREATE TRIGGER records_stay BEFORE UPDATE ON records
    BEGIN SELECT RAISE(ABORT, 'a record is never changed'); END;

CREATE TRIGGER records_last BEFORE DELETE ON records
    BEGIN SELECT RAISE(ABORT, 'a record is never deleted'); END;
""",
)
