"""Opening one product in a round: trustees decrypt what they multiplied themselves, and once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import seeded
from support.trustees import dealt, encrypt, encrypt_all, primes

from protocols.errors import (
    AgreementMismatchError,
    BelowThresholdError,
    CohortTooSmallError,
    DuplicateError,
    EquivocationError,
    MisuseError,
    ModelMismatchError,
    OutOfOrderError,
    OversizedError,
    ProofError,
    ReplayError,
    ShareError,
    SignatureError,
    SubmissionError,
    SurvivorSetError,
    UnexpectedMessageError,
    UnknownPartyError,
    WireError,
)
from protocols.identity import Envelope, Identity
from protocols.paillier.encryption import encrypt as encrypt_vector
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.integers import mpz, powmod
from protocols.paillier.messages import CiphertextSubmission, OpeningRequest, PartialOpening
from protocols.paillier.obfuscators import make_obfuscators
from protocols.paillier.packing import Lanes
from protocols.paillier.plaintext_proof import prove_plaintexts
from protocols.paillier.threshold import Partial, partial_decryption
from protocols.paillier.threshold_combiner import DecryptionCombiner
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_key import join_residues, split_residues
from protocols.paillier.threshold_knowledge import plaintext_knowledge
from protocols.paillier.threshold_party import DecryptingParty
from protocols.paillier.threshold_proofs import prove
from protocols.wire import decode, encode

PARTIES = ("alpha", "bravo", "charlie", "delta")
TRUSTEES = ("tango", "uniform", "victor")
AGREEMENT = hashlib.sha256(b"agreement").digest()
MODEL = hashlib.sha256(b"model").digest()
COUNT = 3
PLAIN = {name: [place + 1, 10 * place, 2**500 - place] for place, name in enumerate(PARTIES)}


@lru_cache
def identity(name: str) -> Identity:
    return Identity(name, hashlib.sha256(name.encode()).digest())


@lru_cache
def base(degree: int = 1) -> OpeningContext:
    key, _ = dealt(3, 2, degree)
    return OpeningContext(
        AGREEMENT,
        1,
        identity("coordinator").public,
        tuple(identity(name).public for name in PARTIES),
        tuple(identity(name).public for name in TRUSTEES),
        key,
        min_cohort=3,
        count=COUNT,
        summands=len(PARTIES),
        max_message_bytes=2**16,
    )


def context(**changes: object) -> OpeningContext:
    return replace(base(), **changes)


def knowledge(name: str, facts: OpeningContext, vector: bytes) -> bytes:
    """Stands for the proof of knowledge: binds sender, round and ciphertexts."""
    return hashlib.sha256(name.encode() + facts.round.to_bytes(8, "big") + vector).digest()


def check_knowledge_of(facts: OpeningContext):
    def check(name, header, ciphertexts):
        vector = join_residues(ciphertexts, facts.key.ciphertext_bytes)
        if header.knowledge != knowledge(name, facts, vector):
            raise SubmissionError(name, "encrypt", "does not know what it encrypted")

    return check


def submit(
    name: str, facts: OpeningContext, values: list[mpz] | None = None, **changes: object
) -> tuple[Envelope, bytes]:
    if values is None:
        values = encrypt_all(facts.key, PLAIN[name], (name, facts.round))
    vector = join_residues(values, facts.key.ciphertext_bytes)
    header = CiphertextSubmission(
        facts.key.digest(),
        MODEL,
        hashlib.sha256(vector).digest(),
        len(values),
        knowledge(name, facts, vector),
        b"",
    )
    header = msgspec.structs.replace(header, **changes)
    return facts.seal(identity(name), header), vector


def trustee(
    name: str, facts: OpeningContext, *, dealing: str = "first", **options: object
) -> DecryptingParty:
    key = facts.key
    _, shares = dealt(key.trustees, key.threshold, key.degree, dealing=dealing)
    return DecryptingParty(
        facts,
        identity(name),
        shares[TRUSTEES.index(name)],
        seeded(name),
        check_knowledge=check_knowledge_of(facts),
        **options,
    )


@dataclass
class Opening:
    facts: OpeningContext
    combiner: DecryptionCombiner
    trustees: dict[str, DecryptingParty]
    vectors: dict[str, tuple[Envelope, bytes]]
    request: Envelope | None = None

    def ask(self) -> Envelope:
        self.request = self.combiner.close_vectors()
        return self.request

    def answers(self) -> dict[str, tuple[Envelope, bytes]]:
        request = self.ask()
        return {name: one.receive_request(request) for name, one in self.trustees.items()}


def opening(facts: OpeningContext | None = None, who: tuple[str, ...] = PARTIES) -> Opening:
    facts = facts or context()
    made = Opening(
        facts,
        DecryptionCombiner(
            facts, identity("coordinator"), check_knowledge=check_knowledge_of(facts)
        ),
        {name: trustee(name, facts) for name in TRUSTEES},
        {name: submit(name, facts) for name in who},
    )
    for envelope, vector in made.vectors.values():
        made.combiner.receive_vector(envelope, vector)
        for one in made.trustees.values():
            one.receive_vector(envelope, vector)
    return made


def sums(facts: OpeningContext, who: tuple[str, ...] = PARTIES) -> list[int]:
    return [
        sum(column) % facts.key.plain_modulus for column in zip(*map(PLAIN.get, who), strict=True)
    ]


def asked(
    facts: OpeningContext, submitters: tuple[int, ...], submissions: bytes, product: bytes
) -> Envelope:
    """What a coordinator asks for that makes up its own requests."""
    return facts.seal(identity("coordinator"), OpeningRequest(submitters, submissions, product))


# Completeness


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("pair", list(combinations(TRUSTEES, 2)))
def test_any_two_trustees_open_the_sum_exactly(pair, degree):
    run = opening(base(degree))
    answers = run.answers()
    for name in pair:
        assert not run.combiner.can_finish
        run.combiner.receive_partial(*answers[name])
    assert run.combiner.can_finish
    opened = run.combiner.finish()
    assert opened.values == sums(run.facts)
    assert opened.submitters == (0, 1, 2, 3)
    assert opened.trustees == tuple(TRUSTEES.index(name) + 1 for name in pair)
    assert run.combiner.state == "Closed"


def test_a_party_that_dropped_out_is_missing_from_the_sum_and_from_nothing_else():
    who = ("alpha", "charlie", "delta")
    run = opening(who=who)
    answers = run.answers()
    for name in TRUSTEES:
        run.combiner.receive_partial(*answers[name])
    opened = run.combiner.finish()
    assert opened.values == sums(run.facts, who)
    assert opened.submitters == (0, 2, 3)


def test_vectors_may_come_in_any_order():
    facts = context()
    run = opening(facts)
    late = trustee("tango", facts)
    for name in reversed(PARTIES):
        late.receive_vector(*run.vectors[name])
    assert late.receive_request(run.ask())


@given(
    values=st.lists(
        st.integers(0, int(base().key.n) - 1) | st.sampled_from([0, int(base().key.n) - 1]),
        min_size=3,
        max_size=4,
    )
)
@settings(max_examples=10, deadline=None)
def test_sums_are_exact_whatever_the_values(values):
    facts = context(count=1)
    run = opening(facts, who=())
    for name, value in zip(PARTIES, values, strict=False):
        sent = submit(name, facts, [encrypt(facts.key, value, name)])
        run.combiner.receive_vector(*sent)
        for one in run.trustees.values():
            one.receive_vector(*sent)
    for answer in run.answers().values():
        run.combiner.receive_partial(*answer)
    assert run.combiner.finish().values == [sum(values) % facts.key.n]


# A coordinator that asks for what it may not have


def test_one_partys_vector_is_not_opened():
    facts = context()
    run = opening(facts, who=("alpha",))
    submissions, product = run.combiner._product.digests()
    request = asked(facts, (0,), submissions, product)
    with pytest.raises(CohortTooSmallError, match="1 vectors, the agreement wants 3"):
        run.trustees["tango"].receive_request(request)
    assert run.trustees["tango"].state == "Withdrawn"
    with pytest.raises(BelowThresholdError):
        run.combiner.close_vectors()
    assert run.combiner.state == "Closed"


def test_two_vectors_are_not_opened_as_if_they_were_three():
    facts = context()
    run = opening(facts, who=("alpha", "bravo"))
    submissions, product = run.combiner._product.digests()
    for submitters in ((0, 1, 2), (0, 1, 1), (0, 0, 1)):
        victim = trustee("tango", facts)
        for name in ("alpha", "bravo"):
            victim.receive_vector(*run.vectors[name])
        with pytest.raises(SurvivorSetError, match="coordinator at open-product"):
            victim.receive_request(asked(facts, submitters, submissions, product))


def test_a_single_rerandomised_ciphertext_is_not_opened():
    facts = context()
    run = opening(facts)
    honest = decode(OpeningRequest, run.ask().payload, party="", step="", max_bytes=2**16)
    victim = encrypt_all(facts.key, PLAIN["alpha"], ("alpha", 1))
    masked = [
        one
        * powmod(7, facts.key.plain_modulus, facts.key.cipher_modulus)
        % facts.key.cipher_modulus
        for one in victim
    ]
    product = facts.product_digest(honest.submissions, masked)
    with pytest.raises(EquivocationError, match="another product than that of the vectors"):
        run.trustees["tango"].receive_request(
            asked(facts, (0, 1, 2, 3), honest.submissions, product)
        )
    assert run.trustees["tango"].state == "Withdrawn"
    with pytest.raises(UnexpectedMessageError, match="Withdrawn"):
        run.trustees["tango"].receive_request(run.request)


def test_a_rerandomised_ciphertext_under_the_name_of_others_needs_their_signatures():
    facts = context()
    one = trustee("tango", facts)
    alpha, vector = submit("alpha", facts)
    one.receive_vector(alpha, vector)
    for forged, error in (
        (msgspec.structs.replace(alpha, sender="bravo"), SignatureError),
        (
            facts.seal(identity("mallory"), CiphertextSubmission(*[bytes(32)] * 3, 3, b"", b"")),
            UnknownPartyError,
        ),
    ):
        with pytest.raises(error):
            one.receive_vector(forged, vector)


def test_last_rounds_product_is_not_opened_again():
    first, second = context(), context(round=2)
    before = opening(first)
    old = before.ask()
    now = opening(second)
    with pytest.raises(ReplayError, match="belongs to round 1, not 2"):
        now.trustees["tango"].receive_request(old)
    # Signed anew, it is not the product of this round's vectors.
    said = decode(OpeningRequest, old.payload, party="", step="", max_bytes=2**16)
    with pytest.raises(EquivocationError, match="another product"):
        now.trustees["tango"].receive_request(second.seal(identity("coordinator"), said))
    # Nor do last round's vectors count in this one.
    with pytest.raises(ReplayError):
        trustee("tango", second).receive_vector(*before.vectors["alpha"])


def test_a_second_different_product_is_refused_by_name():
    facts = context()
    run = opening(facts)
    answered = run.trustees["tango"]
    request = run.ask()
    answered.receive_request(request)
    assert answered.state == "Answered"
    with pytest.raises(DuplicateError, match="the first was already answered"):
        answered.receive_request(request)
    with pytest.raises(EquivocationError, match="coordinator at open-product: asks for a second"):
        answered.receive_request(asked(facts, (0, 1, 2), bytes(32), bytes(32)))
    with pytest.raises(UnexpectedMessageError, match="coordinator at encrypt: came too late"):
        answered.receive_vector(*run.vectors["alpha"])


def test_a_promise_holds_across_a_restart():
    facts = context()
    run = opening(facts)
    request = run.ask()
    before = run.trustees["tango"]
    assert before.promise is None
    first, values = before.receive_request(request)
    assert before.promise is not None
    # The same request is answered again, with the same values, by one that lost everything else.
    after = trustee("tango", facts, promised=before.promise)
    for sent in run.vectors.values():
        after.receive_vector(*sent)
    again, same = after.receive_request(request)
    assert same == values
    run.combiner.receive_partial(again, same)
    # Another one is not: here the same vectors but one.
    fewer = opening(facts, who=PARTIES[:3])
    tempted = trustee("tango", facts, promised=before.promise)
    for sent in fewer.vectors.values():
        tempted.receive_vector(*sent)
    with pytest.raises(EquivocationError, match="second, different product"):
        tempted.receive_request(fewer.ask())
    assert tempted.state == "Withdrawn"
    assert first.payload != again.payload or first == again


def test_every_field_of_a_request_is_checked():
    facts = context()
    for changes, error in (
        ({"submitters": (0, 1, 2)}, SurvivorSetError),
        ({"submitters": (3, 2, 1, 0)}, SurvivorSetError),
        ({"submitters": (0, 1)}, CohortTooSmallError),
        ({"submitters": ()}, CohortTooSmallError),
        ({"submissions": bytes(32)}, EquivocationError),
        ({"product": bytes(32)}, EquivocationError),
    ):
        run = opening(facts)
        honest = decode(OpeningRequest, run.ask().payload, party="", step="", max_bytes=2**16)
        changed = msgspec.structs.replace(honest, **changes)
        with pytest.raises(error, match="coordinator"):
            run.trustees["victor"].receive_request(facts.seal(identity("coordinator"), changed))
        assert run.trustees["victor"].promise is None


def test_a_request_that_the_coordinator_did_not_sign_changes_nothing():
    run = opening()
    request = run.ask()
    one = run.trustees["tango"]
    for forged, error in (
        (msgspec.structs.replace(request, sender="alpha"), SignatureError),
        (msgspec.structs.replace(request, signature=bytes(64)), SignatureError),
        (msgspec.structs.replace(request, agreement=bytes(32)), AgreementMismatchError),
        (msgspec.structs.replace(request, step="decrypt"), UnexpectedMessageError),
        (msgspec.structs.replace(request, version=9), WireError),
    ):
        with pytest.raises(error):
            one.receive_request(forged)
    assert one.receive_request(request)


def test_a_trustee_that_withdrew_holds_no_share():
    run = opening()
    one = run.trustees["tango"]
    one.withdraw("the operator said so")
    assert one._share is None
    with pytest.raises(UnexpectedMessageError, match="Withdrawn"):
        one.receive_request(run.ask())
    answered = run.trustees["uniform"]
    answered.receive_request(run.request)
    assert answered._share is None


# Vectors that are refused


def test_a_vector_counts_once():
    facts = context()
    run = opening(facts)
    for role in (run.combiner, run.trustees["tango"]):
        with pytest.raises(DuplicateError, match="alpha"):
            role.receive_vector(*run.vectors["alpha"])
        with pytest.raises(EquivocationError, match="alpha at encrypt: signed two"):
            role.receive_vector(*submit("alpha", facts, encrypt_all(facts.key, [9, 9, 9], "again")))


def test_a_copied_ciphertext_is_refused_for_want_of_knowledge():
    facts = context()
    one = trustee("tango", facts)
    alpha, vector = submit("alpha", facts)
    one.receive_vector(alpha, vector)
    header = decode(CiphertextSubmission, alpha.payload, party="", step="", max_bytes=2**16)
    with pytest.raises(SubmissionError, match="bravo at encrypt: does not know"):
        one.receive_vector(facts.seal(identity("bravo"), header), vector)


@pytest.mark.parametrize("place", [0, COUNT - 1])
@pytest.mark.parametrize("what", ["zero", "the modulus", "a factor", "too large"])
def test_a_value_that_is_no_ciphertext_names_its_sender(what, place):
    facts = context()
    values = encrypt_all(facts.key, PLAIN["alpha"], "x")
    values[place] = {
        "zero": mpz(0),
        "the modulus": facts.key.n,
        "a factor": primes(512)[0],
        "too large": facts.key.cipher_modulus,
    }[what]
    for role in (trustee("tango", facts), opening(facts, who=()).combiner):
        with pytest.raises(SubmissionError, match="alpha at encrypt: a value is not"):
            role.receive_vector(*submit("alpha", facts, values))


def test_every_field_of_a_submission_is_checked():
    facts = context()
    values = encrypt_all(facts.key, PLAIN["bravo"], "y")
    short, long = values[:2], [*values, values[0]]
    other_key, _ = dealt(3, 2, dealing="second")
    for sent, error in (
        (submit("bravo", facts, values, key=other_key.digest()), SubmissionError),
        (submit("bravo", facts, values, model=bytes(32)), ModelMismatchError),
        (submit("bravo", facts, values, vector=bytes(32)), SubmissionError),
        (submit("bravo", facts, values, count=2), SubmissionError),
        (submit("bravo", facts, values, knowledge=b""), SubmissionError),
        (submit("bravo", facts, short), SubmissionError),
        (submit("bravo", facts, short, count=COUNT), SubmissionError),
        (submit("bravo", facts, long, count=COUNT), SubmissionError),
        (submit("bravo", context(round=2), values), ReplayError),
        (submit("bravo", context(agreement=bytes(32)), values), AgreementMismatchError),
        (submit("bravo", facts, values, statement=bytes(513)), WireError),
        (submit("bravo", facts, values, knowledge=bytes(2**17)), OversizedError),
    ):
        one = trustee("tango", facts)
        one.receive_vector(*submit("alpha", facts))
        with pytest.raises(error, match="bravo"):
            one.receive_vector(*sent)
        # Nothing was multiplied.
        assert one._product.values == encrypt_all(facts.key, PLAIN["alpha"], ("alpha", 1))


def test_a_vector_after_the_request_is_too_late():
    run = opening(who=PARTIES[:3])
    run.ask()
    with pytest.raises(OutOfOrderError, match="Opening"):
        run.combiner.receive_vector(*submit("delta", run.facts))


# Trustees that lie


def false_answer(
    run: Opening, name: str, values: list[mpz], share: object = None, binding: bytes | None = None
) -> tuple[Envelope, bytes]:
    """What a trustee signs that made up its partial decryptions and proved them as it could."""
    facts, index = run.facts, TRUSTEES.index(name) + 1
    said = decode(OpeningRequest, run.request.payload, party="", step="", max_bytes=2**16)
    digest = facts.request_digest(said) if binding is None else binding
    _, shares = dealt(3, 2)
    proof = prove(
        facts.key,
        share or shares[index - 1],
        run.combiner._product.values,
        Partial(index, values),
        binding=digest,
        random=seeded("false"),
    )
    joined = join_residues(values, facts.key.residue_bytes)
    answer = PartialOpening(
        digest, hashlib.sha256(joined).digest(), COUNT, proof.challenge, proof.response
    )
    return facts.seal(identity(name), answer), joined


@pytest.mark.parametrize("place", range(COUNT))
def test_a_wrong_partial_decryption_names_its_trustee_and_the_others_finish(place):
    run = opening()
    answers = run.answers()
    _, shares = dealt(3, 2)
    values = list(partial_decryption(run.facts.key, shares[0], run.combiner._product.values).values)
    values[place] = values[place] * 3 % run.facts.key.n
    with pytest.raises(ShareError, match="tango at decrypt") as caught:
        run.combiner.receive_partial(*false_answer(run, "tango", values))
    assert caught.value.party == "tango"
    assert run.combiner.heard == frozenset()
    for name in ("uniform", "victor"):
        run.combiner.receive_partial(*answers[name])
    opened = run.combiner.finish()
    assert opened.values == sums(run.facts)
    assert opened.trustees == (2, 3)


def test_a_wrong_answer_whose_proof_passed_by_luck_is_left_out():
    run = opening()
    answers = run.answers()
    for name in TRUSTEES:
        run.combiner.receive_partial(*answers[name])
    honest = run.combiner._partials[1]
    run.combiner._partials[1] = replace(honest, values=[one + 1 for one in honest.values])
    spoiled = run.combiner._partials.pop(3)
    with pytest.raises(ShareError, match="no 2 of 2 answers open the sum"):
        run.combiner.finish()
    # That was no end either.
    run.combiner._partials[3] = spoiled
    opened = run.combiner.finish()
    assert opened.values == sums(run.facts)
    assert opened.trustees == (2, 3)


def test_a_share_of_another_dealing_names_its_trustee():
    run = opening()
    run.ask()
    _, shares = dealt(3, 2, dealing="second")
    made = partial_decryption(run.facts.key, shares[0], run.combiner._product.values)
    with pytest.raises(ShareError, match="tango"):
        run.combiner.receive_partial(*false_answer(run, "tango", list(made.values), shares[0]))


def test_a_trustee_that_sends_anothers_partial_decryption_is_named():
    run = opening()
    answers = run.answers()
    envelope, values = answers["uniform"]
    said = decode(PartialOpening, envelope.payload, party="", step="", max_bytes=2**16)
    copied = run.facts.seal(identity("tango"), said)
    with pytest.raises(ShareError, match="tango"):
        run.combiner.receive_partial(copied, values)
    with pytest.raises(SignatureError, match="tango"):
        run.combiner.receive_partial(msgspec.structs.replace(envelope, sender="tango"), values)


def test_every_field_of_an_answer_is_checked():
    run = opening()
    envelope, values = run.answers()["tango"]
    honest = decode(PartialOpening, envelope.payload, party="", step="", max_bytes=2**16)
    swapped = values[run.facts.key.residue_bytes :] + values[: run.facts.key.residue_bytes]
    big = bytes(len(values))
    for changes, sent, error in (
        ({"request": bytes(32)}, values, ReplayError),
        ({"values": bytes(32)}, values, ShareError),
        ({"count": 2}, values, ShareError),
        ({"challenge": bytes(16)}, values, ShareError),
        ({"challenge": bytes(15)}, values, WireError),
        ({"response": honest.response[:-1] + bytes([honest.response[-1] ^ 1])}, values, ShareError),
        ({"response": honest.response + b"\x00"}, values, ShareError),
        ({"response": bytes(2**11 + 1)}, values, WireError),
        ({}, values[:-1], ShareError),
        ({}, values + b"\x00", ShareError),
        ({}, swapped, ShareError),
        ({"values": hashlib.sha256(swapped).digest()}, swapped, ShareError),
        ({"values": hashlib.sha256(big).digest()}, big, ShareError),
    ):
        changed = run.facts.seal(identity("tango"), msgspec.structs.replace(honest, **changes))
        with pytest.raises(error, match="tango"):
            run.combiner.receive_partial(changed, sent)
        assert not run.combiner.heard
    run.combiner.receive_partial(envelope, values)


def test_an_answer_of_another_round_is_refused_however_it_is_signed():
    first = opening()
    old, values = first.answers()["tango"]
    second = opening(context(round=2))
    second.ask()
    with pytest.raises(ReplayError, match="belongs to round 1"):
        second.combiner.receive_partial(old, values)
    said = decode(PartialOpening, old.payload, party="", step="", max_bytes=2**16)
    signed = second.facts.seal(identity("tango"), said)
    with pytest.raises(ReplayError, match="another request"):
        second.combiner.receive_partial(signed, values)
    bound = second.facts.request_digest(
        decode(OpeningRequest, second.request.payload, party="", step="", max_bytes=2**16)
    )
    signed = second.facts.seal(identity("tango"), msgspec.structs.replace(said, request=bound))
    with pytest.raises(ShareError, match="tango"):
        second.combiner.receive_partial(signed, values)


def test_one_trustee_does_not_count_twice():
    run = opening()
    answers = run.answers()
    run.combiner.receive_partial(*answers["tango"])
    with pytest.raises(DuplicateError, match="tango"):
        run.combiner.receive_partial(*answers["tango"])
    with pytest.raises(BelowThresholdError, match="1 parties answered, 2 needed"):
        run.combiner.finish()
    # That was no end: the next answer completes it.
    run.combiner.receive_partial(*answers["victor"])
    assert run.combiner.finish().values == sums(run.facts)


def test_a_stranger_is_no_trustee():
    run = opening()
    envelope, values = run.answers()["tango"]
    said = decode(PartialOpening, envelope.payload, party="", step="", max_bytes=2**16)
    for name in ("mallory", "alpha", "coordinator"):
        with pytest.raises(UnknownPartyError, match=name):
            run.combiner.receive_partial(run.facts.seal(identity(name), said), values)


# Order, and what no agreement yields


def test_every_move_out_of_order_is_refused_by_the_combiner():
    run = opening()
    answer = opening().answers()["tango"]
    for move in (run.combiner.finish, lambda: run.combiner.receive_partial(*answer)):
        with pytest.raises(OutOfOrderError, match="Collecting"):
            move()
    answers = run.answers()
    with pytest.raises(OutOfOrderError, match="Opening"):
        run.combiner.close_vectors()
    for name in ("tango", "uniform"):
        run.combiner.receive_partial(*answers[name])
    run.combiner.finish()
    for move in (
        run.combiner.finish,
        run.combiner.close_vectors,
        lambda: run.combiner.receive_partial(*answers["victor"]),
        lambda: run.combiner.receive_vector(*run.vectors["alpha"]),
    ):
        with pytest.raises(OutOfOrderError, match="Closed"):
            move()


def test_a_context_that_no_agreement_yields_is_refused():
    alpha = identity("alpha").public
    for changes in (
        {"agreement": b""},
        {"round": 0},
        {"min_cohort": 1},
        {"min_cohort": 5},
        {"count": 0},
        {"count": 2**24 + 1},
        {"trustees": ()},
        {"parties": (alpha, alpha, alpha)},
        {"coordinator": alpha},
    ):
        with pytest.raises(MisuseError):
            context(**changes)


@pytest.mark.parametrize(("trustees", "threshold"), [(2, 1), (3, 1), (4, 2), (6, 3)])
def test_a_threshold_that_lets_two_products_be_opened_is_refused(trustees, threshold):
    key, _ = dealt(trustees, threshold)
    names = [identity(f"trustee-{number}").public for number in range(trustees)]
    with pytest.raises(MisuseError, match="more than half"):
        context(key=key, trustees=tuple(names))


def test_the_context_says_how_many_trustees_may_be_dishonest():
    assert context().max_colluders == 0
    key, _ = dealt(5, 4)
    names = tuple(identity(f"trustee-{number}").public for number in range(5))
    assert context(key=key, trustees=names).max_colluders == 2


def test_every_fact_is_bound_by_every_digest():
    facts = context()
    said = OpeningRequest((0, 1, 2), bytes(32), bytes(32))
    digests = {facts.request_digest(said)}
    for changes in (
        {"agreement": bytes(32)},
        {"round": 2},
        {"min_cohort": 2},
        {"count": 4},
        {"purpose": b"x"},
        {"key": dealt(3, 2, dealing="second")[0]},
    ):
        digests.add(context(**changes).request_digest(said))
    for changes in ({"submitters": (0, 1)}, {"submissions": b"1" * 32}, {"product": b"1" * 32}):
        digests.add(facts.request_digest(msgspec.structs.replace(said, **changes)))
    assert len(digests) == 10


def test_a_role_takes_its_own_identity_only():
    facts = context()
    check = check_knowledge_of(facts)
    _, shares = dealt(3, 2)
    for name, share in (("alpha", shares[0]), ("tango", shares[1])):
        with pytest.raises(MisuseError):
            DecryptingParty(facts, identity(name), share, seeded(0), check_knowledge=check)
    with pytest.raises(MisuseError):
        trustee("tango", facts, promised=b"short")
    with pytest.raises(MisuseError):
        DecryptionCombiner(facts, identity("alpha"), check_knowledge=check)


def test_no_role_shows_a_share():
    run = opening()
    _, shares = dealt(3, 2)
    run.answers()
    shown = [repr(run.combiner), repr(run.facts), *map(repr, run.trustees.values())]
    for text in shown:
        assert not any(str(share.value) in text for share in shares)
    assert "Answered" in shown[-1]


def test_messages_have_one_byte_string_each():
    run = opening()
    envelope, _ = run.answers()["tango"]
    for kind, data in (
        (PartialOpening, envelope.payload),
        (OpeningRequest, run.request.payload),
        (CiphertextSubmission, run.vectors["alpha"][0].payload),
    ):
        assert encode(decode(kind, data, party="", step="", max_bytes=2**16)) == data
        for cut in range(len(data)):
            with pytest.raises(WireError):
                decode(kind, data[:cut], party="", step="", max_bytes=2**16)


# With real ciphertexts and real proofs of knowledge


def submit_real(name: str, facts: OpeningContext, values: list[mpz]) -> tuple[Envelope, bytes]:
    key = facts.key.public
    base = FixedBase.build(key, expected=len(values))
    made = make_obfuscators(
        key, len(values), random=seeded(f"obfuscators {name}"), powers=base.powers
    )
    encrypted = encrypt_vector(key, values, made)
    proof = prove_plaintexts(
        encrypted,
        agreement=facts.agreement,
        round_=facts.round,
        party=name,
        random=seeded(f"knowledge {name}"),
    )
    return submit(name, facts, encrypted.ciphertexts, knowledge=encode(proof))


def test_packed_vectors_with_proofs_of_knowledge_open_to_the_exact_sum():
    key, shares = dealt(3, 2)
    lanes = Lanes(16, summands=4, modulus_bits=key.public.bits)
    words = [
        np.arange(100, dtype=np.uint16) * np.uint16(700 + place) for place in range(len(PARTIES))
    ]
    words[1][:] = 2**16 - 1
    facts = context(count=lanes.plaintexts(100))
    check = plaintext_knowledge(facts)
    combiner = DecryptionCombiner(facts, identity("coordinator"), check_knowledge=check)
    trustees = [
        DecryptingParty(facts, identity(name), share, seeded(name), check_knowledge=check)
        for name, share in zip(TRUSTEES, shares, strict=True)
    ]
    for name, one in zip(PARTIES, words, strict=True):
        sent = submit_real(name, facts, lanes.pack(one))
        for role in (combiner, *trustees):
            role.receive_vector(*sent)
    request = combiner.close_vectors()
    for one in trustees[:2]:
        combiner.receive_partial(*one.receive_request(request))
    opened = combiner.finish()
    assert (lanes.unpack(opened.values, 100) == np.sum(words, axis=0, dtype=np.uint16)).all()


def test_a_ciphertext_copied_changed_or_of_another_round_proves_no_knowledge():
    facts = context()
    check = plaintext_knowledge(facts)
    alpha, vector = submit_real("alpha", facts, [mpz(1), mpz(2), mpz(3)])
    header = decode(CiphertextSubmission, alpha.payload, party="", step="", max_bytes=2**16)
    combiner = DecryptionCombiner(facts, identity("coordinator"), check_knowledge=check)
    # The very ciphertexts and proof, signed by another.
    with pytest.raises(ProofError, match="bravo"):
        combiner.receive_vector(facts.seal(identity("bravo"), header), vector)
    # The ciphertexts squared: twice the plaintexts.
    values = split_residues(vector, COUNT, facts.key.ciphertext_bytes)
    twice = [one * one % facts.key.cipher_modulus for one in values]
    with pytest.raises(ProofError, match="bravo"):
        combiner.receive_vector(*submit("bravo", facts, twice, knowledge=header.knowledge))
    # Its own, of the round before.
    old, _ = submit_real("alpha", context(round=2), [mpz(1), mpz(2), mpz(3)])
    proof = decode(CiphertextSubmission, old.payload, party="", step="", max_bytes=2**16).knowledge
    with pytest.raises(ProofError, match="alpha"):
        combiner.receive_vector(*submit("alpha", facts, values, knowledge=proof))
    with pytest.raises(WireError, match="alpha"):
        combiner.receive_vector(*submit("alpha", facts, values, knowledge=b"\x00"))
    assert combiner.receive_vector(alpha, vector) == 0


def test_knowledge_is_proved_of_plain_ciphertexts_only():
    with pytest.raises(MisuseError, match="degree 1"):
        plaintext_knowledge(base(2))
