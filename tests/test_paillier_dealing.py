"""The dealing ceremony: everybody checks everything, and the dealer keeps nothing."""

from __future__ import annotations

import gc
import hashlib
import types
from dataclasses import dataclass, replace

import msgspec
import pytest
from support.seeded import forbidden, seeded
from support.trustees import encrypt_all, primes

from protocols.errors import (
    AgreementMismatchError,
    BelowThresholdError,
    DuplicateError,
    InputError,
    MisuseError,
    OutOfOrderError,
    PeerError,
    QuorumError,
    ReplayError,
    RosterError,
    ShareError,
    SignatureError,
    UnexpectedMessageError,
    UnknownPartyError,
    WireError,
)
from protocols.identity import Envelope, Identity
from protocols.masking.ephemeral import EphemeralKey
from protocols.paillier.dealing import CeremonyDealer
from protocols.paillier.dealing_checks import check_transcript
from protocols.paillier.dealing_context import CeremonyContext
from protocols.paillier.dealing_key_proof import check_dealt_key
from protocols.paillier.dealing_messages import (
    CeremonyKey,
    CeremonyTranscript,
    Countersignature,
    Dealing,
)
from protocols.paillier.dealing_shares import deal_key
from protocols.paillier.dealing_trustee import CeremonyTrustee
from protocols.paillier.integers import invert, mpz
from protocols.paillier.keys import PublicKey
from protocols.paillier.threshold import combine, partial_decryption
from protocols.paillier.threshold_key import ThresholdKey
from protocols.wire import decode, encode

NAMES = ("alpha", "bravo", "charlie")
AGREEMENT = hashlib.sha256(b"agreement").digest()
SESSION = hashlib.sha256(b"session").digest()


def identity(name: str) -> Identity:
    return Identity(name, hashlib.sha256(name.encode()).digest())


def context(**changes: object) -> CeremonyContext:
    trustees = tuple(identity(name).public for name in NAMES)
    made = CeremonyContext(AGREEMENT, SESSION, identity("notary").public, trustees, 2, 2048)
    return replace(made, **changes)


def prove_key(private, binding, dealer, random):
    """Stands for the proofs about the modulus: says which key, and what it is bound to."""
    return hashlib.sha256(str(private.public.n).encode() + binding).digest()


def check_key(public, proofs, binding, name):
    if proofs != hashlib.sha256(str(public.n).encode() + binding).digest():
        raise WireError(name, "deal", "the modulus is not proved well formed")


@dataclass
class Ceremony:
    """One dealer and its trustees; tests take the messages and change them."""

    facts: CeremonyContext
    dealer: CeremonyDealer
    trustees: list[CeremonyTrustee]

    def dealt(self) -> tuple[Envelope, dict[int, bytes]]:
        for trustee in self.trustees:
            self.dealer.receive_key(trustee.announce())
        return self.dealer.deal()

    def countersigned(self) -> list[Envelope]:
        envelope, sealed = self.dealt()
        return [one.receive_dealing(envelope, sealed[one.index]) for one in self.trustees]

    def finished(self) -> CeremonyTranscript:
        for envelope in self.countersigned():
            self.dealer.receive_countersignature(envelope)
        return self.dealer.finish()


def ceremony(facts: CeremonyContext | None = None, label: str = "") -> Ceremony:
    facts = facts or context()
    return Ceremony(
        facts,
        CeremonyDealer(
            facts,
            identity("notary"),
            seeded(f"dealer {label}"),
            prove_key=prove_key,
            make_primes=lambda bits, _: primes(bits),
        ),
        [
            CeremonyTrustee(
                facts, identity(one.name), seeded(f"{one.name} {label}"), check_key=check_key
            )
            for one in facts.trustees
        ],
    )


