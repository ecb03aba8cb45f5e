"""The journal keeps what it acknowledged, refuses what contradicts it, and says when it cannot."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parties.state_directory import StateDirectory
from parties.store import JOURNAL_FILE, Journal, RoundRecord
from protocols.errors import JournalError, MisuseError

ROOT = Path(__file__).resolve().parent.parent
ONE, TWO = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def raw(state: Path) -> sqlite3.Connection:
    return sqlite3.connect(state / JOURNAL_FILE, isolation_level=None)


def edit(state: Path, *statements: str) -> None:
    connection = raw(state)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def test_a_promise_outlives_the_journal_object(state):
    with Journal(state) as journal:
        assert journal.promised(3, "submit") is None
        assert journal.highest_round() == 0
        journal.promise(3, "submit", ONE)
        journal.promise(3, "confirm", TWO)
    with Journal(state) as journal:
        assert journal.promised(3, "submit") == ONE
        assert journal.promised(3, "confirm") == TWO
        assert journal.promised(4, "submit") is None
        assert journal.highest_round() == 3


def test_a_second_different_promise_is_refused_and_the_first_stays(state):
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)
        journal.promise(1, "submit", ONE)
        with pytest.raises(JournalError, match="promised already"):
            journal.promise(1, "submit", TWO)
        assert journal.promised(1, "submit") == ONE
        journal.promise(2, "submit", TWO)


@pytest.mark.parametrize(
    ("number", "step", "digest"),
    [(-1, "submit", ONE), (2**63, "submit", ONE), (1, "", ONE), (1, "s" * 65, ONE), (1, "s", b"x")],
)
def test_a_malformed_promise_is_misuse(state, number, step, digest):
    with Journal(state) as journal, pytest.raises(MisuseError):
        journal.promise(number, step, digest)


@pytest.mark.parametrize("table", ["promises", "records"])
@pytest.mark.parametrize("change", ["UPDATE {} SET round = 9", "DELETE FROM {}"])
def test_promises_and_outcomes_cannot_be_changed_even_by_sql(state, table, change):
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)
        journal.record(RoundRecord(1, "glm", "completed", model=ONE))
    with pytest.raises(sqlite3.IntegrityError, match="is never"):
        edit(state, change.format(table))


def test_a_block_is_kept_whole_or_not_at_all(state):
    with Journal(state) as journal:
        with journal.transaction():
            journal.put("progress", b"1")
            journal.promise(1, "submit", ONE)
        with pytest.raises(ZeroDivisionError):
            change(journal, lambda: 1 // 0)
        assert journal.get("progress") == b"1"
        assert journal.promised(2, "submit") is None
        with pytest.raises(JournalError):
            change(journal, lambda: journal.promise(1, "submit", TWO))
        assert journal.get("progress") == b"1"
        with journal.transaction():
            journal.put("outer", b"kept")
            with pytest.raises(ZeroDivisionError):
                change(journal, lambda: 1 // 0)
        assert (journal.get("outer"), journal.get("progress")) == (b"kept", b"1")


def change(journal: Journal, fail: Callable[[], object]) -> None:
    with journal.transaction():
        journal.put("progress", b"2")
        journal.promise(2, "submit", TWO)
        fail()


def test_an_inner_block_that_fails_and_is_caught_does_not_end_the_outer_one(state):
    with Journal(state) as journal, journal.transaction():
        journal.promise(1, "submit", ONE)
        with pytest.raises(JournalError):
            journal.promise(1, "submit", TWO)
        journal.put("noted", b"yes")
    with Journal(state) as journal:
        assert journal.get("noted") == b"yes"
        assert journal.promised(1, "submit") == ONE


def test_the_log_and_the_outcomes_come_back_as_they_were_written(state):
    record = RoundRecord(2, "glm", "aborted", "two parties answered", ("bank-a", "bank-b"))
    with Journal(state, clock=lambda: 12.5) as journal:
        journal.log(1, "round-opened", {"parties": ["bank-a"], "deadline": 30})
        journal.log(2, "round-aborted", {})
        journal.record(RoundRecord(1, "glm", "completed", model=ONE))
        journal.record(record)
        journal.record(record)
        with pytest.raises(JournalError, match="on record"):
            journal.record(RoundRecord(2, "glm", "completed", model=TWO))
    with Journal(state) as journal:
        assert [e.kind for e in journal.events()] == ["round-opened", "round-aborted"]
        first = journal.events(1)[0]
        assert (first.at, first.detail) == (12.5, {"parties": ["bank-a"], "deadline": 30})
        assert journal.records() == [RoundRecord(1, "glm", "completed", model=ONE), record]


def test_oversized_entries_are_misuse(state, monkeypatch):
    monkeypatch.setattr("parties.store.MAX_VALUE_BYTES", 10)
    with Journal(state) as journal:
        journal.put("key", bytes(10))
        with pytest.raises(MisuseError, match="use a blob"):
            journal.put("key", bytes(11))
        with pytest.raises(MisuseError, match="too long"):
            journal.log(1, "kind", {"text": "x" * 70_000})


def test_a_blob_is_whole_or_absent(state):
    data = os.urandom(100_000)
    with Journal(state) as journal:
        digest = journal.put_blob(data)
        assert journal.put_blob(data) == digest == hashlib.sha256(data).digest()
        assert journal.blob(digest) == data
        assert journal.blob(ONE) is None
        blob = state / "blobs" / digest.hex()
        (state / "blobs" / f"{ONE.hex()}.partial").write_bytes(b"half")
        other = journal.put_blob(b"other")
        journal.keep_blobs([digest])
        assert [f.name for f in blob.parent.iterdir()] == [digest.hex()]
        assert journal.blob(other) is None
        blob.write_bytes(b"x" + data[1:])
        with pytest.raises(JournalError, match="damaged"):
            journal.blob(digest)


def test_everything_in_the_state_directory_is_private(state):
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)
        journal.put_blob(b"model")
        for path in [state, *state.rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_directory_open_to_others_is_refused(state):
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    with pytest.raises(JournalError, match="chmod 700"):
        Journal(state)


def test_two_nodes_cannot_share_one_state_directory(state):
    with Journal(state), pytest.raises(JournalError, match="in use by another process"):
        Journal(state)
    Journal(state).close()


def test_the_lock_holds_between_processes_and_ends_with_the_process(state):
    code = "import sys; from pathlib import Path; from parties.store import Journal\n"
    code += "journal = Journal(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(state)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(JournalError, match="in use by another process"):
            Journal(state)
        child.kill()
        child.wait()
    Journal(state).close()


def test_the_state_of_another_agreement_is_refused(state):
    Journal(state, owner=ONE).close()
    Journal(state, owner=ONE).close()
    with pytest.raises(JournalError, match="another agreement"):
        Journal(state, owner=TWO)


def test_a_foreign_or_newer_file_is_refused(state):
    state.mkdir(mode=0o700)
    (state / JOURNAL_FILE).touch(mode=0o600)
    edit(state, "CREATE TABLE theirs (x)")
    with pytest.raises(JournalError, match="not a SecureFed journal"):
        Journal(state)
    (state / JOURNAL_FILE).write_bytes(b"these bytes are no database" * 100)
    with pytest.raises(JournalError):
        Journal(state)
    (state / JOURNAL_FILE).unlink()
    Journal(state).close()
    edit(state, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="format 99"):
        Journal(state)


@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_a_journal_that_was_lost_is_never_begun_anew(state, how):
    Journal(state).close()
    if how == "deleted":
        (state / JOURNAL_FILE).unlink()
    else:
        (state / JOURNAL_FILE).write_bytes(b"")
    with pytest.raises(JournalError, match="gone or empty"):
        Journal(state)


def test_a_first_start_that_was_killed_before_the_tables_were_made_begins_again(state):
    state.mkdir(mode=0o700)
    (state / "lock").touch(mode=0o600)
    (state / JOURNAL_FILE).touch(mode=0o600)
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)


def test_a_flipped_bit_in_a_promise_is_noticed(state):
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)
        journal.put("progress", b"value of the entry")
    for wanted, read in (
        (ONE, lambda journal: journal.promised(1, "submit")),
        (b"value of the entry", lambda journal: journal.get("progress")),
    ):
        file = state / JOURNAL_FILE
        whole = file.read_bytes()
        at = whole.index(wanted)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with Journal(state) as journal, pytest.raises(JournalError, match="damaged"):
            read(journal)
        file.write_bytes(whole)


def test_a_full_disk_refuses_the_promise_and_works_again_when_there_is_space(state):
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)
        pages = journal._database.run("PRAGMA page_count")[0][0]
        journal._database.run(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalError, match="Free space"):
            journal.put("model", bytes(200_000))
        assert journal.get("model") is None
        journal._database.run(f"PRAGMA max_page_count = {pages + 1000}")
        journal.put("model", bytes(200_000))
        journal.promise(1, "confirm", TWO)


def test_a_write_that_the_system_refuses_is_an_error_before_anything_is_sent(state):
    code = """
