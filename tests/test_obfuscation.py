"""Obfuscators made in the background: exactly as many as wanted, none of them twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from support.seeded import seeded
from support.small_paillier import BITS, small_base, small_key, two_threads

from parties.obfuscation import ObfuscatorSupply
from parties.paillier_workers import (
    MIN_EXPECTED,
    MIN_RANGE,
    PaillierWorkers,
    paillier_workers,
)
from parties.powers_processes import ProcessPowers
from protocols.errors import JournalError, MisuseError
from protocols.paillier.integers import mpz, powmod
from protocols.paillier.multi_exponentiation import powers
from protocols.paillier.obfuscators import Obfuscator, make_obfuscators
from protocols.paillier.pool import Pool

ROOT = Path(__file__).parents[1]


@pytest.fixture
def workers():
    made = paillier_workers(2)
    yield made
    made.close()


def supply(workers: PaillierWorkers, label: object = "", **more) -> ObfuscatorSupply:
    random = seeded(f"supply {label}")
    return ObfuscatorSupply(
        small_key().public, expected=100, workers=workers, random=random, **more
    )


def exponents(taken: list[Obfuscator]) -> list[int]:
    return [one.use()[1] for one in taken]


class Held:
    """Randomness that comes only when it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = Event(), Event()
        self.random = seeded("held")

    def __call__(self, count: int) -> bytes:
        self.asked.set()
        assert self.go.wait(30)
        return self.random(count)


