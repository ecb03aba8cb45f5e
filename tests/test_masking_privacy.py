"""What a masked input gives away: nothing. And what logs may show of secrets: nothing either.

Statistics are seeded. A test fails by chance with probability below 1e-6.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats
from support.masked_round import Round, begin, changed, opened, play, stranger, texts
from support.masking import MODEL, federation, seeded_random

from protocols.encoding import unpack
from protocols.errors import PeerError, SecureFedError
from protocols.masking import blinding
from protocols.masking.dealing import Secrets
from protocols.masking.ephemeral import EphemeralKey
from protocols.masking.messages import Confirmations, Roster, Survivors
from protocols.masking.sealing import pairwise_seed, self_seed
from protocols.prg import add_masks
from protocols.wire import Packet, encode

FALSE_ALARM = 1e-6
CHECKS = 64
"""At most so many statistics in one test share its false alarm."""
WIDTHS = [16, 24, 32, 64]


def looks_uniform(counts: np.ndarray) -> bool:
    """Chi-square of counts against equal chances, both tails: too even is no chance either."""
    expected = counts.sum() / counts.size
    assert expected > 20
    statistic = float(((counts - expected) ** 2 / expected).sum())
    tail = FALSE_ALARM / CHECKS / 2
    freedom = counts.size - 1
    return bool(stats.chi2.ppf(tail, freedom) < statistic < stats.chi2.isf(tail, freedom))


def leaks(words: np.ndarray, bits: int) -> list[str]:
    """Which statistics of these words are not those of uniform words of ``bits`` bits."""
    found = []
    wide = words.astype(np.uint64)
    for low in range(0, bits, 8):
        octets = (wide >> np.uint64(low)) & np.uint64(255)
        if not looks_uniform(np.bincount(octets.astype(np.int64), minlength=256)):
            found.append(f"bits {low} to {low + 7}")
    top = (wide >> np.uint64(bits - 12)).astype(np.int64)
    if not looks_uniform(np.bincount(top, minlength=4096)):
        found.append("the top twelve bits")
    # Neighbouring words are independent of each other.
    pairs = (top[:-1] >> 6) * 64 + (top[1:] >> 6)
    if not looks_uniform(np.bincount(pairs[::2], minlength=4096)):
        found.append("pairs of words")
    return found


COUNT = 1 << 18


def masked(bits: int, values: np.ndarray | None = None, *, seed: int = 1, **facts) -> Round:
    """A round up to the survivor set where every party submits ``values`` (zeros by default)."""
    made = federation(3, modulus_bits=bits, count=COUNT).vary(**facts)
    this = play(made, until="submit", seed=seed)
    if values is None:
        values = np.zeros(COUNT, made.context.word)
    this.inputs = dict.fromkeys(this.nodes, values.astype(made.context.word))
    this.submit()
    return this


def words_of(this: Round, number: int) -> np.ndarray:
    return unpack(this.vectors[number], this.made.context.modulus_bits, COUNT)


def modulo(words: np.ndarray, bits: int) -> np.ndarray:
    return words & words.dtype.type(2**bits - 1)


@pytest.mark.parametrize("bits", WIDTHS)
def test_each_masked_input_alone_is_indistinguishable_from_uniform(bits):
    everyday = np.round(np.random.default_rng(2).normal(0, 100, COUNT)).astype(np.int64)
    this = masked(bits, everyday)
    assert leaks(modulo(everyday.astype(this.made.context.word), bits), bits)
    for number in this.nodes:
        assert leaks(words_of(this, number), bits) == []


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_masked_zero_vector_is_indistinguishable_from_uniform(bits):
    this = masked(bits)
    for number in this.nodes:
        assert leaks(words_of(this, number), bits) == []


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_difference_of_two_runs_of_one_input_is_indistinguishable_from_uniform(bits):
    values = np.arange(COUNT)
    one, two = masked(bits, values, seed=1), masked(bits, values, seed=2)
    for number in one.nodes:
        difference = words_of(one, number) - words_of(two, number)
        assert leaks(modulo(difference, bits), bits) == []


@pytest.mark.parametrize("fact", [{"round": 2}, {"agreement": bytes(32)}, {"purpose": b"more"}])
def test_another_round_agreement_or_purpose_yields_unrelated_masks_even_from_equal_randomness(fact):
    # All else is equal, keys and seeds too.
    one, two = masked(32), masked(32, **fact)
    for number in one.nodes:
        assert leaks(words_of(one, number) - words_of(two, number), 32) == []


@pytest.mark.parametrize("bits", [16, 32])
def test_the_vectors_of_two_parties_and_their_sums_are_indistinguishable_from_uniform(bits):
    this = masked(bits)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        for combined in (
            words_of(this, a) + words_of(this, b),
            words_of(this, a) - words_of(this, b),
        ):
            assert leaks(modulo(combined, bits), bits) == []


def test_without_the_self_mask_of_one_party_even_the_sum_of_all_is_uniform():
    this = masked(32)
    total = sum((words_of(this, number) for number in this.nodes), np.zeros(COUNT, np.uint32))
    assert leaks(total, 32) == []


def colluders_view(this: Round, victims: tuple[int, ...], states: dict) -> np.ndarray:
    """The victims' vectors, summed, less every mask that parties 2 and 3 know."""
    context = this.made.context
    total = np.zeros(COUNT, context.word)
    masks = []
    for victim in victims:
        total += words_of(this, victim)
        for colluder in (2, 3):
            state = states[colluder]
            public = state.masks.roster[victim].mask_key
            seed = pairwise_seed(
                context, state.roster_digest, state.masks.mask, colluder, public, victim
            )
            masks.append((seed, colluder < victim))
    add_masks(total, masks)
    return total