def resigned(envelope: Envelope, facts: CeremonyContext, **changes: object) -> Envelope:
    """The dealer's message with some fields changed and signed again: a dishonest dealer."""
    message = decode(Dealing, envelope.payload, party="", step="", max_bytes=2**20)
    return facts.seal(identity("notary"), msgspec.structs.replace(message, **changes))


def dealing_of(envelope: Envelope) -> Dealing:
    return decode(Dealing, envelope.payload, party="", step="", max_bytes=2**20)


# Completeness


def test_a_ceremony_gives_every_trustee_a_share_and_any_two_decrypt():
    run = ceremony()
    transcript = run.finished()
    held = [trustee.receive_transcript(transcript) for trustee in run.trustees]
    key = held[0][0]
    assert all(other == key for other, _ in held)
    assert check_transcript(run.facts, transcript, check_key) == key
    plain = [0, 1, int(key.n) - 1]
    ciphertexts = encrypt_all(key, plain)
    made = [partial_decryption(key, share, ciphertexts) for _, share in held]
    for left_out in range(3):
        used = [one for place, one in enumerate(made) if place != left_out]
        assert combine(key, ciphertexts, used) == plain
    assert {run.dealer.state, *(one.state for one in run.trustees)} == {"Done"}


def test_a_ceremony_can_deal_a_key_for_larger_ciphertexts():
    run = ceremony(context(degree=2, threshold=3))
    transcript = run.finished()
    held = [trustee.receive_transcript(transcript) for trustee in run.trustees]
    key = held[0][0]
    plain = [int(key.plain_modulus) - 1]
    ciphertexts = encrypt_all(key, plain)
    made = [partial_decryption(key, share, ciphertexts) for _, share in held]
    assert combine(key, ciphertexts, made) == plain


def test_the_modulus_is_proved_well_formed_by_the_dealer_and_checked_by_all():
    facts = context()
    dealer = CeremonyDealer(
        facts, identity("notary"), seeded("real"), make_primes=lambda bits, _: primes(bits)
    )
    trustees = [CeremonyTrustee(facts, identity(name), seeded(name)) for name in NAMES]
    for one in trustees:
        dealer.receive_key(one.announce())
    envelope, sealed = dealer.deal()
    for one in trustees:
        dealer.receive_countersignature(one.receive_dealing(envelope, sealed[one.index]))
    transcript = dealer.finish()
    key = check_transcript(facts, transcript)
    assert len(encode(transcript)) < 2**17
    # The proofs hold for this key in this ceremony only.
    proofs = dealing_of(envelope).key_proofs
    check_dealt_key(key.public, proofs, facts.digest(), "notary")
    other = PublicKey(key.public.n, bytes(32))
    for public, data, binding, name in (
        (other, proofs, facts.digest(), "notary"),
        (key.public, proofs, bytes(32), "notary"),
        (key.public, proofs, facts.digest(), "alpha"),
        (key.public, proofs[:-1], facts.digest(), "notary"),
        (key.public, b"", facts.digest(), "notary"),
    ):
        with pytest.raises(PeerError):
            check_dealt_key(public, data, binding, name)


def test_two_ceremonies_deal_different_keys():
    first, second = ceremony().finished(), ceremony(label="second").finished()
    keys = [check_transcript(context(), one, check_key) for one in (first, second)]
    assert keys[0].digest() != keys[1].digest()


def test_a_transcript_has_one_byte_string_that_everybody_can_check():
    transcript = ceremony().finished()
    data = encode(transcript)
    again = decode(CeremonyTranscript, data, party="", step="", max_bytes=2**20)
    assert encode(again) == data
    assert check_transcript(context(), again, check_key)
    with pytest.raises(WireError):
        decode(CeremonyTranscript, data + b"\x00", party="", step="", max_bytes=2**20)


# What nobody can find


