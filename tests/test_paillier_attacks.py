"""What an attacker tried against Paillier sums, and what came of it."""

from __future__ import annotations

import copy
import hashlib
import pickle
from dataclasses import replace
from functools import lru_cache
from traceback import walk_tb

import msgspec
import pytest
from support.seeded import seeded
from support.small_paillier import small_key, small_obfuscators
from support.trustees import dealt, encrypt_all, primes

from protocols.errors import (
    DuplicateError,
    MisuseError,
    ModelMismatchError,
    PeerError,
    ProofError,
    RosterError,
    ShareError,
    SignatureError,
    SubmissionError,
)
from protocols.identity import Identity, VerifyKey
from protocols.paillier.dealing import CeremonyDealer
from protocols.paillier.dealing_checks import check_all_signed, check_dealing
from protocols.paillier.dealing_context import CeremonyContext
from protocols.paillier.dealing_messages import CeremonyKey, CeremonyTranscript, Dealing
from protocols.paillier.dealing_shares import check_share, check_verification_keys
from protocols.paillier.dealing_trustee import CeremonyTrustee
from protocols.paillier.encryption import encrypt
from protocols.paillier.factor_proof import check_factors, prove_factors
from protocols.paillier.generation import KeyGenerator
from protocols.paillier.generation_sharing import GenerationContext
from protocols.paillier.integers import invert, mpz, powmod
from protocols.paillier.keys import PublicKey
from protocols.paillier.messages import CiphertextSubmission
from protocols.paillier.plaintext_proof import check_plaintexts, prove_plaintexts
from protocols.paillier.pool import Pool
from protocols.paillier.threshold import combine, partial_decryption
from protocols.paillier.threshold_combiner import DecryptionCombiner
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import (
    KeyShare,
    ThresholdKey,
    join_residues,
    verification_base,
)
from protocols.paillier.threshold_party import DecryptingParty
from protocols.paillier.threshold_proofs import check_proof, prove
from protocols.wire import decode

PARTIES = ("alpha", "bravo", "charlie", "delta")
AGREEMENT = hashlib.sha256(b"agreement").digest()
MODEL = hashlib.sha256(b"model").digest()
COUNT = 2

UNSAFE_PRIME = mpz(0xDCC816D7D81AAE128CA45A178894207201594105085A884961F8AAFFF1F20253)
"""p with (p - 1) / 14 prime, so that squares modulo p have elements of order 7."""


@lru_cache
def identity(name: str) -> Identity:
    return Identity(name, hashlib.sha256(name.encode()).digest())


def opening(trustees: int = 3, threshold: int = 2, **changes: object) -> OpeningContext:
    key, _ = dealt(trustees, threshold)
    facts = OpeningContext(
        AGREEMENT,
        1,
        identity("coordinator").public,
        tuple(identity(name).public for name in PARTIES),
        tuple(identity(f"trustee-{index}").public for index in range(1, trustees + 1)),
        key,
        min_cohort=2,
        count=COUNT,
        summands=len(PARTIES),
        max_message_bytes=2**16,
    )
    return replace(facts, **changes)


def takes_any_knowledge(name, header, ciphertexts) -> None:
    """What these attacks are about comes before the proof of knowledge."""


def trustee(facts: OpeningContext, index: int = 1) -> DecryptingParty:
    _, shares = dealt(facts.key.trustees, facts.key.threshold)
    return DecryptingParty(
        facts,
        identity(f"trustee-{index}"),
        shares[index - 1],
        seeded(index),
        check_knowledge=takes_any_knowledge,
    )


def combiner(facts: OpeningContext) -> DecryptionCombiner:
    return DecryptionCombiner(facts, identity("coordinator"), check_knowledge=takes_any_knowledge)


def submit(name: str, facts: OpeningContext, model: bytes = MODEL):
    vector = join_residues(encrypt_all(facts.key, [1, 2], name), facts.key.ciphertext_bytes)
    digest = hashlib.sha256(vector).digest()
    header = CiphertextSubmission(facts.key.digest(), model, digest, COUNT, b"", b"")
    return facts.seal(identity(name), header), vector


