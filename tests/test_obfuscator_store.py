"""Obfuscators on disk: found again after a crash, never handed out twice, useless in a backup."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.small_paillier import small_key, small_obfuscators

from parties import key_files
from parties.obfuscator_store import FILE, ObfuscatorStore
from parties.store import Journal
from protocols.errors import JournalError
from protocols.paillier.obfuscators import Obfuscator

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(key_files, "LOG2_COST", 14)


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal") as opened:
        yield opened


def opened(tmp_path: Path, journal: Journal, passphrase: bytes = b"good") -> ObfuscatorStore:
    return ObfuscatorStore(tmp_path / "store", small_key().public, passphrase, journal)


def exponents(taken: list[Obfuscator]) -> set[int]:
    return {one.use()[1] for one in taken}


def filled(tmp_path: Path, journal: Journal, count: int = 5) -> None:
    store = opened(tmp_path, journal)
    store.pool().add(small_obfuscators(count, "stored"))
    store.close()


def test_what_was_kept_is_found_again_and_handed_out_once(tmp_path, journal):
    filled(tmp_path, journal)
    seen: set[int] = set()
    for left in (5, 3, 1, 0):
        store = opened(tmp_path, journal)
        pool = store.pool()
        assert len(pool) == left
        taken = exponents(pool.take(2))
        assert not taken & seen
        seen |= taken
        store.close()
    assert seen == exponents(small_obfuscators(5, "stored"))


def test_nothing_lies_there_in_clear(tmp_path, journal):
    filled(tmp_path, journal, 1)
    [one] = small_obfuscators(1, "stored")
    secret = one.to_secret_bytes(small_key().public)
    for path in (tmp_path / "store").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        content = path.read_bytes()
        assert secret[:16] not in content
        assert secret[-16:] not in content


def test_another_passphrase_opens_nothing(tmp_path, journal):
    filled(tmp_path, journal)
    store = opened(tmp_path, journal, b"bad")
    with pytest.raises(JournalError, match="passphrase"):
        store.pool()
    store.close()


def test_a_restored_backup_hands_out_nothing(tmp_path, journal):
    filled(tmp_path, journal)
    backup = tmp_path / "backup"
    shutil.copy(tmp_path / "store" / FILE, backup)
    store = opened(tmp_path, journal)
    store.pool().take(1)
    store.close()
    shutil.copy(backup, tmp_path / "store" / FILE)
    store = opened(tmp_path, journal)
    pool = store.pool()
    assert pool.take(5) == []
    pool.add(small_obfuscators(2, "afresh"))
    assert len(pool.take(5)) == 2
    store.close()


def test_what_was_deleted_when_a_crash_came_is_lost_and_never_handed_out(tmp_path, journal):
    filled(tmp_path, journal)

    class Crashed(Exception):
        pass

    def crash() -> None:
        raise Crashed

    store = opened(tmp_path, journal)
    pool = store.pool()
    store._tell_journal = crash
    with pytest.raises(Crashed):
        pool.take(2)
    store.close()
    store = opened(tmp_path, journal)
    assert len(store.pool()) == 0
    store.close()


def test_two_pools_on_one_store_never_hand_out_the_same(tmp_path, journal):
    filled(tmp_path, journal)
    store = opened(tmp_path, journal)
    one, other = store.pool(), store.pool()
    assert len(one.take(2)) == 2
    with pytest.raises(JournalError, match="somebody else"):
        other.take(3)
    assert len(store.pool()) == 3
    store.close()


def test_a_serial_number_is_given_once_in_the_life_of_a_store(tmp_path, journal):
    filled(tmp_path, journal)
    store = opened(tmp_path, journal)
    store.pool().take(5)
    with pytest.raises(JournalError, match="kept before"):
        store.keep([(5, b"again")])
    pool = store.pool()
    pool.add(small_obfuscators(1, "later"))
    assert list(pool._unused) == [6]
    store.close()


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from support.small_paillier import small_key
from parties import key_files
from parties.obfuscation import ObfuscatorSupply
from parties.obfuscator_store import ObfuscatorStore
from parties.paillier_workers import paillier_workers
from parties.store import Journal

key_files.LOG2_COST = 14
place, key = Path(sys.argv[1]), small_key().public
store = ObfuscatorStore(place / "store", key, b"good", Journal(place / "journal"))
pool = store.pool()
handed = []
forget = store.forget
store.forget = lambda serials: (forget(serials), handed.extend(serials))
print("found", *pool._unused, flush=True)
supply = ObfuscatorSupply(key, expected=100, workers=paillier_workers(1), pool=pool)
while True:
    supply.request(40)
    supply.wait()
    secrets = [one.use()[1] for one in supply.take(3)]
    print("taken", *handed, *secrets, flush=True)
    handed.clear()
"""


def test_no_serial_number_is_handed_out_twice_by_a_node_that_is_killed(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    seen: list[str] = []
    for round_ in range(4):
        with subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            first = child.stdout.readline().split()
            assert first[0] == "found"
            assert not set(first[1:]) & set(seen)
            lines = [child.stdout.readline() for _ in range(3 + 2 * round_)]
            child.kill()
            lines += child.stdout.readlines()
        for line in lines:
            if line.endswith("\n"):
                seen += line.split()[1:]
    assert len(set(seen)) == len(seen) >= 3 * 6 * 4