def test_what_is_taken_are_powers_of_the_base_of_the_key(workers):
    key = small_key().public
    with supply(workers) as made:
        for one in made.take(3):
            value, exponent = one.use()
            assert exponent < 2 ** (BITS // 2)
            assert value == powmod(key.h_s, exponent, key.n_squared)


def test_as_many_as_wanted_are_handed_out_whether_or_not_they_were_requested(workers):
    with supply(workers) as made:
        made.request(40)
        made.wait()
        assert made.ready == 40
        assert len(made.take(30)) == 30
        assert made.ready == 10
        assert len(made.take(25)) == 25
        assert (made.ready, made.take(0)) == (0, [])


def test_the_same_request_again_makes_no_more(workers):
    with supply(workers) as made:
        for count in (20, 20, 5, 20):
            made.request(count)
            made.wait()
            assert made.ready == 20
        made.take(20)
        made.request(7)
        made.wait()
        assert made.ready == 7


def test_a_request_does_not_wait_and_what_is_taken_needs_no_second_making(workers):
    held = Held()
    with ObfuscatorSupply(small_key().public, expected=100, workers=workers, random=held) as made:
        made.request(10)
        assert held.asked.wait(30)
        made.request(12)
        assert made.ready == 0
        with ThreadPoolExecutor(1) as caller:
            taking = caller.submit(made.take, 12)
            assert not taking.done()
            held.go.set()
            assert len(set(exponents(taking.result(30)))) == 12


def test_threads_that_race_get_exactly_what_they_asked_for_and_nothing_twice(workers):
    with supply(workers) as made, ThreadPoolExecutor(8) as callers:

        def use(index: int) -> list[int]:
            made.request(5 * (index % 7))
            taken = made.take(index % 11)
            assert len(taken) == index % 11
            return exponents(taken)

        seen = [one for part in callers.map(use, range(80)) for one in part]
        assert len(set(seen)) == len(seen) == sum(index % 11 for index in range(80))
        made.wait()
        assert made.ready <= 30
        rest = exponents(made.take(made.ready))
        assert not set(rest) & set(seen)


def test_a_closed_supply_gives_nothing_and_may_be_closed_again(workers):
    made = supply(workers)
    made.request(5)
    made.close()
    made.close()
    assert made.ready == 0
    for refused in (lambda: made.take(1), lambda: made.request(1), made.wait):
        with pytest.raises(MisuseError, match="closed"):
            refused()


def test_closing_does_not_wait_for_a_whole_request(workers):
    made = supply(workers)
    made.request(10**9)
    made.close()
    assert made.ready == 0


class Full:
    """A store on a disk that is full."""

    def keep(self, _) -> None:
        raise JournalError("the disk is full")

    def forget(self, serials) -> None:
        raise AssertionError(serials)


def test_a_store_that_fails_in_the_background_is_told_to_whoever_asks_next(workers):
    pool = Pool(small_key().public, store=Full())
    with supply(workers, pool=pool) as made:
        made.request(5)
        for told in (made.wait, lambda: made.request(1), lambda: made.take(1)):
            with pytest.raises(JournalError, match="full"):
                told()


def test_counts_that_make_no_sense_and_pools_of_other_keys_are_refused(workers):
    with supply(workers) as made:
        with pytest.raises(MisuseError, match="cannot take"):
            made.take(-1)
        with pytest.raises(MisuseError, match="cannot request"):
            made.request(-1)
        assert repr(made) == "ObfuscatorSupply(0 ready)"
    with pytest.raises(MisuseError, match="for none"):
        ObfuscatorSupply(small_key().public, expected=0, workers=workers)
    with pytest.raises(MisuseError, match="another key"):
        supply(workers, pool=Pool(small_key("other").public))


def test_one_worker_needs_no_threads():
    alone = paillier_workers(1)
    with supply(alone) as made:
        assert len(made.take(3)) == 3
    alone.close()
    assert (alone.count, alone.spread.workers) == (1, 1)


# Where the arithmetic runs


def process_powers(expected: int = 10) -> ProcessPowers:
    return ProcessPowers(small_key().public, expected=expected, workers=2, ranges=two_threads)


def test_processes_give_the_powers_that_the_tables_give():
    key, drawn = small_key().public, seeded("processes")(70 * BITS // 16)
    made = process_powers()
    try:
        assert made(drawn) == small_base().powers(drawn)
        assert made(b"") == []
        with pytest.raises(MisuseError, match="exponent has"):
            made(drawn[1:])
        [pid, *others] = made._pool._processes
        for one in (pid, *others):
            os.kill(one, signal.SIGKILL)
        # Whoever loses its processes goes on without them.
        assert made(drawn) == small_base().powers(drawn)
        assert len(make_obfuscators(key, 3, random=seeded(1), powers=made)) == 3
    finally:
        made.close()


PROGRAM = """
import sys
sys.path.insert(0, "tests")
from support.small_paillier import small_key, two_threads
from parties.powers_processes import ProcessPowers

if __name__ == "__main__":
    made = ProcessPowers(small_key().public, expected=10, workers=1, ranges=two_threads)
    made(bytes(32))
    print(*made._pool._processes, flush=True)
    sys.stdin.read()
"""


def test_processes_end_with_a_program_that_is_killed(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        child.kill()
        # The pipe ends when nobody holds it any more: the process of the pool holds it as well.
        assert child.stdout.read() == b""
    assert not Path(f"/proc/{pid}").exists() or "\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_processes_are_started_for_long_work_only():
    made = paillier_workers(2, processes=True)
    try:
        key = small_key().public
        assert not isinstance(made.powers(key, MIN_EXPECTED - 1), ProcessPowers)
        assert isinstance(made.powers(key, MIN_EXPECTED), ProcessPowers)
    finally:
        made.close()


def test_short_vectors_are_not_divided_among_threads(workers):
    for count, pieces in ((0, 0), (1, 1), (2 * MIN_RANGE - 1, 1), (2 * MIN_RANGE, 2), (1000, 4)):
        seen: list[tuple[int, int]] = []
        workers.ranges(lambda low, high, seen=seen: seen.append((low, high)), count)
        assert len(seen) == pieces
        assert sorted(index for low, high in seen for index in range(low, high)) == [*range(count)]


def test_partial_decryptions_and_lifts_are_spread_over_the_threads(workers):
    bases = [mpz(one) for one in range(2, 100)]
    n = mpz(small_key().public.n)
    assert powers(bases, mpz(65537), n, workers.spread) == powers(bases, mpz(65537), n)