# Who is named


def test_a_coordinator_that_garbles_a_vector_on_its_way_frames_no_party():
    facts = opening()
    envelope, vector = submit("alpha", facts)
    one = trustee(facts)
    flipped = bytes([vector[0] ^ 1]) + vector[1:]
    for sent, error in (
        ((envelope, flipped), SubmissionError),
        ((envelope, vector[:-1]), SubmissionError),
        ((envelope, b""), SubmissionError),
        ((msgspec.structs.replace(envelope, signature=bytes(64)), vector), SignatureError),
        ((msgspec.structs.replace(envelope, sender="bravo"), vector), SignatureError),
        ((msgspec.structs.replace(envelope, round=2), vector), PeerError),
        ((msgspec.structs.replace(envelope, sender="stranger"), vector), PeerError),
    ):
        with pytest.raises(error) as caught:
            one.receive_vector(*sent)
        assert caught.value.party == "coordinator"
    one.receive_vector(envelope, vector)
    with pytest.raises(DuplicateError) as twice:
        one.receive_vector(envelope, vector)
    assert twice.value.party == "coordinator"
    # To the coordinator itself the sender brings its vector: there it is the sender's doing.
    with pytest.raises(SubmissionError) as caught:
        combiner(facts).receive_vector(envelope, flipped)
    assert caught.value.party == "alpha"


def test_a_party_that_is_first_with_another_model_shuts_nobody_out():
    facts = opening(model=MODEL)
    for role in (combiner(facts), trustee(facts)):
        with pytest.raises(ModelMismatchError) as caught:
            role.receive_vector(*submit("alpha", facts, model=bytes(32)))
        assert caught.value.party == "alpha"
        for name in PARTIES[1:]:
            role.receive_vector(*submit(name, facts))
    with pytest.raises(MisuseError, match="digest of a model"):
        opening(model=b"short")


def test_one_key_under_two_names_is_not_two_of_a_cohort_or_a_threshold():
    raw = identity("alpha").public.raw
    facts = opening()
    for changes in (
        {"parties": (*facts.parties[:3], VerifyKey("sybil", raw))},
        {"trustees": (*facts.trustees[:2], VerifyKey("sybil", facts.trustees[0].raw))},
        {"coordinator": VerifyKey("sybil", raw)},
        {"coordinator": VerifyKey("sybil", facts.trustees[1].raw)},
    ):
        with pytest.raises(MisuseError, match="names and keys of their own"):
            replace(facts, **changes)
    # A party may be a trustee, by one name and key.
    assert replace(facts, trustees=facts.parties[:3]).trustees == facts.parties[:3]


def ceremony(**options: object) -> tuple[CeremonyContext, CeremonyDealer, list[CeremonyTrustee]]:
    facts = CeremonyContext(
        AGREEMENT,
        bytes(32),
        identity("dealer").public,
        tuple(identity(name).public for name in PARTIES[:3]),
        threshold=2,
        bits=2048,
    )
    dealer = CeremonyDealer(
        facts,
        identity("dealer"),
        seeded("dealer"),
        prove_key=lambda *_: b"",
        make_primes=lambda *_: primes(2048),
    )
    trustees = [CeremonyTrustee(facts, identity(n), seeded(n), **options) for n in PARTIES[:3]]
    return facts, dealer, trustees


def test_a_dealer_that_puts_a_trustees_name_on_a_key_of_its_own_frames_nobody():
    facts, dealer, trustees = ceremony()
    for one in trustees:
        dealer.receive_key(one.announce())
    envelope, _ = dealer.deal()
    honest = decode(Dealing, envelope.payload, party="", step="", max_bytes=2**20)
    unsound = facts.seal(identity("bravo"), CeremonyKey(facts.digest(), bytes(32)))
    for forged, error in (
        (msgspec.structs.replace(honest.keys[1], signature=bytes(64)), SignatureError),
        (honest.keys[0], SignatureError),
        (unsound, RosterError),
    ):
        keys = (honest.keys[0], forged, honest.keys[2])
        changed = facts.seal(identity("dealer"), msgspec.structs.replace(honest, keys=keys))
        with pytest.raises(error, match="bravo") as caught:
            check_dealing(facts, changed, lambda *_: None)
        assert caught.value.party == "dealer"


