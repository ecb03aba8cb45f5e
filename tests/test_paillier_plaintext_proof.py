"""Proofs of plaintext knowledge: for the prover's own vector, in one round, and nobody else's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import seeded
from support.small_paillier import BITS, small_key, small_obfuscators, two_threads

from protocols.errors import MisuseError, ProofError
from protocols.paillier.encryption import Encrypted, encrypt
from protocols.paillier.integers import invert, mpz, powmod
from protocols.paillier.keys import PublicKey
from protocols.paillier.multi_exponentiation import product_of_powers
from protocols.paillier.pairs import fold, split
from protocols.paillier.plaintext_proof import (
    PlaintextProof,
    check_plaintexts,
    prove_plaintexts,
)

AGREEMENT = bytes(range(32))
PLACE: dict[str, Any] = {"agreement": AGREEMENT, "round_": 3, "party": "ada"}


def sealed(plain: list[int], label: object = "") -> Encrypted:
    values = [mpz(one) for one in plain]
    return encrypt(small_key().public, values, small_obfuscators(len(plain), label))


def accept(proof: PlaintextProof, ciphertexts: list[mpz], **changes: Any) -> None:
    key = changes.pop("key", small_key().public)
    check_plaintexts(key, ciphertexts, proof, **(PLACE | changes))


@pytest.fixture(scope="module")
def honest() -> tuple[Encrypted, PlaintextProof]:
    made = sealed([0, 1, small_key().public.n - 1, 2**200, 5])
    return made, prove_plaintexts(made, **PLACE, random=seeded("proof"))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 2**32))
def test_the_proof_of_every_honest_vector_holds(data, label):
    n = small_key().public.n
    one = st.one_of(st.sampled_from([0, 1, n - 1]), st.integers(0, n - 1))
    made = sealed(data.draw(st.lists(one, min_size=1, max_size=12)), label)
    proof = prove_plaintexts(made, **PLACE, random=seeded(label))
    accept(proof, made.ciphertexts)
    accept(proof, made.ciphertexts, ranges=two_threads)


def test_a_proof_is_short_however_long_the_vector_is(honest):
    made = sealed([7] * 300, "long")
    proof = prove_plaintexts(made, **PLACE, random=seeded("long"))
    accept(proof, made.ciphertexts)
    assert len(msgspec.msgpack.encode(proof)) == len(msgspec.msgpack.encode(honest[1])) < 200


@pytest.mark.parametrize(
    "change",
    [{"agreement": bytes(32)}, {"round_": 4}, {"party": "bob"}],
    ids=["agreement", "round", "party"],
)
def test_a_proof_from_elsewhere_is_refused_and_names_its_sender(honest, change):
    made, proof = honest
    with pytest.raises(ProofError, match="does not prove") as caught:
        accept(proof, made.ciphertexts, **change)
    assert caught.value.party == change.get("party", "ada")
    assert caught.value.step == "encrypt"


def test_another_partys_ciphertexts_cannot_be_sent_again_under_ones_own_name(honest):
    made, proof = honest
    with pytest.raises(ProofError):
        accept(proof, made.ciphertexts, party="eve")
    # Nor after a shift or a new obfuscator, of which the copier knows everything.
    key, square = small_key().public, small_key().public.n_squared
    for factor in (1 + key.n, powmod(key.h_s, 99, square)):
        shifted = [one * factor % square for one in made.ciphertexts]
        with pytest.raises(ProofError):
            accept(proof, shifted)
        claimed = Encrypted(key, shifted, made.plaintexts, [99] * len(shifted))
        with pytest.raises(ProofError):
            accept(prove_plaintexts(claimed, **PLACE, random=seeded("copy")), shifted)


def test_a_proof_for_another_key_is_refused(honest):
    made, proof = honest
    key = small_key("other").public
    reduced = [one % key.n_squared for one in made.ciphertexts]
    with pytest.raises(ProofError):
        accept(proof, reduced, key=key)
    # Nor for the same modulus under another seed, of which this base is a power as well.
    with pytest.raises(ProofError):
        accept(proof, made.ciphertexts, key=PublicKey(made.key.n, bytes(32), allow_small=True))


@pytest.mark.parametrize("field", PlaintextProof.__struct_fields__)
def test_every_change_to_a_proof_is_refused(honest, field):
    made, proof = honest
    value = getattr(proof, field)
    n = small_key().public.n
    changes = [
        value[:-1] + bytes([value[-1] ^ 1]),
        bytes([value[0] ^ 1]) + value[1:],
        value[1:],
        value + b"\0",
        b"",
        bytes(len(value)),
        b"\xff" * len(value),
        n.to_bytes(BITS // 8, "big"),
    ]
    for other in changes:
        with pytest.raises(ProofError):
            accept(msgspec.structs.replace(proof, **{field: other}), made.ciphertexts)


def test_every_change_to_the_vector_is_refused(honest):
    made, proof = honest
    square = small_key().public.n_squared
    sent = made.ciphertexts
    for index in range(len(sent)):
        other = sent.copy()
        other[index] = square - other[index]
        with pytest.raises(ProofError):
            accept(proof, other)
    for other in (sent[1:], [*sent, sent[0]], sent[::-1], []):
        with pytest.raises(ProofError):
            accept(proof, other)


def test_no_response_has_two_forms(honest):
    """Or whoever passes a proof on could change it."""
    made, _ = honest
    n = small_key().public.n
    proofs = (prove_plaintexts(made, **PLACE, random=seeded(k)) for k in range(99))
    proof = next(one for one in proofs if int.from_bytes(one.plaintext, "big") + n < 1 << BITS)
    longer = (int.from_bytes(proof.plaintext, "big") + n).to_bytes(BITS // 8, "big")
    accept(proof, made.ciphertexts)
    with pytest.raises(ProofError, match="out of range"):
        accept(msgspec.structs.replace(proof, plaintext=longer), made.ciphertexts)
    for field in ("plaintext", "exponent"):
        padded = b"\0" + getattr(proof, field)
        with pytest.raises(ProofError, match="length"):
            accept(msgspec.structs.replace(proof, **{field: padded}), made.ciphertexts)


@pytest.mark.parametrize("index", range(5))
def test_a_plaintext_that_the_prover_does_not_know_spoils_the_proof(honest, index):
    made, _ = honest
    for plaintexts, exponents in (
        ([*made.plaintexts[:index], mpz(77), *made.plaintexts[index + 1 :]], made.exponents),
        (made.plaintexts, [*made.exponents[:index], 77, *made.exponents[index + 1 :]]),
    ):
        claimed = Encrypted(made.key, made.ciphertexts, plaintexts, exponents)
        proof = prove_plaintexts(claimed, **PLACE, random=seeded("claim"))
        with pytest.raises(ProofError, match="challenge"):
            accept(proof, made.ciphertexts)


def test_two_unknown_plaintexts_that_cancel_out_do_not_pass(honest):
    # Powers are hashed from the vector: whoever multiplies one ciphertext by a factor and divides
    # another by it, to leave a plain product as it was, changes the folded one.
    made, _ = honest
    square = small_key().public.n_squared
    sent = made.ciphertexts.copy()
    sent[0], sent[1] = sent[0] * 3 % square, sent[1] * invert(3, square) % square
    claimed = Encrypted(made.key, sent, made.plaintexts, made.exponents)
    proof = prove_plaintexts(claimed, **PLACE, random=seeded("cancel"))
    with pytest.raises(ProofError, match="challenge"):
        accept(proof, sent)


def test_a_ciphertext_outside_the_group_is_refused(honest):
    made, proof = honest
    with pytest.raises(ProofError, match="shares a factor"):
        accept(proof, [mpz(small_key().p), *made.ciphertexts[1:]])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1), st.integers(0, 2**128 - 1)), min_size=1, max_size=9))
def test_a_product_of_powers_in_pairs_is_the_plain_one(terms):
    n = mpz(small_key().public.n)
    square = n * n
    values = [mpz(value) % square or mpz(1) for value, _ in terms]
    powers = [mpz(power) for _, power in terms]
    assert fold(values, powers, n) == product_of_powers(values, powers, square)
    residues, scales = split(values, n)
    assert all(0 <= one < n for one in (*residues, *scales))
    pairs = zip(residues, scales, strict=True)
    assert [a * (1 + c * n) % square for a, c in pairs] == values


def test_a_vector_of_none_is_not_proved():
    with pytest.raises(MisuseError, match="at least one"):
        prove_plaintexts(sealed([]), **PLACE, random=seeded("none"))


def test_two_proofs_of_one_vector_share_no_response(honest):
    made, proof = honest
    other = prove_plaintexts(made, **PLACE, random=seeded("again"))
    assert other.challenge != proof.challenge
    assert other.plaintext != proof.plaintext
    assert other.exponent != proof.exponent


def test_neither_the_proof_nor_its_text_shows_a_secret(honest):
    made, proof = honest
    assert str(made.exponents[0]) not in repr(proof)
    assert repr(proof) == f"PlaintextProof({proof.challenge.hex()})"


def test_what_two_answers_to_one_message_give_away_is_the_folded_plaintext(honest):
    """The extractor of the soundness argument, run: it finds what the ciphertexts hold."""
    made, _ = honest
    key = small_key().public
    n, square = mpz(key.n), mpz(key.n_squared)
    powers = [3, 5, 7, 11, 13]
    plaintext = sum(map(mpz.__mul__, made.plaintexts, map(mpz, powers))) % n
    exponent = sum(a * b for a, b in zip(made.exponents, powers, strict=True))
    answers = [(e, (9 + e * plaintext) % n, 2**600 + e * exponent) for e in (2**127, 12345)]
    (e, z, w), (other_e, other_z, other_w) = answers
    folded = product_of_powers(made.ciphertexts, powers, square)
    assert powmod(folded, e - other_e, square) == (
        (1 + (z - other_z) * n) * powmod(key.h_s, w - other_w, square) % square
    )
    assert (z - other_z) * invert(e - other_e, n) % n == small_key().decrypt([folded])[0]