def test_colluders_that_remove_every_mask_they_know_still_see_uniform_words():
    made = federation(4, colluders=2, count=COUNT)
    this = play(made, until="submit")
    states = {number: node._turns.state for number, node in this.nodes.items()}
    this.inputs = dict.fromkeys(this.nodes, np.zeros(COUNT, np.uint32))
    this.submit()
    for victims in ((0,), (1,), (0, 1)):
        assert leaks(colluders_view(this, victims, states), 32) == []
    # With the self-masks of both, which a completed round opens, each one alone is still hidden
    # by the mask of the two honest parties, and only their sum is bare.
    own = {
        u: self_seed(made.context, states[u].roster_digest, states[u].masks.seed, u) for u in (0, 1)
    }
    for victims, bare in (((0,), False), ((1,), False), ((0, 1), True)):
        view = colluders_view(this, victims, states)
        add_masks(view, [(own[victim], False) for victim in victims])
        assert leaks(view, 32) == [] or bare
        assert bare == (not view.any())


def test_inputs_of_equal_sum_give_transcripts_that_no_statistic_tells_apart():
    ramp = np.arange(COUNT, dtype=np.uint32)
    worlds = []
    for seed, inputs in ((1, (ramp, ramp * 0, ramp * 0)), (2, (ramp * 0, ramp * 3, 0 - ramp * 2))):
        this = play(federation(3, count=COUNT), until="submit", seed=seed)
        this.inputs = dict(enumerate(inputs))
        for stage in ("submit", "confirm", "unmask"):
            getattr(this, stage)()
        np.testing.assert_array_equal(this.finish().total, ramp)
        worlds.append(this)
    for number in range(3):
        histograms = [
            np.bincount(words_of(this, number) >> np.uint32(20), minlength=4096) for this in worlds
        ]
        table = np.array(histograms)
        assert stats.chi2_contingency(table).pvalue > FALSE_ALARM / CHECKS
    shapes = [
        [len(envelope.payload) for sent in this.sent.values() for envelope in sent.values()]
        for this in worlds
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("bits", WIDTHS)
def test_control_without_masks_every_statistic_sees_the_input(bits, monkeypatch):
    monkeypatch.setattr(blinding, "add_masks", lambda *_, **__: None)
    this = masked(bits)
    for number in this.nodes:
        assert len(leaks(words_of(this, number), bits)) >= bits // 8 + 2


def test_control_with_masks_that_are_used_twice_the_difference_of_two_runs_is_the_input():
    one, two = masked(32, seed=1), masked(32, np.arange(COUNT), seed=1)
    np.testing.assert_array_equal(words_of(two, 0) - words_of(one, 0), np.arange(COUNT))


@pytest.mark.parametrize("kind", ["self", "pairwise"])
def test_control_each_kind_of_mask_alone_already_hides_the_input(kind, monkeypatch):
    def add(target, masks, *, start):
        add_masks(target, masks[:1] if kind == "self" else masks[1:], start=start)

    monkeypatch.setattr(blinding, "add_masks", add)
    this = masked(32)
    for number in this.nodes:
        assert leaks(words_of(this, number), 32) == []


# Sizes


def test_no_message_tells_anything_of_the_input_by_its_size():
    sizes = set()
    for value in (0, 1, 2**24 - 1):
        made = federation(4, modulus_bits=24)
        this = play(made, until="submit")
        this.inputs = dict.fromkeys(this.nodes, np.full(17, value, np.uint32))
        for stage in ("submit", "confirm", "unmask"):
            getattr(this, stage)()
        sizes.add(
            tuple(
                len(encode(Packet(envelope, memoryview(this.vectors[number]))))
                for sent in this.sent.values()
                for number, envelope in sent.items()
            )
        )
    assert len(sizes) == 1


# Canaries


class Canaries:
    """Every random byte string that the roles ever drew, and all that was derived from them."""

    def __init__(self) -> None:
        self.secrets: set[bytes] = set()
        self._random = seeded_random(99)

    def random(self, count: int) -> bytes:
        drawn = self._random(count)
        self.add(drawn)
        return drawn

    def add(self, secret: bytes) -> None:
        if len(secret) >= 16:
            self.secrets.update(secret[low : low + 16] for low in range(0, len(secret) - 15, 16))

    def found_in(self, text: str) -> list[str]:
        lowered = text.lower()
        return [
            secret.hex()
            for secret in self.secrets
            if any(form.lower() in lowered for form in self._forms(secret))
        ]

    @staticmethod
    def _forms(secret: bytes) -> Iterator[str]:
        yield secret.hex()
        yield repr(secret)[2:-1]
        yield base64.b64encode(secret[:15]).decode()
        yield str(int.from_bytes(secret, "big"))
        yield str(int.from_bytes(secret, "little"))
        yield ", ".join(map(str, secret))


def everything(this: Round) -> Iterator[object]:
    """All that a debugger, a log or a crash report may print of the roles of a round."""
    yield this.hub
    yield this.hub._state
    yield this.made.context
    for node in this.nodes.values():
        state = node._turns.state
        yield from (node, state, node._turns, node._identity)
        if dataclasses.is_dataclass(state):
            for field in dataclasses.fields(state):
                value = getattr(state, field.name)
                if not isinstance(value, bytes):
                    yield value
    for box in (*this.mail.values(), *this.sent.values()):
        for envelope in box.values():
            yield from (envelope, opened(envelope), Packet(envelope))


def derived(this: Round) -> Iterator[bytes]:
    for node in this.nodes.values():
        state = node._turns.state
        for name in ("channel", "mask"):
            key = getattr(state, name, None)
            if isinstance(key, EphemeralKey):
                yield key.private
                yield from key._agreed.values()
        for pair in getattr(state, "held", {}).values():
            yield from (pair.seed.share, pair.seed.salt, pair.key.share, pair.key.salt)


STAGES = ("advertise", "share", "deliver", "submit", "confirm", "unmask")


def test_no_repr_of_any_state_message_or_role_holds_a_secret():
    canaries = Canaries()
    made = federation(4, colluders=1)
    for identity in made.parties.values():
        raw = identity._key.private_bytes_raw()
        canaries.add(raw)
    this = begin(made, random=canaries.random)
    for number, values in this.inputs.items():
        canaries.add(values.tobytes())
        assert number in this.nodes
    for stage in STAGES:
        getattr(this, stage)()
        for secret in derived(this):
            canaries.add(secret)
        shown = {text for thing in everything(this) for text in (repr(thing), str(thing))}
        assert canaries.found_in("\n".join(shown)) == []
    unmask = opened(this.sent["unmask"][1])
    assert "OpenedShare" in repr(unmask)
    assert len(canaries.secrets) > 100
    assert canaries.found_in(repr(next(iter(canaries.secrets))))


def test_secrets_are_never_serialised_or_shown():
    key = EphemeralKey(bytes(range(32)))
    with pytest.raises(TypeError):
        key.__reduce__()
    assert key.private.hex() not in repr(key)
    shown = repr(Secrets(key, key, bytes(range(32))))
    assert shown == "Secrets()"


def failures(this: Round, canaries: Canaries) -> Iterator[BaseException]:
    """One error of every kind that a round can raise, with its whole chain of causes."""
    lies = [
        (this.hub.receive_advertise, this.made.context.seal(stranger("party-1"), opened(
            this.sent["advertise"][1]))),
        (this.hub.receive_unmask, this.sent["unmask"][1]),
        (this.hub.receive_shares, this.mail["roster"][1]),
    ]  # fmt: skip
    for answer, envelope in lies:
        with pytest.raises(PeerError) as caught:
            answer(envelope)
        yield caught.value
    for stage in ("share", "deliver", "confirm", "unmask"):
        that = play(this.made, until=stage, random=canaries.random)
        step = {"share": "roster", "deliver": "deliver", "confirm": "survivors"}.get(
            stage, "confirmations"
        )
        honest = opened(that.mail[step][1])
        match step:
            case "roster":
                lie = Roster(honest.advertisements[:1])
            case "deliver":
                share = changed(honest.delivered[0], sealed=bytes(146))
                lie = changed(honest, delivered=(share, *honest.delivered[1:]))
                yield from that.ask(1, that.lie(lie))
                continue
            case "survivors":
                lie = Survivors(honest.submissions[:1], ())
            case _:
                lie = Confirmations(())
        with pytest.raises(PeerError) as caught:
            that.ask(1, that.lie(lie))
        yield caught.value
        with pytest.raises(PeerError) as caught:
            that.ask(1, that.mail[step][1])
        yield caught.value
    that = play(this.made, until="unmask", random=canaries.random)
    that._answer("confirmations", ())
    unmask = opened(that.sent["unmask"][1])
    first, *rest = unmask.seed_shares
    for wrong in (changed(first, share=bytes(33)), changed(first, salt=first.share[:32])):
        lie = changed(unmask, seed_shares=(wrong, *rest))
        with pytest.raises(PeerError) as caught:
            that.hub.receive_unmask(that.speak(1, lie))
        yield caught.value
    garbled = dataclasses.replace(that.made.context, max_message_bytes=8)
    with pytest.raises(PeerError) as caught:
        garbled.open_from_party(that.sent["unmask"][1], type(unmask))
    yield caught.value
    cut = that.made.parties[1].seal(
        agreement=that.made.context.agreement, round_=1, step="unmask",
        payload=that.sent["unmask"][1].payload[:-7],
    )  # fmt: skip
    with pytest.raises(PeerError) as caught:
        that.hub.receive_unmask(cut)
    yield caught.value
    that.hub.receive_unmask(that.sent["unmask"][1])
    with pytest.raises(SecureFedError) as caught:
        that.finish()
    yield caught.value
    that = play(this.made, until="submit", random=canaries.random)
    with pytest.raises(SecureFedError) as caught:
        that.nodes[1].submit(that.inputs[1][:-1], model=MODEL)
    yield caught.value


def test_no_error_and_no_cause_of_an_error_quotes_a_secret():
    canaries = Canaries()
    made = federation(4, colluders=0, max_dropouts=1, threshold=2)
    this = play(made, random=canaries.random)
    for envelope in this.sent["unmask"].values():
        for share in opened(envelope).seed_shares:
            canaries.add(share.share)
            canaries.add(share.salt)
    errors = list(failures(this, canaries))
    assert len({type(error) for error in errors}) >= 8
    assert canaries.found_in("\n".join(map(texts, errors))) == []


def test_secrets_appear_on_the_wire_only_as_shares_of_the_one_kind_that_was_asked_for():
    canaries = Canaries()
    made = federation(4, max_dropouts=1, threshold=2)
    this = play(made, random=canaries.random, until="submit", silent={})
    states = {number: node._turns.state for number, node in this.nodes.items()}
    private = {state.masks.mask.private for state in states.values()}
    private |= {state.masks.seed for state in states.values()}
    private |= {made.parties[number]._key.private_bytes_raw() for number in states}
    for stage, silent in (("submit", {3}), ("confirm", ()), ("unmask", ())):
        getattr(this, stage)(silent)
    wire = b"".join(
        encode(Packet(envelope, memoryview(this.vectors.get(number, b""))))
        for box in (*this.mail.values(), *this.sent.values())
        for number, envelope in box.items()
    )
    assert not [secret for secret in private if secret in wire]
    # The shares of kinds that nobody asked for stay where they are.
    for state in states.values():
        for dealer, pair in state.held.items():
            hidden, shown = (pair.seed, pair.key) if dealer == 3 else (pair.key, pair.seed)
            assert hidden.share not in wire
            assert hidden.salt not in wire
            assert state.sharers == (0, 1, 2, 3)
            assert (shown.share in wire) == (state.held is not states[3].held)


def test_a_party_that_finished_or_withdrew_holds_no_secret():
    this = play(federation(4, max_dropouts=1), until="unmask")
    this.unmask({2})
    this.nodes[2].withdraw("the operator said so")
    for number, node in this.nodes.items():
        fields = dataclasses.asdict(node._turns.state)
        assert fields == ({"reason": "the operator said so"} if number == 2 else {})
    this.nodes[0].withdraw("too late")
    assert this.nodes[0].state == "Finished"


def test_every_derived_key_and_commitment_of_a_round_is_used_once(monkeypatch):
    seen: list[bytes] = []
    honest = type(federation(2).context).digest

    def record(self, label, *parts):
        digest = honest(self, label, *parts)
        if label.startswith((b"securefed pairwise", b"securefed self mask")):
            seen.append(hashlib.sha256(digest).digest())
        return digest

    monkeypatch.setattr(type(federation(2).context), "digest", record)
    play(federation(4), until="confirm")
    # Both ends of each of the six pairs derive it once, and each party its own self-mask.
    assert len(seen) == 2 * 6 + 4
    assert len(set(seen)) == 6 + 4
