"""Threshold decryption: any t trustees open a product exactly, a wrong share names its sender."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from math import lcm

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import seeded
from support.trustees import dealt, encrypt, encrypt_all, primes, public_key

from protocols.errors import (
    BelowThresholdError,
    DuplicateError,
    InputError,
    MisuseError,
    PeerError,
    ShareError,
    UnknownPartyError,
    WireError,
)
from protocols.paillier.dealing_primes import safe_prime, safe_primes
from protocols.paillier.dealing_shares import check_share, check_verification_keys, deal_key
from protocols.paillier.integers import invert, is_prime, mpz, powmod
from protocols.paillier.multi_exponentiation import Spread, powers, product_of_powers
from protocols.paillier.threshold import (
    Partial,
    combine,
    combine_roots,
    lagrange,
    open_with,
    partial_decryption,
)
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from protocols.paillier.threshold_lifting import lift, lifts_hold, logarithm
from protocols.paillier.threshold_proofs import PartialProof, check_proof, prove, response_bytes

BINDING = bytes(32)
DEGREES = (1, 2, 3, 4)


def extremes(key: ThresholdKey) -> list[int]:
    top = int(key.plain_modulus)
    return [0, 1, top // 2, top - int(key.n), top - 1]


def partials(key, shares, ciphertexts):
    return [partial_decryption(key, share, ciphertexts) for share in shares]


def decrypt_with_the_factors(key: ThresholdKey, ciphertext: mpz, bits: int) -> int:
    """Decrypt as Damgard and Jurik do, with d = 0 mod lambda and d = 1 mod n^s; an oracle."""
    order = lcm(*(int(prime) - 1 for prime in primes(bits)))
    d = order * invert(mpz(order), key.plain_modulus)
    return int(logarithm(key, powmod(ciphertext, d, key.cipher_modulus)))


# Completeness


@pytest.mark.parametrize(
    ("trustees", "threshold"), [(n, t) for n in range(1, 7) for t in range(1, n + 1)]
)
def test_every_subset_of_t_of_n_decrypts_exactly(trustees, threshold):
    key, shares = dealt(trustees, threshold)
    plain = extremes(key)
    ciphertexts = encrypt_all(key, plain)
    made = partials(key, shares, ciphertexts)
    for subset in combinations(made, threshold):
        assert combine(key, ciphertexts, subset) == plain


@pytest.mark.parametrize("degree", DEGREES)
def test_larger_ciphertexts_are_opened_by_partial_decryptions_of_the_same_size(degree):
    key, shares = dealt(3, 2, degree)
    plain = extremes(key)
    ciphertexts = encrypt_all(key, plain)
    made = partials(key, shares, ciphertexts)
    assert all(0 < one < key.n for partial in made for one in partial.values)
    for subset in combinations(made, 2):
        assert combine(key, ciphertexts, subset) == plain


@pytest.mark.parametrize("degree", DEGREES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_threshold_opens_what_the_factors_open(degree, data):
    key, shares = dealt(5, 3, degree)
    plain = data.draw(st.integers(0, int(key.plain_modulus) - 1))
    ciphertexts = [encrypt(key, plain)]
    who = data.draw(st.permutations(shares))[:3]
    [opened] = combine(key, ciphertexts, partials(key, who, ciphertexts))
    assert opened == plain == decrypt_with_the_factors(key, ciphertexts[0], 512)


@given(
    values=st.lists(
        st.integers(0, int(public_key().n) - 1) | st.sampled_from([0, 1, int(public_key().n) - 1]),
        min_size=2,
        max_size=6,
    )
)
@settings(max_examples=25, deadline=None)
def test_the_product_of_ciphertexts_opens_to_the_sum(values):
    key, shares = dealt(3, 2)
    product = mpz(1)
    for ciphertext in encrypt_all(key, values):
        product = product * ciphertext % key.cipher_modulus
    assert combine(key, [product], partials(key, shares, [product])) == [sum(values) % key.n]


@given(unit=st.integers(2, int(public_key().n) ** 2 - 1))
@settings(max_examples=25, deadline=None)
def test_every_unit_is_a_ciphertext_that_opens_as_the_factors_say(unit):
    key, shares = dealt(3, 2)
    [opened] = combine(key, [mpz(unit)], partials(key, shares, [mpz(unit)]))
    assert opened == decrypt_with_the_factors(key, mpz(unit), 512)


def test_a_production_size_key_decrypts():
    key, shares = dealt(3, 2, 1, 2048)
    plain = extremes(key)
    ciphertexts = encrypt_all(key, plain)
    assert combine(key, ciphertexts, partials(key, shares[1:], ciphertexts)) == plain


def test_threads_change_nothing():
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, list(range(21)))
    with ThreadPoolExecutor(2) as pool:
        spread = Spread(pool.map, 2)
        made = [partial_decryption(key, share, ciphertexts, spread) for share in shares]
        assert combine(key, ciphertexts, made, spread) == list(range(21))
    assert made == partials(key, shares, ciphertexts)


def test_a_hundred_trustees_decrypt():
    key, shares = dealt(100, 51)
    ciphertexts = [encrypt(key, 42)]
    assert combine(key, ciphertexts, partials(key, shares[49:], ciphertexts)) == [42]


def test_an_empty_list_decrypts_to_an_empty_list():
    key, shares = dealt(3, 2)
    assert combine(key, [], partials(key, shares, [])) == []


# What is refused when combining


def test_too_few_partial_decryptions_open_nothing():
    key, shares = dealt(5, 3)
    ciphertexts = [encrypt(key, 7)]
    with pytest.raises(BelowThresholdError) as error:
        combine(key, ciphertexts, partials(key, shares[:2], ciphertexts))
    assert (error.value.have, error.value.need) == (2, 3)


def test_one_trustee_twice_does_not_count_twice():
    key, shares = dealt(5, 3)
    ciphertexts = [encrypt(key, 7)]
    made = partials(key, shares[:2], ciphertexts)
    with pytest.raises(DuplicateError, match="trustee 1"):
        combine(key, ciphertexts, [*made, made[0]])


@pytest.mark.parametrize("index", [0, -1, 6])
def test_a_trustee_that_does_not_exist_is_refused(index):
    key, shares = dealt(5, 3)
    ciphertexts = [encrypt(key, 7)]
    made = partials(key, shares[:3], ciphertexts)
    with pytest.raises(UnknownPartyError, match=f"trustee {index}"):
        combine(key, ciphertexts, [*made[1:], replace(made[0], index=index)])


def test_a_partial_decryption_of_another_length_names_its_trustee():
    key, shares = dealt(3, 2)
    ciphertexts = [encrypt(key, 7)]
    made = partials(key, shares, ciphertexts)
    with pytest.raises(ShareError, match="trustee 2"):
        combine(key, ciphertexts, [made[0], replace(made[1], values=[])])


@given(error=st.integers(2, int(public_key().n) - 1), place=st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_no_wrong_partial_decryption_yields_a_wrong_plaintext(error, place):
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [7, 8])
    made = partials(key, shares[:2], ciphertexts)
    values = list(made[0].values)
    values[place] = values[place] * error % key.n
    try:
        opened = combine(key, ciphertexts, [Partial(1, values), made[1]])
    except ShareError:
        return
    # An error whose square is 1 falls out; nothing else passes.
    assert powmod(mpz(error), 2, key.n) == 1
    assert opened == [7, 8]


def test_a_change_of_sign_changes_nothing_since_partial_decryptions_are_squared():
    key, shares = dealt(3, 2)
    ciphertexts = [encrypt(key, 7)]
    made = partials(key, shares, ciphertexts)
    flipped = Partial(1, [key.n - made[0].values[0]])
    assert combine(key, ciphertexts, [flipped, made[1]]) == [7]


def test_shares_of_two_dealings_of_one_key_do_not_mix():
    key, shares = dealt(3, 2)
    _, others = dealt(3, 2, dealing="second")
    ciphertexts = [encrypt(key, 7)]
    with pytest.raises(ShareError, match="check their proofs"):
        combine(key, ciphertexts, partials(key, [shares[0], others[1]], ciphertexts))


@pytest.mark.parametrize("bad", [0, -1, int(public_key().n), int(public_key().n) ** 2 + 1])
def test_what_is_no_ciphertext_is_not_decrypted(bad):
    key, shares = dealt(3, 2)
    with pytest.raises(MisuseError, match="a ciphertext lies"):
        partial_decryption(key, shares[0], [encrypt(key, 1), mpz(bad)])
    with pytest.raises(MisuseError, match="a ciphertext lies"):
        combine(key, [mpz(bad)], [])


def test_a_partial_decryption_with_a_factor_of_n_is_refused():
    key, shares = dealt(3, 2)
    ciphertexts = [encrypt(key, 7)]
    [good] = partials(key, shares[1:2], ciphertexts)
    with pytest.raises(ShareError, match="trustee 1 at decrypt: a partial decryption is no unit"):
        combine(key, ciphertexts, [Partial(1, [primes(512)[0]]), good])


# Lifting for others


@pytest.mark.parametrize("degree", DEGREES)
def test_lifts_made_by_others_are_checked_for_little(degree):
    key, shares = dealt(3, 2, degree)
    plain = [5, 6, 7]
    ciphertexts = encrypt_all(key, plain)
    roots = combine_roots(key, ciphertexts, partials(key, shares, ciphertexts))
    lifted = lift(key, roots.values)
    for root, one in zip(roots.values, lifted, strict=True):
        assert one == powmod(root, key.plain_modulus, key.cipher_modulus)
    assert lifts_hold(key, roots.values, lifted, seeded("check"))
    assert open_with(key, ciphertexts, roots, lifted) == plain


@pytest.mark.parametrize("degree", [1, 2])
def test_a_false_lift_is_found(degree):
    key, shares = dealt(3, 2, degree)
    ciphertexts = encrypt_all(key, [5, 6, 7])
    roots = combine_roots(key, ciphertexts, partials(key, shares, ciphertexts))
    lifted = lift(key, roots.values)
    for factor in (1 + key.n, 1 + key.plain_modulus, mpz(2)):
        false = [lifted[0], lifted[1] * factor % key.cipher_modulus, lifted[2]]
        assert not lifts_hold(key, roots.values, false, seeded("check"))
    for false in ([*lifted[:2], mpz(0)], lifted[:2], [*lifted[:2], key.n]):
        assert not lifts_hold(key, roots.values, false, seeded("check"))
    # An error of order 2 passes the combination, and fails when it is used.
    flipped = [key.cipher_modulus - lifted[0], *lifted[1:]]
    assert lifts_hold(key, roots.values, flipped, seeded("check"))
    with pytest.raises(ShareError, match="or a lift"):
        open_with(key, ciphertexts, roots, flipped)
    with pytest.raises(MisuseError):
        open_with(key, ciphertexts, roots, lifted[:2])


@pytest.mark.parametrize("degree", DEGREES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_logarithm_undoes_the_power(degree, data):
    key, _ = dealt(3, 2, degree)
    top = int(key.plain_modulus)
    exponent = data.draw(st.integers(0, top - 1) | st.sampled_from([0, 1, top - 1]))
    assert logarithm(key, powmod(1 + key.n, exponent, key.cipher_modulus)) == exponent


# Proofs


def proven(key, shares, ciphertexts, who=0):
    [partial] = partials(key, shares[who : who + 1], ciphertexts)
    proof = prove(
        key, shares[who], ciphertexts, partial, binding=BINDING, random=seeded(f"proof {who}")
    )
    return partial, proof


def check(key, ciphertexts, partial, proof, binding=BINDING):
    check_proof(key, ciphertexts, partial, proof, binding=binding, name="bravo")


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_an_honest_proof_holds(degree, count):
    key, shares = dealt(5, 3, degree)
    ciphertexts = encrypt_all(key, list(range(count)))
    for who in range(5):
        partial, proof = proven(key, shares, ciphertexts, who)
        assert len(proof.response) == response_bytes(key)
        check(key, ciphertexts, partial, proof)


@pytest.mark.parametrize("place", [0, 7])
@pytest.mark.parametrize("error", ["another power", "one plus", "a small factor"])
def test_one_wrong_value_among_many_names_its_sender(place, error):
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, list(range(8)))
    partial, _ = proven(key, shares, ciphertexts)
    values = list(partial.values)
    values[place] = {
        "another power": powmod(values[place], 3, key.n),
        "one plus": values[place] + 1,
        "a small factor": values[place] * 2 % key.n,
    }[error]
    false = Partial(1, values)
    # The cheat proves its own false values as well as it can.
    proof = prove(key, shares[0], ciphertexts, false, binding=BINDING, random=seeded("cheat"))
    with pytest.raises(ShareError, match="bravo at decrypt") as caught:
        check(key, ciphertexts, false, proof)
    assert caught.value.party == "bravo"


def test_two_values_exchanged_are_found():
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1, 2])
    partial, _ = proven(key, shares, ciphertexts)
    false = Partial(1, [partial.values[1], partial.values[0]])
    proof = prove(key, shares[0], ciphertexts, false, binding=BINDING, random=seeded("cheat"))
    with pytest.raises(ShareError):
        check(key, ciphertexts, false, proof)


@given(bit=st.integers(0, 127))
@settings(max_examples=20, deadline=None)
def test_a_challenge_with_one_bit_changed_is_refused(bit):
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1, 2])
    partial, proof = proven(key, shares, ciphertexts)
    challenge = (int.from_bytes(proof.challenge, "big") ^ 1 << bit).to_bytes(16, "big")
    with pytest.raises(ShareError):
        check(key, ciphertexts, partial, PartialProof(challenge, proof.response))


@given(bit=st.integers(0, 8 * response_bytes(dealt(3, 2)[0]) - 1))
@settings(max_examples=20, deadline=None)
def test_a_response_with_one_bit_changed_is_refused(bit):
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1, 2])
    partial, proof = proven(key, shares, ciphertexts)
    size = len(proof.response)
    response = (int.from_bytes(proof.response, "big") ^ 1 << bit).to_bytes(size, "big")
    with pytest.raises(ShareError):
        check(key, ciphertexts, partial, PartialProof(proof.challenge, response))


def test_a_proof_of_another_length_is_refused_before_any_arithmetic(monkeypatch):
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1])
    partial, proof = proven(key, shares, ciphertexts)

    def never(*_args):
        raise AssertionError("arithmetic on a proof of the wrong size")

    for name in ("powmod", "product_of_powers", "are_units"):
        monkeypatch.setattr(f"protocols.paillier.threshold_proofs.{name}", never)
    for challenge, response in (
        (proof.challenge, b"\x00" + proof.response),
        (proof.challenge, proof.response[1:]),
        (proof.challenge, bytes(10**6)),
        (proof.challenge + b"\x00", proof.response),
        (b"", proof.response),
    ):
        with pytest.raises(ShareError, match="another length"):
            check(key, ciphertexts, partial, PartialProof(challenge, response))
    with pytest.raises(ShareError, match="2 partial decryptions for 1"):
        check(key, ciphertexts, Partial(1, [mpz(1), mpz(1)]), proof)


def test_a_proof_holds_for_its_place_its_trustee_its_ciphertexts_and_its_key_only():
    key, shares = dealt(3, 2)
    other_key, _ = dealt(3, 2, dealing="second")
    ciphertexts = encrypt_all(key, [1, 2])
    partial, proof = proven(key, shares, ciphertexts)
    check(key, ciphertexts, partial, proof)
    others = encrypt_all(key, [1, 2], "again")
    for arguments in (
        (key, ciphertexts, partial, proof, b"\x01" * 32),
        (key, ciphertexts, replace(partial, index=2), proof),
        (key, others, partial, proof),
        (key, ciphertexts[::-1], partial, proof),
        (other_key, ciphertexts, partial, proof),
    ):
        with pytest.raises(ShareError, match="bravo"):
            check(*arguments)


def test_a_share_of_another_dealing_is_found_by_its_proof():
    key, shares = dealt(3, 2)
    _, others = dealt(3, 2, dealing="second")
    ciphertexts = encrypt_all(key, [1, 2])
    partial, proof = proven(key, others, ciphertexts)
    with pytest.raises(ShareError, match="not that of its share"):
        check(key, ciphertexts, partial, proof)
    assert shares[0].value != others[0].value


@pytest.mark.parametrize("bad", [0, -5, int(public_key().n), int(primes(512)[0])])
def test_a_partial_decryption_that_is_no_unit_names_its_sender(bad):
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1, 2])
    partial, proof = proven(key, shares, ciphertexts)
    with pytest.raises(ShareError, match="no unit"):
        check(key, ciphertexts, Partial(1, [partial.values[0], mpz(bad)]), proof)


def test_a_proof_of_a_trustee_that_does_not_exist_names_its_sender():
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1])
    partial, proof = proven(key, shares, ciphertexts)
    with pytest.raises(UnknownPartyError, match="bravo"):
        check(key, ciphertexts, replace(partial, index=4), proof)


def test_a_trustee_proves_only_what_is_its_own():
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1])
    partial, _ = proven(key, shares, ciphertexts)
    with pytest.raises(MisuseError):
        prove(key, shares[1], ciphertexts, partial, binding=BINDING, random=seeded(0))


def test_responses_hide_the_share_behind_128_bits_more_than_it_has():
    key, shares = dealt(3, 2)
    ciphertexts = encrypt_all(key, [1])
    exponent = key.delta * shares[0].value
    partial, proof = proven(key, shares, ciphertexts)
    nonce = int.from_bytes(proof.response, "big") - int.from_bytes(proof.challenge, "big") * (
        exponent
    )
    assert nonce.bit_length() > exponent.bit_length() + 128 + 128 - 16
    check(key, ciphertexts, partial, proof)


# Keys and shares


def test_a_share_shows_itself_nowhere():
    _, shares = dealt(3, 2)
    for text in (repr(shares[0]), str(shares[0])):
        assert str(shares[0].value) not in text
        assert f"{shares[0].value:x}" not in text
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(shares[0])


@pytest.mark.parametrize("degree", DEGREES)
def test_verification_keys_are_checked_without_any_secret(degree):
    for trustees, threshold in ((1, 1), (3, 2), (5, 3), (6, 6)):
        key, shares = dealt(trustees, threshold, degree)
        check_verification_keys(key)
        for share in shares:
            check_share(key, share, dealer="dealer")


@pytest.mark.parametrize(("trustees", "threshold"), [(3, 2), (3, 3), (5, 3)])
def test_verification_keys_that_share_nothing_or_something_else_are_refused(trustees, threshold):
    key, _ = dealt(trustees, threshold)
    for index in range(trustees):
        changed = list(key.verification)
        changed[index] = changed[index] * 4 % key.n
        with pytest.raises(InputError):
            check_verification_keys(replace(key, verification=tuple(changed)))
    # On one polynomial, but the constant is not the exponent that decrypts.
    shifted = tuple(one * powmod(key.base, key.delta, key.n) % key.n for one in key.verification)
    with pytest.raises(InputError, match="exponent that decrypts"):
        check_verification_keys(replace(key, verification=shifted))
    with pytest.raises(InputError):
        check_verification_keys(replace(key, degree=2))


def test_a_share_that_does_not_match_its_verification_key_names_the_dealer():
    key, shares = dealt(3, 2)
    for value in (shares[0].value + 1, shares[1].value, -shares[0].value, key.n + 5):
        with pytest.raises(ShareError, match="dealer"):
            check_share(key, KeyShare(1, value), dealer="dealer")
    with pytest.raises(UnknownPartyError):
        check_share(key, KeyShare(4, shares[0].value), dealer="dealer")


def test_a_key_is_not_dealt_from_primes_that_are_not_its_own_or_not_safe():
    public, good = public_key(), primes(512)
    for wrong in ((good[0], good[0]), (good[0], mpz(7)), primes(2048), (mpz(1), mpz(public.n))):
        with pytest.raises(MisuseError):
            deal_key(public, wrong, trustees=3, threshold=2, degree=1, random=seeded(0))
    for trustees, threshold, degree in ((3, 4, 1), (3, 0, 1), (101, 2, 1), (3, 2, 0), (3, 2, 5)):
        with pytest.raises(MisuseError):
            deal_key(
                public,
                good,
                trustees=trustees,
                threshold=threshold,
                degree=degree,
                random=seeded(0),
            )


def test_a_threshold_key_survives_the_wire_and_nothing_else_does():
    key, _ = dealt(3, 2, 1, 2048)
    data = key.to_bytes()
    again = ThresholdKey.from_bytes(data, party="dealer")
    assert again == key
    assert again.digest() == key.digest()
    assert again.cipher_modulus == key.cipher_modulus
    for bad in (data[:-1], data + b"\x00", b"", data[:300], bytes(10**6)):
        with pytest.raises(WireError, match="dealer"):
            ThresholdKey.from_bytes(bad, party="dealer")


def test_a_small_threshold_key_is_refused_from_the_wire():
    key, _ = dealt(3, 2)
    with pytest.raises(WireError, match="2048"):
        ThresholdKey.from_bytes(key.to_bytes(), party="dealer")


@pytest.mark.parametrize("bad", [0, int(public_key(2048).n), int(primes(2048)[1])])
def test_a_verification_key_that_is_no_unit_is_refused(bad):
    key, _ = dealt(3, 2, 1, 2048)
    with pytest.raises(InputError):
        replace(key, verification=(*key.verification[:2], mpz(bad)))


def test_a_key_with_impossible_numbers_is_refused():
    key, _ = dealt(3, 2)
    for wrong in ({"threshold": 0}, {"threshold": 4}, {"degree": 0}, {"degree": 5}):
        with pytest.raises(InputError):
            replace(key, **wrong)
    with pytest.raises(InputError):
        replace(key, verification=())


# Safe primes


@pytest.mark.parametrize("bits", [64, 128, 160])
def test_safe_primes_are_what_they_are_called(bits):
    for attempt in range(3):
        prime = safe_prime(bits, seeded(f"{bits} {attempt}"))
        assert prime.bit_length() == bits
        assert prime >> (bits - 2) == 3
        assert is_prime(prime)
        assert is_prime(prime // 2)
        assert prime % 4 == 3


def test_a_modulus_of_safe_primes_has_its_length():
    first, second = safe_primes(256, seeded("modulus"))
    assert (first * second).bit_length() == 256
    assert first != second
    for bits in (100, 96, 2047):
        with pytest.raises(MisuseError):
            safe_primes(bits, seeded(0))


def test_the_fixed_primes_of_the_tests_are_safe():
    for bits in (512, 2048):
        for prime in primes(bits):
            assert is_prime(prime)
            assert is_prime(prime // 2)


# Powers


@given(
    pairs=st.lists(st.tuples(st.integers(1, 2**64), st.integers(0, 2**130)), max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_a_product_of_powers_is_the_product_of_the_powers(pairs):
    modulus = mpz(2**127 - 1)
    expected = mpz(1)
    for base, exponent in pairs:
        expected = expected * powmod(base, exponent, modulus) % modulus
    bases = [mpz(base) for base, _ in pairs]
    assert product_of_powers(bases, [exponent for _, exponent in pairs], modulus) == expected


def test_a_product_of_powers_takes_one_exponent_for_each_base():
    for exponents in ([], [1, 2], [-1]):
        with pytest.raises(MisuseError):
            product_of_powers([mpz(3)], exponents, mpz(7))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_slices_cover_a_list_once_and_in_order(workers, count):
    items = list(range(count))
    pieces = [items[piece] for piece in Spread(map, workers).slices(count)]
    assert [one for piece in pieces for one in piece] == items
    assert powers([mpz(one) for one in items], mpz(3), mpz(101), Spread(map, workers)) == [
        one**3 % 101 for one in items
    ]


@given(
    indices=st.lists(st.integers(1, 100), min_size=1, max_size=12, unique=True),
    at=st.integers(0, 100),
    coefficients=st.lists(st.integers(-(10**6), 10**6), min_size=12, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_integer_interpolation_is_exact(indices, at, coefficients):
    used = coefficients[: len(indices)]

    def value(x: int) -> int:
        return sum(coefficient * x**power for power, coefficient in enumerate(used))

    weights, scale = lagrange(indices, at)
    assert sum(w * value(i) for w, i in zip(weights, indices, strict=True)) == scale * value(at)


def test_every_refusal_of_a_peer_names_it():
    assert issubclass(ShareError, PeerError)
