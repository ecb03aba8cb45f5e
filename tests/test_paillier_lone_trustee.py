"""A key holder's one answer: plaintexts and a root that proves all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import seeded
from support.trustees import dealt

from protocols.errors import MisuseError, ShareError
from protocols.paillier.decryption import Half
from protocols.paillier.encryption import encrypt
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.integers import mpz
from protocols.paillier.lone_trustee import check_alone, is_lone, open_alone, private_key
from protocols.paillier.obfuscators import make_obfuscators
from protocols.paillier.threshold import combine, partial_decryption

KEY, (SHARE,) = dealt(1, 1)
BINDING = bytes(range(32))


def encrypted(plaintexts: list[int], seed: int = 0) -> list[mpz]:
    base = FixedBase.build(KEY.public, expected=len(plaintexts))
    made = make_obfuscators(KEY.public, len(plaintexts), random=seeded(seed), powers=base.powers)
    return encrypt(KEY.public, [mpz(one) for one in plaintexts], made).ciphertexts


def test_the_share_of_a_lone_trustee_determines_the_factors_and_no_other_share_is_taken():
    private = private_key(KEY, SHARE)
    assert private.p * private.q == KEY.public.n
    several, shares = dealt(3, 2)
    assert not is_lone(several)
    with pytest.raises(MisuseError, match="only a lone trustee"):
        private_key(several, shares[0])
    with pytest.raises(MisuseError, match="not of this key"):
        private_key(KEY, replace(SHARE, value=SHARE.value + 1))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, int(KEY.n) - 1), min_size=1, max_size=5), st.integers(0, 2**31))
def test_a_lone_trustee_opens_what_several_would_open_together(plaintexts, seed):
    product = encrypted(plaintexts, seed)
    opened, proof = open_alone(KEY, SHARE, product, binding=BINDING)
    check_alone(KEY, product, opened, proof, binding=BINDING, name="keys")
    assert opened == plaintexts
    assert combine(KEY, product, [partial_decryption(KEY, SHARE, product)]) == plaintexts


def test_a_party_that_sends_the_negative_of_a_ciphertext_cannot_have_the_key_holder_blamed():
    # -1 is an n-th power, so -c is another ciphertext of the same plaintext, and no square.
    product = encrypted([5, 7, 11])
    product[1] = KEY.cipher_modulus - product[1]
    opened, proof = open_alone(KEY, SHARE, product, binding=BINDING)
    assert opened == [5, 7, 11]
    check_alone(KEY, product, opened, proof, binding=BINDING, name="keys")


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("by", [1, 2, int(private_key(KEY, SHARE).p)])
def test_a_wrong_plaintext_is_refused_and_names_the_key_holder(place, by):
    product = encrypted([5, 7, 11])
    opened, proof = open_alone(KEY, SHARE, product, binding=BINDING)
    wrong = list(opened)
    wrong[place] = (wrong[place] + by) % KEY.n
    with pytest.raises(ShareError, match="at decrypt") as caught:
        check_alone(KEY, product, wrong, proof, binding=BINDING, name="keys")
    assert caught.value.party == "keys"
    # Nor with a proof that whoever knows the key makes for the wrong ones.
    _, other = open_alone(KEY, SHARE, encrypted([int(one) for one in wrong]), binding=BINDING)
    with pytest.raises(ShareError):
        check_alone(KEY, product, wrong, other, binding=BINDING, name="keys")


def test_two_wrong_plaintexts_whose_errors_cancel_are_refused():
    product = encrypted([5, 7, 11])
    opened, proof = open_alone(KEY, SHARE, product, binding=BINDING)
    wrong = [opened[0] + 1, opened[1] - 1, opened[2]]
    with pytest.raises(ShareError):
        check_alone(KEY, product, wrong, proof, binding=BINDING, name="keys")


def test_an_answer_holds_for_one_request_one_product_and_one_length():
    product = encrypted([5, 7, 11])
    opened, proof = open_alone(KEY, SHARE, product, binding=BINDING)
    for others, values, other_proof, binding in (
        (product, opened, proof, bytes(32)),
        (encrypted([5, 7, 11], seed=1), opened, proof, BINDING),
        (product[:2], opened[:2], proof, BINDING),
        (product, opened[:2], proof, BINDING),
        (product, [*opened[:2], opened[2] + KEY.n], proof, BINDING),
        (product, opened, replace(proof, response=proof.response[1:]), BINDING),
        (product, opened, replace(proof, response=bytes(KEY.residue_bytes)), BINDING),
        (product, opened, replace(proof, challenge=bytes(16)), BINDING),
    ):
        with pytest.raises(ShareError):
            check_alone(KEY, others, values, other_proof, binding=binding, name="keys")


def test_a_machine_that_errs_modulo_one_factor_says_nothing(monkeypatch):
    product, right = encrypted([5, 7, 11]), Half.decrypt
    prime = private_key(KEY, SHARE).p

    def wrong(self, ciphertexts):
        values = right(self, ciphertexts)
        return [values[0] + 1, *values[1:]] if self.prime == prime else values

    monkeypatch.setattr(Half, "decrypt", wrong)
    with pytest.raises(MisuseError, match="nothing of it is sent"):
        open_alone(KEY, SHARE, product, binding=BINDING)
