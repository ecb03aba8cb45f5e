"""Rounds that encrypt, over real nodes: the same models, and what no liar brings a node to do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator

import pytest
from support.agreements import identity_of
from support.encrypted import (
    ARRANGEMENTS,
    HOLDER,
    MAX_BYTES,
    ROUNDS,
    EncryptedFederation,
    forget_keys,
    sha,
)
from support.masked_round import changed

from parties.coordinator.decryption import Decryption
from parties.coordinator.membership import Membership
from parties.coordinator.outbound import Outbound
from parties.party import cipher
from protocols.errors import DuplicateError, NoResultError, SubmissionError
from protocols.identity import Envelope, Identity
from protocols.masking.messages import (
    SALT_BYTES,
    Confirmation,
    Confirmations,
    OpenedShare,
    Roster,
    Unmask,
)
from protocols.paillier.integers import mpz, powmod
from protocols.paillier.messages import (
    STEP_OF,
    CiphertextSubmission,
    OpeningRequest,
    PartialOpening,
)
from protocols.paillier.packing import Lanes
from protocols.secret_sharing import SHARE_BYTES
from protocols.wire import Packet, decode, encode

LIAR = "party-1"
FORGED = CiphertextSubmission(bytes(32), bytes(32), bytes(32), 1, b"", b"")


def read_request(packet: Packet) -> OpeningRequest:
    payload = packet.envelope.payload
    return decode(OpeningRequest, payload, party="", step="", max_bytes=MAX_BYTES)


def read_header(packet: Packet) -> CiphertextSubmission:
    payload = packet.envelope.payload
    return decode(CiphertextSubmission, payload, party="", step="", max_bytes=MAX_BYTES)


def seal_any(made: EncryptedFederation, message, round_: int, who: str = "coordinator") -> Envelope:
    return made.identities[who].seal(
        agreement=made.signed.digest,
        round_=round_,
        step=STEP_OF[type(message)],
        payload=encode(message),
    )


@pytest.fixture(scope="module", autouse=True)
def _keys() -> Iterator[None]:
    yield
    forget_keys()


@pytest.fixture(scope="module")
def masked():
    """What the same run comes to where vectors are masked alone."""
    return EncryptedFederation("masking").play()


@pytest.mark.parametrize("mode", ARRANGEMENTS)
def test_every_arrangement_ends_with_the_very_model_of_masking(mode, masked):
    made = EncryptedFederation(mode)
    report = made.play()
    assert report.models == masked.models
    assert [one.survivors for one in report.records] == [tuple(made.names)] * 2
    assert made.refusals("coordinator") == []


def check_others_finished(made: EncryptedFederation, missing: str | None = LIAR) -> None:
    """Every round has a sum, in the first one without ``missing``."""
    records = made.report.records
    assert [one.outcome for one in records] == ["completed"] * ROUNDS
    assert records[0].survivors == tuple(one for one in made.names if one != missing)


# Parties that are lost


MOMENTS = {
    "before its vector": "encrypt",
    "between its ciphertexts and their header": "submit",
    "before it confirms": "confirm",
    "before it decrypts": "decrypt",
    "before it unmasks": "unmask",
}


def losing(step: str):
    """One party is lost as it wants to say this in round 1, and is back for round 2."""

    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if sender == LIAR and envelope.round == 1 and (made.lost or envelope.step == step):
            if not made.lost:
                made.lost.add(LIAR)
                made.cut(LIAR)
            return None
        if envelope.step in {"result", "abort"} and made.lost:
            made.lost.clear()
            made.return_anew(LIAR)
        return None if receiver in made.lost else packet

    return lie


@pytest.mark.parametrize(
    ("mode", "moment"),
    [
        *(("layered", one) for one in MOMENTS),
        ("key holder", "before it confirms"),
    ],
)
def test_a_party_lost_at_any_moment_costs_its_own_round_and_is_in_the_next(mode, moment):
    made = EncryptedFederation(mode, losing(MOMENTS[moment]))
    report = made.play()
    submitted = list(MOMENTS).index(moment) > 1
    check_others_finished(made, None if submitted else LIAR)
    if moment not in {"before it decrypts", "before it unmasks"}:  # enough others may be quicker
        assert report.records[0].lost == (LIAR,)
    assert report.records[1].survivors == tuple(made.names)


def test_two_lost_where_one_may_be_end_the_round_and_the_next_one_finishes():
    inner = losing("decrypt")

    def lie(made, sender, receiver, packet):
        # The second one answers, and wrongly: it is left out as well.
        if sender == "party-2" and packet.envelope.step == "decrypt" and packet.envelope.round == 1:
            return Packet(packet.envelope, memoryview(bytes(packet.attachment.nbytes)))
        return inner(made, sender, receiver, packet)

    made = EncryptedFederation("layered", lie)
    report = made.play()
    assert [one.outcome for one in report.records] == ["aborted", "completed"]
    assert report.records[0].step == "decrypt"


# A trustee that is cut off for a moment


@pytest.mark.parametrize("mode", ["paillier", "key holder"])
def test_a_trustee_cut_off_for_a_moment_misses_no_vector(mode):
    def lie(made, sender, receiver, packet):
        if sender == "party-2" and packet.envelope.round == 1:
            if packet.envelope.step == "encrypt":
                made.cut(made.trustee)
            elif packet.envelope.step == "submit":
                asyncio.get_running_loop().call_soon(made.resume, made.trustee)
        return packet

    made = EncryptedFederation(mode, lie, grace_seconds=5.0)
    made.play()
    check_others_finished(made, None)
    assert "decrypt" in made.steps(made.trustee)
    assert made.refusals(made.trustee) == []


def test_a_key_holder_lost_in_the_middle_ends_the_round_and_opens_the_next():
    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if receiver == HOLDER and envelope.step == "open-product" and envelope.round == 1:
            made.cut(HOLDER)
            return None
        if envelope.step == "abort" and receiver == LIAR:
            made.return_anew(HOLDER)
        return packet

    made = EncryptedFederation("key holder", lie)
    report = made.play()
    assert [one.outcome for one in report.records] == ["aborted", "completed"]
    assert report.records[0].step == "decrypt"
    # Nobody gave away a share of a mask for a sum that nobody could open.
    assert not any("unmask" in made.steps(name) for name in made.names)


# A coordinator that asks for what it must not learn


def asking(*lies):
    """The trustee is asked for something else than the others, in each round something else."""

    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if envelope.step != "open-product" or receiver != made.trustee:
            return packet
        first, *rest = lies[envelope.round - 1](made, packet)
        for one in rest:
            asyncio.get_running_loop().call_soon(made.post, receiver, one)
        if first is not packet and receiver == HOLDER:
            made.give_up(HOLDER)
        return first

    return lie


def honest(made, packet):
    return [packet]


def one_party(made, packet):
    return [made.request((1,), packet.envelope.round)]


def nobody(made, packet):
    return [made.request((), packet.envelope.round)]


def rerandomised(made, packet):
    """The ciphertexts of one party, made new, under the names of all."""
    round_, said = packet.envelope.round, read_request(packet)
    product, key = made.product((1,), round_), made.arranged.key
    fresh = powmod(7, key.plain_modulus, key.cipher_modulus)
    alone = [value * fresh % key.cipher_modulus for value in product.values]
    digest = made.facts(round_).product_digest(said.submissions, alone)
    return [made.signed_by_hub(changed(said, product=digest), round_)]


def other_submissions(made, packet):
    return [
        made.signed_by_hub(
            changed(read_request(packet), submissions=bytes(32)), packet.envelope.round
        )
    ]


def fewer(made, packet):
    return [made.request((0, 1), packet.envelope.round)]


def more(made, packet):
    return [
        made.signed_by_hub(
            changed(read_request(packet), submitters=(0, 1, 2, 3)), packet.envelope.round
        )
    ]


REQUESTS = {
    one_party: "a product of 1 vectors, the agreement wants 2",
    nobody: "a product of 0 vectors, the agreement wants 2",
    rerandomised: "asks for another product than that of the vectors that it passed on",
    other_submissions: "asks for another product than that of the vectors that it passed on",
    fewer: "its submitters are not those whose vectors it passed on",
    more: "its submitters are not those whose vectors it passed on",
}


def check_refused(made: EncryptedFederation, *reasons: str, step: str = "open-product") -> None:
    """The trustee names the coordinator, and no answer left it; the others had their sum."""
    refused = made.refusals(made.trustee)
    for place, reason in enumerate(reasons):
        assert any(one.startswith(f"coordinator at {step}: ") and reason in one for one in refused)
        assert "decrypt" not in made.steps(made.trustee, place + 1)
    outcomes = [one.outcome for one in made.report.records]
    failed = "aborted" if made.trustee == HOLDER else "completed"
    assert outcomes == [failed if place < len(reasons) else "completed" for place in range(ROUNDS)]
    if len(reasons) < ROUNDS:
        assert "decrypt" in made.steps(made.trustee, ROUNDS)


@pytest.mark.parametrize(
    ("mode", "lies"),
    [
        ("paillier", (one_party, rerandomised)),
        ("paillier", (nobody, fewer)),
        ("layered", (other_submissions, more)),
        ("key holder", (one_party,)),
        ("key holder", (rerandomised,)),
    ],
)
def test_no_trustee_opens_anything_but_the_product_that_it_multiplied(mode, lies):
    made = EncryptedFederation(mode, asking(*lies, *[honest] * (ROUNDS - len(lies))))
    made.play()
    check_refused(made, *[REQUESTS[one] for one in lies])


@pytest.mark.parametrize("mode", ["layered", "key holder"])
def test_last_rounds_product_is_not_opened_in_this_one(mode):
    def again(made, packet):
        old = made.word("coordinator", "open-product")
        return [old, made.signed_by_hub(read_request(old), 2)]

    made = EncryptedFederation(mode, asking(honest, again))
    made.play()
    replayed, anew = made.refusals(made.trustee)
    assert replayed == "coordinator at open-product: we take no part in round 1"
    assert "coordinator at open-product: asks for another product" in anew
    assert "decrypt" not in made.steps(made.trustee, 2)


@pytest.mark.parametrize("mode", ["layered", "key holder"])
def test_two_different_requests_in_one_round_get_one_answer(mode):
    """The first is answered; then the same, another one, and whatever the node might still take."""

    def again(made, packet):
        vector = made.word("party-2", "encrypt")
        return [packet, packet, vector, made.request((1, 2)), packet, vector]

    made = EncryptedFederation(mode, asking(again, honest))
    made.play()
    refused = " ".join(made.refusals(made.trustee))
    assert "coordinator at open-product: asks for a second, different product" in refused
    assert "coordinator at encrypt: came too late, in state Answered" in refused
    assert [one for one in made.steps(made.trustee) if one == "decrypt"] == ["decrypt"]
    assert [one.outcome for one in made.report.records] == ["completed"] * ROUNDS


def test_nothing_is_opened_before_the_survivors_are_confirmed():
    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if (receiver, envelope.step, envelope.round) == (made.trustee, "survivors", 1):
            made.post(receiver, made.request((0, 1, 2)))
        return packet

    made = EncryptedFederation("layered", lie)
    made.play()
    [refusal] = made.refusals(made.trustee)
    assert refusal.startswith("coordinator at open-product: ")
    assert "that we have not confirmed" in refusal
    steps = made.steps(made.trustee)
    assert steps.count("decrypt") == 1
    assert steps.index("confirm") < steps.index("decrypt")
    check_others_finished(made, None)


def test_only_the_confirmed_survivors_are_opened_whatever_was_passed_on():
    """The trustee is given fewer vectors than survivors, and asked for exactly their product."""

    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if receiver == made.trustee and envelope.round == 1:
            if envelope.sender == "party-2":
                return None
            if envelope.step == "open-product":
                return made.request((0, 1))
        return packet

    made = EncryptedFederation("paillier", lie)
    made.play()
    check_refused(made, "are not those of the survivors we confirmed")


def forgeries(made: EncryptedFederation, packet: Packet) -> Iterator[Packet]:
    """What passes for a party's vector and is not."""
    envelope, vector = packet.envelope, packet.attachment
    yield Packet(changed(envelope, signature=bytes(64)), vector)
    another = next(name for name in made.names if name != envelope.sender)
    yield Packet(changed(envelope, sender=another), vector)
    yield Packet(envelope, memoryview(bytes(vector.nbytes)))
    yield Packet(envelope, vector[:-1])
    yield Packet(made.facts().seal(made.identities["coordinator"], read_header(packet)), vector)