import resource, sys
from pathlib import Path
from parties.store import Journal
from protocols.errors import JournalError
journal = Journal(Path(sys.argv[1]))
journal.promise(1, "submit", bytes(32))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    for number in range(2, 10_000):
        journal.promise(number, "submit", bytes(32))
        print(number, flush=True)
except JournalError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *acknowledged, last = done.stdout.splitlines()
    assert "nothing was sent" in last
    with Journal(state) as journal:
        assert journal.highest_round() == int(acknowledged[-1])


def test_a_directory_that_cannot_be_made_is_an_error_that_says_what_to_do():
    with pytest.raises(JournalError, match="check permissions"):
        Journal(Path("/proc/securefed-state"))


@pytest.mark.parametrize("victim", [".", JOURNAL_FILE, f"{JOURNAL_FILE}-wal", "lock"])
def test_a_state_that_vanishes_while_the_node_runs_is_noticed_at_the_next_promise(state, victim):
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)
        path = state / victim
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        with pytest.raises(JournalError):
            journal.promise(2, "submit", TWO)


def test_a_state_that_was_replaced_while_the_node_runs_is_noticed(state, tmp_path):
    with Journal(state) as journal:
        journal.promise(1, "submit", ONE)
        shutil.copy(state / JOURNAL_FILE, tmp_path / "copy")
        (tmp_path / "copy").replace(state / JOURNAL_FILE)
        with pytest.raises(JournalError, match="replaced"):
            journal.promise(2, "submit", TWO)


