"""The key of an agreement, checked from its record alone; and the holder that deals to itself."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import pytest
from support.agreements import encrypted, identity_of, make_agreement, party_name, plain_agreement
from support.seeded import seeded
from support.trustees import encrypt_all, fixed_primes

from protocols.agreement import Agreement, agreement_from, validate
from protocols.errors import (
    AgreementError,
    AgreementMismatchError,
    DuplicateError,
    InputError,
    MisuseError,
    PeerError,
    QuorumError,
    SignatureError,
    UnexpectedMessageError,
    UnknownPartyError,
    WireError,
)
from protocols.identity import Identity
from protocols.paillier.dealing_context import CeremonyContext
from protocols.paillier.dealing_messages import Countersignature
from protocols.paillier.key_record import (
    MAX_RECORD_BYTES,
    KeyRecord,
    ceremony_context,
    complete_record,
    deal_in_memory,
    read_key_record,
)
from protocols.paillier.threshold import combine, partial_decryption
from protocols.paillier.threshold_key import KeyShare

PARTIES = [party_name(number) for number in range(3)]
IDENTITIES = {name: identity_of(name) for name in (*PARTIES, "dealer", "key-holder", "mallory")}


@lru_cache
def agreement_of(who: str, mode: str = "layered") -> Agreement:
    agreement = agreement_from(encrypted(plain_agreement(3), mode, who))
    validate(agreement)
    return agreement


@lru_cache
def dealt(who: str, label: str = "") -> tuple[bytes, dict[str, KeyShare]]:
    agreement = agreement_of(who)
    return deal_in_memory(
        agreement,
        agreement.digest(),
        IDENTITIES,
        seeded(f"in memory {who} {label}"),
        make_primes=fixed_primes,
    )


def read(data: bytes, who: str = "dealer"):
    agreement = agreement_of(who)
    return read_key_record(data, agreement, agreement.digest(), party="somebody")


def record_of(who: str = "dealer", label: str = "") -> KeyRecord:
    return KeyRecord.from_bytes(dealt(who, label)[0], party="")


def context_of(record: KeyRecord, who: str = "dealer") -> CeremonyContext:
    return ceremony_context(agreement_of(who), agreement_of(who).digest(), record.session)


# What a record gives


def test_a_quorum_of_the_parties_opens_what_was_encrypted_under_the_recorded_key():
    data, shares = dealt("dealer")
    key = read(data)
    assert list(shares) == PARTIES
    assert (key.threshold, key.trustees, key.public.bits) == (
        agreement_of("dealer").quorum,
        3,
        2048,
    )
    plain = [0, 1, int(key.n) - 1]
    ciphertexts = encrypt_all(key, plain)
    made = [partial_decryption(key, share, ciphertexts) for share in shares.values()]
    assert combine(key, ciphertexts, made[: key.threshold]) == plain


def test_a_key_holder_opens_alone_by_the_same_code():
    data, shares = dealt("key_holder")
    key = read(data, "key_holder")
    assert list(shares) == ["key-holder"]
    assert (key.threshold, key.trustees) == (1, 1)
    plain = [7, int(key.n) - 1]
    ciphertexts = encrypt_all(key, plain)
    made = partial_decryption(key, shares["key-holder"], ciphertexts)
    assert combine(key, ciphertexts, [made]) == plain


@pytest.mark.parametrize("who", ["dealer", "key_holder"])
def test_a_record_is_canonical_and_holds_no_secret(who):
    data, shares = dealt(who)
    record = KeyRecord.from_bytes(data, party="")
    assert record.to_bytes() == data
    assert len(data) < MAX_RECORD_BYTES // 2
    secrets = [int(one.value) for one in shares.values()] + [
        int(one) for one in fixed_primes(2048, seeded(0))
    ]
    for secret in secrets:
        assert secret.to_bytes((secret.bit_length() + 7) // 8, "big") not in data
        assert str(secret) not in repr(record)


# What a record cannot be


def test_what_is_no_record_names_who_handed_it_over():
    data, _ = dealt("dealer")
    for wrong in (b"", data[:-1], data + b"\x00", b"\xc1", bytes(MAX_RECORD_BYTES + 1)):
        with pytest.raises(WireError, match="somebody at deal"):
            read(wrong)


def test_the_record_of_another_agreement_ceremony_or_arrangement_is_refused():
    data, _ = dealt("dealer")
    other = agreement_of("dealer", "paillier")
    with pytest.raises(AgreementMismatchError, match="dealer at deal"):
        read_key_record(data, other, other.digest(), party="")
    with pytest.raises(PeerError):
        read(data, "key_holder")
    moved = msgspec.structs.replace(record_of(), session=bytes(32))
    with pytest.raises(UnexpectedMessageError, match="another ceremony"):
        read(moved.to_bytes())


def test_a_key_that_a_trustee_has_not_countersigned_is_not_in_force():
    record = record_of()
    signed = record.transcript.countersignatures
    other = record_of(label="other").transcript.countersignatures
    for wrong in (signed[:2], (), signed[::-1], (*signed[:2], signed[1])):
        transcript = msgspec.structs.replace(record.transcript, countersignatures=wrong)
        with pytest.raises(QuorumError):
            read(KeyRecord(record.session, transcript).to_bytes())
    transcript = msgspec.structs.replace(record.transcript, countersignatures=other)
    with pytest.raises(PeerError):
        read(KeyRecord(record.session, transcript).to_bytes())


def test_every_byte_of_a_record_counts():
    data, _ = dealt("key_holder")
    for place in range(0, len(data), len(data) // 23):
        bent = bytearray(data)
        bent[place] ^= 1
        with pytest.raises(PeerError):
            read(bytes(bent), "key_holder")


# Putting a record together


def test_countersignatures_may_come_in_any_order():
    record = record_of()
    context, transcript = context_of(record), record.transcript
    made = complete_record(context, transcript.dealing, transcript.countersignatures[::-1])
    assert made == record


def test_a_countersignature_that_is_missing_doubled_or_of_another_names_its_trustee():
    record = record_of()
    context, transcript = context_of(record), record.transcript
    signed = transcript.countersignatures
    with pytest.raises(QuorumError, match="party-1 at deal-confirm: has not countersigned; 2 of 3"):
        complete_record(context, transcript.dealing, (signed[0], signed[2]))
    with pytest.raises(DuplicateError, match="party-0"):
        complete_record(context, transcript.dealing, (*signed, signed[0]))
    elsewhere = Countersignature(context.digest(), bytes(32))
    with pytest.raises(QuorumError, match="party-2 at deal-confirm: countersigned another"):
        complete_record(
            context,
            transcript.dealing,
            (*signed[:2], context.seal(IDENTITIES["party-2"], elsewhere)),
        )
    stranger = context.seal(IDENTITIES["mallory"], elsewhere)
    with pytest.raises(UnknownPartyError, match="mallory"):
        complete_record(context, transcript.dealing, (*signed, stranger))
    with pytest.raises(SignatureError, match="party-0"):
        complete_record(
            context, transcript.dealing, (msgspec.structs.replace(stranger, sender="party-0"),)
        )


# Who may deal


def test_only_a_lone_trustee_may_be_its_own_dealer():
    holder, alpha = IDENTITIES["key-holder"].public, IDENTITIES["party-0"].public
    renamed = Identity("other", bytes(32)).public
    session = bytes(32)
    assert CeremonyContext(bytes(32), session, holder, (holder,), 1, 2048)
    for dealer, trustees in (
        (holder, (holder, alpha)),
        (holder, (alpha, holder)),
        (holder, (holder, holder)),
        (Identity("key-holder", bytes(32)).public, (holder,)),
        (renamed, (Identity("another", bytes(32)).public,)),
    ):
        with pytest.raises(MisuseError, match="all different"):
            CeremonyContext(bytes(32), session, dealer, trustees, 1, 2048)
    for bits in (1024, 2050):
        with pytest.raises(InputError):
            CeremonyContext(bytes(32), session, holder, (holder,), 1, bits)


def test_an_agreement_without_ciphertexts_has_no_ceremony():
    agreement = make_agreement(3)
    with pytest.raises(AgreementError, match="names nobody who makes a key"):
        deal_in_memory(agreement, agreement.digest(), IDENTITIES, seeded(0))
    with pytest.raises(AgreementError):
        read_key_record(dealt("dealer")[0], agreement, agreement.digest(), party="")


def test_a_ceremony_in_memory_takes_the_identities_of_the_agreement_only():
    agreement = agreement_of("dealer")
    for wrong in (
        {name: IDENTITIES[name] for name in PARTIES},
        IDENTITIES | {"party-1": Identity("party-1", bytes(32))},
        IDENTITIES | {"dealer": Identity("dealer", bytes(32))},
    ):
        with pytest.raises(MisuseError):
            deal_in_memory(
                agreement, agreement.digest(), wrong, seeded(0), make_primes=fixed_primes
            )
