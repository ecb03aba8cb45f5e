"""What honest parties do when the coordinator lies: a named refusal, and no share on the wire."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masked_round import (
    Round,
    assert_all_withdrew,
    begin,
    changed,
    opened,
    play,
    refusals,
    released,
    stranger,
)
from support.masking import MODEL, federation, plain_sum

from protocols.errors import (
    CohortTooSmallError,
    DuplicateError,
    EquivocationError,
    InputError,
    MisuseError,
    ModelMismatchError,
    OutOfOrderError,
    PeerError,
    QuorumError,
    ReplayError,
    RosterError,
    ShareError,
    SignatureError,
    SurvivorSetError,
    UnexpectedMessageError,
    UnknownPartyError,
)
from protocols.masking.checks import check_survivors
from protocols.masking.messages import (
    Advertise,
    Confirmation,
    Confirmations,
    Roster,
    Survivors,
)

HUB = "coordinator"


def survivors_lie(this: Round, alive: tuple[int, ...], gone: tuple[int, ...]) -> Survivors:
    return Survivors(tuple(this.sent["submit"][number] for number in alive), gone)


def all_refuse(this: Round, mail, kind: type[PeerError], numbers=None) -> dict[int, PeerError]:
    """Everyone refuses with this very error, blames the coordinator and withdraws."""
    errors = refusals(this, mail)
    assert {type(error) for error in errors.values()} == {kind}
    assert {error.party for error in errors.values()} == {HUB}
    assert_all_withdrew(this, numbers or mail)
    return errors


def to_all(this: Round, envelope) -> dict:
    return dict.fromkeys(this.nodes, envelope)


# Survivor lists


def test_a_coordinator_that_sends_two_survivor_lists_gets_no_share():
    made = federation(6, colluders=1, max_dropouts=2, threshold=3)
    this = play(made, until="confirm")
    lists = {
        "left": this.lie(survivors_lie(this, (0, 1, 2, 3), (4, 5))),
        "right": this.lie(survivors_lie(this, (1, 2, 4, 5), (0, 3))),
    }
    seen = {0: "left", 3: "left", 4: "right", 5: "right", 1: "left"}
    confirmed = {number: this.ask(number, lists[side]) for number, side in seen.items()}
    # Party 2 is the colluder: it signs both lists.
    both = tuple(this.speak(2, opened(confirmed[number])) for number in (0, 4))
    left = this.lie(Confirmations((*(confirmed[n] for n in (0, 1, 3)), *both)))
    right = this.lie(Confirmations((*(confirmed[n] for n in (4, 5)), *both)))
    all_of_them = this.lie(Confirmations((*confirmed.values(), *both)))
    assert made.context.quorum == 4
    # The left side has its quorum of four with the colluder; then the right one cannot have it.
    shares = [this.ask(number, left) for number in (0, 1, 3)]
    errors = refusals(this, {4: right, 5: all_of_them})
    assert {type(error) for error in errors.values()} == {EquivocationError}
    assert_all_withdrew(this, errors)
    assert all(len(kinds) == 1 for kinds in released(shares).values())


def test_two_survivor_lists_to_two_halves_leave_both_without_a_quorum():
    this = play(federation(6, colluders=1, max_dropouts=2, threshold=3), until="confirm")
    lists = (survivors_lie(this, (0, 1, 2, 3), (4, 5)), survivors_lie(this, (2, 3, 4, 5), (0, 1)))
    left, right = map(this.lie, lists)
    confirmed = {n: this.ask(n, left if n < 3 else right) for n in range(6)}
    everything = this.lie(Confirmations(tuple(confirmed.values())))
    errors = all_refuse(this, to_all(this, everything), EquivocationError)
    assert "party-3" in errors[0].reason
    assert "party-2" in errors[5].reason


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_split_of_the_parties_opens_both_kinds_of_shares_of_anybody(data):
    n = data.draw(st.integers(4, 6), "parties")
    colluders = data.draw(st.integers(0, n - 3), "colluders")
    made = federation(n, colluders=colluders, max_dropouts=n - (n + colluders) // 2 - 1)
    this = play(made, until="confirm")
    everyone = tuple(range(n))
    fewest = made.context.min_survivors
    subsets = st.sets(st.sampled_from(everyone), min_size=fewest).map(sorted).map(tuple)
    chosen = data.draw(st.lists(subsets, min_size=2, max_size=3, unique=True), "lists")
    lists = [
        this.lie(survivors_lie(this, alive, tuple(u for u in everyone if u not in alive)))
        for alive in chosen
    ]
    malicious = data.draw(st.permutations(everyone), "malicious")[:colluders]
    confirmations: dict[int, list] = {index: [] for index in range(len(lists))}
    digests: dict[int, bytes] = {}
    for number in set(everyone) - set(malicious):
        index = data.draw(st.integers(0, len(lists) - 1), f"list for {number}")
        try:
            answer = this.ask(number, lists[index])
        except SurvivorSetError:
            continue
        confirmations[index].append(answer)
        digests[index] = opened(answer).survivors
    shares = []
    for index, digest in digests.items():
        bought = [this.speak(number, Confirmation(digest)) for number in malicious]
        quorum = this.lie(Confirmations((*confirmations[index], *bought)))
        for number in set(everyone) - set(malicious):
            try:
                shares.append(this.ask(number, quorum))
            except (PeerError, OutOfOrderError):
                continue
    assert all(len(kinds) == 1 for kinds in released(shares).values())
    assert len({opened(envelope).survivors for envelope in shares}) <= 1


def test_every_pair_of_lists_is_refused_unless_it_splits_the_sharers_with_us_alive():
    made = federation(5, max_dropouts=2)
    this = play(made, until="confirm")
    state = this.nodes[1]._turns.state
    subsets = [subset for size in range(6) for subset in itertools.combinations(range(5), size)]
    accepted = set()
    for alive, gone in itertools.product(subsets, subsets):
        try:
            check_survivors(made.context, survivors_lie(this, alive, gone), 1, state)
        except SurvivorSetError as error:
            assert error.party == HUB  # noqa: PT017 - thousands of cases
        else:
            accepted.add((alive, gone))
    assert accepted == {
        (alive, gone)
        for alive, gone in itertools.product(subsets, subsets)
        if 1 in alive and len(alive) >= 3 and sorted(alive + gone) == [0, 1, 2, 3, 4]
    }


def test_a_coordinator_that_asks_for_both_share_kinds_of_one_party_is_refused():
    this = play(federation(5, max_dropouts=1), until="confirm")
    both = survivors_lie(this, (0, 1, 2, 3, 4), (4,))
    all_refuse(this, to_all(this, this.lie(both)), SurvivorSetError)


def test_a_party_listed_twice_is_refused():
    this = play(federation(5, max_dropouts=1), until="confirm")
    twice = survivors_lie(this, (0, 1, 2, 2, 3, 4), ())
    all_refuse(this, to_all(this, this.lie(twice)), SurvivorSetError)


def test_a_cohort_below_the_minimum_is_refused():
    this = play(federation(5, max_dropouts=1), until="confirm")
    few = survivors_lie(this, (0, 1), (2, 3, 4))
    all_refuse(this, dict.fromkeys((0, 1), this.lie(few)), CohortTooSmallError)


def test_a_cohort_below_the_agreed_minimum_is_refused_even_with_a_quorum():
    made = federation(6, max_dropouts=1).vary(min_cohort=5)
    this = play(made, until="confirm")
    few = survivors_lie(this, (0, 1, 2, 3), (4, 5))
    all_refuse(this, dict.fromkeys(range(4), this.lie(few)), CohortTooSmallError)


def test_a_coordinator_that_leaves_a_party_out_is_refused_by_that_party():
    this = play(federation(5, max_dropouts=1), until="confirm")
    without = this.lie(survivors_lie(this, (0, 1, 2, 3), (4,)))
    all_refuse(this, {4: without}, SurvivorSetError)


def test_a_party_that_is_neither_survivor_nor_dropout_is_missed():
    this = play(federation(5, max_dropouts=1), until="confirm")
    hidden = this.lie(survivors_lie(this, (0, 1, 2, 3), ()))
    all_refuse(this, dict.fromkeys(range(4), hidden), SurvivorSetError)


def test_a_dropout_that_never_dealt_shares_is_refused():
    made = federation(5, max_dropouts=1)
    this = play(made, until="confirm", silent={"share": {4}, "deliver": {4}, "submit": {4}})
    invented = this.lie(survivors_lie(this, (0, 1, 2, 3), (4,)))
    all_refuse(this, dict.fromkeys(range(4), invented), SurvivorSetError)


def test_a_forged_submission_among_the_survivors_is_refused():
    this = play(federation(4, max_dropouts=1), until="confirm")
    message = opened(this.mail["survivors"][0])
    forged = this.made.context.seal(stranger("party-2"), opened(message.submissions[2]))
    lie = changed(message, submissions=(*message.submissions[:2], forged, message.submissions[3]))
    all_refuse(this, dict.fromkeys((0, 1, 3), this.lie(lie)), SignatureError)


def test_our_own_submission_replaced_by_another_one_is_an_equivocation():
    this = play(federation(4, max_dropouts=1), until="confirm")
    message = opened(this.mail["survivors"][0])
    other = changed(opened(message.submissions[1]), vector=bytes(32))
    entries = list(message.submissions)
    entries[1] = this.speak(1, other)
    all_refuse(this, {1: this.lie(changed(message, submissions=tuple(entries)))}, EquivocationError)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("roster", EquivocationError),
        ("sharers", EquivocationError),
        ("model", ModelMismatchError),
        ("count", SurvivorSetError),
    ],
)
def test_a_colluders_submission_that_differs_in_one_field_is_refused(field, kind):
    this = play(federation(4, colluders=1), until="confirm")
    message = opened(this.mail["survivors"][0])
    value = 999 if field == "count" else bytes(32)
    bought = this.speak(3, changed(opened(message.submissions[3]), **{field: value}))
    lie = this.lie(changed(message, submissions=(*message.submissions[:3], bought)))
    all_refuse(this, dict.fromkeys((0, 1, 2), lie), kind)


# Two different things to two halves


@pytest.mark.parametrize("colluders", [0, 1])
def test_a_coordinator_that_sends_two_different_models_is_refused(colluders):
    made = federation(4, colluders=colluders, max_dropouts=0)
    this = play(made, until="submit")
    for number, node in this.nodes.items():
        model = MODEL if number != 2 else bytes(32)
        this.sent.setdefault("submit", {})[number], _ = node.submit(
            this.inputs[number], model=model
        )
    everyone = this.lie(survivors_lie(this, (0, 1, 2, 3), ()))
    errors = all_refuse(this, to_all(this, everyone), ModelMismatchError)
    assert "party-2" in errors[0].reason


def test_two_rosters_to_two_halves_end_in_an_equivocation():
    made = federation(6, colluders=1, max_dropouts=2, threshold=3)
    this = begin(made)
    entries = [node.advertise() for node in this.nodes.values()]
    second = this.speak(5, Advertise(*(bytes([9 + i]) * 31 + b"\x01" for i in range(2))))
    rosters = (this.lie(Roster(tuple(entries))), this.lie(Roster((*entries[:5], second))))
    side = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1}
    dealt = {number: this.ask(number, rosters[which]) for number, which in side.items()}
    this.sent["share"] = dealt
    for number, which in side.items():
        halves = [u for u, half in side.items() if half == which]
        _deliver_by_hand(this, number, dealt, sharers=tuple(range(5)), dealers=halves)
        this.sent.setdefault("submit", {})[number], _ = this.nodes[number].submit(
            this.inputs[number], model=MODEL
        )
    lie = this.lie(survivors_lie(this, (0, 1, 2, 3, 4), ()))
    all_refuse(this, dict.fromkeys(range(5), lie), EquivocationError)


def _deliver_by_hand(this: Round, number: int, dealt, *, sharers, dealers) -> None:
    """Deliver the shares of ``dealers`` as they are, and rubbish for the other sharers."""
    delivered = []
    for dealer in sharers:
        if dealer == number:
            continue
        shares = opened(dealt[dealer])
        one = next(share for share in shares.dealt if share.holder == number)
        sealed = one.sealed if dealer in dealers else bytes(len(one.sealed))
        delivered.append([dealer, sealed, one.seed_commitment, one.key_commitment])
    message = [number, opened(dealt[number]).roster, list(sharers), delivered]
    envelope = this.made.coordinator.seal(
        agreement=this.made.context.agreement,
        round_=this.made.context.round,
        step="deliver",
        payload=msgspec.msgpack.encode(message),
    )
    this.ask(number, envelope)


def test_two_sets_of_sharers_to_two_halves_end_in_an_equivocation():
    made = federation(6, colluders=1, max_dropouts=2, threshold=3)
    this = play(made, until="deliver")
    dealt = this.sent["share"]
    for number in range(5):
        sharers = (0, 1, 2, 3, 4, 5) if number < 3 else (0, 1, 2, 3, 4)
        _deliver_by_hand(this, number, dealt, sharers=sharers, dealers=sharers)
        this.sent.setdefault("submit", {})[number], _ = this.nodes[number].submit(
            this.inputs[number], model=MODEL
        )
    for gone in ((), (5,)):
        lie = this.lie(survivors_lie(this, (0, 1, 2, 3, 4), gone))
        whom = [4, 3] if gone == () else [0, 1, 2]
        all_refuse(this, dict.fromkeys(whom, lie), EquivocationError, whom)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agreement", bytes(32)),
        ("round", 2),
        ("threshold", 2),
        ("quorum", 5),
        ("min_cohort", 4),
        ("max_dropouts", 0),
        ("degree", 4),
        ("modulus_bits", 31),
        ("count", 16),
        ("purpose", b"another task"),
    ],
)
def test_parties_that_differ_in_one_fact_of_the_round_have_nothing_in_common(field, value):
    made = federation(5, max_dropouts=1, threshold=1)
    other = made.vary(**{field: value})
    ours, theirs = play(made, until="confirm"), play(other, until="confirm")
    assert opened(ours.sent["submit"][0]).roster != opened(theirs.sent["submit"][0]).roster
    mixed = dict(ours.sent["submit"]) | {4: theirs.sent["submit"][4]}
    lie = ours.lie(Survivors(tuple(mixed[number] for number in range(5)), ()))
    errors = refusals(ours, dict.fromkeys(range(4), lie))
    expected = {"agreement": "AgreementMismatchError", "round": "ReplayError"}
    wanted = expected.get(field, "EquivocationError")
    assert {type(error).__name__ for error in errors.values()} == {wanted}
    assert_all_withdrew(ours, errors)


# Second requests


def test_a_second_unmask_request_is_refused_and_gets_nothing():
    this = play(federation(5, max_dropouts=1))
    errors = refusals(this, this.mail["confirmations"])
    assert {type(error) for error in errors.values()} == {DuplicateError}
    other = tuple(reversed(opened(this.mail["confirmations"][0]).confirmations))
    errors = refusals(this, to_all(this, this.lie(Confirmations(other))))
    assert {type(error) for error in errors.values()} == {EquivocationError}
    assert {node.state for node in this.nodes.values()} == {"Finished"}


@pytest.mark.parametrize("step", ["roster", "deliver", "survivors", "confirmations"])
def test_the_same_message_twice_is_a_duplicate_and_changes_nothing(step):
    made = federation(5, max_dropouts=1)
    stages = {"roster": "share", "deliver": "deliver", "survivors": "confirm"}
    this = play(made, until=stages.get(step, "unmask"))
    for number, envelope in this.mail[step].items():
        this.ask(number, envelope)
    states = {number: node.state for number, node in this.nodes.items()}
    errors = refusals(this, this.mail[step])
    assert {type(error) for error in errors.values()} == {DuplicateError}
    assert {number: node.state for number, node in this.nodes.items()} == states


def test_a_second_different_survivor_list_to_one_party_ends_the_round_for_it():
    this = play(federation(5, max_dropouts=1), until="unmask")
    second = this.lie(survivors_lie(this, (0, 1, 2, 3), (4,)))
    all_refuse(this, dict.fromkeys(range(4), second), EquivocationError)


def test_a_request_that_comes_too_early_changes_nothing():
    this, ahead = begin(federation(4)), play(federation(4))
    for step, mail in ahead.mail.items():
        errors = refusals(this, mail)
        assert {type(error) for error in errors.values()} == {UnexpectedMessageError}, step
    this.advertise()
    this.share()
    this.deliver()
    for step in ("survivors", "confirmations"):
        errors = refusals(this, ahead.mail[step])
        assert {type(error) for error in errors.values()} == {UnexpectedMessageError}, step
    for stage in ("submit", "confirm", "unmask"):
        getattr(this, stage)()
    np.testing.assert_array_equal(
        this.finish().total, plain_sum(this.made, this.inputs, (0, 1, 2, 3))
    )


def test_a_second_vector_is_never_masked():
    this = play(federation(4), until="confirm")
    for number, node in this.nodes.items():
        with pytest.raises(OutOfOrderError):
            node.submit(this.inputs[number], model=MODEL)


def test_an_update_that_is_refused_may_be_corrected_and_submitted_once():
    this = play(federation(4), until="submit")
    node, values = this.nodes[0], this.inputs[0]
    for wrong in (values[:-1], values.astype(np.uint64), values.reshape(1, -1)):
        with pytest.raises(InputError):
            node.submit(wrong, model=MODEL)
    with pytest.raises(MisuseError):
        node.submit(values, model=b"short")
    node.submit(values, model=MODEL)
    assert node.state == "Submitted"


def test_a_step_that_fails_half_way_is_never_tried_again_with_the_same_secrets():
    this = play(federation(4), until="share")
    node, honest, asked = this.nodes[0], this.nodes[0]._random, itertools.count()

    def random(count: int) -> bytes:
        if next(asked) == 5:
            raise OSError("no entropy")
        return honest(count)

    node._random = random
    with pytest.raises(OSError, match="no entropy"):
        this.ask(0, this.mail["roster"][0])
    assert_all_withdrew(this, [0])


def test_withdrawing_while_a_step_is_computed_drops_its_outcome():
    this = play(federation(4), until="share")
    node = this.nodes[0]
    honest = node._random

    def random(count: int) -> bytes:
        node.withdraw("the operator stopped the node")
        return honest(count)

    node._random = random
    with pytest.raises(OutOfOrderError, match="withdrew during roster"):
        this.ask(0, this.mail["roster"][0])
    assert node.state == "Withdrawn"


# Confirmations


def quorum_of(this: Round) -> Confirmations:
    return opened(this.mail["confirmations"][0])


def test_fewer_confirmations_than_the_quorum_release_nothing():
    this = play(federation(5, max_dropouts=1), until="unmask")
    few = quorum_of(this).confirmations[: this.made.context.quorum - 1]
    all_refuse(this, to_all(this, this.lie(Confirmations(few))), QuorumError)


def test_duplicated_confirmations_count_once():
    this = play(federation(5, max_dropouts=1), until="unmask")
    few = quorum_of(this).confirmations[: this.made.context.quorum - 1]
    all_refuse(this, to_all(this, this.lie(Confirmations(few * 5))), QuorumError)


def test_an_invalid_confirmation_does_not_count_and_does_not_hinder_a_quorum():
    this = play(federation(5, max_dropouts=1), until="unmask")
    good = quorum_of(this).confirmations
    digest = opened(good[0])
    forged = this.made.context.seal(stranger("party-4"), digest)
    few = (*good[: this.made.context.quorum - 1], forged)
    errors = refusals(this, dict.fromkeys((0, 1), this.lie(Confirmations(few))))
    assert {type(error) for error in errors.values()} == {QuorumError}
    this.ask(2, this.lie(Confirmations((forged, *good[:4]))))
    assert this.nodes[2].state == "Finished"


def test_confirmations_of_parties_that_do_not_survive_do_not_count():
    made = federation(6, colluders=1, max_dropouts=2, threshold=3)
    this = play(made, until="unmask", silent={"submit": {4, 5}})
    good = quorum_of(this).confirmations
    assert len(good) == made.context.quorum == 4
    bought = tuple(this.speak(number, opened(good[0])) for number in (4, 5))
    lie = this.lie(Confirmations((*good[:2], *bought)))
    all_refuse(this, dict.fromkeys(range(4), lie), QuorumError, range(4))


def test_confirmations_of_another_round_do_not_count():
    made = federation(4)
    this, old = play(made, until="unmask"), play(made.vary(round=2), until="unmask")
    lie = this.lie(Confirmations(quorum_of(old).confirmations))
    all_refuse(this, to_all(this, lie), QuorumError)


def test_one_party_that_confirms_another_set_cannot_stop_the_others():
    this = play(federation(5, colluders=1, max_dropouts=0), until="unmask")
    good = quorum_of(this).confirmations
    wrong = this.speak(4, Confirmation(bytes(32)))
    answer = this.ask(0, this.lie(Confirmations((wrong, *good[:4]))))
    assert answer.step == "unmask"


# Rosters


def roster_lies(this: Round) -> dict[str, tuple[Roster, type[PeerError]]]:
    entries = list(this.sent["advertise"].values())
    keys = opened(entries[3])
    old = begin(this.made.vary(round=2), seed=9).nodes[3].advertise()
    outsider = this.made.context.seal(stranger("party-99"), keys)
    forged = this.made.context.seal(stranger("party-3"), Advertise(keys.mask_key, keys.channel_key))

    def last(envelope):
        return Roster((*entries[:3], envelope, entries[4]))

    def with_keys(channel: bytes, mask: bytes):
        return last(this.speak(3, Advertise(channel, mask)))

    return {
        "a swapped key": (last(forged), SignatureError),
        "keys of another round": (last(old), ReplayError),
        "an outsider": (Roster((*entries, outsider)), UnknownPartyError),
        "a message of another step": (
            last(this.speak(3, Confirmation(bytes(32)))),
            UnexpectedMessageError,
        ),
        "too few": (Roster(tuple(entries[:3])), RosterError),
        "nobody": (Roster(()), RosterError),
        "a party twice": (Roster((*entries[:4], entries[3], entries[4])), RosterError),
        "out of order": (Roster(tuple(reversed(entries))), RosterError),
        "the key of another": (
            with_keys(opened(entries[4]).channel_key, keys.mask_key),
            RosterError,
        ),
        "one key for both": (with_keys(keys.mask_key, keys.mask_key), RosterError),
        "a low-order key": (with_keys(keys.channel_key, bytes(32)), RosterError),
        "a second encoding": (with_keys(b"\xff" * 32, keys.mask_key), RosterError),
    }


def test_a_roster_with_a_lie_in_it_is_refused():
    names = roster_lies(play(federation(5, max_dropouts=1), until="share"))
    for what in names:
        this = play(federation(5, max_dropouts=1), until="share")
        roster, kind = roster_lies(this)[what]
        all_refuse(this, dict.fromkeys((0, 1, 2), this.lie(roster)), kind, (0, 1, 2))


def test_a_roster_without_us_or_with_other_keys_for_us_is_refused():
    this = play(federation(5, max_dropouts=1), until="share")
    entries = list(this.sent["advertise"].values())
    mine = opened(entries[2])
    other = this.speak(2, Advertise(mine.mask_key, mine.channel_key))
    all_refuse(this, {2: this.lie(Roster((*entries[:2], *entries[3:])))}, RosterError)
    that = play(federation(5, max_dropouts=1), until="share")
    lie = that.lie(Roster((*entries[:2], other, *entries[3:])))
    all_refuse(that, {2: lie}, RosterError)


# Deliveries


def test_a_delivery_meant_for_another_party_changes_nothing():
    this = play(federation(5, max_dropouts=1), until="deliver")
    for number, other in ((0, 1), (3, 2)):
        errors = refusals(this, {number: this.mail["deliver"][other]})
        assert isinstance(errors[number], UnexpectedMessageError)
        assert this.nodes[number].state == "Dealt"
    this.deliver()


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("another roster", EquivocationError),
        ("a withheld share", RosterError),
        ("a share of our own", RosterError),
        ("a share twice", RosterError),
        ("without us", RosterError),
        ("too few sharers", RosterError),
        ("a sharer from outside", RosterError),
        ("a dealer that is no sharer", RosterError),
    ],
)
def test_a_delivery_with_a_lie_in_it_is_refused(what, kind):
    this = play(federation(5, max_dropouts=1), until="deliver")
    honest = opened(this.mail["deliver"][2])
    own = changed(honest.delivered[0], dealer=2)
    lies = {
        "another roster": changed(honest, roster=bytes(32)),
        "a withheld share": changed(honest, delivered=honest.delivered[1:]),
        "a share of our own": changed(
            honest, delivered=(*honest.delivered[:2], own, *honest.delivered[2:])
        ),
        "a share twice": changed(honest, delivered=(honest.delivered[0], *honest.delivered)),
        "without us": changed(honest, sharers=(0, 1, 3, 4)),
        "too few sharers": changed(honest, sharers=(0, 1, 2), delivered=honest.delivered[:2]),
        "a sharer from outside": changed(honest, sharers=(0, 1, 2, 3, 4, 7)),
        "a dealer that is no sharer": changed(honest, sharers=(0, 1, 2, 3)),
    }
    all_refuse(this, {2: this.lie(lies[what])}, kind)


@pytest.mark.parametrize("what", ["a share of our own", "a dealer that is no sharer"])
def test_a_delivery_in_a_drawn_graph_with_a_lie_in_it_is_refused(what):
    made = federation(7, max_dropouts=1, degree=3, threshold=2)
    this = play(made, until="deliver")
    honest = opened(this.mail["deliver"][2])
    neighbours = this.nodes[2]._turns.state.neighbours
    assert len(neighbours) == 3
    share = honest.delivered[0]
    lies = {
        "a share of our own": changed(honest, delivered=(changed(share, dealer=2),)),
        "a dealer that is no sharer": changed(
            honest, sharers=tuple(u for u in honest.sharers if u != share.dealer)
        ),
    }
    all_refuse(this, {2: this.lie(lies[what])}, RosterError)


@pytest.mark.parametrize("delivered", ["all", "none"])
def test_a_party_masks_with_its_own_neighbours_whatever_is_delivered(delivered):
    made = federation(7, max_dropouts=1, degree=3, threshold=2)
    this = play(made, until="deliver")
    honest = opened(this.mail["deliver"][2])
    neighbours = set(this.nodes[2]._turns.state.neighbours)
    dealers = {share.dealer for share in honest.delivered}
    if delivered == "none":
        honest, dealers = changed(honest, delivered=()), set()
    this.ask(2, this.lie(honest))
    assert this.nodes[2]._turns.state.masks.edges == tuple(sorted(neighbours | dealers))


def test_a_share_that_was_swapped_or_altered_on_its_way_is_left_out_and_named():
    this = play(federation(5, max_dropouts=1), until="deliver")
    honest = opened(this.mail["deliver"][2])
    a, b, c, d = honest.delivered
    lie = changed(
        honest,
        delivered=(
            changed(b, dealer=a.dealer),
            b,
            changed(c, sealed=bytes(len(c.sealed))),
            changed(d, key_commitment=bytes(32)),
        ),
    )
    faults = this.ask(2, this.lie(lie))
    assert [type(fault) for fault in faults] == [ShareError] * 3
    assert [fault.party for fault in faults] == ["party-0", "party-3", "party-4"]
    assert this.nodes[2].state == "Ready"


def test_a_share_withheld_in_a_drawn_graph_spoils_the_sum_and_reveals_nothing_else():
    made = federation(9, max_dropouts=1, degree=4, threshold=3, count=64)
    this = play(made, until="deliver")
    for number, envelope in this.mail["deliver"].items():
        honest = opened(envelope)
        # Nobody receives what party 0 dealt, and party 0 receives nothing.
        kept = () if number == 0 else tuple(s for s in honest.delivered if s.dealer != 0)
        this.mail["deliver"][number] = this.lie(changed(honest, delivered=kept))
    this.deliver()
    this.submit()
    this.confirm()
    this._answer("confirmations", ())
    shares = released(this.sent["unmask"].values())
    assert all(kinds == {"seed"} for kinds in shares.values())
    assert 0 not in shares


def test_a_message_signed_by_another_key_than_the_coordinators_is_refused():
    made = federation(4)
    this = play(made)
    for step, stage in (("roster", "share"), ("deliver", "deliver"), ("survivors", "confirm")):
        that = play(made, until=stage)
        forged = made.context.seal(stranger(HUB), opened(this.mail[step][1]))
        renamed = made.context.seal(made.parties[2], opened(this.mail[step][1]))
        state = that.nodes[1].state
        for envelope in (forged, renamed):
            errors = refusals(that, {1: envelope})
            assert isinstance(errors[1], SignatureError)
            assert errors[1].party == HUB
            assert that.nodes[1].state == state


def test_a_message_in_the_name_of_a_party_blames_the_coordinator_that_sent_it():
    made = federation(4)
    this, old = play(made, until="deliver"), play(made.vary(round=9), until="deliver")
    for envelope in (old.sent["share"][2], this.sent["share"][2]):
        with pytest.raises(SignatureError) as caught:
            this.nodes[1].receive_delivery(envelope)
        assert caught.value.party == HUB
        assert this.nodes[1].state == "Dealt"
