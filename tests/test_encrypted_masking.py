"""The roles of a round that encrypts, with masks or without: exact sums, no step but its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masked_round import FOLLOWING, Round, begin
from support.masking import MODEL, Federation, federation, plain_sum
from support.seeded import seeded
from support.trustees import dealt, public_key

from protocols.errors import (
    InputError,
    MisuseError,
    OutOfOrderError,
    SubmissionError,
    SurvivorSetError,
    UnexpectedMessageError,
)
from protocols.identity import Envelope
from protocols.masking.coordinator_states import Aggregate
from protocols.masking.messages import Roster, Unmask
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.obfuscators import make_obfuscators
from protocols.paillier.packing import Lanes
from protocols.paillier.threshold_combiner import DecryptionCombiner
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_knowledge import plaintext_knowledge
from protocols.paillier.threshold_party import DecryptingParty
from protocols.paillier.vectors import encrypt_vector, read_sum

MODES = {"layered": True, "paillier": False}
BITS = 512
N = 4
TABLES = FixedBase.build(public_key(BITS), expected=200)


def encrypting(mode: str, *, count: int = 5, modulus_bits: int = 32) -> Federation:
    """Four parties of which one may be missing; three open."""
    lanes = Lanes(modulus_bits, N, BITS)
    return federation(N, max_dropouts=1, count=count, modulus_bits=modulus_bits).vary(
        masked=MODES[mode], encrypted_bytes=lanes.plaintexts(count) * 2 * BITS // 8
    )


def opening_of(made: Federation) -> OpeningContext:
    context = made.context
    key, _ = dealt(N, context.quorum)
    return OpeningContext(
        context.agreement,
        context.round,
        context.coordinator,
        context.parties,
        context.parties,
        key,
        min_cohort=context.min_survivors,
        count=context.encrypted_bytes // key.ciphertext_bytes,
        summands=N,
        max_message_bytes=context.max_message_bytes,
        model=MODEL,
    )


@dataclass
class EncryptedRound:
    """Masking roles with the roles of the opening beside them."""

    made: Federation
    masking: Round
    facts: OpeningContext
    combiner: DecryptionCombiner
    trustees: dict[int, DecryptingParty]
    encrypted: dict[int, tuple[Envelope, bytes]] = field(default_factory=dict)
    opened: np.ndarray | None = None

    def encrypt(self, number: int, words: np.ndarray) -> bytes:
        key = self.facts.key.public
        self.encrypted[number] = encrypt_vector(
            self.facts,
            self.made.parties[number],
            words,
            self.made.context.modulus_bits,
            take=lambda count: make_obfuscators(
                key, count, random=seeded(f"taken {number}"), powers=TABLES.powers
            ),
            random=seeded(f"proof {number}"),
        )
        return self.encrypted[number][1]

    def begin(self, _silent: tuple[int, ...] = ()) -> None:
        if self.made.context.masked:
            self.masking.advertise()
            self.masking.share()
            self.masking.deliver()
        else:
            everybody = tuple(self.masking.nodes)
            self.masking.hub.skip_masks(everybody)
            for node in self.masking.nodes.values():
                node.skip_masks(everybody)

    def submit(self, silent: tuple[int, ...] = ()) -> None:
        this = self.masking
        for number, node in this.nodes.items():
            if number in silent:
                continue
            envelope, wire = node.submit(
                this.inputs[number], model=MODEL, encrypt=lambda w, who=number: self.encrypt(who, w)
            )
            examined = self.combiner.examine_vector(*self.encrypted[number])
            this.hub.receive_submission(envelope, hashlib.sha256(wire).digest(), model=MODEL)
            self.combiner.take_vector(examined)
            for trustee in self.trustees.values():
                trustee.receive_vector(*self.encrypted[number])
        this.mail["survivors"] = this.hub.close_submissions()

    def confirm(self, silent: tuple[int, ...] = ()) -> None:
        self.masking.confirm(silent)

    def decrypt(self, silent: tuple[int, ...] = ()) -> None:
        request = self.combiner.close_vectors()
        for number in self.masking.sent["confirm"]:
            if number not in silent:
                confirmed = self.masking.nodes[number].confirmed
                answer = self.trustees[number].receive_request(request, confirmed=confirmed)
                self.combiner.receive_partial(*answer)
        context, opened = self.made.context, self.combiner.finish()
        self.opened = read_sum(
            self.facts,
            opened.values,
            context.modulus_bits,
            context.count,
            vectors=len(opened.submitters),
        )

    def unmask(self, silent: tuple[int, ...] = ()) -> None:
        if self.made.context.masked:
            self.masking.unmask(silent)

    def finish(self) -> Aggregate:
        return self.masking.hub.finish(self.opened)


STAGES = ("begin", "submit", "confirm", "decrypt", "unmask")


def start(made: Federation) -> EncryptedRound:
    facts = opening_of(made)
    know = plaintext_knowledge(facts)
    _, shares = dealt(N, made.context.quorum)
    trustees = {
        number: DecryptingParty(
            facts, who, shares[number], seeded(f"trustee {number}"), check_knowledge=know
        )
        for number, who in made.parties.items()
    }
    combiner = DecryptionCombiner(facts, made.coordinator, check_knowledge=know)
    return EncryptedRound(made, begin(made), facts, combiner, trustees)


def play(
    made: Federation,
    *,
    until: str | None = None,
    silent: dict[str, tuple[int, ...]] | None = None,
    inputs: dict[int, np.ndarray] | None = None,
) -> EncryptedRound:
    """Run the honest stages before ``until``."""
    this = start(made)
    this.masking.inputs = this.masking.inputs if inputs is None else inputs
    for stage in STAGES:
        if stage == until:
            break
        getattr(this, stage)((silent or {}).get(stage, ()))
    return this


# Sums


@settings(max_examples=20, deadline=None)
@given(
    mode=st.sampled_from(sorted(MODES)),
    bits=st.sampled_from((8, 24, 32, 40, 64)),
    count=st.integers(1, 30),
    lost=st.sampled_from(("submit", "confirm", "decrypt", "unmask", "nobody")),
    who=st.integers(0, N - 1),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_the_sum_is_bit_identical_to_the_plain_one_and_to_masking_whoever_is_lost(
    mode, bits, count, lost, who, extreme, seed
):
    made = encrypting(mode, count=count, modulus_bits=bits)
    rng, word = np.random.default_rng(seed), made.context.word
    inputs = {
        number: np.full(count, 2**bits - 1, dtype=word)
        if extreme
        else rng.integers(0, 2**bits - 1, count, dtype=np.uint64, endpoint=True).astype(word)
        for number in made.parties
    }
    this = play(made, silent={lost: (who,)}, inputs=inputs)
    found = this.finish()
    alive = tuple(number for number in made.parties if lost != "submit" or number != who)
    assert found.survivors == alive
    np.testing.assert_array_equal(found.total, plain_sum(made, inputs, alive))
    masked = begin(federation(N, max_dropouts=1, count=count, modulus_bits=bits))
    masked.inputs = inputs
    for stage in ("advertise", "share", "deliver", "submit", "confirm", "unmask"):
        getattr(masked, stage)((who,) if stage == lost else ())
    total = masked.finish().total
    assert found.total.dtype == total.dtype
    np.testing.assert_array_equal(found.total, total)


def test_what_is_opened_in_a_layered_round_is_still_masked():
    this = play(encrypting("layered"))
    plain = plain_sum(this.made, this.masking.inputs, tuple(range(N)))
    assert not np.any(this.opened == plain)
    np.testing.assert_array_equal(this.finish().total, plain)


# Which rounds there are, and how they begin


def test_a_round_whose_vectors_are_neither_masked_nor_encrypted_is_no_round():
    with pytest.raises(MisuseError, match="hides nothing"):
        federation(N).vary(masked=False)


@pytest.mark.parametrize("made", [federation(N), encrypting("layered")])
def test_a_round_with_masks_never_begins_without_them(made):
    this = begin(made)
    with pytest.raises(MisuseError, match="masked"):
        this.hub.skip_masks(range(N))
    for node in this.nodes.values():
        with pytest.raises(MisuseError, match="masked"):
            node.skip_masks(range(N))
        assert node.state == "Fresh"
    this.advertise()


def test_a_round_without_masks_never_advertises_and_gives_away_no_share():
    made = encrypting("paillier")
    this = begin(made)
    for node in this.nodes.values():
        with pytest.raises(MisuseError, match="no masks"):
            node.advertise()
    this = play(made, until="submit").masking
    for node in this.nodes.values():
        with pytest.raises(OutOfOrderError):
            node.skip_masks(range(N))
        with pytest.raises(UnexpectedMessageError):
            node.receive_roster(this.lie(Roster(())))
    confirmed = play(made, until="unmask").masking
    for number, envelope in confirmed.mail["confirmations"].items():
        with pytest.raises(UnexpectedMessageError, match="coordinator at confirmations: there are"):
            confirmed.ask(number, envelope)
    with pytest.raises(UnexpectedMessageError, match="party-1 at unmask: there are no masks"):
        confirmed.hub.receive_unmask(confirmed.speak(1, Unmask(bytes(32), (), ())))


# Vectors that are not what was agreed


@pytest.mark.parametrize("mode", [*MODES, "masking"])
def test_a_vector_is_encrypted_exactly_where_that_is_agreed(mode):
    if mode == "masking":
        this = begin(federation(N))
        for stage in ("advertise", "share", "deliver"):
            getattr(this, stage)()
        encrypt = bytes
    else:
        this, encrypt = play(encrypting(mode), until="submit").masking, None
    node = this.nodes[0]
    with pytest.raises(MisuseError, match="encrypted exactly where"):
        node.submit(this.inputs[0], model=MODEL, encrypt=encrypt)
    # Nothing was used up by the mistake.
    assert node.state == "Ready"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("longer", [-1, 1, 128])
def test_ciphertexts_of_another_length_than_agreed_never_leave_a_party(mode, longer):
    this = play(encrypting(mode), until="submit")
    size = this.made.context.encrypted_bytes
    node = this.masking.nodes[0]
    with pytest.raises(MisuseError, match=f"{size + longer} bytes encrypted, not {size}"):
        node.submit(this.masking.inputs[0], model=MODEL, encrypt=lambda _: bytes(size + longer))
    assert node.state == "Withdrawn"


@pytest.mark.parametrize("mode", MODES)
def test_words_of_another_shape_or_type_are_not_encrypted(mode):
    this = play(encrypting(mode), until="submit")
    right = this.masking.inputs[0]
    for wrong in (right[:-1], right.astype(np.uint64), right.reshape(1, -1)):
        with pytest.raises(InputError, match="the agreement says"):
            this.masking.nodes[0].submit(
                wrong, model=MODEL, encrypt=lambda words: this.encrypt(0, words)
            )
    assert this.encrypted == {}


def test_a_header_without_the_ciphertexts_that_were_taken_is_refused():
    this = play(encrypting("paillier"), until="submit")
    masking = this.masking
    envelope, wire = masking.nodes[0].submit(
        masking.inputs[0], model=MODEL, encrypt=lambda words: this.encrypt(0, words)
    )
    for other in (hashlib.sha256(wire[1:]).digest(), b"", wire):
        with pytest.raises(SubmissionError, match="party-0 at submit: the vector is not the one"):
            masking.hub.receive_submission(envelope, other, model=MODEL)
    assert masking.hub.heard == frozenset()


@pytest.mark.parametrize("mode", MODES)
def test_a_round_that_encrypts_ends_with_an_opened_sum_of_the_agreed_shape_alone(mode):
    this = play(encrypting(mode))
    hub, opened = this.masking.hub, this.opened
    for wrong in (None, opened[:-1], opened.astype(np.uint64)):
        with pytest.raises(MisuseError, match="opened"):
            hub.finish(wrong)
    this.finish()


def test_a_round_that_does_not_encrypt_takes_no_opened_sum():
    this = begin(federation(N))
    for stage in ("advertise", "share", "deliver", "submit", "confirm", "unmask"):
        getattr(this, stage)()
    with pytest.raises(MisuseError, match="exactly where vectors are encrypted"):
        this.hub.finish(this.inputs[0])
    this.finish()


# What a trustee opens


def test_a_trustee_opens_the_vectors_that_it_confirmed_and_no_other():
    def other_digest(confirmed):
        return {**confirmed, 2: bytes(32)}

    def fewer(confirmed):
        return {number: confirmed[number] for number in (0, 1, 2)}

    def more(confirmed):
        return {**confirmed, 9: bytes(32)}

    for bend in (other_digest, fewer, more, lambda _: {}):
        this = play(encrypting("paillier"), until="decrypt")
        request = this.combiner.close_vectors()
        confirmed = dict(this.masking.nodes[0].confirmed)
        trustee = this.trustees[0]
        with pytest.raises(SurvivorSetError, match="of the survivors we confirmed"):
            trustee.receive_request(request, confirmed=bend(confirmed))
        assert trustee.state == "Withdrawn"
        assert trustee.promise is None
        with pytest.raises(UnexpectedMessageError, match="too late, in state Withdrawn"):
            trustee.receive_request(request, confirmed=confirmed)


def test_a_vector_that_was_not_confirmed_is_in_no_product_that_is_opened():
    """One party's vector is passed on to the trustees after the survivors were announced."""
    this = play(encrypting("layered"), until="decrypt", silent={"submit": (3,)})
    words = this.masking.inputs[3]
    this.encrypt(3, words)
    late = this.encrypted[3]
    this.combiner.receive_vector(*late)
    request = this.combiner.close_vectors()
    for number in (0, 1, 2):
        this.trustees[number].receive_vector(*late)
        with pytest.raises(SurvivorSetError, match="we confirmed"):
            this.trustees[number].receive_request(
                request, confirmed=this.masking.nodes[number].confirmed
            )


