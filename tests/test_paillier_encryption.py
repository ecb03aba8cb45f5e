"""Encryption, obfuscators and their pool, products: exact, single use, interoperable."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import Counting, forbidden, seeded
from support.small_paillier import (
    BITS,
    small_base,
    small_key,
    small_obfuscators,
    two_threads,
)

from protocols.errors import InputError, MisuseError, SubmissionError
from protocols.paillier.ciphertexts import (
    Product,
    ciphertexts_from_bytes,
    ciphertexts_to_bytes,
)
from protocols.paillier.encryption import Encrypted, encrypt
from protocols.paillier.fixed_base import FixedBase, choose_window
from protocols.paillier.integers import mpz, powmod
from protocols.paillier.keys import PrivateKey, generate_key
from protocols.paillier.obfuscators import Obfuscator, make_obfuscators
from protocols.paillier.packing import Lanes
from protocols.paillier.pool import Pool, Record

EXPONENT_BYTES = BITS // 16


def sealed(plaintexts: list[int], label: object = "", owner: str = "owner") -> Encrypted:
    ready = small_obfuscators(len(plaintexts), label, owner)
    return encrypt(small_key(owner).public, [mpz(one) for one in plaintexts], ready)


def plain_vectors(count: int | None = None) -> st.SearchStrategy[list[int]]:
    n = small_key().public.n
    edges = st.sampled_from([0, 1, n - 1, n // 2])
    one = st.one_of(edges, st.integers(0, n - 1))
    return st.lists(one, min_size=count or 1, max_size=count or 5)


# Powers from tables


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=EXPONENT_BYTES, max_size=EXPONENT_BYTES), max_size=6))
def test_tables_give_the_powers_that_exponentiation_gives(exponents):
    base = small_base()
    key = base.key
    wanted = [powmod(key.h_s, int.from_bytes(one, "little"), key.n_squared) for one in exponents]
    assert base.powers(b"".join(exponents)) == wanted
    assert base.powers(b"".join(exponents), ranges=two_threads) == wanted


@pytest.mark.parametrize("window", range(4, 13))
def test_every_window_covers_the_whole_exponent(window):
    key = small_key().public
    base = FixedBase(key, window, *tables(window))
    for exponent in (0, 1, 2 ** (BITS // 2) - 1, 2 ** (BITS // 2 - 1), 3**100):
        [power] = base.powers(exponent.to_bytes(EXPONENT_BYTES, "little"))
        assert power == powmod(key.h_s, exponent, key.n_squared)


def tables(window: int) -> tuple[list[list[mpz]], list[np.ndarray]]:
    wanted = next(k for k in range(1, 10**7) if choose_window(BITS, k * k) >= window)
    built = FixedBase.build(small_key().public, expected=wanted**2, ranges=two_threads)
    assert built.window == window
    return built._residues, built._scales


def test_the_window_grows_with_the_powers_expected_and_stays_in_memory():
    windows = [choose_window(2048, expected) for expected in (1, 100, 10_000, 10**6)]
    assert windows == sorted(set(windows))
    assert choose_window(2048, 10**6, 8 << 20) == 6
    assert choose_window(2048, 10**6, 0) == 4
    with pytest.raises(MisuseError):
        choose_window(2048, 0)


def test_exponents_that_are_not_whole_are_refused():
    with pytest.raises(MisuseError, match="exponent has"):
        small_base().powers(bytes(EXPONENT_BYTES + 1))


# Encryption


@settings(max_examples=30, deadline=None)
@given(plain_vectors(), st.integers(0, 2**32))
def test_what_is_encrypted_decrypts_here_and_by_plain_phe(plain, label):
    key = small_key()
    sent = sealed(plain, label).ciphertexts
    assert key.decrypt(sent) == plain
    assert [key.to_phe().raw_decrypt(int(one)) for one in sent] == plain


@settings(max_examples=15, deadline=None)
@given(plain_vectors(), st.integers(0, 2**32))
def test_threads_change_nothing(plain, label):
    key = small_key().public
    ready = small_obfuscators(len(plain), label)
    values = [mpz(one) for one in plain]
    assert encrypt(key, values, ready, ranges=two_threads).ciphertexts == (
        sealed(plain, label).ciphertexts
    )


def test_a_ciphertext_is_the_documented_formula():
    key = small_key().public
    drawn = seeded("formula")(EXPONENT_BYTES)
    alpha = int.from_bytes(drawn, "little")
    [one] = make_obfuscators(key, 1, random=seeded("formula"), powers=small_base().powers)
    made = encrypt(key, [mpz(42)], [one])
    assert made.ciphertexts == [
        (1 + 42 * key.n) * powmod(key.h_s, alpha, key.n_squared) % key.n_squared
    ]
    assert (list(made.plaintexts), list(made.exponents)) == ([42], [alpha])


def test_exponents_have_half_the_bits_of_the_modulus_and_come_from_the_given_randomness():
    source = Counting(seeded("count"))
    ready = make_obfuscators(small_key().public, 7, random=source, powers=small_base().powers)
    assert source.asked == [7 * BITS // 2 // 8]
    assert len({one.use()[1] for one in ready}) == 7
    assert not make_obfuscators(small_key().public, 0, random=lambda _: b"", powers=forbidden)


def test_one_plaintext_never_looks_the_same_twice():
    plain = [5] * 20
    assert len(set(sealed(plain, 1).ciphertexts + sealed(plain, 2).ciphertexts)) == 40


@pytest.mark.parametrize("bad", [-1, "n", "2n"])
def test_a_plaintext_out_of_range_is_refused_and_no_obfuscator_is_used_up(bad):
    key = small_key().public
    value = bad if isinstance(bad, int) else key.n * len(bad)
    ready = small_obfuscators(2)
    with pytest.raises(InputError, match="plaintext"):
        encrypt(key, [mpz(0), mpz(value)], ready)
    assert not any(one.used for one in ready)


def test_encryption_shows_no_secret():
    made = sealed([123456789], "repr")
    assert "123456789" not in repr(made)
    assert str(made.exponents[0]) not in repr(made)


def test_the_wrong_key_opens_nothing():
    plain = [7, 8]
    sent = [one % small_key("other").public.n_squared for one in sealed(plain).ciphertexts]
    assert small_key("other").decrypt(sent) != plain


# Single use


def test_an_obfuscator_that_was_used_refuses_a_second_plaintext():
    key, ready = small_key().public, small_obfuscators(2)
    encrypt(key, [mpz(1), mpz(2)], ready)
    assert all(one.used for one in ready)
    with pytest.raises(MisuseError, match="used before"):
        encrypt(key, [mpz(1)], ready[:1])


def test_one_obfuscator_given_twice_encrypts_nothing():
    [one] = small_obfuscators(1)
    with pytest.raises(MisuseError, match="used before"):
        encrypt(small_key().public, [mpz(1), mpz(2)], [one, one])


def test_an_obfuscator_is_never_copied_and_shows_nothing():
    [one] = small_obfuscators(1)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="never copied"):
            duplicate(one)
    assert repr(one) == "Obfuscator(unused)"
    one.use()
    assert repr(one) == "Obfuscator(used)"


def test_an_obfuscator_of_another_key_is_refused():
    ready = small_obfuscators(1, owner="other")
    with pytest.raises(MisuseError, match="another key"):
        encrypt(small_key().public, [mpz(1)], ready)
    with pytest.raises(MisuseError, match="another key"):
        Pool(small_key().public).add(ready)
    assert not ready[0].used


def test_as_many_obfuscators_as_plaintexts_are_needed():
    with pytest.raises(MisuseError, match="2 obfuscators for 1"):
        encrypt(small_key().public, [mpz(1)], small_obfuscators(2))


def test_powers_that_are_too_few_make_no_obfuscators():
    with pytest.raises(MisuseError, match="one power"):
        make_obfuscators(small_key().public, 2, random=seeded(1), powers=lambda _: [mpz(1)])
    with pytest.raises(MisuseError, match="one power"):
        make_obfuscators(
            small_key().public, 2, random=lambda _: b"short", powers=lambda _: [mpz(1)] * 2
        )
    with pytest.raises(MisuseError, match="cannot make"):
        make_obfuscators(small_key().public, -1, random=seeded(1), powers=lambda _: [])


# The pool


class Disk:
    """A store that survives its pools, and does as the interface demands."""

    def __init__(self) -> None:
        self.held: dict[int, bytes] = {}
        self.fails = False

    def keep(self, records: list[Record]) -> None:
        if self.fails:
            raise OSError("full")
        assert not self.held.keys() & {serial for serial, _ in records}
        self.held.update(records)

    def forget(self, serials: list[int]) -> None:
        if self.fails:
            raise OSError("full")
        if not set(serials) <= self.held.keys():
            raise LookupError
        for serial in serials:
            del self.held[serial]

    def open(self) -> Pool:
        return Pool(small_key().public, store=self, records=list(self.held.items()))


def exponents(taken: list[Obfuscator]) -> set[int]:
    return {one.use()[1] for one in taken}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "take", "crash"]), st.integers(0, 4)), max_size=12)
)
def test_no_obfuscator_leaves_the_pool_twice_whatever_crashes_in_between(actions):
    disk = Disk()
    pool, seen, made = disk.open(), set(), 0
    for index, (action, count) in enumerate(actions):
        if action == "add":
            pool.add(small_obfuscators(count, index))
            made += count
        elif action == "take":
            taken = exponents(pool.take(count))
            assert not taken & seen
            seen |= taken
        else:
            pool = disk.open()
        assert len(pool) == made - len(seen) == len(disk.held)


def test_an_obfuscator_is_deleted_before_it_is_handed_out():
    disk = Disk()
    pool = disk.open()
    pool.add(small_obfuscators(3))
    disk.fails = True
    with pytest.raises(OSError, match="full"):
        pool.take(2)
    assert len(pool) == 1
    disk.fails = False
    assert len(exponents(pool.take(5))) == 1
    assert len(pool) == 0


def test_two_pools_on_one_store_never_hand_out_the_same_obfuscator():
    disk = Disk()
    disk.open().add(small_obfuscators(3))
    first, second = disk.open(), disk.open()
    assert len(first.take(2)) == 2
    with pytest.raises(LookupError):
        second.take(1)


def test_what_cannot_be_stored_is_not_in_the_pool():
    disk = Disk()
    pool = disk.open()
    disk.fails = True
    with pytest.raises(OSError, match="full"):
        pool.add(small_obfuscators(1))
    assert not len(pool)


def test_obfuscators_put_into_a_pool_cannot_be_used_beside_it():
    pool, ready = Pool(small_key().public), small_obfuscators(2)
    pool.add(ready)
    assert all(one.used for one in ready)
    with pytest.raises(MisuseError, match="used before"):
        pool.add(ready)
    plain = [mpz(3), mpz(4)]
    assert small_key().decrypt(encrypt(pool.key, plain, pool.take(2)).ciphertexts) == plain
    assert pool.take(1) == []
    assert repr(pool) == "Pool(0 unused)"


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s[1:],
        lambda s: s + b"\0",
        lambda s: s[:EXPONENT_BYTES] + bytes(BITS // 4),
        lambda s: s[:EXPONENT_BYTES] + b"\xff" * (BITS // 4),
    ],
)
def test_a_damaged_record_is_refused(damage):
    key = small_key().public
    [one] = small_obfuscators(1)
    with pytest.raises(InputError, match="damaged"):
        Pool(key, records=[(1, damage(one.to_secret_bytes(key)))])


def test_a_serial_number_twice_is_refused():
    key = small_key().public
    records = [(1, one.to_secret_bytes(key)) for one in small_obfuscators(2)]
    with pytest.raises(MisuseError, match="twice"):
        Pool(key, records=records)
    with pytest.raises(MisuseError, match="cannot take"):
        Pool(key).take(-1)


# Products


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 4))
def test_a_product_of_ciphertexts_encrypts_the_sum(data, parties, count):
    key = small_key()
    n = key.public.n
    vectors = [data.draw(plain_vectors(count)) for _ in range(parties)]
    product = Product(key.public, count, limit=parties)
    for index, plain in enumerate(vectors):
        product.multiply(sealed(plain, index).ciphertexts, ranges=[None, two_threads][index % 2])
    sums = [sum(column) % n for column in zip(*vectors, strict=True)]
    assert key.decrypt(product.ciphertexts()) == sums
    assert product.summands == parties


def test_lanes_at_their_maximum_from_a_hundred_parties_add_up_exactly():
    key = small_key()
    lanes = Lanes(16, 100, BITS)
    words = np.full(45, 0xFFFF, "<u2")
    product = Product(key.public, lanes.plaintexts(45), limit=100)
    for party in range(100):
        product.multiply(sealed(lanes.pack(words), party).ciphertexts)
    total = key.decrypt(product.ciphertexts())
    assert total == [100 * one for one in lanes.pack(words)]
    assert lanes.unpack(total, 45).tolist() == [100 * 0xFFFF % 2**16] * 45
    with pytest.raises(MisuseError, match="room for 100"):
        product.multiply(sealed(lanes.pack(words)).ciphertexts)


def test_a_vector_of_another_length_changes_nothing():
    product = Product(small_key().public, 2, limit=2)
    with pytest.raises(MisuseError, match="no vectors"):
        product.ciphertexts()
    for count in (1, 3):
        with pytest.raises(MisuseError, match="do not fit 2"):
            product.multiply(sealed([1] * count).ciphertexts)
    assert product.summands == 0
    assert repr(product) == "Product(2 ciphertexts, 0 of 2 vectors)"
    for facts in ((0, 1), (1, 0)):
        with pytest.raises(MisuseError):
            Product(small_key().public, facts[0], limit=facts[1])


# The wire


def test_ciphertexts_come_back_from_the_wire():
    key = small_key().public
    sent = sealed([1, 2, 3]).ciphertexts
    data = ciphertexts_to_bytes(key, sent)
    assert len(data) == 3 * key.ciphertext_bytes == 3 * BITS // 4
    for form in (data, memoryview(data), bytearray(data)):
        assert ciphertexts_from_bytes(key, form, 3, party="ada", step="submit") == sent
    assert ciphertexts_from_bytes(key, b"", 0, party="ada", step="submit") == []


@pytest.mark.parametrize("count", [0, 2, 4])
def test_another_length_names_the_party(count):
    key = small_key().public
    data = ciphertexts_to_bytes(key, sealed([1, 2, 3]).ciphertexts)
    with pytest.raises(SubmissionError, match="ciphertexts take") as caught:
        ciphertexts_from_bytes(key, data, count, party="ada", step="submit")
    assert (caught.value.party, caught.value.step) == ("ada", "submit")


def not_units() -> list[int]:
    key = small_key()
    return [0, key.public.n, key.p, 3 * key.q, key.public.n_squared, 2 ** (2 * BITS) - 1]


@pytest.mark.parametrize("index", range(6))
def test_a_ciphertext_outside_the_group_names_the_party(index):
    key = small_key().public
    data = ciphertexts_to_bytes(key, sealed([1, 2]).ciphertexts)
    data = data[: BITS // 4] + not_units()[index].to_bytes(BITS // 4, "big")
    with pytest.raises(SubmissionError, match="ciphertext") as caught:
        ciphertexts_from_bytes(key, data, 2, party="ada", step="submit")
    assert caught.value.party == "ada"


def test_a_value_that_is_no_residue_is_not_sent():
    key = small_key().public
    for bad in (-1, key.n_squared):
        with pytest.raises(MisuseError):
            ciphertexts_to_bytes(key, [mpz(bad)])


# The whole way at a real size


@pytest.fixture(scope="module")
def real_key() -> PrivateKey:
    return generate_key(2048, random=seeded("real"))


def test_a_packed_sum_of_three_parties_is_exact_at_2048_bits(real_key):
    key = real_key.public
    lanes = Lanes(32, 3, key.bits)
    base = FixedBase.build(key, expected=20)
    count = 200
    rng = np.random.default_rng(7)
    vectors = [rng.integers(0, 2**32, count, np.uint32) for _ in range(3)]
    product = Product(key, lanes.plaintexts(count), limit=3)
    for party, words in enumerate(vectors):
        plain = lanes.pack(words)
        pool = Pool(key)
        pool.add(make_obfuscators(key, len(plain), random=seeded(party), powers=base.powers))
        data = ciphertexts_to_bytes(key, encrypt(key, plain, pool.take(len(plain))).ciphertexts)
        product.multiply(
            ciphertexts_from_bytes(key, data, len(plain), party=f"p{party}", step="submit")
        )
    total = lanes.unpack(real_key.decrypt(product.ciphertexts()), count)
    assert np.array_equal(total, vectors[0] + vectors[1] + vectors[2])
    theirs = [mpz(real_key.to_phe().raw_decrypt(int(one))) for one in product.ciphertexts()]
    assert np.array_equal(lanes.unpack(theirs, count), total)