@pytest.mark.parametrize("mode", ["paillier", "key holder"])
def test_a_vector_that_its_party_did_not_sign_is_not_multiplied(mode):
    def lie(made, sender, receiver, packet):
        step, due = packet.envelope.step, packet.envelope.round == 1 and sender == "coordinator"
        if not due or receiver != made.trustee or step not in {"encrypt", "open-product"}:
            return packet
        if step == "encrypt":
            for one in forgeries(made, packet):
                made.post(receiver, one)
            return None
        if receiver == HOLDER:
            made.give_up(HOLDER)
        return packet

    made = EncryptedFederation(mode, lie)
    made.play()
    refused = made.refusals(made.trustee)
    assert all(one.startswith("coordinator at ") for one in refused)
    assert sum("passed on as if" in one for one in refused) >= 2 * 5
    check_refused(made, "its submitters are not those whose vectors it passed on")


def test_under_masking_no_party_takes_vectors_or_opens_anything():
    made = EncryptedFederation("masking")
    request = OpeningRequest((0, 1, 2), bytes(32), bytes(32))

    def lie(made, sender, receiver, packet):
        if packet.envelope.step == "confirmations" and receiver == "party-0":
            for said in (request, FORGED):
                sealed = seal_any(made, said, packet.envelope.round)
                made.post(receiver, Packet(sealed))
        return packet

    made.lie = lie
    made.play()
    assert (
        made.refusals("party-0")
        == [
            "coordinator at open-product: nothing is encrypted under this agreement",
            "coordinator at encrypt: nothing is encrypted under this agreement",
        ]
        * ROUNDS
    )
    check_others_finished(made, None)