def test_a_transcript_with_a_forged_countersignature_frames_no_trustee():
    facts, dealer, trustees = ceremony(check_key=lambda *_: None)
    for one in trustees:
        dealer.receive_key(one.announce())
    envelope, sealed = dealer.deal()
    signed = [one.receive_dealing(envelope, sealed[one.index]) for one in trustees]
    signed[1] = msgspec.structs.replace(signed[1], signature=bytes(64))
    with pytest.raises(SignatureError, match="bravo") as caught:
        check_all_signed(facts, CeremonyTranscript(envelope, tuple(signed)))
    assert caught.value.party == "dealer"


# Stopping a round


@pytest.mark.parametrize("liar", [1, 4, 7])
def test_one_wrong_answer_that_passed_by_luck_stops_no_opening_wherever_it_stands(liar):
    # 924 of the 1716 sets of seven hold any given trustee; few sets are tried.
    facts = opening(13, 7)
    role = combiner(facts)
    for name in PARTIES:
        role.receive_vector(*submit(name, facts))
    role.close_vectors()
    _, shares = dealt(13, 7)
    for share in shares:
        partial = partial_decryption(facts.key, share, role._product.values)
        if share.index == liar:
            partial = replace(partial, values=[one + 1 for one in partial.values])
        role._partials[share.index] = partial
    opened = role.finish()
    assert opened.values == [4, 8]
    assert liar not in opened.trustees
    assert list(opened.trustees) == sorted(opened.trustees)


def test_too_many_wrong_answers_open_nothing_and_name_nobody():
    facts = opening()
    role = combiner(facts)
    for name in PARTIES:
        role.receive_vector(*submit(name, facts))
    role.close_vectors()
    _, shares = dealt(3, 2)
    for share in shares[:2]:
        partial = partial_decryption(facts.key, share, role._product.values)
        role._partials[share.index] = replace(partial, values=[one + 1 for one in partial.values])
    with pytest.raises(ShareError, match="unknown"):
        role.finish()


def test_a_dealer_with_other_primes_can_deal_a_key_that_opens_nothing_but_no_false_sum():
    first, second = UNSAFE_PRIME, primes(512)[1]
    n, known = first * second, (first // 14) * (second // 2)
    order = 7 * known
    public = next(
        key
        for key in (PublicKey(int(n), bytes([seed]) * 32, allow_small=True) for seed in range(64))
        if powmod(verification_base(key), known, n) == 1
    )
    # Right modulo the order of v, and wrong modulo 7: nobody sees that by v.
    constant, slope = invert(n, order) + known, mpz(2**400 + 7)
    shares = [KeyShare(index, (constant + slope * index) % order) for index in (1, 2, 3)]
    base = verification_base(public)
    key = ThresholdKey(public, 1, 2, tuple(powmod(base, 6 * one.value, n) for one in shares))
    check_verification_keys(key)
    refused = 0
    for number in range(8):
        [ciphertext] = encrypt_all(key, [number], "unsafe")
        partials = []
        for share in shares:
            check_share(key, share, dealer="dealer")
            partial = partial_decryption(key, share, [ciphertext])
            proof = prove(key, share, [ciphertext], partial, binding=MODEL, random=seeded(number))
            # Honest trustees are not blamed.
            check_proof(key, [ciphertext], partial, proof, binding=MODEL, name="trustee")
            partials.append(partial)
        try:
            assert combine(key, [ciphertext], partials) == [number]
        except ShareError:
            refused += 1
    assert refused > 0


# Secrets


def test_a_pool_that_holds_one_obfuscator_under_two_numbers_is_refused():
    key = small_key().public
    [one] = small_obfuscators(1, "restored")
    secret = one.to_secret_bytes(key)
    with pytest.raises(MisuseError, match="twice"):
        Pool(key, records=[(1, secret), (2, secret)])


def test_what_opens_ciphertexts_is_neither_pickled_nor_copied():
    key = small_key()
    encrypted = encrypt(key.public, [mpz(7)], small_obfuscators(1, "pickled"))
    for secret in (encrypted, key, *key._halves):
        for serialise in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="never serialised"):
                serialise(secret)


