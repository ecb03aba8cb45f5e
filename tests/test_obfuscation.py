"""Obfuscators made in the background: exactly as many as wanted, none of them twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from support.seeded import seeded
from support.small_paillier import BITS, small_key

from parties.obfuscation import ObfuscatorSupply
from parties.paillier_workers import PaillierWorkers, paillier_workers
from protocols.errors import JournalError, MisuseError
from protocols.paillier.integers import powmod
from protocols.paillier.obfuscators import Obfuscator
from protocols.paillier.pool import Pool


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
