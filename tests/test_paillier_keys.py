"""Paillier keys: made as promised, read from a hostile wire, interoperable, silent on secrets."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Callable
from math import gcd

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phe.paillier import PaillierPublicKey
from support.seeded import seeded
from support.small_paillier import BITS, small_key, two_threads

from protocols.errors import InputError, WireError
from protocols.paillier.decryption import check_units
from protocols.paillier.integers import hash_to_integer, mpz
from protocols.paillier.key_checks import check_public_key
from protocols.paillier.keys import SEED_BYTES, PrivateKey, PublicKey, generate_key
from protocols.paillier.primes import random_blum_prime

SEED = bytes(range(SEED_BYTES))


def prime(bits: int, label: object) -> int:
    return int(random_blum_prime(bits, seeded(f"prime {label}")))


# Making


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([256, 320, 512]))
def test_a_key_has_two_blum_primes_of_one_length_and_exactly_the_bits_asked_for(label, bits):
    key = generate_key(bits, random=seeded(label), allow_small=True)
    p, q = key.p, key.q
    assert p != q
    assert gmpy2.is_prime(p, 40)
    assert gmpy2.is_prime(q, 40)
    assert p.bit_length() == q.bit_length() == bits // 2
    assert p % 4 == q % 4 == 3
    assert gcd(p - 1, q - 1) == 2
    assert key.public.n == p * q
    assert key.public.bits == (p * q).bit_length() == bits
    assert gcd(p * q, (p - 1) * (q - 1)) == 1


def test_a_key_is_a_function_of_the_random_bytes_alone():
    first, second = (
        generate_key(BITS, random=seeded("the same"), allow_small=True) for _ in range(2)
    )
    assert first.to_secret_bytes() == second.to_secret_bytes()
    other = generate_key(BITS, random=seeded("another"), allow_small=True)
    assert other.public != first.public


@pytest.mark.parametrize("bits", [0, 512, 1024, 1984, 2047, 2049, 4160, 2**20])
def test_an_unsafe_or_odd_size_is_refused_before_anything_is_drawn(bits):
    with pytest.raises(InputError, match="2048 to 4096 bits"):
        generate_key(bits, random=lambda _: pytest.fail("random bytes were drawn"))


def test_2048_bits_are_called_short_and_3072_are_not():
    assert generate_key(2048, random=seeded("short")).public.short
    assert not generate_key(3072, random=seeded("long")).public.short


SMALL = gmpy2.primorial(2**20)


def rough(q: int) -> bool:
    """Composite, but not so that the check of the modulus would see it."""
    return q % 4 == 3 and gmpy2.gcd(q, SMALL) == 1 and not gmpy2.is_prime(q)


def neighbour(label: int, good: Callable[[int], bool]) -> int:
    """A number of 256 bits with the properties that its neighbour in a key would have, bar one."""
    start = prime(256, label)
    p = prime(256, 1)
    return next(q for q in range(start + 2, start + 10**6, 2) if gcd(p - 1, q - 1) == 2 and good(q))


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (prime(256, 1), prime(256, 1)),
        (prime(256, 1), prime(264, 2)),
        (prime(256, 1), neighbour(2, rough)),
        (neighbour(2, rough), prime(256, 1)),
        (prime(256, 1), neighbour(1, lambda q: q % 4 == 3 and gmpy2.is_prime(q))),
        (prime(256, 1), neighbour(2, lambda q: q % 4 == 1 and gmpy2.is_prime(q))),
        (0, 0),
        (-prime(256, 1), -prime(256, 2)),
    ],
    ids=["equal", "lengths", "composite q", "composite p", "close", "1 mod 4", "zero", "negative"],
)
def test_factors_that_make_no_key_are_refused(p, q):
    with pytest.raises(InputError):
        PrivateKey(int(p), int(q), SEED, allow_small=True)


def test_primes_with_another_common_divisor_than_two_are_refused():
    def with_divisor(label: int) -> int:
        random = seeded(label)
        while True:
            p = random_blum_prime(256, random)
            if (p - 1) % 3 == 0:
                return int(p)

    with pytest.raises(InputError, match=r"gcd\(p - 1, q - 1\) = 2"):
        PrivateKey(with_divisor(1), with_divisor(2), SEED, allow_small=True)


# The base


def test_everybody_derives_the_base_from_the_seed_as_documented():
    public = small_key().public
    n, size = public.n, BITS // 8
    parts = (b"securefed paillier base v1", public.seed, n.to_bytes(size, "big"))
    hashed = hashlib.shake_256(b"".join(len(one).to_bytes(8, "big") + one for one in parts))
    x = int.from_bytes(hashed.digest(size + 16), "big") % n
    assert public.h_s == pow(-x * x, n, n * n)
    assert PublicKey(n, SEED, allow_small=True).h_s != public.h_s


def test_the_base_has_an_order_with_every_large_factor_of_the_group():
    key = small_key()
    order = gmpy2.lcm(key.p - 1, key.q - 1)
    assert pow(key.public.h_s, int(order), key.public.n_squared) == 1
    assert gmpy2.jacobi(key.public.h_s, key.public.n) == 1
    assert pow(key.public.h_s, int(order // 2), key.public.n_squared) != 1


def test_hashing_to_an_integer_stays_below_the_bound_and_reaches_both_halves():
    bound = mpz(3) << 200
    values = [hash_to_integer(bound, b"label", bytes([index])) for index in range(40)]
    assert all(0 <= value < bound for value in values)
    assert len({value > bound // 2 for value in values}) == 2


# From the wire


@pytest.fixture(scope="module")
def wire() -> bytes:
    return generate_key(2048, random=seeded("wire")).public.to_bytes()


def test_a_key_comes_back_from_the_wire_as_it_was(wire):
    key = PublicKey.from_bytes(wire, party="holder", step="key")
    assert key.to_bytes() == wire
    assert len(key.digest()) == 32
    assert PublicKey.from_bytes(wire, party="holder", step="key") == key


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason) as caught:
        PublicKey.from_bytes(data, party="holder", step="key")
    assert caught.value.party == "holder"


def with_modulus(n: int, bits: int = 2048) -> bytes:
    return SEED + n.to_bytes(bits // 8, "big")


@pytest.mark.parametrize("cut", [0, 31, 32, 33, 287])
def test_a_truncated_key_is_refused_by_name(wire, cut):
    refused(wire[:cut], "bits")


def test_a_key_of_another_length_than_its_modulus_is_refused(wire):
    refused(wire[:SEED_BYTES] + bytes(8) + wire[SEED_BYTES:], "bits")
    refused(wire + b"\x00", "bits")
    refused(SEED + bytes(256), "bits")


def test_a_megabyte_of_key_is_refused_without_arithmetic():
    refused(SEED + b"\xff" * 2**20, "bits")


def test_a_small_key_is_refused_from_the_wire_whatever_tests_may_make():
    refused(small_key().public.to_bytes(), "2048 to 4096 bits")


def test_an_even_modulus_is_refused(wire):
    refused(with_modulus(int.from_bytes(wire[SEED_BYTES:], "big") - 1), "even")


@pytest.mark.parametrize("factor", [3, 65537, 1048573])
def test_a_modulus_with_a_factor_below_a_million_is_refused(factor):
    n = factor * (2**2047 // factor + 1)
    refused(with_modulus(n + factor * (1 - n % 2)), "factor below")


def test_a_prime_modulus_is_refused():
    refused(with_modulus(prime(2048, "whole")), "is a prime")


@pytest.mark.parametrize("power", [2, 4])
def test_a_modulus_that_is_a_power_is_refused(power):
    refused(with_modulus(prime(2048 // power, power) ** power), "power of one number")


def test_the_checks_hold_for_small_keys_too():
    p = prime(256, "p")
    for n in (p * p, prime(512, "n"), 3 * prime(510 + 2, "m") >> 1 << 1, -p, 0):
        with pytest.raises(InputError):
            check_public_key(n, allow_small=True)


def test_a_seed_of_another_length_is_refused():
    with pytest.raises(InputError, match="seed"):
        PublicKey(small_key().public.n, SEED[1:], allow_small=True)


# Secrets


def test_a_private_key_shows_no_secret_and_is_never_pickled():
    key = small_key()
    for text in (repr(key), str(key), repr(key._halves)):
        assert str(key.p) not in text
        assert str(key.q) not in text
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never serialised"):
            duplicate(key)


def test_secret_bytes_come_back_as_the_same_key():
    key = small_key()
    again = PrivateKey.from_secret_bytes(key.to_secret_bytes(), allow_small=True)
    assert (again.p, again.q, again.public) == (key.p, key.q, key.public)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[:-1],
        lambda s: s + b"\0",
        lambda s: s[:40],
        lambda s: s[:-1] + bytes([s[-1] ^ 1]),
        lambda s: s[:0],
    ],
)
def test_damaged_secret_bytes_make_no_key(change):
    with pytest.raises(InputError):
        PrivateKey.from_secret_bytes(change(small_key().to_secret_bytes()), allow_small=True)


def test_small_secret_bytes_are_refused_without_the_test_switch():
    with pytest.raises(InputError, match="2048"):
        PrivateKey.from_secret_bytes(small_key().to_secret_bytes())


# Decryption and plain phe


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_what_plain_phe_encrypts_decrypts_here(data):
    key = small_key()
    n = key.public.n
    edges = st.sampled_from([0, 1, n - 1, n // 2])
    plain = data.draw(st.lists(st.one_of(edges, st.integers(0, n - 1)), max_size=6))
    theirs = PaillierPublicKey(n)
    sent = [mpz(theirs.raw_encrypt(one)) for one in plain]
    assert key.decrypt(sent) == plain
    assert key.decrypt(sent, ranges=two_threads) == plain


def test_a_signed_number_that_plain_phe_encrypts_is_a_residue_here():
    key = small_key()
    number = key.to_phe().public_key.encrypt(-12)
    assert number.exponent == 0
    assert key.decrypt([mpz(number.ciphertext())]) == [key.public.n - 12]


def test_a_ciphertext_outside_the_group_is_refused_before_decryption():
    key = small_key()
    n, square = key.public.n, key.public.n_squared
    good = mpz(key.to_phe().public_key.raw_encrypt(5))
    for bad in (0, -1, square, square + 1, n, key.p, key.q * 7, n * 5):
        with pytest.raises(InputError, match="ciphertext"):
            key.decrypt([good, mpz(bad)])
        with pytest.raises(InputError, match="ciphertext"):
            check_units([mpz(bad), good], n)
    check_units([], n)


def test_another_key_decrypts_to_something_else():
    sent = mpz(small_key().to_phe().public_key.raw_encrypt(5)) % small_key("other").public.n_squared
    assert small_key("other").decrypt([sent]) != [5]
