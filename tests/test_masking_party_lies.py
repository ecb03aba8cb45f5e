"""What a malicious party or a network attacker can do: be named, and never spoil it for others."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masked_round import Round, begin, changed, opened, play, stranger
from support.masking import MODEL, federation, plain_sum, random_inputs

from protocols.errors import (
    AgreementMismatchError,
    BelowThresholdError,
    DuplicateError,
    MisuseError,
    OutOfOrderError,
    PeerError,
    ReplayError,
    RosterError,
    ShareError,
    SignatureError,
    SubmissionError,
    UnexpectedMessageError,
    UnknownPartyError,
)
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.dealing import Secrets, deal
from protocols.masking.ephemeral import EphemeralKey, is_sound
from protocols.masking.messages import Advertise, Confirmation, DealtShare, OpenedShare
from protocols.masking.party import MaskingParty
from protocols.masking.sealing import (
    LABEL_KEY_SHARE,
    LABEL_SEED_SHARE,
    Channel,
    SharePair,
    seed_digest,
    share_commitment,
)
from protocols.secret_sharing import SHARE_BYTES, split

PRIME = 2**255 - 19
NAME = "party-1"


def refused(role: MaskingCoordinator, method: str, kind: type[PeerError], *args, **named) -> None:
    """The coordinator names the sender and the round goes on as if nothing had come."""
    state, heard = role.state, role.heard
    with pytest.raises(kind) as caught:
        getattr(role, method)(*args, **named)
    assert type(caught.value) is kind
    assert caught.value.party == NAME
    assert (role.state, role.heard) == (state, heard)


def complete(this: Round, stage: str) -> None:
    """The honest rest of the round works and its sum is exact."""
    stages = ("advertise", "share", "deliver", "submit", "confirm", "unmask")
    for name in stages[stages.index(stage) :]:
        getattr(this, name)()
    result = this.finish()
    np.testing.assert_array_equal(result.total, plain_sum(this.made, this.inputs, result.survivors))


# Keys


def low_order_encodings() -> list[bytes]:
    """Every 32-byte string that X25519 maps to the all-zero secret."""
    order_8 = (
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
    points = [0, 1, PRIME - 1, *order_8, PRIME, PRIME + 1]
    return [(u | high << 255).to_bytes(32, "little") for u in points for high in (0, 1)]


def test_every_low_order_encoding_yields_the_zero_secret_and_is_unsound():
    private = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    for encoding in low_order_encodings():
        with pytest.raises(ValueError, match="shared key"):
            private.exchange(X25519PublicKey.from_public_bytes(encoding))
        assert not is_sound(encoding)
        with pytest.raises(RosterError, match="party-9"):
            EphemeralKey(bytes(range(32))).agree(encoding, "party-9")


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_an_honest_key_is_sound_and_its_second_encodings_are_not(private):
    public = EphemeralKey(private).public
    assert is_sound(public)
    u = int.from_bytes(public, "little")
    assert not is_sound((u | 1 << 255).to_bytes(32, "little"))
    assert u + PRIME >= 2**255 or not is_sound((u + PRIME).to_bytes(32, "little"))
    assert not is_sound(public[:31])


def test_a_party_with_unusable_keys_is_refused_at_once_and_the_others_go_on():
    made = federation(5, max_dropouts=1)
    this = begin(made)
    good = opened(this.nodes[1].advertise())
    others = {n: node.advertise() for n, node in this.nodes.items() if n != 1}
    for number, envelope in others.items():
        assert this.hub.receive_advertise(envelope) == number
    copied = opened(others[3])
    lies = [Advertise(good.channel_key, good.channel_key)]
    lies += [Advertise(good.channel_key, copied.channel_key)]
    lies += [Advertise(copied.mask_key, good.mask_key)]
    lies += [Advertise(bad, good.mask_key) for bad in low_order_encodings()]
    lies += [Advertise(good.channel_key, bad) for bad in low_order_encodings()]
    for lie in lies:
        refused(this.hub, "receive_advertise", RosterError, this.speak(1, lie))
    this.mail["roster"] = this.hub.close_advertise()
    del this.nodes[1]
    complete(this, "share")


# Dealing


@pytest.mark.parametrize("what", ["roster", "few", "many", "twice", "itself", "stranger"])
def test_a_dealer_that_deals_to_the_wrong_holders_is_named(what):
    made = federation(5, max_dropouts=1)
    this = play(made, until="share")
    this._answer("roster", ())
    honest = opened(this.sent["share"][1])
    first, *rest = honest.dealt
    lies = {
        "roster": changed(honest, roster=bytes(32)),
        "few": changed(honest, dealt=tuple(rest)),
        "many": changed(honest, dealt=(*honest.dealt, changed(first, holder=7))),
        "twice": changed(honest, dealt=(rest[0], *rest)),
        "itself": changed(honest, dealt=(changed(first, holder=1), *rest)),
        "stranger": changed(honest, dealt=(changed(first, holder=77), *rest)),
    }
    refused(this.hub, "receive_shares", ShareError, this.speak(1, lies[what]))
    dealt_by_liar(this, this.sent["share"][1])
    complete(this, "deliver")


def forge_dealing(this: Round, dealer: int, shares, digest: bytes | None = None):
    """Seal arbitrary share pairs for every holder under valid commitments, as a dealer can."""
    context, state = this.made.context, this.nodes[dealer]._turns.state
    dealt = []
    for holder, (of_seed, of_key) in zip(state.neighbours, shares, strict=True):
        pair = SharePair(
            OpenedShare(dealer, of_seed, bytes(32)), OpenedShare(dealer, of_key, bytes(32))
        )
        commitments = tuple(
            share_commitment(context, label, dealer, holder, one)
            for label, one in ((LABEL_SEED_SHARE, pair.seed), (LABEL_KEY_SHARE, pair.key))
        )
        channel = Channel(
            context, state.roster_digest, state.channel, state.roster[holder].channel_key,
            dealer, holder, peer=holder,
        )  # fmt: skip
        dealt.append(DealtShare(holder, channel.seal(pair, commitments), *commitments))
    shares = opened(this.sent["share"][dealer])
    digest = digest or shares.seed_digest
    return this.speak(dealer, changed(shares, dealt=tuple(dealt), seed_digest=digest))


def dealt_by_liar(this: Round, envelope, dealer: int = 1) -> None:
    for number, honest in this.sent["share"].items():
        this.hub.receive_shares(envelope if number == dealer else honest)
    this.mail["deliver"] = this.hub.close_shares()


def secret_shares(this: Round, dealer: int = 1) -> list[list[bytes]]:
    state = this.nodes[dealer]._turns.state
    return split(
        [state.seed, state.mask.private],
        threshold=this.made.context.threshold,
        points=[holder + 1 for holder in state.neighbours],
        random=lambda count: bytes(range(7, 7 + 49)) * (count // 49),
    )


@pytest.mark.parametrize("where", ["survivor", "dropout"])
@pytest.mark.parametrize("lie", ["off the polynomial", "another secret", "no field element"])
def test_a_dealer_whose_shares_do_not_match_its_commitments_is_named(lie, where):
    made = federation(5, max_dropouts=1, threshold=2)
    this = play(made, until="share")
    this._answer("roster", ())
    of_seed, of_key = secret_shares(this)
    if lie == "off the polynomial":
        of_seed[0], of_key[0] = of_seed[1], of_key[1]
    elif lie == "another secret":
        of_seed, of_key = of_key, of_seed
    else:
        of_seed = of_key = [b"\xff" * SHARE_BYTES] * 4
    dealt_by_liar(this, forge_dealing(this, 1, zip(of_seed, of_key, strict=True)))
    gone = {1} if where == "dropout" else ()
    for number, envelope in this.mail["deliver"].items():
        faults = this.ask(number, envelope)
        suspect = lie == "no field element" and number != 1
        assert [fault.party for fault in faults] == [NAME] * suspect
    this.submit(gone)
    this.confirm()
    this.unmask()
    with pytest.raises(ShareError) as caught:
        this.finish()
    assert caught.value.party == NAME
    assert this.hub.state == "Closed"
    with pytest.raises(OutOfOrderError):
        this.finish()


def test_a_share_that_opens_but_is_not_the_one_committed_to_is_left_out_and_named():
    this = play(federation(6, max_dropouts=1, threshold=2), until="share")
    this._answer("roster", ())
    state, context = this.nodes[1]._turns.state, this.made.context
    honest = opened(this.sent["share"][1])
    first, *rest = honest.dealt
    pair = SharePair(OpenedShare(1, bytes(33), bytes(32)), OpenedShare(1, bytes(33), bytes(32)))
    channel = Channel(
        context, state.roster_digest, state.channel, state.roster[0].channel_key, 1, 0, peer=0
    )
    sealed = channel.seal(pair, (first.seed_commitment, first.key_commitment))
    lie = changed(honest, dealt=(changed(first, sealed=sealed), *rest))
    dealt_by_liar(this, this.speak(1, lie))
    assert deliver_with_faults(this) == {n: [NAME] if n == 0 else [] for n in range(6)}
    complete(this, "submit")


def test_a_dealer_that_commits_to_another_seed_than_it_shares_is_named():
    this = play(federation(5, max_dropouts=1, threshold=2), until="share")
    this._answer("roster", ())
    wrong = seed_digest(this.made.context, bytes(32), 1)
    envelope = forge_dealing(this, 1, zip(*secret_shares(this), strict=True), wrong)
    dealt_by_liar(this, envelope)
    for stage in ("deliver", "submit", "confirm", "unmask"):
        getattr(this, stage)()
    with pytest.raises(ShareError) as caught:
        this.finish()
    assert caught.value.party == NAME


def spoil(envelope, holders, this: Round):
    """Seal rubbish for some holders."""
    shares = opened(envelope)
    dealt = tuple(
        changed(one, sealed=bytes(len(one.sealed))) if one.holder in holders else one
        for one in shares.dealt
    )
    return this.speak(1, changed(shares, dealt=dealt))


def deliver_with_faults(this: Round) -> dict[int, list[str]]:
    return {
        number: [fault.party for fault in this.ask(number, envelope)]
        for number, envelope in this.mail["deliver"].items()
    }


@pytest.mark.parametrize("where", ["survivor", "dropout"])
def test_shares_that_some_holders_cannot_open_cost_nothing_while_enough_can(where):
    this = play(federation(6, max_dropouts=1, threshold=2), until="share")
    this._answer("roster", ())
    dealt_by_liar(this, spoil(this.sent["share"][1], (0, 2, 3), this))
    faults = deliver_with_faults(this)
    assert faults == {n: [NAME] if n in (0, 2, 3) else [] for n in range(6)}
    this.submit({1} if where == "dropout" else ())
    this.confirm()
    this.unmask()
    result = this.finish()
    np.testing.assert_array_equal(result.total, plain_sum(this.made, this.inputs, result.survivors))


def test_a_dealer_whose_shares_too_few_holders_can_open_is_named():
    this = play(federation(6, max_dropouts=1, threshold=2), until="share")
    this._answer("roster", ())
    dealt_by_liar(this, spoil(this.sent["share"][1], (0, 2, 3, 5), this))
    deliver_with_faults(this)
    for stage in ("submit", "confirm", "unmask"):
        getattr(this, stage)()
    assert not this.hub.can_finish
    assert this.hub.awaited == frozenset()
    with pytest.raises(ShareError) as caught:
        this.finish()
    assert caught.value.party == NAME


def test_where_a_holder_may_have_hidden_its_share_it_is_named_beside_the_dealer():
    made = federation(4, colluders=1, max_dropouts=0, threshold=3)
    this = play(made, until="unmask")
    this._answer("confirmations", ())
    for number, envelope in this.sent["unmask"].items():
        unmask = opened(envelope)
        if number == 3:
            kept = tuple(share for share in unmask.seed_shares if share.dealer != 1)
            this.hub.receive_unmask(this.speak(3, changed(unmask, seed_shares=kept)))
        else:
            this.hub.receive_unmask(envelope)
    with pytest.raises(ShareError) as caught:
        this.finish()
    assert caught.value.party == "party-1 or party-3"


def test_too_few_answers_end_the_round_without_blame():
    this = play(federation(5, max_dropouts=1, threshold=3), until="unmask")
    this.unmask({0, 1, 2})
    with pytest.raises(BelowThresholdError) as caught:
        this.finish()
    assert (caught.value.step, caught.value.need) == ("unmask", 3)


# Submissions


@pytest.mark.parametrize(
    "what", ["roster", "sharers", "model", "vector", "count", "longer", "shorter", "padding"]
)
def test_a_vector_that_its_header_does_not_describe_is_refused_and_not_added(what):
    made = federation(4, max_dropouts=1, modulus_bits=13, count=17)
    this = play(made, until="submit")
    envelope, vector = this.nodes[1].submit(this.inputs[1], model=MODEL)
    honest = opened(envelope)
    assert len(vector) * 8 > 13 * 17
    padded = vector[:-1] + bytes([vector[-1] | 0x80])
    model = hashlib.sha256(b"poison").digest()
    lie, body = {
        "roster": (changed(honest, roster=bytes(32)), vector),
        "sharers": (changed(honest, sharers=bytes(32)), vector),
        "model": (changed(honest, model=model), vector),
        "vector": (honest, bytes(len(vector))),
        "count": (changed(honest, count=16), vector),
        "longer": (honest, vector + b"\0"),
        "shorter": (honest, vector[:-1]),
        "padding": (changed(honest, vector=hashlib.sha256(padded).digest()), padded),
    }[what]
    before = this.hub._state.total.copy()
    args = (this.speak(1, lie), body)
    refused(this.hub, "receive_submission", SubmissionError, *args, model=MODEL)
    np.testing.assert_array_equal(this.hub._state.total, before)
    this.sent["submit"] = {1: envelope}
    this.hub.receive_submission(envelope, memoryview(vector), model=MODEL)
    complete(this, "submit")


def test_a_second_vector_of_one_party_is_refused_and_not_added():
    this = play(federation(4, max_dropouts=1), until="confirm")
    fresh = play(federation(4, max_dropouts=1), until="submit")
    for number, node in fresh.nodes.items():
        envelope, vector = node.submit(this.inputs[number], model=MODEL)
        fresh.hub.receive_submission(envelope, vector, model=MODEL)
        if number == 1:
            again = (envelope, vector)
            refused(fresh.hub, "receive_submission", DuplicateError, *again, model=MODEL)
    refused(this.hub, "receive_submission", UnexpectedMessageError, *again, model=MODEL)


# Confirmations and shares


def test_a_party_that_confirms_another_set_is_named():
    this = play(federation(5, max_dropouts=1), until="confirm")
    wrong = this.speak(1, Confirmation(bytes(32)))
    refused(this.hub, "receive_confirmation", SubmissionError, wrong)
    complete(this, "confirm")


def test_a_confirmation_of_a_party_that_did_not_survive_is_refused():
    this = play(federation(5, max_dropouts=1), until="confirm", silent={"submit": {1}})
    digest = opened(this.ask(0, this.mail["survivors"][0]))
    refused(this.hub, "receive_confirmation", UnknownPartyError, this.speak(1, digest))


def unmask_lies(this: Round):
    """Everything a malicious holder can send instead of the shares that it was asked for."""
    honest = opened(this.sent["unmask"][1])
    (first, second, *rest), (key, *_) = honest.seed_shares, honest.key_shares
    state = this.nodes[0]._turns  # another holder's shares of other dealers
    assert state.name == "Finished"
    other = next(share for share in opened(this.sent["unmask"][0]).seed_shares if share.dealer == 2)
    flipped = bytes([first.share[0] ^ 1]) + first.share[1:]
    yield (
        "a wrong share",
        changed(honest, seed_shares=(changed(first, share=flipped), second, *rest)),
    )
    yield (
        "a wrong salt",
        changed(honest, seed_shares=(changed(first, salt=bytes(32)), second, *rest)),
    )
    yield "a share of another holder", changed(honest, seed_shares=(other,))
    yield "one share twice", changed(honest, seed_shares=(first, first))
    yield "a seed share of a dropout", changed(honest, seed_shares=(key,), key_shares=())
    yield "a key share of a survivor", changed(honest, seed_shares=(), key_shares=(first,))
    yield "both kinds", changed(honest, key_shares=(changed(key, dealer=first.dealer),))
    yield "its own share", changed(honest, seed_shares=(changed(first, dealer=1),))
    yield "of a stranger", changed(honest, seed_shares=(changed(first, dealer=99),))
    yield "for another set", changed(honest, survivors=bytes(32))


def test_a_wrong_share_names_its_sender_and_the_sum_is_still_exact():
    made = federation(6, max_dropouts=2, threshold=3)
    this = play(made, until="unmask", silent={"submit": {5}})
    this._answer("confirmations", ())
    for _, lie in unmask_lies(this):
        refused(this.hub, "receive_unmask", ShareError, this.speak(1, lie))
    for number, envelope in this.sent["unmask"].items():
        if number != 1:
            this.hub.receive_unmask(envelope)
    assert this.hub.can_finish
    result = this.finish()
    assert result.survivors == (0, 1, 2, 3, 4)
    np.testing.assert_array_equal(result.total, plain_sum(made, this.inputs, result.survivors))


def test_a_share_that_is_no_field_element_is_refused_though_its_dealer_committed_to_it():
    this = play(federation(5, max_dropouts=1, threshold=2), until="share")
    this._answer("roster", ())
    bad = b"\xff" * SHARE_BYTES
    dealt_by_liar(this, forge_dealing(this, 1, [(bad, bad)] * 4))
    deliver_with_faults(this)
    this.submit()
    this.confirm()
    this._answer("confirmations", ())
    honest = opened(this.sent["unmask"][2])
    lie = changed(honest, seed_shares=(OpenedShare(1, bad, bytes(32)),))
    with pytest.raises(ShareError) as caught:
        this.hub.receive_unmask(this.speak(2, lie))
    assert caught.value.party == "party-2"


def test_a_coordinator_that_fails_while_unmasking_gives_no_sum_afterwards():
    made = federation(4)

    def fail(total, masks):
        total += 1
        raise MemoryError

    this = play(made, until="unmask")
    this.hub._add = fail
    this.unmask()
    with pytest.raises(MemoryError):
        this.finish()
    assert this.hub.state == "Closed"
    with pytest.raises(OutOfOrderError):
        this.finish()


# Replays and orders


RECEIVERS = {
    "advertise": "receive_advertise",
    "share": "receive_shares",
    "submit": "receive_submission",
    "confirm": "receive_confirmation",
    "unmask": "receive_unmask",
}
DUE = {"advertise": "roster", "share": "deliver", "submit": "survivors", "confirm": "confirmations"}
STAGES = ("advertise", "share", "deliver", "submit", "confirm", "unmask")


def attempts(this: Round, recorded: Round):
    """Every recorded message, put to every method that might take it."""
    for step, envelopes in recorded.sent.items():
        for method in RECEIVERS.values():
            extra = (recorded.vectors.get(1, b""),) if method == "receive_submission" else ()
            named = {"model": MODEL} if extra else {}
            yield step, method, (envelopes[1], *extra), named
    for step, mail in recorded.mail.items():
        for node in this.nodes.values():
            for answer in (
                MaskingParty.receive_roster,
                MaskingParty.receive_delivery,
                MaskingParty.receive_survivors,
                MaskingParty.receive_confirmations,
            ):
                yield step, answer, (node, mail[1]), {}


@pytest.mark.parametrize(
    ("fact", "kinds"),
    [
        ({"round": 7}, {ReplayError, UnexpectedMessageError, SignatureError}),
        ({"agreement": bytes(32)}, {AgreementMismatchError, SignatureError}),
    ],
)
def test_every_message_of_another_round_or_agreement_is_refused_in_every_state(fact, kinds):
    made = federation(4, max_dropouts=1)
    recorded = play(made.vary(**fact))
    this, seen = begin(made), set()
    for stage in STAGES:
        for _, method, args, named in attempts(this, recorded):
            states = [node.state for node in this.nodes.values()] + [this.hub.state]
            with pytest.raises(PeerError) as caught:
                getattr(this.hub, method)(*args, **named) if isinstance(method, str) else method(
                    *args
                )
            seen.add(type(caught.value))
            assert states == [node.state for node in this.nodes.values()] + [this.hub.state]
        getattr(this, stage)()
    assert seen <= kinds
    np.testing.assert_array_equal(this.finish().total, plain_sum(made, this.inputs, (0, 1, 2, 3)))


def test_every_recorded_message_is_refused_in_every_later_state():
    made = federation(4, max_dropouts=1)
    this = begin(made)
    for stage in STAGES:
        getattr(this, stage)()
        for step, method, args, named in attempts(this, this):
            if step == DUE.get(stage):
                continue
            with pytest.raises(PeerError) as caught:
                getattr(this.hub, method)(*args, **named) if isinstance(method, str) else method(
                    *args
                )
            assert isinstance(
                caught.value,
                ReplayError | UnexpectedMessageError | SignatureError | UnknownPartyError,
            )
    np.testing.assert_array_equal(this.finish().total, plain_sum(made, this.inputs, (0, 1, 2, 3)))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_order_of_arrival_has_no_effect_on_anything(data):
    made = federation(5, max_dropouts=1, threshold=2)
    reference = play(made)
    this = begin(made)

    def shuffled(items):
        return data.draw(st.permutations(list(items)), "order")

    this.nodes = {n: MaskingParty(made.context, who, _random_of(n)) for n, who in
                  made.parties.items()}  # fmt: skip
    for node in shuffled(this.nodes.values()):
        this.hub.receive_advertise(node.advertise())
    roster = this.hub.close_advertise()
    for number in shuffled(roster):
        this.hub.receive_shares(this.ask(number, roster[number]))
    for number, envelope in this.hub.close_shares().items():
        this.ask(number, envelope)
    for number in shuffled(this.nodes):
        envelope, vector = this.nodes[number].submit(this.inputs[number], model=MODEL)
        this.hub.receive_submission(envelope, vector, model=MODEL)
    survivors = this.hub.close_submissions()
    for number in shuffled(survivors):
        this.hub.receive_confirmation(this.ask(number, survivors[number]))
    quorum = this.hub.close_confirmations()
    for number in shuffled(quorum):
        this.hub.receive_unmask(this.ask(number, quorum[number]))
    result = this.finish()
    assert result.survivors == reference.finish().survivors
    np.testing.assert_array_equal(result.total, plain_sum(made, this.inputs, result.survivors))


def _random_of(number: int):
    counter = itertools.count()

    def random(count: int) -> bytes:
        return hashlib.shake_256(f"{number} {next(counter)}".encode()).digest(count)

    return random


def test_masks_are_committed_before_any_party_sees_anothers_vector():
    # A party that chooses its vector after seeing others' masked ones shifts its own input alone:
    # everybody's keys and seeds are fixed by digests in the roster and in the shares before.
    this = play(federation(4, max_dropouts=1), until="submit")
    digests = [opened(envelope).seed_digest for envelope in this.sent["share"].values()]
    for number, node in this.nodes.items():
        state = node._turns.state
        assert seed_digest(this.made.context, state.masks.seed, number) == digests[number]
        assert state.masks.mask.public == state.masks.roster[number].mask_key


# Forgery


def test_a_forged_message_is_refused_at_every_step():
    made = federation(4, max_dropouts=1)
    recorded, this = play(made), begin(made)
    forger = stranger(NAME)
    for stage, step in zip(STAGES, ("advertise", "share", None, "submit", "confirm", "unmask"),
                           strict=True):  # fmt: skip
        if step is not None:
            forged = made.context.seal(forger, opened(recorded.sent[step][1]))
            extra = (recorded.vectors[1],) if step == "submit" else ()
            named = {"model": MODEL} if extra else {}
            refused(this.hub, RECEIVERS[step], SignatureError, forged, *extra, **named)
        getattr(this, stage)()
    assert this.hub.can_finish


def test_a_stranger_and_the_coordinator_itself_are_no_parties():
    made = federation(4, max_dropouts=1)
    this = begin(made)
    message = opened(this.nodes[1].advertise())
    for identity in (stranger("party-77"), made.coordinator):
        with pytest.raises(UnknownPartyError) as caught:
            this.hub.receive_advertise(made.context.seal(identity, message))
        assert caught.value.party == identity.name


def test_roles_refuse_keys_that_the_agreement_does_not_name():
    made = federation(4)
    with pytest.raises(UnknownPartyError):
        MaskingParty(made.context, stranger("party-77"), bytes)
    with pytest.raises(MisuseError):
        MaskingParty(made.context, stranger(NAME), bytes)
    with pytest.raises(MisuseError):
        MaskingCoordinator(made.context, stranger("coordinator"))


@pytest.mark.parametrize(
    "change",
    [
        {"round": 0},
        {"count": 0},
        {"threshold": 0},
        {"threshold": 4},
        {"quorum": 2},
        {"quorum": 5},
        {"degree": 0},
        {"agreement": b"short"},
        {"max_dropouts": -1},
        {"min_cohort": -1},
        {"round": 2**63},
        {"modulus_bits": 1},
        {"modulus_bits": 65},
    ],
)
def test_a_round_that_no_sound_agreement_yields_is_refused(change):
    with pytest.raises(MisuseError):
        federation(4).vary(**change)


def test_a_round_with_two_members_of_one_name_is_refused():
    made = federation(4)
    with pytest.raises(MisuseError):
        made.vary(parties=made.context.parties[:3] + made.context.parties[:1])
    with pytest.raises(MisuseError):
        made.vary(parties=(*made.context.parties, made.coordinator.public))


def test_more_parties_than_max_colluders_always_include_an_honest_one():
    for n, colluders in itertools.product(range(3, 9), range(7)):
        if colluders <= n - 2:
            context = federation(n, colluders=colluders).context
            assert context.max_colluders >= colluders
            assert 2 * context.quorum > n + context.max_colluders


def test_inputs_are_left_as_they_are():
    this = play(federation(4, max_dropouts=1))
    for number, values in random_inputs(this.made).items():
        np.testing.assert_array_equal(values, this.inputs[number])


def test_dealing_is_randomised_and_binds_its_holder():
    made = federation(3)
    this = play(made, until="deliver")
    state = this.nodes[0]._turns.state
    counter = itertools.count()

    def random(count: int) -> bytes:
        return hashlib.shake_256(bytes([next(counter)])).digest(count)

    holders = {n: state.roster[n].channel_key for n in (1, 2)}
    secrets = Secrets(state.channel, state.mask, state.seed)
    one, two = (
        deal(made.context, state.roster_digest, 0, holders, secrets, random) for _ in range(2)
    )
    for a, b in zip(one, two, strict=True):
        assert a.holder == b.holder
        assert a.seed_commitment != b.seed_commitment