def test_a_key_generation_that_fails_leaves_no_summand_in_what_it_raises():
    facts = GenerationContext(bytes(32), PARTIES[:3], 2, 256, 8, allow_small=True)
    parties = [KeyGenerator(facts, index, seeded(("spoiled", index))) for index in (1, 2, 3)]
    sent = {one.index: one.start() for one in parties}
    for _ in range(200):
        answers = {}
        for one in parties:
            inbox = {
                index: list(exchange.private.get(one.index, exchange.broadcast))
                for index, exchange in sent.items()
                if index != one.index
            }
            if one.state == "verification" and one.index == 1:
                inbox[2] = [mpz(1)]
                with pytest.raises(ShareError) as caught:
                    one.receive(inbox)
                break
            answers[one.index] = one.receive(inbox)
        else:
            sent = answers
            continue
        break
    assert caught.value.__cause__ is caught.value.__context__ is None
    frames = [frame.f_code.co_name for frame, _ in walk_tb(caught.value.__traceback__)]
    assert frames[-1] == "receive"


# Proofs


def test_errors_that_cancel_under_equal_weights_do_not_cancel():
    key = small_key().public
    encrypted = encrypt(key, [mpz(1), mpz(2)], small_obfuscators(2, "cancel"))
    facts = {"agreement": AGREEMENT, "round_": 1, "party": "alpha"}
    proof = prove_plaintexts(encrypted, **facts, random=seeded("cancel"))
    check_plaintexts(key, encrypted.ciphertexts, proof, **facts)
    square, (first, second) = mpz(key.n_squared), encrypted.ciphertexts
    for error in (mpz(3), square - 1, 1 + mpz(key.n)):
        shifted = [first * error % square, second * invert(error, square) % square]
        with pytest.raises(ProofError):
            check_plaintexts(key, shifted, proof, **facts)
        # Nor does a new proof of the old plaintexts speak of them, except where only -1 differs.
        changed = replace(encrypted, ciphertexts=shifted)
        passed = 0
        for attempt in range(8):
            again = prove_plaintexts(changed, **facts, random=seeded(attempt))
            try:
                check_plaintexts(key, shifted, again, **facts)
                passed += 1
            except ProofError:
                pass
        assert passed == 0 or error == square - 1


def test_a_proof_without_small_factors_is_of_one_key_agreement_and_owner():
    key, other = small_key(), small_key("other")
    facts = {"agreement": AGREEMENT, "prover": "alpha"}
    proof = prove_factors(key, **facts, random=seeded("factors"))
    check_factors(key.public, proof, **facts, step="key")
    reseeded = type(key.public)(key.public.n, bytes(32), True)
    for public, changes in (
        (other.public, {}),
        (reseeded, {}),
        (key.public, {"agreement": bytes(32)}),
        (key.public, {"prover": "bravo"}),
    ):
        with pytest.raises(ProofError):
            check_factors(public, proof, **(facts | changes), step="key")


def test_roots_of_minus_one_change_no_sum():
    facts = opening()
    role = combiner(facts)
    for name in PARTIES:
        role.receive_vector(*submit(name, facts))
    role.close_vectors()
    _, shares = dealt(3, 2)
    for share in shares[:2]:
        partial = partial_decryption(facts.key, share, role._product.values)
        role._partials[share.index] = replace(
            partial, values=[facts.key.n - one for one in partial.values]
        )
    assert role.finish().values == [4, 8]
    assert powmod(facts.key.n - 1, 2, facts.key.n) == 1


def test_no_opening_sums_more_vectors_than_its_lanes_hold():
    with pytest.raises(MisuseError, match="lanes for"):
        opening(summands=len(PARTIES) - 1)
    assert opening(summands=len(PARTIES)).summands == len(PARTIES)