def test_nothing_is_written_after_a_failed_fsync(state):
    with Journal(state) as journal:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        assert "Free space" in str(journal._database._explain(error))
        for use in (lambda: journal.promise(1, "submit", ONE), lambda: journal.get("x")):
            with pytest.raises(JournalError, match="IOERR_FSYNC"):
                use()


def test_a_closed_journal_says_so(state):
    journal = Journal(state)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.highest_round()


def test_threads_take_turns(state):
    with Journal(state) as journal:

        def work(thread: int) -> None:
            for number in range(20):
                with journal.transaction():
                    journal.promise(number, f"step-{thread}", ONE)
                    journal.put(f"key-{thread}", str(number).encode())

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(journal.promised(19, f"step-{n}") == ONE for n in range(4))


@settings(max_examples=30, deadline=None)
@given(
    asked=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.sampled_from([ONE, TWO])),
        max_size=12,
    ),
    restarts=st.sets(st.integers(0, 11)),
)
def test_the_first_promise_wins_for_ever(tmp_path_factory, asked, restarts):
    state = tmp_path_factory.mktemp("journal") / "state"
    expected: dict[tuple[int, str], bytes] = {}
    journal = Journal(state)
    try:
        for index, (number, step, digest) in enumerate(asked):
            if index in restarts:
                journal.close()
                journal = Journal(state)
            if expected.setdefault((number, step), digest) == digest:
                journal.promise(number, step, digest)
            else:
                with pytest.raises(JournalError):
                    journal.promise(number, step, digest)
        assert journal.highest_round() == max((number for number, _ in expected), default=0)
        for (number, step), digest in expected.items():
            assert journal.promised(number, step) == digest
    finally:
        journal.close()


PROMISER = """
import hashlib, sys
from pathlib import Path
from parties.store import Journal
journal = Journal(Path(sys.argv[1]))
number = journal.highest_round()
while True:
    number += 1
    journal.promise(number, "submit", hashlib.sha256(str(number).encode()).digest())
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_no_acknowledged_promise_is_lost_by_kill_9(state):
    chance = random.Random(20261124)
    acknowledged = 0
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", PROMISER, str(state)], cwd=ROOT, stdout=subprocess.PIPE
        )
        with child:
            assert child.stdout is not None
            for _ in range(chance.randint(1, 40)):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:  # what it said before it died counts as well
                if line.endswith(b"\n"):
                    acknowledged = int(line)
        with Journal(state) as journal:
            highest = journal.highest_round()
            assert acknowledged <= highest <= acknowledged + 1
            for number in range(1, highest + 1):
                expected = hashlib.sha256(str(number).encode()).digest()
                assert journal.promised(number, "submit") == expected


def test_a_state_directory_is_closed_once(state):
    directory = StateDirectory(state)
    directory.close()
    directory.close()
    StateDirectory(state).close()
