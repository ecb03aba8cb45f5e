"""Field by field: whatever is changed in any message, on its way or by its signer, is refused."""

from __future__ import annotations

import msgspec
import pytest
from support.masked_round import ANSWERS, Round, begin, opened, play
from support.masking import MODEL, federation
from support.mutation import mutants

from protocols.errors import PeerError, ShareError, SignatureError
from protocols.identity import Envelope
from protocols.masking.messages import STEPS
from protocols.wire import encode

MADE = federation(4, colluders=2, threshold=3)
"""The quorum is everybody, so that not one confirmation is to spare."""
BEFORE = {
    "advertise": "advertise",
    "roster": "share",
    "share": "share",
    "deliver": "deliver",
    "submit": "submit",
    "survivors": "confirm",
    "confirm": "confirm",
    "confirmations": "unmask",
    "unmask": "unmask",
}
FROM_COORDINATOR = tuple(ANSWERS)
FROM_PARTY = ("advertise", "share", "submit", "confirm", "unmask")


def waiting_for(step: str, made=MADE) -> Round:
    """A round where the coordinator or party 1 waits for this message of the other one."""
    this = begin(made) if step == "advertise" else play(made, until=BEFORE[step])
    if step in ("share", "confirm", "unmask"):
        this._answer(
            {"share": "roster", "confirm": "survivors", "unmask": "confirmations"}[step], ()
        )
    return this


def hand_over(this: Round, envelope: Envelope, step: str, vector: bytes = b""):
    if step in FROM_COORDINATOR:
        return ANSWERS[step](this.nodes[1], envelope)
    if step == "submit":
        return this.hub.receive_submission(envelope, vector, model=MODEL)
    methods = {
        "advertise": this.hub.receive_advertise,
        "share": this.hub.receive_shares,
        "confirm": this.hub.receive_confirmation,
        "unmask": this.hub.receive_unmask,
    }
    return methods[step](envelope)


def honest(step: str, made=MADE) -> tuple[Envelope, bytes]:
    whole = play(made)
    envelope = (whole.mail if step in FROM_COORDINATOR else whole.sent)[step][1]
    return envelope, whole.vectors[1]


def states(this: Round) -> list[object]:
    return [this.hub.state, this.hub.heard, *(node.state for node in this.nodes.values())]


def test_every_step_has_its_message():
    assert set(BEFORE) == set(STEPS) == {*FROM_COORDINATOR, *FROM_PARTY}


@pytest.mark.parametrize("step", list(STEPS))
def test_any_field_of_an_envelope_that_is_changed_on_its_way_is_refused(step):
    envelope, vector = honest(step)
    this = waiting_for(step)
    before = states(this)
    changed = 0
    for path, mutant in mutants(envelope):
        with pytest.raises(PeerError):
            hand_over(this, mutant, step, vector)
        assert states(this) == before, path
        changed += 1
    assert changed >= 18
    hand_over(this, envelope, step, vector)


@pytest.mark.parametrize("step", list(STEPS))
def test_any_field_of_a_payload_that_is_changed_on_its_way_breaks_the_signature(step):
    envelope, vector = honest(step)
    this = waiting_for(step)
    before = states(this)
    for path, mutant in mutants(opened(envelope)):
        altered = msgspec.structs.replace(envelope, payload=encode(mutant))
        with pytest.raises(SignatureError):
            hand_over(this, altered, step, vector)
        assert states(this) == before, path
    hand_over(this, envelope, step, vector)


@pytest.mark.parametrize("step", FROM_COORDINATOR)
def test_any_field_that_the_coordinator_changes_is_refused_by_the_party(step):
    message = opened(honest(step)[0])
    for path, mutant in mutants(message):
        if path == ("confirmations",) and len(mutant.confirmations) >= MADE.context.quorum:
            continue  # repeated, or in another order, they are still a quorum
        this = waiting_for(step)
        lie = this.made.coordinator.seal(
            agreement=this.made.context.agreement,
            round_=1,
            step=step,
            payload=encode(mutant),
        )
        well_formed = path[-1] in {"sealed", "seed_commitment", "key_commitment"}
        if well_formed and len(encode(mutant)) == len(encode(message)):
            # The share of one dealer is lost, and the log names it.
            (fault,) = hand_over(this, lie, step)
            assert isinstance(fault, ShareError)
            assert fault.party == f"party-{message.delivered[path[1]].dealer}"
            continue
        with pytest.raises(PeerError) as caught:
            hand_over(this, lie, step)
        assert caught.value.party == "coordinator", path
        assert this.nodes[1].state in {"Withdrawn", before_state(step)}