def test_without_masks_no_party_gives_away_shares_of_any():
    def lie(made, sender, receiver, packet):
        if packet.envelope.step == "open-product" and receiver == "party-0":
            quorum = Confirmations(
                tuple(
                    made.word(name, "confirm", packet.envelope.round).envelope
                    for name in made.names
                )
            )
            for message in (Roster(()), quorum):
                sealed = made.round_facts(packet.envelope.round).seal(
                    made.identities["coordinator"], message
                )
                made.post(receiver, Packet(sealed))
        return packet

    made = EncryptedFederation("paillier", lie)
    made.play()
    refused = " ".join(made.refusals("party-0"))
    assert "coordinator at confirmations: there are no masks" in refused
    assert not {"share", "unmask"} & set(made.steps("party-0"))
    check_others_finished(made, None)


def test_with_a_key_holder_no_party_is_brought_to_open_or_to_break_down():
    def lie(made, sender, receiver, packet):
        if packet.envelope.step == "confirmations" and receiver == "party-0":
            made.post(receiver, made.word("party-2", "encrypt", packet.envelope.round))
            made.post(receiver, made.request((0, 1, 2), packet.envelope.round))
        return packet

    made = EncryptedFederation("key holder", lie)
    made.play()
    assert (
        made.refusals("party-0")
        == [
            "coordinator at encrypt: sums are opened by the key holder",
            "coordinator at open-product: sums are opened by the key holder",
        ]
        * ROUNDS
    )
    check_others_finished(made, None)