def reachable(start: object) -> list[object]:
    """Every object that the garbage collector or an attribute leads to."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(
            one, type | types.ModuleType | types.FunctionType | types.BuiltinFunctionType
        ):
            continue
        seen[id(one)] = one
        waiting += gc.get_referents(one)
        for kind in type(one).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if hasattr(one, name):
                    waiting.append(getattr(one, name))
    return list(seen.values())


def numbers_in(start: object) -> set[int]:
    found = {int(one) for one in reachable(start) if isinstance(one, int | type(mpz()))}
    return found | {
        int.from_bytes(one, "big") for one in reachable(start) if isinstance(one, bytes)
    }


def test_no_secret_is_reachable_from_the_dealer_after_it_dealt(monkeypatch):
    made: list[tuple[ThresholdKey, tuple[object, ...]]] = []

    def watched(*args, **kwargs):
        made.append(deal_key(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr("protocols.paillier.dealing.deal_key", watched)
    drawn: list[bytes] = []

    inner = seeded("dealer watched")

    def source(count):
        drawn.append(inner(count))
        return drawn[-1]

    run = ceremony()
    run.dealer._random = source
    transcript = run.finished()
    run.dealer._random = forbidden
    [(key, shares)] = made
    first, second = (int(prime) for prime in primes(2048))
    order = (first // 2) * (second // 2)
    secrets = {first, second, first // 2, second // 2, order, 4 * order, (first - 1) * (second - 1)}
    secrets |= {int(invert(key.plain_modulus, order))}
    secrets |= {int(share.value) for share in shares}
    # The polynomial and the X25519 key come from these; the seed is public.
    secrets |= {int.from_bytes(one, "big") for one in drawn} - {
        int.from_bytes(key.public.seed, "big")
    }
    for start in (run.dealer, transcript):
        assert not secrets & numbers_in(start)
    # The search does find what is there to be found.
    assert int(key.n) in numbers_in(key)
    assert first in numbers_in([{"deep": (primes(2048),)}])
    assert int(shares[0].value) in numbers_in(run.trustees[0])
    for trustee in run.trustees:
        trustee.receive_transcript(transcript)
        assert not secrets & numbers_in((trustee._state, trustee._context))


def test_no_state_shows_a_secret():
    run = ceremony()
    run.countersigned()
    for trustee in run.trustees:
        state = trustee._state
        for text in (repr(trustee), repr(state)):
            assert str(state.share.value) not in text
    assert "Countersigned" in repr(run.trustees[0])
    assert "Confirming" in repr(run.dealer)


def test_no_trustee_opens_the_share_of_another():
    run = ceremony()
    envelope, sealed = run.dealt()
    with pytest.raises(ShareError, match="not the one it signed"):
        run.trustees[0].receive_dealing(envelope, sealed[2])
    # Nor when the dealer says that it is this trustee's.
    other = ceremony()
    envelope, sealed = other.dealt()
    digests = tuple(hashlib.sha256(sealed[place]).digest() for place in (2, 1, 3))
    with pytest.raises(ShareError, match="does not open"):
        other.trustees[0].receive_dealing(
            resigned(envelope, other.facts, sealed=digests), sealed[2]
        )


# A dealer that lies


def test_a_share_that_was_changed_on_its_way_is_refused():
    run = ceremony()
    envelope, sealed = run.dealt()
    changed = bytes([sealed[1][0] ^ 1]) + sealed[1][1:]
    with pytest.raises(ShareError, match="notary at deal"):
        run.trustees[0].receive_dealing(envelope, changed)
    assert run.trustees[0].state == "Done"


def test_a_dealer_that_gives_a_wrong_share_is_named(monkeypatch):
    run = ceremony()

    def false_share(*args, **kwargs):
        key, shares = deal_key(*args, **kwargs)
        return key, (replace(shares[0], value=shares[0].value + 1), *shares[1:])

    monkeypatch.setattr("protocols.paillier.dealing.deal_key", false_share)
    envelope, sealed = run.dealt()
    with pytest.raises(ShareError, match="notary at deal: the share does not match"):
        run.trustees[0].receive_dealing(envelope, sealed[1])
    assert run.trustees[1].receive_dealing(envelope, sealed[2])


def test_a_dealer_whose_shares_decrypt_nothing_is_named(monkeypatch):
    run = ceremony()

    def off_the_polynomial(*args, **kwargs):
        key, shares = deal_key(*args, **kwargs)
        third = replace(shares[2], value=shares[2].value + 5)
        changed = key.verification[2] * pow(key.base, 5 * key.delta, key.n) % key.n
        return replace(key, verification=(*key.verification[:2], changed)), (*shares[:2], third)

    monkeypatch.setattr("protocols.paillier.dealing.deal_key", off_the_polynomial)
    envelope, sealed = run.dealt()
    for trustee in run.trustees:
        with pytest.raises(ShareError, match="trustee 3 is not on the polynomial"):
            trustee.receive_dealing(envelope, sealed[trustee.index])


def test_every_field_of_a_dealing_is_checked():
    other = dealing_of(ceremony(context(session=bytes(32)), "other").dealt()[0])
    second = dealing_of(ceremony(label="second").dealt()[0])
    honest = dealing_of(ceremony().dealt()[0])
    low_order = bytes(32)
    for changes, error in (
        ({"ceremony": other.ceremony}, UnexpectedMessageError),
        ({"keys": honest.keys[:2]}, RosterError),
        ({"keys": honest.keys[::-1]}, SignatureError),
        ({"keys": (honest.keys[0],) * 3}, SignatureError),
        ({"keys": other.keys}, UnexpectedMessageError),
        ({"keys": second.keys}, RosterError),
        ({"dealer_key": low_order}, RosterError),
        ({"dealer_key": second.dealer_key}, ShareError),
        ({"threshold_key": honest.threshold_key[:-1]}, WireError),
        ({"threshold_key": second.threshold_key}, ShareError),
        ({"key_proofs": other.key_proofs}, WireError),
        ({"key_proofs": b""}, WireError),
        ({"sealed": honest.sealed[:2]}, RosterError),
        ({"sealed": honest.sealed[::-1]}, ShareError),
    ):
        run = ceremony()
        envelope, sealed = run.dealt()
        with pytest.raises(error):
            run.trustees[0].receive_dealing(resigned(envelope, run.facts, **changes), sealed[1])
        assert run.trustees[0].state == ("Keyed" if "ceremony" in changes else "Done"), changes


@pytest.mark.parametrize("changes", [{"degree": 2}, {"threshold": 3}, {"threshold": 1}])
def test_a_key_that_was_not_agreed_is_refused(changes):
    wrong = dealing_of(ceremony(context(**changes)).dealt()[0]).threshold_key
    run = ceremony()
    envelope, sealed = run.dealt()
    with pytest.raises(ShareError, match="agreed size, degree or threshold"):
        run.trustees[0].receive_dealing(
            resigned(envelope, run.facts, threshold_key=wrong), sealed[1]
        )


def test_a_key_that_says_it_was_made_without_a_dealer_is_not_dealt():
    run = ceremony()
    envelope, sealed = run.dealt()
    key = ThresholdKey.from_bytes(dealing_of(envelope).threshold_key, party="")
    wrong = replace(key, generated=True).to_bytes()
    with pytest.raises(ShareError, match="agreed size, degree or threshold"):
        run.trustees[0].receive_dealing(
            resigned(envelope, run.facts, threshold_key=wrong), sealed[1]
        )


def test_a_dealer_that_told_two_trustees_different_things_has_no_key_in_force():
    run = ceremony()
    envelope, sealed = run.dealt()
    # Another proof that this check lets pass stands for anything that a trustee cannot see.
    liberal = CeremonyTrustee(
        run.facts, identity("charlie"), seeded("liberal"), check_key=lambda *_: None
    )
    liberal._state = run.trustees[2]._state
    other = resigned(envelope, run.facts, key_proofs=b"another")
    signed = [
        run.trustees[0].receive_dealing(envelope, sealed[1]),
        run.trustees[1].receive_dealing(envelope, sealed[2]),
        liberal.receive_dealing(other, sealed[3]),
    ]
    for one in signed[:2]:
        run.dealer.receive_countersignature(one)
    with pytest.raises(QuorumError, match="charlie at deal-confirm"):
        run.dealer.receive_countersignature(signed[2])
    for dealing in (envelope, other):
        transcript = CeremonyTranscript(dealing, tuple(signed))
        with pytest.raises(QuorumError):
            check_transcript(run.facts, transcript, lambda *_: None)
    with pytest.raises(QuorumError):
        run.trustees[0].receive_transcript(CeremonyTranscript(envelope, tuple(signed)))


# Order


def test_no_share_is_handed_out_before_all_have_signed():
    run = ceremony()
    envelope, sealed = run.dealt()
    signed = [one.receive_dealing(envelope, sealed[one.index]) for one in run.trustees]
    for wrong in (signed[:2], signed[::-1], [signed[0]] * 3, []):
        with pytest.raises(QuorumError):
            check_transcript(run.facts, CeremonyTranscript(envelope, tuple(wrong)), check_key)
    with pytest.raises(QuorumError, match="2 of 3 trustees"):
        run.trustees[0].receive_transcript(CeremonyTranscript(envelope, tuple(signed[:2])))
    assert run.trustees[0].state == "Done"
    with pytest.raises(OutOfOrderError):
        run.trustees[0].receive_transcript(CeremonyTranscript(envelope, tuple(signed)))


def test_a_transcript_of_another_dealing_releases_nothing():
    first, second = ceremony(), ceremony(label="second")
    first.countersigned()
    transcript = second.finished()
    with pytest.raises(UnexpectedMessageError, match="not the dealing that we signed"):
        first.trustees[0].receive_transcript(transcript)


def test_every_move_out_of_order_is_refused_by_the_dealer():
    run = ceremony()
    for move in (run.dealer.finish, lambda: run.dealer.receive_countersignature(None)):
        with pytest.raises(OutOfOrderError, match="Collecting"):
            move()
    with pytest.raises(BelowThresholdError):
        run.dealer.deal()
    key = run.trustees[0].announce()
    assert run.dealer.receive_key(key) == 1
    with pytest.raises(DuplicateError, match="alpha"):
        run.dealer.receive_key(key)
    for trustee in run.trustees[1:]:
        run.dealer.receive_key(trustee.announce())
    envelope, sealed = run.dealer.deal()
    for move in (run.dealer.deal, lambda: run.dealer.receive_key(key)):
        with pytest.raises(OutOfOrderError, match="Confirming"):
            move()
    with pytest.raises(BelowThresholdError):
        run.dealer.finish()
    signed = [one.receive_dealing(envelope, sealed[one.index]) for one in run.trustees]
    run.dealer.receive_countersignature(signed[0])
    with pytest.raises(DuplicateError, match="alpha"):
        run.dealer.receive_countersignature(signed[0])
    for one in signed[1:]:
        run.dealer.receive_countersignature(one)
    run.dealer.finish()
    for move in (run.dealer.finish, run.dealer.deal):
        with pytest.raises(OutOfOrderError, match="Done"):
            move()


def test_every_move_out_of_order_is_refused_by_a_trustee():
    run = ceremony()
    envelope, sealed = run.dealt()
    late = CeremonyTrustee(run.facts, identity("alpha"), seeded("late"), check_key=check_key)
    with pytest.raises(UnexpectedMessageError, match="Fresh"):
        late.receive_dealing(envelope, sealed[1])
    with pytest.raises(OutOfOrderError):
        late.receive_transcript(None)
    trustee = run.trustees[0]
    with pytest.raises(OutOfOrderError):
        trustee.announce()
    trustee.receive_dealing(envelope, sealed[1])
    with pytest.raises(UnexpectedMessageError, match="a second time"):
        trustee.receive_dealing(envelope, sealed[1])
    assert trustee.state == "Countersigned"
    trustee.withdraw("enough")
    with pytest.raises(OutOfOrderError, match="Done"):
        trustee.receive_transcript(None)


def test_a_trustee_goes_on_in_another_process_with_what_it_saved():
    run = ceremony()
    first = run.trustees[0]
    run.dealer.receive_key(first.announce())
    saved = first.saved_key()
    for one in run.trustees[1:]:
        run.dealer.receive_key(one.announce())
    envelope, sealed = run.dealer.deal()

    def resumed(private: bytes) -> CeremonyTrustee:
        return CeremonyTrustee.resumed(
            run.facts, identity("alpha"), forbidden, private, check_key=check_key
        )

    with pytest.raises(RosterError, match="the dealer used another key of ours"):
        resumed(bytes(range(32))).receive_dealing(envelope, sealed[1])
    again = resumed(saved)
    assert (again.state, again.index) == ("Keyed", 1)
    assert again.receive_dealing(envelope, sealed[1]) == first.receive_dealing(envelope, sealed[1])
    share = again.saved_share()
    assert share == first.saved_share()
    signed = [one.receive_dealing(envelope, sealed[one.index]) for one in run.trustees[1:]]
    for one in (first.receive_dealing, again.receive_dealing):
        with pytest.raises(UnexpectedMessageError, match="a second time"):
            one(envelope, sealed[1])
    mine = run.facts.seal(
        identity("alpha"),
        Countersignature(run.facts.digest(), run.facts.dealing_digest(envelope)),
    )
    transcript = CeremonyTranscript(envelope, (mine, *signed))
    assert again.receive_transcript(transcript)[1] == share


def test_a_trustee_has_nothing_to_save_before_and_after():
    run = ceremony()
    trustee = run.trustees[0]
    for move in (trustee.saved_key, trustee.saved_share):
        with pytest.raises(OutOfOrderError, match="Fresh"):
            move()
    envelope, sealed = run.dealt()
    with pytest.raises(OutOfOrderError, match="Keyed"):
        trustee.saved_share()
    trustee.receive_dealing(envelope, sealed[1])
    with pytest.raises(OutOfOrderError, match="Countersigned"):
        trustee.saved_key()
    trustee.withdraw("enough")
    for move in (trustee.saved_key, trustee.saved_share):
        with pytest.raises(OutOfOrderError, match="Done"):
            move()
    with pytest.raises(UnknownPartyError, match="mallory"):
        CeremonyTrustee.resumed(run.facts, identity("mallory"), forbidden, bytes(range(32)))


def test_a_dealing_that_fails_is_not_repeated():
    run = ceremony()

    def broken(bits, random):
        raise ZeroDivisionError

    run.dealer._make_primes = broken
    with pytest.raises(ZeroDivisionError):
        run.dealt()
    with pytest.raises(OutOfOrderError, match="Done"):
        run.dealer.deal()


def test_an_aborted_ceremony_goes_no_further():
    run = ceremony()
    run.dealer.abort("a trustee left")
    with pytest.raises(OutOfOrderError):
        run.dealer.receive_key(run.trustees[0].announce())


# Strangers, forgeries and replays


def test_a_key_that_nobody_of_the_agreement_signed_is_refused():
    run = ceremony()
    facts = run.facts
    honest = CeremonyKey(facts.digest(), EphemeralKey(bytes(range(32))).public)
    stranger = facts.seal(identity("mallory"), honest)
    with pytest.raises(UnknownPartyError, match="mallory"):
        run.dealer.receive_key(stranger)
    forged = msgspec.structs.replace(stranger, sender="alpha")
    with pytest.raises(SignatureError, match="alpha"):
        run.dealer.receive_key(forged)
    with pytest.raises(RosterError, match="alpha at deal-key: its X25519 key is unsound"):
        run.dealer.receive_key(
            facts.seal(identity("alpha"), CeremonyKey(facts.digest(), bytes(32)))
        )
    run.dealer.receive_key(facts.seal(identity("alpha"), honest))
    with pytest.raises(RosterError, match="bravo at deal-key: sent the key of another"):
        run.dealer.receive_key(facts.seal(identity("bravo"), honest))


def test_messages_of_other_ceremonies_agreements_and_rounds_are_refused():
    run = ceremony()
    for facts, error in (
        (context(session=bytes(32)), UnexpectedMessageError),
        (context(threshold=3), UnexpectedMessageError),
        (context(agreement=bytes(32)), AgreementMismatchError),
    ):
        with pytest.raises(error, match="alpha"):
            run.dealer.receive_key(ceremony(facts).trustees[0].announce())
    payload = encode(CeremonyKey(run.facts.digest(), EphemeralKey(bytes(range(32))).public))
    for round_, step, error in (
        (1, "deal-key", ReplayError),
        (0, "deal-confirm", UnexpectedMessageError),
    ):
        envelope = identity("alpha").seal(
            agreement=AGREEMENT, round_=round_, step=step, payload=payload
        )
        with pytest.raises(error):
            run.dealer.receive_key(envelope)


def test_a_dealing_that_the_dealer_did_not_sign_changes_nothing():
    run = ceremony()
    envelope, sealed = run.dealt()
    trustee = run.trustees[0]
    forged = msgspec.structs.replace(envelope, payload=envelope.payload[:-1] + b"\x00")
    for wrong in (forged, msgspec.structs.replace(envelope, sender="alpha")):
        with pytest.raises(SignatureError):
            trustee.receive_dealing(wrong, sealed[1])
    assert trustee.state == "Keyed"
    assert trustee.receive_dealing(envelope, sealed[1])


def test_a_countersignature_of_a_stranger_does_not_count():
    run = ceremony()
    run.countersigned()
    state = run.dealer._state
    message = Countersignature(run.facts.digest(), run.facts.dealing_digest(state.dealing))
    with pytest.raises(UnknownPartyError, match="mallory"):
        run.dealer.receive_countersignature(run.facts.seal(identity("mallory"), message))


def test_every_refusal_names_somebody():
    for kind in (ShareError, RosterError, QuorumError, UnexpectedMessageError):
        assert issubclass(kind, PeerError)


# What no agreement yields


def test_a_context_that_no_agreement_yields_is_refused():
    alpha = identity("alpha").public
    for changes in (
        {"agreement": b""},
        {"session": bytes(31)},
        {"threshold": 0},
        {"threshold": 4},
        {"degree": 5},
        {"trustees": ()},
        {"dealer": alpha},
        {"trustees": (alpha, alpha)},
    ):
        with pytest.raises(MisuseError):
            context(**changes)
    for bits in (1024, 2049, 8192):
        with pytest.raises(InputError, match="2048"):
            context(bits=bits)


def test_a_role_takes_its_own_identity_only():
    impostor = Identity("alpha", bytes(32))
    with pytest.raises(MisuseError):
        CeremonyTrustee(context(), impostor, seeded(0), check_key=check_key)
    with pytest.raises(UnknownPartyError):
        CeremonyTrustee(context(), identity("mallory"), seeded(0), check_key=check_key)
    with pytest.raises(MisuseError):
        CeremonyDealer(context(), identity("alpha"), seeded(0), prove_key=prove_key)


def test_the_public_key_of_a_ceremony_is_an_ordinary_one():
    key = check_transcript(context(), ceremony().finished(), check_key)
    assert isinstance(key.public, PublicKey)
    assert key.public.n % 4 == 1