def before_state(step: str) -> str:
    return {
        "roster": "Advertised",
        "deliver": "Dealt",
        "survivors": "Submitted",
        "confirmations": "Confirmed",
    }[step]


@pytest.mark.parametrize("step", ["submit", "confirm", "unmask"])
def test_any_field_that_a_party_changes_is_refused_by_the_coordinator(step):
    envelope, vector = honest(step)
    this = waiting_for(step)
    before = states(this)
    for path, mutant in mutants(opened(envelope)):
        if isinstance(path[-1], str) and path[-1].endswith("shares"):
            continue  # a share that is left out or out of order is none that is wrong
        if path == ("statement",):
            continue  # of the layer above, which checks it before it hands a submission on
        lie = this.made.parties[1].seal(
            agreement=this.made.context.agreement, round_=1, step=step, payload=encode(mutant)
        )
        with pytest.raises(PeerError) as caught:
            hand_over(this, lie, step, vector)
        assert caught.value.party == "party-1", path
        assert states(this) == before, path
    hand_over(this, envelope, step, vector)


def test_any_field_that_a_dealer_changes_is_found_by_the_coordinator_its_holder_or_the_sum():
    made = federation(4, colluders=0, max_dropouts=0, threshold=2)
    message = opened(honest("share", made)[0])
    ends = {"coordinator": 0, "holder": 0, "sum": 0}
    for path, mutant in mutants(message):
        if path == ("dealt",) and sorted(d.holder for d in mutant.dealt) == [0, 2, 3]:
            continue  # in another order the same shares are dealt
        this = waiting_for("share", made)
        lie = made.parties[1].seal(
            agreement=made.context.agreement, round_=1, step="share", payload=encode(mutant)
        )
        try:
            this.hub.receive_shares(lie)
        except PeerError as error:
            assert error.party == "party-1"  # noqa: PT017 - refused at once, or later on
            ends["coordinator"] += 1
            continue
        for number, envelope in this.sent["share"].items():
            if number != 1:
                this.hub.receive_shares(envelope)
        this.mail["deliver"] = this.hub.close_shares()
        faults = [
            fault.party
            for number, envelope in this.mail["deliver"].items()
            for fault in this.ask(number, envelope)
        ]
        for stage in ("submit", "confirm", "unmask"):
            getattr(this, stage)()
        if faults:
            assert faults == ["party-1"]
            this.finish()  # the other holders have shares enough
            ends["holder"] += 1
            continue
        assert path == ("seed_digest",)
        with pytest.raises(ShareError) as caught:
            this.finish()
        assert caught.value.party == "party-1"
        ends["sum"] += 1
    assert ends["sum"] == 2
    assert ends["holder"] == 3 * 3 * 2
    assert ends["coordinator"] > 20


def test_keys_that_are_changed_before_they_are_signed_are_refused_by_their_owner():
    message = opened(honest("advertise")[0])
    for path, mutant in mutants(message):
        this = begin(MADE)
        said = {n: node.advertise() for n, node in this.nodes.items()}
        said[1] = this.made.parties[1].seal(
            agreement=MADE.context.agreement, round_=1, step="advertise", payload=encode(mutant)
        )
        try:
            for envelope in said.values():
                this.hub.receive_advertise(envelope)
        except PeerError as error:
            assert error.party == "party-1"  # noqa: PT017 - refused at once, or by the owner
            continue
        roster = this.hub.close_advertise()
        with pytest.raises(PeerError) as caught:
            this.ask(1, roster[1])
        assert caught.value.party == "coordinator", path