# A trustee that was restarted


@pytest.mark.parametrize("mode", ["layered", "key holder"])
def test_a_restarted_trustee_opens_nothing_in_the_round_that_it_answered_in(mode):
    """Its answer is lost with it; asked again, and for something else, it says nothing more."""
    answered = asyncio.Event()

    def lie(made, sender, receiver, packet):
        if sender == made.trustee and packet.envelope.step == "decrypt" and not answered.is_set():
            answered.set()
            return None
        return packet

    made = EncryptedFederation(mode, lie)

    async def restarted() -> None:
        await answered.wait()
        who, envelope = made.trustee, made.opened[1]
        before = dict(made.journals[who].promises)
        assert (1, "open-product") in before
        await made.restart(who)
        opening = next(one for _, _, one in made.said if one.envelope is envelope)
        for packet in (opening, made.word("coordinator", "open-product"), made.request((1, 2))):
            made.post(who, Packet(packet.envelope))
        told = "ignored" if who != HOLDER else "refused"
        await made.until(who, told, 3 if who == HOLDER else 1)
        assert made.journals[who].promises.items() >= before.items()

    made.play(restarted)
    assert made.steps(made.trustee).count("decrypt") == 1
    outcomes = [one.outcome for one in made.report.records]
    assert outcomes == ["aborted" if mode == "key holder" else "completed", "completed"]


