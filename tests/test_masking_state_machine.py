"""Whole federations under attack, step by step in any order: what stays true whatever happens."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from msgspec import Struct
from support.masked_round import (
    ANSWERS,
    FOLLOWING,
    begin,
    changed,
    opened,
    play,
    released,
    stranger,
)
from support.masking import MODEL, federation, plain_sum, random_inputs

from protocols.encoding import unpack
from protocols.errors import BelowThresholdError, OutOfOrderError, PeerError
from protocols.identity import Envelope, Identity
from protocols.masking.coordinator import MaskingCoordinator
from protocols.masking.ephemeral import EphemeralKey
from protocols.masking.messages import (
    Advertise,
    Confirmation,
    Confirmations,
    DeliveredShare,
    Delivery,
    Roster,
    Survivors,
)
from protocols.masking.party import MaskingParty
from protocols.masking.sealing import pairwise_seed, self_seed
from protocols.prg import add_masks
from protocols.secret_sharing import combine
from protocols.wire import Packet, decode_packet, encode

MAX_BYTES = 1 << 20
FATES = ("deliver",) * 5 + ("drop",)
CLOSING = {
    "Advertising": "close_advertise",
    "Sharing": "close_shares",
    "Submitting": "close_submissions",
    "Confirming": "close_confirmations",
}


def pack_up(envelope: Envelope, attachment: bytes = b"") -> bytes:
    return encode(Packet(envelope, memoryview(attachment)))


def give(hub: MaskingCoordinator, packet: Packet) -> None:
    """Hand a message to the coordinator as its node does, by the step that it claims to be of."""
    envelope = packet.envelope
    match envelope.step:
        case "advertise":
            hub.receive_advertise(envelope)
        case "share":
            hub.receive_shares(envelope)
        case "submit":
            hub.receive_submission(envelope, packet.attachment, model=MODEL)
        case "confirm":
            hub.receive_confirmation(envelope)
        case _:
            hub.receive_unmask(envelope)


def take(role: MaskingCoordinator | MaskingParty, body: bytes) -> None:
    packet = decode_packet(body, party="unknown", max_bytes=MAX_BYTES)
    if isinstance(role, MaskingCoordinator):
        give(role, packet)
    else:
        ANSWERS.get(packet.envelope.step, MaskingParty.receive_roster)(role, packet.envelope)


class NetworkAttack(RuleBasedStateMachine):
    """Honest roles; the network drops, repeats, reorders, misdelivers, replays, forges and flips.

    Whatever it does, no party withdraws, no state changes on a refusal, and the sum is exact.
    """

    @initialize(
        n=st.integers(4, 6),
        colluders=st.integers(0, 1),
        bits=st.sampled_from([16, 21, 32, 64]),
        drawn=st.booleans(),
        seed=st.integers(0, 2**32),
    )
    def start(self, n, colluders, bits, drawn, seed):
        dropouts = n - (n + colluders) // 2 - 1
        self.tolerated = 0 if drawn else dropouts
        self.made = federation(
            n,
            colluders=colluders,
            max_dropouts=dropouts,
            threshold=colluders + 1,
            degree=n - 2 if drawn else None,
            modulus_bits=bits,
            seed=seed,
        )
        self.round = begin(self.made, seed=seed)
        self.hub, self.nodes = self.round.hub, self.round.nodes
        self.inputs = random_inputs(self.made, seed)
        self.flying: list[tuple[int | None, bytes]] = []
        self.history: list[tuple[int | None, bytes]] = []
        self.unmasks: list[Envelope] = []
        self.lost: set[int] = set()
        self.result = None
        self.recorded = [
            body
            for fact in ({"round": 2}, {"agreement": bytes(32)})
            for body in recording(self.made.vary(**fact))
        ]
        for node in self.nodes.values():
            self._send(None, pack_up(node.advertise()))

    # The wire: ``None`` is the coordinator's address

    def _send(self, to: int | None, body: bytes) -> None:
        self.flying.append((to, body))
        self.history.append((to, body))

    def _states(self):
        return [self.hub.state, self.hub.heard, *(node.state for node in self.nodes.values())]

    def _deliver(self, to: int | None, body: bytes) -> bool:
        """Hand a body to a role as a node does; a refusal is named and changes nothing."""
        before = self._states()
        try:
            packet = decode_packet(body, party="unknown", max_bytes=MAX_BYTES)
            if to is None:
                give(self.hub, packet)
            else:
                self._to_party(to, packet.envelope)
        except PeerError:
            assert self._states() == before
            return False
        return True

    def _to_party(self, number: int, envelope: Envelope) -> None:
        answer = ANSWERS.get(envelope.step, MaskingParty.receive_roster)
        reply = answer(self.nodes[number], envelope)
        if envelope.step == "deliver":
            assert reply == ()
            words = self.inputs[number]
            self._send(None, pack_up(*self.nodes[number].submit(words, model=MODEL)))
            return
        if envelope.step == "confirmations":
            self.unmasks.append(reply)
        self._send(None, pack_up(reply))

    # What happens: the network's doing, and the coordinator's deadlines

    @rule(data=st.data())
    def something_happens(self, data):
        """One rule: those that hypothesis leaves out of a run would end most runs early."""
        attacks = (
            self._repeat, self._misdeliver, self._flip, self._cut, self._replay, self._forge,
            self._inject,
        )  # fmt: skip
        for attack in data.draw(st.lists(st.sampled_from(attacks), max_size=3), "attacks"):
            attack(data, *data.draw(st.sampled_from(self.history), "message"))
        for fate in data.draw(st.lists(st.sampled_from(FATES), max_size=2), "fate"):
            if self.flying:
                position = data.draw(st.integers(0, len(self.flying) - 1), "position")
                to, body = self.flying.pop(position)
                if fate == "deliver":
                    self._deliver(to, body)
        match data.draw(
            st.sampled_from(("wait", "wait", "go on", "go on", "too soon")), "deadline"
        ):
            case "go on":
                self._deliver_all(data)
                self._close()
            case "too soon" if len(self.hub.awaited) <= self.tolerated:
                self._close()

    def _deliver_all(self, data):
        while self.flying:
            for to, body in data.draw(st.permutations(self.flying), "order"):
                self.flying.remove((to, body))
                self._deliver(to, body)

    def _repeat(self, _, to, body):
        self._deliver(to, body)

    def _misdeliver(self, data, owner, body):
        envelope = decode_packet(body, party="", max_bytes=MAX_BYTES).envelope
        to = data.draw(st.sampled_from([None, *self.nodes]), "to")
        common = envelope.sender == "coordinator" and envelope.step != "deliver"
        if to != owner and (to is None or not common):
            assert not self._deliver(to, body)

    def _flip(self, data, to, body):
        damaged = bytearray(body)
        position = data.draw(st.integers(0, len(body) - 1), "position")
        damaged[position] ^= 1 << data.draw(st.integers(0, 7), "bit")
        assert not self._deliver(to, bytes(damaged))

    def _cut(self, data, to, body):
        assert not self._deliver(to, body[: data.draw(st.integers(0, len(body) - 1), "length")])
        assert not self._deliver(to, body + data.draw(st.binary(min_size=1, max_size=4), "more"))

    def _replay(self, data, to, _):
        assert not self._deliver(to, data.draw(st.sampled_from(self.recorded), "recorded"))

    def _forge(self, _, to, body):
        packet = decode_packet(body, party="", max_bytes=MAX_BYTES)
        forger = stranger(packet.envelope.sender)
        forged = self.made.context.seal(forger, opened(packet.envelope))
        assert not self._deliver(to, pack_up(forged, bytes(packet.attachment)))

    def _inject(self, data, to, _):
        assert not self._deliver(to, data.draw(st.binary(max_size=300), "junk"))

    def _close(self):
        if self.hub.can_finish:
            self.result = self.hub.finish()
        if self.hub.state not in CLOSING:
            return
        self.lost |= self.hub.awaited
        try:
            mail = getattr(self.hub, CLOSING[self.hub.state])()
        except BelowThresholdError:
            assert len(self.lost) > self.tolerated
            assert self.hub.state == "Closed"
            return
        for number, envelope in mail.items():
            self._send(number, pack_up(envelope))

    # What stays true

    @invariant()
    def nobody_releases_both_kinds_of_shares_of_one_dealer(self):
        kinds = released(getattr(self, "unmasks", []))
        assert all(len(kind) == 1 for kind in kinds.values())
        assert len({opened(one).survivors for one in getattr(self, "unmasks", [])}) <= 1

    @invariant()
    def no_party_withdraws_because_of_the_network(self):
        assert all(node.state != "Withdrawn" for node in getattr(self, "nodes", {}).values())

    @invariant()
    def the_sum_is_that_of_the_survivors(self):
        if getattr(self, "result", None) is not None:
            expected = plain_sum(self.made, self.inputs, self.result.survivors)
            np.testing.assert_array_equal(self.result.total, expected)
            assert len(self.result.survivors) >= self.made.context.min_survivors

    def teardown(self):
        """From any state, an attacker that goes home leaves a round that completes."""
        if not hasattr(self, "hub"):
            return
        while self.hub.state != "Closed":
            while self.flying:
                self._deliver(*self.flying.pop(0))
            if self.hub.state in CLOSING or self.hub.can_finish:
                self._close()
            else:
                self.lost |= self.hub.awaited
                assert len(self.lost) > self.tolerated
                with pytest.raises(BelowThresholdError):
                    self.hub.finish()
        assert self.result is not None or len(self.lost) > self.tolerated
        self.the_sum_is_that_of_the_survivors()


def recording(made) -> list[bytes]:
    this = play(made)
    sent = [
        pack_up(envelope, this.vectors[number] if step == "submit" else b"")
        for step, envelopes in this.sent.items()
        for number, envelope in envelopes.items()
    ]
    return sent + [pack_up(envelope) for mail in this.mail.values() for envelope in mail.values()]


class LyingCoordinator(RuleBasedStateMachine):
    """The coordinator and c parties lie to each honest party on its own, in any order.

    They never see shares for two survivor sets, nor enough of both kinds of one honest dealer.
    """

    @initialize(n=st.integers(4, 6), colluders=st.integers(0, 2), seed=st.integers(0, 2**32))
    def start(self, n, colluders, seed):
        colluders = min(colluders, n - 3)
        self.made = federation(
            n,
            colluders=colluders,
            max_dropouts=n - (n + colluders) // 2 - 1,
            threshold=colluders + 1,
            seed=seed,
        )
        self.context = self.made.context
        self.round = begin(self.made, seed=seed)
        self.bad = tuple(range(n - colluders, n))
        self.good = {u: node for u, node in self.round.nodes.items() if u not in self.bad}
        self.advertised = {u: node.advertise() for u, node in self.good.items()}
        self.keys = {u: tuple(EphemeralKey(_secret(u, use)) for use in "cm") for u in self.bad}
        self.submissions: dict[int, Envelope] = {}
        self.confirmations: dict[bytes, dict[int, Envelope]] = defaultdict(dict)
        self.dealt: dict[bytes, dict[int, Envelope]] = defaultdict(dict)
        self.sets: dict[bytes, tuple[int, ...]] = {}
        self.answered: list[tuple[int, Struct]] = []
        self.unmasks: dict[int, Envelope] = {}

    def _numbers(self, data, whom, fewest: int, name: str) -> tuple[int, ...]:
        fewest = min(fewest, len(whom))
        subsets = st.sets(st.sampled_from(sorted(whom)), min_size=fewest)
        return tuple(sorted(data.draw(subsets, name)))

    def _ask(self, number: int, message: Struct) -> Envelope | None:
        node = self.good[number]
        envelope = self.round.lie(message)
        before = node.state
        try:
            answer = ANSWERS[envelope.step](node, envelope)
        except PeerError:
            assert node.state in {before, "Withdrawn"}
            return None
        self.answered.append((number, message))
        return answer if isinstance(answer, Envelope) else envelope

    def _in_state(self, data, state: str) -> list[int]:
        """Parties to lie to now: most of the time all that are in this state."""
        ready = [number for number, node in self.good.items() if node.state == state]
        later = data.draw(st.sets(st.sampled_from(ready), max_size=1), "later")
        return [number for number in ready if number not in later]

    @rule(data=st.data())
    def lie(self, data):
        """One rule: those that hypothesis leaves out of a run would end most runs early."""
        steps = {
            "Advertised": self._rosters, "Dealt": self._deliveries, "Ready": self._train,
            "Submitted": self._survivors, "Confirmed": self._quorums,
        }  # fmt: skip
        due = [steps[node.state] for node in self.good.values() if node.state in steps]
        if due:
            data.draw(st.sampled_from(due), "step")(data)
        self._ask_again(data)

    def _rosters(self, data):
        everybody = tuple(self.round.nodes)
        some = self._numbers(data, everybody, self.context.min_roster, "roster")
        plans = [(everybody, 1), (everybody, 1), (everybody, -1), (some, 1)]
        for number in self._in_state(data, "Advertised"):
            members, order = data.draw(st.sampled_from(plans), f"roster of {number}")
            entries = []
            for member in members:
                if member in self.good:
                    entries.append(self.advertised[member])
                else:
                    channel, mask = self.keys[member][::order]
                    keys = Advertise(channel.public, mask.public)
                    entries.append(self.round.speak(member, keys))
            shares = self._ask(number, Roster(tuple(entries)))
            if shares is not None:
                self.dealt[opened(shares).roster][number] = shares

    def _deliveries(self, data):
        missing = data.draw(st.sampled_from(sorted(self.round.nodes)), "missing")
        for number in self._in_state(data, "Dealt"):
            state = self.good[number]._turns.state
            sharers = tuple(state.roster)
            if data.draw(RARELY[4], f"{number} misses a sharer"):
                sharers = tuple(u for u in sharers if u != missing)
            delivered = [
                self._dealt_share(state.roster_digest, dealer, number)
                for dealer in sharers
                if dealer != number
            ]
            self._ask(number, Delivery(number, state.roster_digest, sharers, tuple(delivered)))

    def _dealt_share(self, roster: bytes, dealer: int, holder: int) -> DeliveredShare:
        """What was dealt on this very roster; else rubbish, as a colluder may deal."""
        if dealer not in self.dealt[roster]:
            return DeliveredShare(dealer, bytes(146), bytes(32), bytes(32))
        shares = opened(self.dealt[roster][dealer]).dealt
        one = next(share for share in shares if share.holder == holder)
        return DeliveredShare(dealer, one.sealed, one.seed_commitment, one.key_commitment)

    def _train(self, data):
        for number in self._in_state(data, "Ready"):
            other = data.draw(RARELY[9], f"{number} gets another model")
            self.submissions[number], _ = self.good[number].submit(
                self.round.inputs[number], model=bytes(32) if other else MODEL
            )

    def _survivors(self, data):
        few = st.sets(st.sampled_from(sorted(self.round.nodes)), max_size=2)
        plans = [data.draw(few, "left out of one list"), data.draw(few, "of the other")]
        for number in self._in_state(data, "Submitted"):
            state = self.good[number]._turns.state
            mine = opened(self.submissions[number])
            pool = {
                u: one for u, one in self.submissions.items()
                if changed(opened(one), vector=mine.vector) == mine or data.draw(RARELY[9], "mix")
            }  # fmt: skip
            for bad in self.bad:
                pool[bad] = self.round.speak(bad, changed(mine, vector=bytes(32)))
            left_out = data.draw(st.sampled_from(plans), f"list of {number}")
            alive = tuple(u for u in sorted(pool) if u not in left_out)
            gone = tuple(u for u in state.sharers if u not in alive)
            if data.draw(RARELY[9], f"{number} gets other dropouts"):
                gone = self._numbers(data, self.round.nodes, 0, "dropouts")
            answer = self._ask(number, Survivors(tuple(pool[u] for u in alive), gone))
            if answer is not None:
                digest = opened(answer).survivors
                self.confirmations[digest][number] = answer
                self.sets[digest] = alive

    def _quorums(self, data):
        for number in self._in_state(data, "Confirmed"):
            digest = self.good[number]._turns.state.survivors_digest
            if data.draw(RARELY[4], f"{number} gets any confirmations"):
                digest = data.draw(st.sampled_from(sorted(self.confirmations)), "digest")
            answer = self._ask(number, self._bought(digest))
            if answer is not None:
                self.unmasks[number] = answer

    def _bought(self, digest: bytes) -> Confirmations:
        """All confirmations of a set, with those of every colluder."""
        bought = [self.round.speak(bad, Confirmation(digest)) for bad in self.bad]
        return Confirmations((*self.confirmations[digest].values(), *bought))

    def _ask_again(self, data):
        """Whatever a party answered once it never answers again, nor the other survivor set."""
        for number in sorted(self.unmasks):
            for digest in tuple(self.confirmations):
                assert self._ask(number, self._bought(digest)) is None
        if self.answered:
            number, message = data.draw(st.sampled_from(self.answered), "message")
            assert self._ask(number, message) is None

    @invariant()
    def shares_are_released_for_one_set_alone(self):
        unmasks = getattr(self, "unmasks", {})
        digests = {opened(one).survivors for one in unmasks.values()}
        assert len(digests) <= 1
        for digest in digests:
            alive = self.sets[digest]
            assert len(alive) >= self.context.min_survivors
            assert len(set(alive) - set(self.bad)) >= 2
            assert unmasks.keys() <= set(alive)

    @invariant()
    def never_enough_of_both_kinds_of_one_honest_dealer(self):
        unmasks = getattr(self, "unmasks", {})
        assert all(len(kinds) == 1 for kinds in released(unmasks.values()).values())
        known: Counter[tuple[int, str]] = Counter()
        for dealer in getattr(self, "good", {}):
            for kind in ("seed", "key"):
                known[dealer, kind] += len(self.bad)
        for envelope in unmasks.values():
            message = opened(envelope)
            for kind, shares in (("seed", message.seed_shares), ("key", message.key_shares)):
                known.update((share.dealer, kind) for share in shares)
        for dealer in getattr(self, "good", {}):
            both = min(known[dealer, "seed"], known[dealer, "key"])
            assert both < self.context.threshold


RARELY = {odds: st.sampled_from([False] * odds + [True]) for odds in (4, 9)}


def _secret(number: int, use: str) -> bytes:
    return hashlib.sha256(f"colluder {number} {use}".encode()).digest()


# A busy machine is no reason to fail: every example is a whole round.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NetworkAttack.TestCase.settings = settings(UNHURRIED, max_examples=25, stateful_step_count=40)
LyingCoordinator.TestCase.settings = settings(UNHURRIED, max_examples=80, stateful_step_count=40)


class TestNothingOnTheNetworkBreaksARound(NetworkAttack.TestCase):
    pass


class TestNoLieOfTheCoordinatorOpensTwoSets(LyingCoordinator.TestCase):
    pass


def test_control_with_too_small_a_quorum_two_lists_open_a_partys_input():
    # What the machine above must never find, done by hand where the quorum ignores a colluder.
    made = federation(5, colluders=0, max_dropouts=2, threshold=2)
    assert made.context.quorum == 3
    this = play(made, until="confirm")
    colluder = this.nodes[4]._turns.state.held
    submissions = this.sent["submit"]
    shares: dict[str, dict[int, bytes]] = {"seed": {}, "key": {}}
    for half, rest in (((0, 1), (2, 3)), ((2, 3), (0, 1))):
        message = Survivors(tuple(submissions[u] for u in (*half, 4)), rest)
        confirmed = [this.ask(number, this.lie(message)) for number in half]
        bought = this.speak(4, opened(confirmed[0]))
        quorum = this.lie(Confirmations((*confirmed, bought)))
        for number in half:
            unmask = opened(this.ask(number, quorum))
            kind = "seed" if 0 in half else "key"
            for share in unmask.seed_shares if kind == "seed" else unmask.key_shares:
                if share.dealer == 0:
                    shares[kind][number] = share.share
    shares["seed"][4], shares["key"][4] = colluder[0].seed.share, colluder[0].key.share
    seed, private = (
        combine([list(some.values())[:2]], [holder + 1 for holder in list(some)[:2]])[0]
        for some in shares.values()
    )
    context, roster = made.context, opened(submissions[0]).roster
    key, masks = EphemeralKey(private), [(self_seed(context, roster, seed, 0), False)]
    for peer in range(1, 5):
        public = opened(this.sent["advertise"][peer]).mask_key
        masks.append((pairwise_seed(context, roster, key, 0, public, peer), False))
    victim = unpack(this.vectors[0], context.modulus_bits, context.count)
    add_masks(victim, masks)
    np.testing.assert_array_equal(victim, this.inputs[0])


def test_a_bit_flipped_at_any_offset_of_any_message_is_refused_and_changes_nothing():
    made = federation(3)
    done = play(made)
    flips = 0
    this = begin(made)
    for stage in ("advertise", "share", "deliver", "submit", "confirm", "unmask"):
        due = [
            (this.nodes[1], pack_up(this.mail[step][1]))
            for step in ("roster", "deliver", "survivors", "confirmations")
            if step in this.mail
        ]
        due += [
            (this.hub, pack_up(sent[1], done.vectors[1] if step == "submit" else b""))
            for step, sent in done.sent.items()
            if step == stage
        ]
        for role, body in due:
            state = role.state
            for position in range(len(body)):
                damaged = bytearray(body)
                damaged[position] ^= 1 << (position * 5 % 8)
                with pytest.raises(PeerError):
                    take(role, bytes(damaged))
                flips += 1
            assert role.state == state
        getattr(this, stage)()
    assert flips > 5000
    np.testing.assert_array_equal(this.finish().total, plain_sum(made, this.inputs, (0, 1, 2)))


class Interrupted:
    """A signing key that lets somebody else speak in the middle of a step."""

    def __init__(self, identity: Identity, meanwhile: Callable[[], None]) -> None:
        self._identity, self._meanwhile = identity, meanwhile

    def seal(self, **fields):
        self._meanwhile()
        return self._identity.seal(**fields)


@pytest.mark.parametrize("step", list(FOLLOWING))
def test_a_party_in_the_middle_of_a_step_answers_nothing_else(step):
    stage = {"roster": "share", "survivors": "confirm", "confirmations": "unmask"}[step]
    this = play(federation(4), until=stage)
    node = this.nodes[0]

    def ask_everything() -> None:
        assert node.state == "Working"
        for mail in this.mail.values():
            with pytest.raises(PeerError):
                this.ask(0, mail[0])
        with pytest.raises(OutOfOrderError):
            node.submit(this.inputs[0], model=MODEL)
        with pytest.raises(OutOfOrderError):
            node.advertise()

    node._identity = Interrupted(this.made.parties[0], ask_everything)
    assert this.ask(0, this.mail[step][0]).step == FOLLOWING[step]
