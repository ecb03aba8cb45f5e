"""A node's copy of the ledger on disk: added to at the end, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from parties.ledger_store import read_ledger
from parties.store import JOURNAL_FILE, Journal
from protocols.errors import JournalError

LEAVES = [b"first", b"second", b"third"]


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def edit(state, statement: str) -> None:
    with closing(sqlite3.connect(state / JOURNAL_FILE, isolation_level=None)) as connection:
        connection.execute(statement)


def test_what_was_appended_is_there_in_order_after_a_restart(state):
    with Journal(state) as journal:
        journal.ledger.append(LEAVES[:2])
        journal.ledger.append(LEAVES[2:])
        assert journal.ledger.size == 3
    with Journal(state) as journal:
        assert list(journal.ledger.leaves()) == LEAVES
        assert list(journal.ledger.leaves(1)) == LEAVES[1:]
        assert journal.ledger.leaf(2) == b"third"
        with pytest.raises(JournalError, match="no leaf 3"):
            journal.ledger.leaf(3)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET leaf = x'00' WHERE position = 1",
        "DELETE FROM leaves WHERE position = 2",
        "DELETE FROM leaves",
        "INSERT INTO leaves VALUES (4, x'00')",
        "INSERT INTO leaves VALUES (1, x'00')",
        "INSERT OR REPLACE INTO leaves VALUES (1, x'00')",
        "REPLACE INTO leaves VALUES (2, x'00')",
        "UPDATE leaves SET position = 7 WHERE position = 2",
    ],
)
def test_the_database_lets_nobody_change_remove_or_insert_a_leaf(state, statement):
    with Journal(state) as journal:
        journal.ledger.append(LEAVES)
    with pytest.raises(sqlite3.IntegrityError):
        edit(state, statement)
    assert list(read_ledger(state)) == LEAVES


def test_leaves_are_durable_with_the_rest_of_a_transaction_or_not_at_all(state):
    def interrupted(journal: Journal) -> None:
        with journal.transaction():
            journal.ledger.append(LEAVES)
            journal.put("spent", b"1")
            raise KeyError

    with Journal(state) as journal:
        with pytest.raises(KeyError):
            interrupted(journal)
        assert journal.ledger.size == 0
        assert journal.get("spent") is None
        with journal.transaction():
            journal.ledger.append(LEAVES)
            journal.put("spent", b"1")
    with Journal(state) as journal:
        assert (journal.ledger.size, journal.get("spent")) == (3, b"1")


def test_a_copy_is_read_while_its_node_runs(state):
    with Journal(state) as journal:
        journal.ledger.append(LEAVES[:1])
        assert list(read_ledger(state)) == LEAVES[:1]
        journal.ledger.append(LEAVES[1:])
        assert list(read_ledger(state)) == LEAVES


def test_what_is_no_state_directory_of_a_node_is_refused(tmp_path, state):
    with pytest.raises(JournalError, match="no state directory"):
        list(read_ledger(tmp_path))
    (tmp_path / JOURNAL_FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalError, match="cannot be read"):
        list(read_ledger(tmp_path))
    Journal(state).close()
    edit(state, "PRAGMA user_version = 1")
    with pytest.raises(JournalError, match="no journal of this release"):
        list(read_ledger(state))