# A party that lies


def speaking(step: str, *lies):
    """The liar says something else at this step, in each round something else.

    A lie yields packets, all of which the coordinator gets from it. Answers of the others come
    after: as soon as there are enough of them, nobody looks at a further one.
    """
    late: dict[int, list] = {}

    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if receiver != "coordinator" or envelope.step != step or sender == HOLDER:
            return packet
        round_ = envelope.round
        if sender != LIAR:
            if step != "decrypt" or round_ in made.done:
                return packet
            late.setdefault(round_, []).append((sender, packet))
            return None
        made.done.add(round_)
        for one in lies[round_ - 1](made, packet):
            made.tell_hub(LIAR, one)
        for name, one in late.pop(round_, []):
            made.tell_hub(name, one)
        return None

    return lie


def header(made, packet, vector=None, **changes):
    """The liar's ciphertexts with another header, or others with a header that fits them."""
    content = packet.attachment if vector is None else memoryview(vector)
    said = changed(read_header(packet), vector=sha(content), **changes)
    return Packet(made.facts(packet.envelope.round).seal(made.identities[LIAR], said), content)


def ciphertext_of(made, value: int) -> bytes:
    facts = made.facts(max(made.opened))
    return int(value).to_bytes(facts.key.ciphertext_bytes, "big") * facts.count


def zero(made, packet):
    yield header(made, packet, ciphertext_of(made, 0))


def a_factor_of_n_squared(made, packet):
    yield header(made, packet, ciphertext_of(made, 3 * made.arranged.key.n))


def one_byte_less(made, packet):
    yield header(made, packet, bytes(packet.attachment)[:-1])


def twice_as_many(made, packet):
    count = 2 * read_header(packet).count
    yield header(made, packet, bytes(packet.attachment) * 2, count=count)


def another_key(made, packet):
    yield header(made, packet, key=bytes(32))


def no_proof(made, packet):
    yield header(made, packet, knowledge=b"")


def not_the_signed_bytes(made, packet):
    yield Packet(packet.envelope, memoryview(bytes(packet.attachment.nbytes)))


def none_at_all(made, packet):
    yield from ()


VECTORS = {
    zero: "a value is not in the group of ciphertexts",
    a_factor_of_n_squared: "a value is not in the group of ciphertexts",
    one_byte_less: "bytes of ciphertexts, not",
    twice_as_many: "bytes of ciphertexts, not",
    another_key: "is encrypted under another key",
    no_proof: "",
    not_the_signed_bytes: "the vector is not the one that was signed",
    none_at_all: "sent no ciphertexts before their header",
}


def check_left_out(made: EncryptedFederation, reasons, survives: bool = False) -> None:
    """The coordinator names the liar for each of these, and all others have their sums."""
    refused = made.refusals("coordinator")
    assert len(refused) >= len(reasons)
    assert all(one.startswith(f"{LIAR} at ") for one in refused)
    for reason in reasons:
        assert any(reason in one for one in refused), (reason, refused)
    left = {one.detail["peer"] for one in made.told("coordinator", "left-round")}
    assert left == {LIAR}
    honest = tuple(one for one in made.names if survives or one != LIAR)
    assert [one.survivors for one in made.report.records] == [honest] * ROUNDS