@pytest.mark.parametrize("mode", MODES)
def test_only_a_party_that_confirmed_says_what_it_confirmed(mode):
    this = start(encrypting(mode))
    node = this.masking.nodes[0]
    for stage in STAGES:
        assert (node.confirmed is None) is (stage != "decrypt")
        if stage == "decrypt":
            wires = {number: sent[1] for number, sent in this.encrypted.items()}
            digests = {number: hashlib.sha256(wire).digest() for number, wire in wires.items()}
            assert dict(node.confirmed) == digests
            node.withdraw("the test wants to see")
            assert node.confirmed is None
            return
        getattr(this, stage)()


def test_who_has_unmasked_opens_nothing_any_more():
    this = play(encrypting("layered"), until="decrypt").masking
    quorum = this.mail["confirmations"][0]
    assert this.ask(0, quorum).step == FOLLOWING["confirmations"]
    assert this.nodes[0].confirmed is None


def test_a_vector_that_was_examined_is_in_no_product_until_it_is_taken():
    this = play(encrypting("paillier"), until="submit")
    this.encrypt(0, this.masking.inputs[0])
    combiner = this.combiner
    before = (list(combiner._product.values), combiner._product.digests())
    twice = [combiner.examine_vector(*this.encrypted[0]) for _ in range(2)]
    assert (list(combiner._product.values), combiner._product.digests()) == before
    assert combiner._product.submitters == ()
    assert combiner.take_vector(twice[0]) == 0
    assert combiner._product.submitters == (0,)
    with pytest.raises(MisuseError, match="in the product already"):
        combiner.take_vector(twice[1])
    assert list(combiner._product.values) == list(twice[0].ciphertexts)
