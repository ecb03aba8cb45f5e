"""A key that the parties make together: nobody knows its factors, and any t of them decrypt."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from math import factorial, prod
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import seeded
from support.trustees import encrypt_all

from protocols.errors import InputError, MisuseError, OutOfOrderError, ShareError
from protocols.paillier.dealing_shares import check_share, check_verification_keys
from protocols.paillier.generation import KeyGenerator
from protocols.paillier.generation_candidates import (
    biprimality_powers,
    passes,
    sieve_for,
    summand,
)
from protocols.paillier.generation_sharing import (
    GenerationContext,
    add_points,
    next_prime,
    open_points,
    share_all,
)
from protocols.paillier.integers import gcd, is_prime, mpz, powmod
from protocols.paillier.threshold import Partial, combine, partial_decryption
from protocols.paillier.threshold_proofs import check_proof, prove

NAMES = ("alpha", "bravo", "charlie", "delta", "echo")


def context(
    parties: int = 3, threshold: int = 2, bits: int = 256, **changes: object
) -> GenerationContext:
    session = hashlib.sha256(b"session").digest()
    made = GenerationContext(
        session, NAMES[:parties], threshold, bits, batch=24, allow_small=bits < 2048
    )
    return replace(made, **changes)


def inbox_of(sent, receiver):
    return {
        index: list(one.private.get(receiver, one.broadcast))
        for index, one in sent.items()
        if index != receiver
    }


def unaltered(step, inbox, receiver):
    return inbox


def run(facts, label="", alter=unaltered):
    """Carry every list to its receiver until the key is made; ``alter`` may change an inbox."""
    parties = {
        index: KeyGenerator(facts, index, seeded(f"generate {label} {index}"))
        for index in range(1, facts.parties + 1)
    }
    sent = {index: one.start() for index, one in parties.items()}
    while True:
        assert len({one.step for one in sent.values()}) == 1
        step = sent[1].step
        answers = {
            index: one.receive(alter(step, inbox_of(sent, index), index))
            for index, one in parties.items()
        }
        if None in answers.values():
            assert set(answers.values()) == {None}
            return list(parties.values())
        sent = answers


@lru_cache
def generated(parties, threshold, bits=256):
    made = run(context(parties, threshold, bits))
    return made[0].result[0], tuple(one.result[1] for one in made)


def factors_of(key, shares):
    """Factor the modulus with t shares: a multiple of phi follows from the root exponent."""
    used = shares[: key.threshold]
    constant = sum(
        int(one.value)
        * prod(
            (Fraction(other.index, other.index - one.index) for other in used if other != one),
            start=Fraction(1),
        )
        for one in used
    )
    root = constant / factorial(key.trustees)
    assert root.denominator == 1
    n = key.n
    multiple = mpz(root.numerator) * n - 1
    while multiple % 2 == 0:
        multiple //= 2
    for base in range(2, 100):
        x = powmod(base, multiple, n)
        while x not in {1, n - 1}:
            last, x = x, x * x % n
            if x == 1:
                return gcd(last - 1, n), n // gcd(last - 1, n)
    raise AssertionError


@pytest.mark.parametrize(("parties", "threshold"), [(3, 2), (3, 3), (4, 2), (5, 3), (5, 5)])
def test_any_t_of_the_parties_decrypt(parties, threshold):
    key, shares = generated(parties, threshold)
    plain = [0, 1, int(key.n) // 2, int(key.n) - 1]
    ciphertexts = encrypt_all(key, plain)
    made = [partial_decryption(key, share, ciphertexts) for share in shares]
    for subset in combinations(made, threshold):
        assert combine(key, ciphertexts, subset) == plain


def test_a_key_of_512_bits_is_made_and_used():
    key, shares = generated(3, 2, 512)
    assert key.public.bits == 512
    ciphertexts = encrypt_all(key, [7, 8])
    made = [partial_decryption(key, share, ciphertexts) for share in shares[1:]]
    assert combine(key, ciphertexts, made) == [7, 8]


@pytest.mark.parametrize(("parties", "threshold"), [(3, 2), (5, 3)])
def test_the_modulus_has_two_primes_of_the_right_kind(parties, threshold):
    key, shares = generated(parties, threshold)
    first, second = factors_of(key, shares)
    assert first * second == key.n
    sieve = sieve_for(128, parties)
    for one in (first, second):
        assert is_prime(one)
        assert one.bit_length() == 128
        assert one >> 126 == 3
        assert one % 12 == 11
        assert all((one - 1) % prime for prime in sieve.primes)
    assert gcd(key.n, (first - 1) * (second - 1)) == 1


def test_everybody_has_the_same_key_and_a_share_of_its_own():
    made = run(context())
    assert len({one.result[0].digest() for one in made}) == 1
    key = made[0].result[0]
    check_verification_keys(key)
    assert key.generated
    for index, one in enumerate(made, start=1):
        share = one.result[1]
        assert share.index == index
        assert 0 <= share.value.bit_length() <= key.share_bits
        check_share(key, share, dealer="")
    assert len({int(one.result[1].value) for one in made}) == 3


def test_other_randomness_makes_another_key():
    keys = {run(context(), label)[0].result[0].public.n for label in ("one", "two")}
    assert len(keys) == 2


def test_partial_decryptions_under_a_generated_key_are_proved():
    key, shares = generated(3, 2)
    ciphertexts = encrypt_all(key, [1, 2, 3])
    partial = partial_decryption(key, shares[0], ciphertexts)
    options = {"binding": bytes(32)}
    proof = prove(key, shares[0], ciphertexts, partial, random=seeded("proof"), **options)
    check_proof(key, ciphertexts, partial, proof, name="alpha", **options)
    values = list(partial.values)
    values[1] = values[1] * 4 % key.n
    false = Partial(1, values)
    proof = prove(key, shares[0], ciphertexts, false, random=seeded("proof"), **options)
    with pytest.raises(ShareError, match="alpha"):
        check_proof(key, ciphertexts, false, proof, name="alpha", **options)


# What is refused


@pytest.mark.parametrize("step", ["sieve-share", "sieve-open", "modulus-share", "one-power",
                                  "all-powers", "inverse-open", "remainders", "root-share",
                                  "verification"])  # fmt: skip
@pytest.mark.parametrize("kind", ["missing", "short", "long", "negative", "large"])
def test_a_list_of_the_wrong_form_names_its_sender(step, kind):
    changes = {
        "missing": lambda _: None,
        "short": lambda values: values[:-1],
        "long": lambda values: [*values, mpz(1)],
        "negative": lambda values: [mpz(-1), *values[1:]],
        "large": lambda values: [mpz(1) << 5000, *values[1:]],
    }
    seen = []

    def alter(at, inbox, receiver):
        values = inbox.get(2)
        # A batch in which nothing is promising has no powers to spoil.
        if at == step and receiver == 1 and values:
            seen.append(at)
            inbox[2] = changes[kind](values)
            if inbox[2] is None:
                del inbox[2]
        return inbox

    with pytest.raises(ShareError, match=f"bravo at {step}"):
        run(context(), alter=alter)
    assert seen == [step]


def test_shares_that_do_not_fit_together_make_no_key():
    def alter(step, inbox, receiver):
        if step == "root-share" and receiver == 3:
            inbox[1][0] += 1
        return inbox

    # Only the third party holds what nobody else can see to be wrong; its power shows it to all.
    with pytest.raises(ShareError, match="verification"):
        run(context(parties=3, threshold=2), alter=alter)


def test_every_move_out_of_order_is_refused():
    facts = context()
    one = KeyGenerator(facts, 1, seeded("order"))
    assert one.state == "Fresh"
    for move in (lambda: one.receive({}), lambda: one.result):
        with pytest.raises(OutOfOrderError, match="Fresh"):
            move()
    one.start()
    assert one.state == "sieve-share"
    for move in (one.start, lambda: one.result):
        with pytest.raises(OutOfOrderError, match="sieve-share"):
            move()
    with pytest.raises(ShareError, match="bravo"):
        one.receive({})
    assert one.state == "Withdrawn"
    for move in (one.start, lambda: one.receive({}), lambda: one.result):
        with pytest.raises(OutOfOrderError, match="Withdrawn"):
            move()
    done = run(facts)[0]
    assert done.state == "Done"
    for move in (done.start, lambda: done.receive({})):
        with pytest.raises(OutOfOrderError, match="Done"):
            move()


def test_nothing_of_the_factors_is_kept_and_nothing_shown():
    made = run(context())
    key = made[0].result[0]
    first, second = factors_of(key, [one.result[1] for one in made])
    for one in made:
        # The steps' frame, the only place of the factors' summands, is gone.
        assert one._steps is None
        assert str(one.result[1].value) not in repr(one)
        with pytest.raises(TypeError):
            pickle.dumps(one)
    running = KeyGenerator(context(), 1, seeded("shown"))
    exchange = running.start()
    secret = str(exchange.private[2][0])
    assert secret not in repr(exchange)
    assert secret not in repr(running)
    assert first != second


def test_a_context_that_no_agreement_yields_is_refused():
    for changes in (
        {"session": b""},
        {"names": ("alpha", "alpha", "bravo")},
        {"names": ("alpha", "bravo")},
        {"names": tuple(f"party-{number}" for number in range(17))},
        {"threshold": 1},
        {"threshold": 4},
        {"batch": 0},
    ):
        with pytest.raises(MisuseError):
            context(**changes)
    for changes in ({"bits": 200}, {"allow_small": False}, {"bits": 8192}):
        with pytest.raises(InputError):
            context(**changes)
    for index in (0, 4):
        with pytest.raises(MisuseError):
            KeyGenerator(context(), index, seeded(0))


# The parts


@given(
    values=st.lists(st.integers(0, 10**6 - 1), min_size=1, max_size=5),
    others=st.lists(st.integers(0, 10**6 - 1), min_size=5, max_size=5),
    parties=st.integers(3, 8),
)
@settings(max_examples=40, deadline=None)
def test_products_of_shared_sums_are_opened(values, others, parties):
    modulus, degree = mpz(10**6 + 3), (parties - 1) // 2
    others = others[: len(values)]
    left = [
        share_all(list(map(mpz, column)), degree, parties, modulus, seeded(f"left {place}"))
        for place, column in enumerate((values, others))
    ]
    zeros = share_all([mpz(0)] * len(values), 2 * degree, parties, modulus, seeded("zeros"))
    points = {
        index: [
            (a * b + zero) % modulus
            for a, b, zero in zip(left[0][index], left[1][index], zeros[index], strict=True)
        ]
        for index in range(1, parties + 1)
    }
    expected = [a * b % modulus for a, b in zip(values, others, strict=True)]
    assert open_points(points, modulus) == expected
    assert add_points({1: values, 2: others}, modulus) == [
        (a + b) % modulus for a, b in zip(values, others, strict=True)
    ]


def split_factor(facts, total, label):
    """Summands of a given factor: 3 modulo 4 for the first party, 0 for all others."""
    random = seeded(label)
    others = [mpz(4 * int.from_bytes(random(8), "big")) for _ in range(facts.parties - 1)]
    return [total - sum(others), *others]


@pytest.mark.parametrize(
    ("first", "second", "right"),
    [
        (2**107 - 1, 2**127 - 1, True),
        ((2**31 - 1) * (2**61 - 1) * 4 + 3, 2**127 - 1, None),
        ((2**61 - 1) * (2**31 - 1) * (2**13 - 1), 2**127 - 1, False),
        ((2**31 - 1) ** 3, 2**127 - 1, False),
        ((2**61 - 1) * 5, (2**89 - 1) * 13, False),
    ],
)
def test_only_a_product_of_two_primes_passes_every_trial(first, second, right):
    facts = context()
    if right is None:
        right = is_prime(mpz(first))
    assert first % 4 == second % 4 == 3
    n = mpz(first * second)
    halves = [split_factor(facts, mpz(one), str(one)) for one in (first, second)]
    powers = [
        biprimality_powers(facts, n, index + 1, halves[0][index] + halves[1][index], range(64))
        for index in range(3)
    ]
    outcomes = [passes(n, column) for column in zip(*powers, strict=True)]
    assert all(outcomes) is right
    if not right:
        assert sum(outcomes) <= 48


@pytest.mark.parametrize("parties", [3, 5, 8])
def test_summands_add_up_to_factors_of_the_right_length_without_small_primes(parties):
    facts = GenerationContext(
        bytes(32), tuple(f"party-{n}" for n in range(parties)), 2, 512, allow_small=True
    )
    sieve = sieve_for(facts.half, parties)
    assert all(prime > parties for prime in sieve.primes)
    assert prod(sieve.primes) == sieve.modulus
    for attempt in range(20):
        random = seeded(f"summands {attempt}")
        residues = [mpz(int.from_bytes(random(40), "big")) % sieve.modulus for _ in range(parties)]
        total = sum(
            summand(facts, sieve, index, residue, random)
            for index, residue in enumerate(residues, start=1)
        )
        assert total % 12 == 11
        assert total % sieve.modulus == sum(residues) % sieve.modulus
        assert total.bit_length() == facts.half
        assert total >> (facts.half - 2) == 3


def test_the_next_prime_is_the_next():
    assert [next_prime(mpz(one)) for one in (1, 2, 3, 13, 14, 89)] == [3, 3, 5, 17, 17, 97]


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bits", [1024, 2048])
def test_a_large_key_is_made_in_minutes(bits):
    start = process_time()
    made = run(context(bits=bits, batch=64), f"large {bits}")
    seconds = (process_time() - start) / 3
    key = made[0].result[0]
    ciphertexts = encrypt_all(key, [1, int(key.n) - 1])
    partials = [partial_decryption(key, one.result[1], ciphertexts) for one in made[:2]]
    assert combine(key, ciphertexts, partials) == [1, key.n - 1]
    assert seconds < 300