@pytest.mark.parametrize(
    ("mode", "lies"),
    [
        ("paillier", (zero, one_byte_less)),
        ("paillier", (twice_as_many, none_at_all)),
        ("layered", (a_factor_of_n_squared, not_the_signed_bytes)),
        ("key holder", (no_proof, another_key)),
    ],
)
def test_ciphertexts_that_are_none_cost_their_sender_its_own_place_alone(mode, lies):
    made = EncryptedFederation(mode, speaking("encrypt", *lies))
    made.play()
    check_left_out(made, [VECTORS[one] for one in lies])
    # Nobody else ever saw them.
    assert not any(
        packet.envelope.sender == LIAR and sender == "coordinator"
        for sender, _, packet in made.said
        if packet.envelope.step == "encrypt"
    )


def test_another_partys_ciphertext_proves_no_knowledge_and_is_in_no_sum():
    """The liar waits for the victim's ciphertexts, and sends them as its own."""
    waiting: list[Packet] = []

    def copy(made, round_: int) -> None:
        theirs = made.word("party-0", "encrypt", round_)
        stolen = changed(read_header(theirs), statement=b"mine")
        envelope = made.facts(round_).seal(made.identities[LIAR], stolen)
        made.tell_hub(LIAR, Packet(envelope, theirs.attachment))
        for one in waiting:
            made.tell_hub(LIAR, one)
        waiting.clear()

    def lie(made, sender, receiver, packet):
        step, round_ = packet.envelope.step, packet.envelope.round
        if sender == LIAR and step == "encrypt":
            return None
        if sender == LIAR and step == "submit":
            waiting.append(packet)
        elif (sender, step) != ("party-0", "submit"):
            return packet
        else:
            made.done.add(round_)
            made.tell_hub(sender, packet)
        if waiting and round_ in made.done:
            copy(made, round_)
        return None

    made = EncryptedFederation("paillier", lie)
    made.play()
    check_left_out(made, ["at encrypt: does not prove that it knows what it encrypted"])


def test_ciphertexts_sent_twice_count_once_and_an_endless_flow_ends_in_exclusion():
    def again(made, packet):
        yield packet
        yield packet
        yield header(made, packet, statement=b"another")

    def flow(made, packet):
        yield packet
        for place in range(50):
            yield header(made, packet, statement=b"%d" % place)

    made = EncryptedFederation("paillier", speaking("encrypt", again, flow))
    made.play()
    refused = made.refusals("coordinator")
    assert refused == [f"{LIAR} at encrypt: has sent its ciphertexts already"] * (2 + 9)
    first, second = made.report.records
    assert first.survivors == tuple(made.names)
    assert second.survivors == ("party-0", "party-2")


def test_no_more_than_one_vector_of_a_party_is_held_however_many_it_sends():
    members = Membership([LIAR, "party-2"], grace_seconds=1.0, now=0.0)
    desk = Decryption(NoOpening(), Outbound(None, None), members, (), None, 1000)
    packets = [
        Packet(seal_named(LIAR, "encrypt", b"%d" % place), memoryview(bytes(1000)))
        for place in range(20)
    ]

    async def flood() -> None:
        longer = Packet(packets[0].envelope, memoryview(bytes(1001)))
        with pytest.raises(SubmissionError, match="1001 bytes of ciphertexts, not 1000"):
            await desk.take(longer)
        await desk.take(packets[0])
        for packet in packets[1:]:
            with pytest.raises(DuplicateError, match="party-1 at encrypt"):
                await desk.take(packet)
        assert list(desk._held.values()) == [packets[0]]
        await desk.submit(seal_named(LIAR, "submit", b""), lambda *_: 1)
        # What was taken is held no more, and its place is taken for good.
        assert [one.attachment.nbytes for one in desk._held.values()] == [0]
        with pytest.raises(DuplicateError, match="party-1 at encrypt"):
            await desk.take(packets[1])

    asyncio.run(flood())


class NoOpening:
    """An opening that takes every vector."""

    heard: tuple[str, ...] = ()
    can_finish = False

    def examine(self, envelope: Envelope, _vector: memoryview) -> object:
        return envelope

    def take(self, examined: object) -> None:
        """Nothing to add up."""


