"""Signatures: an agreement is in force when every party has signed exactly this one."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agreements import (
    changed,
    identity_of,
    in_force,
    make_agreement,
    party_name,
    plain_agreement,
    signatures,
)

from protocols.agreement import (
    AgreementSignature,
    SignedAgreement,
    agreement_from,
    bring_into_force,
    check_signature,
    sign_agreement,
)
from protocols.errors import AgreementError
from protocols.identity import Identity

# Signatures


def test_an_agreement_that_everybody_signed_is_in_force() -> None:
    agreement = make_agreement(4)
    signed = bring_into_force(agreement, reversed(signatures(agreement)))
    assert signed.digest == agreement.digest()
    assert [one.name for one in signed.signatures] == [party.name for party in agreement.parties]
    for one in signed.signatures:
        check_signature(agreement, one)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.data())
def test_no_missing_signature_brings_an_agreement_into_force(n: int, data: st.DataObject) -> None:
    agreement = make_agreement(n, colluders=0)
    gone = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    given_ones = [one for i, one in enumerate(signatures(agreement)) if i not in gone]
    with pytest.raises(AgreementError) as caught:
        bring_into_force(agreement, given_ones)
    for i in range(n):
        assert (party_name(i) in str(caught.value)) == (i in gone)
    assert caught.value.key == "signatures"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_forged_signature_brings_an_agreement_into_force(data: st.DataObject) -> None:
    agreement = make_agreement(4)
    ones = signatures(agreement)
    victim = data.draw(st.integers(0, 3))
    raw = bytearray.fromhex(ones[victim].signature)
    forgery = data.draw(st.sampled_from(["bit", "other key", "other party", "zeros"]))
    if forgery == "bit":
        bit = data.draw(st.integers(0, 511))
        raw[bit // 8] ^= 1 << bit % 8
    elif forgery == "other key":
        mallory = Identity(party_name(victim), bytes(32))
        message = agreement.digest() + party_name(victim).encode()
        raw = bytearray(mallory.sign_bytes(b"securefed agreement signature v1", message))
    elif forgery == "other party":
        raw = bytearray.fromhex(ones[(victim + 1) % 4].signature)
    else:
        raw = bytearray(64)
    ones[victim] = AgreementSignature(ones[victim].agreement, party_name(victim), raw.hex())
    with pytest.raises(AgreementError, match=f"signature of {party_name(victim)} is not valid"):
        bring_into_force(agreement, ones)
    with pytest.raises(AgreementError, match="is not valid"):
        check_signature(agreement, ones[victim])


def test_a_signature_for_another_digest_is_refused() -> None:
    agreement = make_agreement(4)
    other = agreement_from(changed(plain_agreement(4), "tasks.0.rounds", 4))
    ones = signatures(agreement)
    ones[2] = sign_agreement(other, identity_of("party-2"))
    with pytest.raises(AgreementError, match="party-2 signed another agreement") as caught:
        bring_into_force(agreement, ones)
    assert other.digest().hex()[:16] in str(caught.value)
    # Relabelled as one of this agreement, it is still not a signature on it.
    ones[2] = msgspec.structs.replace(ones[2], agreement=agreement.digest().hex())
    with pytest.raises(AgreementError, match="party-2 is not valid"):
        bring_into_force(agreement, ones)


def test_a_signature_counts_for_one_party_only() -> None:
    agreement = make_agreement(3)
    ones = signatures(agreement)
    ones[1] = msgspec.structs.replace(ones[0], name="party-1")
    with pytest.raises(AgreementError, match="party-1 is not valid"):
        bring_into_force(agreement, ones)


def test_a_signature_given_twice_or_by_a_stranger_is_refused() -> None:
    agreement = make_agreement(3)
    ones = signatures(agreement)
    with pytest.raises(AgreementError, match="party-0: given twice"):
        bring_into_force(agreement, [*ones, ones[0]])
    stranger = msgspec.structs.replace(ones[0], name="mallory")
    with pytest.raises(AgreementError, match="mallory: given twice or by somebody who is no party"):
        bring_into_force(agreement, [*ones, stranger])
    with pytest.raises(AgreementError, match="no party is called 'mallory'"):
        check_signature(agreement, stranger)


def test_nobody_can_build_a_signed_agreement_without_the_signatures() -> None:
    agreement = make_agreement(3)
    with pytest.raises(AgreementError, match="missing from party-0, party-1, party-2"):
        SignedAgreement(agreement, ())
    signed = in_force(agreement)
    with pytest.raises(AttributeError):
        signed.agreement = make_agreement(4)  # type: ignore[misc]


def test_an_unsafe_agreement_is_neither_signed_nor_in_force() -> None:
    good = make_agreement(5)
    weak = good.model_copy(
        update={"aggregation": good.aggregation.model_copy(update={"threshold": 1})}
    )
    with pytest.raises(AgreementError, match=r"aggregation\.threshold"):
        sign_agreement(weak, identity_of("party-0"))
    with pytest.raises(AgreementError, match=r"aggregation\.threshold"):
        bring_into_force(weak, signatures(good))


def test_only_a_party_signs_and_only_with_the_key_that_is_named() -> None:
    agreement = make_agreement(3)
    with pytest.raises(AgreementError, match="no party is called 'hub'"):
        sign_agreement(agreement, identity_of("hub"))
    imposter = Identity("party-1", bytes(32))
    with pytest.raises(AgreementError, match=r"parties\[1\].public_key") as caught:
        sign_agreement(agreement, imposter)
    assert imposter.public.raw.hex() in caught.value.remedy


def test_a_signature_file_comes_back_as_it_was_written() -> None:
    one = signatures(make_agreement(3))[0]
    text = one.to_json()
    assert AgreementSignature.from_json(text) == one
    assert json.loads(text) == {
        "agreement": one.agreement,
        "name": "party-0",
        "signature": one.signature,
    }


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_signature_file_raises_nothing_but_an_agreement_error(
    data: st.DataObject,
) -> None:
    agreement = make_agreement(3)
    one = signatures(agreement)[0]
    text = bytearray(one.to_json())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        again = AgreementSignature.from_json(bytes(text), source="party-0.sig")
        check_signature(agreement, again)
    except AgreementError:
        return
    assert again == one


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 4000,
        b" " * 5000,
        b'{"agreement": "", "name": "a", "signature": ""}',
        b"\xff",
    ],
)
def test_what_is_no_signature_file_is_refused_by_its_name(text: bytes) -> None:
    with pytest.raises(AgreementError, match=r"^party-0\.sig: "):
        AgreementSignature.from_json(text, source="party-0.sig")