def seal_named(name: str, step: str, payload: bytes) -> Envelope:
    return identity_of(name).seal(agreement=bytes(32), round_=1, step=step, payload=payload)


# Answers


def answer(made, packet, values: bytes | None = None, **changes) -> Packet:
    """The liar's answer with another header, or with other values that the header names."""
    content = packet.attachment if values is None else memoryview(values)
    said = decode(PartialOpening, packet.envelope.payload, party="", step="", max_bytes=MAX_BYTES)
    said = changed(said, values=sha(content), **changes)
    return Packet(made.facts(packet.envelope.round).seal(made.identities[LIAR], said), content)


def wrong_values(made, packet):
    key = made.arranged.key
    yield answer(made, packet, (4).to_bytes(key.residue_bytes, "big") * made.facts().count)


def not_its_values(made, packet):
    yield Packet(packet.envelope, memoryview(bytes(packet.attachment.nbytes)))


def another_request(made, packet):
    yield answer(made, packet, request=bytes(32))


def another_proof(made, packet):
    yield answer(made, packet, challenge=bytes(16))


def too_short(made, packet):
    yield answer(made, packet, bytes(packet.attachment)[1:])


def of_another_trustee(made, packet):
    yield Packet(changed(packet.envelope, sender="party-2"), packet.attachment)


ANSWERS = {
    wrong_values: "at decrypt: ",
    not_its_values: "the partial decryptions are not those that it signed",
    another_request: "answers another request than this round's",
    another_proof: "at decrypt: ",
    too_short: "bytes of partial decryptions, not",
    of_another_trustee: "sends messages in the name of another party",
}


@pytest.mark.parametrize(
    ("mode", "lies"),
    [
        ("paillier", (wrong_values, not_its_values)),
        ("layered", (another_proof, of_another_trustee)),
        ("layered", (another_request, too_short)),
    ],
)
def test_a_wrong_answer_names_its_trustee_and_the_others_open_the_sum(mode, lies):
    made = EncryptedFederation(mode, speaking("decrypt", *lies))
    made.play()
    # It is in the sum, for its vector was fine.
    check_left_out(made, [ANSWERS[one] for one in lies], survives=True)


def test_an_answer_before_it_was_asked_for_or_after_the_first_opens_nothing_more():
    def lie(made, sender, receiver, packet):
        step, round_ = packet.envelope.step, packet.envelope.round
        if sender == LIAR and step == "submit" and round_ == 1:
            said = PartialOpening(bytes(32), bytes(32), 1, bytes(16), b"")
            made.tell_hub(LIAR, Packet(made.facts().seal(made.identities[LIAR], said)))
        return twice(made, sender, receiver, packet) if round_ == ROUNDS else packet

    twice = speaking("decrypt", None, lambda _, packet: [packet, packet])
    made = EncryptedFederation("paillier", lie)
    made.play()
    assert made.refusals("coordinator") == [
        f"{LIAR} at decrypt: came at a time for vectors",
        f"{LIAR} at decrypt: has answered already",
    ]
    assert [one.survivors for one in made.report.records] == [
        ("party-0", "party-2"),
        tuple(made.names),
    ]


def test_without_masks_a_party_that_sends_shares_of_masks_is_left_out():
    def shares(made, packet):
        context = made.round_facts(packet.envelope.round)
        confirmed = decode(
            Confirmation,
            made.word(LIAR, "confirm", packet.envelope.round).envelope.payload,
            party="",
            step="",
            max_bytes=MAX_BYTES,
        )
        given = Unmask(
            confirmed.survivors, (OpenedShare(0, bytes(SHARE_BYTES), bytes(SALT_BYTES)),), ()
        )
        yield Packet(context.seal(made.identities[LIAR], given))

    made = EncryptedFederation("paillier", speaking("decrypt", shares, shares))
    made.play()
    check_left_out(made, ["at unmask: there are no masks"], survives=True)


@pytest.mark.parametrize("mode", ["paillier", "key holder"])
def test_a_plaintext_that_is_no_packed_vector_leaves_the_round_without_a_sum(mode, monkeypatch):
    honest, pack, liar = cipher.encrypt_vector, Lanes.pack, threading.local()

    def encrypt(context, identity, *args, **options):
        liar.here = identity.name == LIAR and context.round == 1
        return honest(context, identity, *args, **options)

    def beyond(lanes, words):
        too_much = mpz(liar.here) << lanes.modulus_bits - 2
        return [value + too_much for value in pack(lanes, words)]

    monkeypatch.setattr(cipher, "encrypt_vector", encrypt)
    monkeypatch.setattr(Lanes, "pack", beyond)
    made = EncryptedFederation(mode)
    report = made.play()
    assert [one.outcome for one in report.records] == ["aborted", "completed"]
    assert "the opened sum is not one of packed vectors" in report.records[0].reason


# The key holder's place


def test_a_key_holder_says_nothing_to_a_coordinator_but_its_answer():
    """Whatever else it says costs it the round, whose sum it alone could open."""

    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if (sender, envelope.step, envelope.round) == (LIAR, "submit", 1):
            for step in ("advertise", "share", "encrypt", "submit", "confirm", "unmask", "holding"):
                body = memoryview(b"x") if step == "encrypt" else memoryview(b"")
                said = changed(envelope, step=step, sender=HOLDER)
                made.tell_hub(HOLDER, Packet(said, body))
        return packet

    made = EncryptedFederation("key holder", lie)
    made.play()
    assert made.refusals("coordinator") == [
        f"{HOLDER} at advertise: no message that a key holder sends",
        f"{HOLDER} at holding: {HOLDER} at holding: speaks for somebody else",
    ]
    assert [one.outcome for one in made.report.records] == ["aborted", "completed"]


@pytest.mark.parametrize("signer", [LIAR, HOLDER])
def test_a_party_that_answers_in_the_key_holders_place_is_left_out(signer):
    """Under its own name it is no trustee; under the key holder's it speaks for somebody else."""

    def pretended(made, packet):
        said = PartialOpening(bytes(32), bytes(32), 1, bytes(16), b"")
        yield Packet(made.facts(packet.envelope.round).seal(identity_named(made, signer), said))

    def lie(made, sender, receiver, packet):
        if sender == HOLDER and packet.envelope.step == "decrypt":
            for one in pretended(made, packet):
                made.tell_hub(LIAR, one)
        return packet

    made = EncryptedFederation("key holder", lie)
    made.play()
    reason = "not a member" if signer == LIAR else "in the name of another party"
    check_left_out(made, [reason], survives=True)


def identity_named(made: EncryptedFederation, name: str) -> Identity:
    """The liar's own, or one that says it is the key holder and has another key."""
    return made.identities[name] if name == LIAR else Identity(name, bytes(range(32)))


# Everything at once


@pytest.mark.parametrize("mode", ARRANGEMENTS)
def test_no_words_that_peers_may_sign_break_a_node_down_in_whatever_order_they_come(mode):
    """Coordinator, a party and the key holder sign what any of them said, at any time."""
    rng, spoken = random.Random(mode), []

    def some(made, signer: str, round_: int) -> Packet:
        packet, other = rng.choice(spoken), rng.choice(spoken)
        envelope = packet.envelope
        signed = made.identities[signer].seal(
            agreement=made.signed.digest,
            round_=rng.choice((round_, round_, envelope.round)),
            step=envelope.step if envelope.step != "end" else "open-product",
            payload=envelope.payload,
        )
        return Packet(signed, rng.choice((packet, packet, other)).attachment)

    def lie(made, sender, receiver, packet):
        spoken.append(packet)
        round_ = packet.envelope.round
        if sender in {LIAR, HOLDER} and rng.random() < 0.3:
            made.tell_hub(sender, some(made, sender, round_))
        if receiver == made.trustee and rng.random() < 0.6:
            for _ in range(3):
                made.post(receiver, some(made, "coordinator", round_))
        return packet

    made = EncryptedFederation(mode, lie)
    with contextlib.suppress(NoResultError):  # the key holder may have left both rounds
        made.play()
    assert made.refusals(made.trustee)
    for round_ in range(1, ROUNDS + 1):
        assert made.steps(made.trustee, round_).count("decrypt") <= 1
