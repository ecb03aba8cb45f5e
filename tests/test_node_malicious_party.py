"""What one party can do to a federation of real nodes: lose its own place in it, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from support.lies import read
from support.nodes import GLM, NodeFederation, make_agreement, toy_data

from parties.embedded import MemoryHub
from parties.reporting import MOST_PER_WINDOW
from parties.transport.events import Connected, Disconnected, Message, Refused
from protocols.errors import DuplicateError
from protocols.identity import Envelope
from protocols.rounds import Withdrawal, seal
from protocols.wire import Packet, encode
from securefed.learning.glm import coefficients
from securefed.learning.reference import fit_pooled
from securefed.learning.state import state_from_bytes

LIAR = "party-1"
HONEST = ("party-0", "party-2", "party-3", "party-4")


def federation(hook=None, rounds: int = 4, **options: object) -> NodeFederation:
    signed, identities = make_agreement(
        [{**GLM, "rounds": rounds}],
        5,
        colluders=1,
        max_dropouts=1,
        threshold=2,
        deadline_seconds=0.5,
    )
    return NodeFederation(signed, identities, toy_data(5), hook, **options)


def lying(step: str, lie: Callable[[Packet], bytes | None], rounds: int | None = None):
    """Return a hook that changes what the liar says at one step."""

    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        packet = read(body)
        due = rounds is None or packet.envelope.round == rounds
        if sender == LIAR and packet.envelope.step == step and due:
            return lie(packet)
        return body

    return hook


def check_the_others_have_their_model(made: NodeFederation, report) -> None:
    """The liar is in no sum, so the model is the pooled one of the honest four."""
    assert all(set(record.survivors) == set(HONEST) for record in report.records)
    rounds = made.signed.agreement.max_rounds
    pooled = fit_pooled(
        "glm-logistic", GLM["parameters"], [made.data[name] for name in HONEST], rounds=rounds
    )
    found = coefficients(state_from_bytes(report.models["risk"]))
    assert np.abs(found - coefficients(pooled.state)).max() < 1e-6


def forge(packet: Packet, **changes: object) -> bytes:
    fields = {name: getattr(packet.envelope, name) for name in packet.envelope.__struct_fields__}
    return encode(Packet(Envelope(**{**fields, **changes}), packet.attachment))


@pytest.mark.parametrize(
    "lie",
    [
        lambda packet: forge(packet, sender="party-2"),
        lambda packet: forge(packet, sender="coordinator"),
        lambda packet: forge(packet, sender="stranger"),
        lambda packet: forge(packet, signature=bytes(64)),
        lambda packet: forge(packet, payload=packet.envelope.payload + b"\x00"),
        lambda packet: forge(packet, agreement=bytes(32)),
        lambda packet: forge(packet, version=7),
        lambda packet: forge(packet, step="open"),
        lambda packet: encode(Packet(packet.envelope, memoryview(b"x" * 10_000_000))),
        lambda _packet: b"\xc1",
        lambda _packet: bytes(1 << 24) + b"x",
    ],
    ids=[
        "another's name",
        "the coordinator's name",
        "a stranger's name",
        "no signature",
        "changed payload",
        "another agreement",
        "another version",
        "a step of the coordinator",
        "a huge attachment",
        "garbage",
        "oversized",
    ],
)
@pytest.mark.parametrize("step", ["advertise", "share"])
def test_whatever_a_party_sends_it_only_loses_its_own_place(step, lie):
    made = federation(lying(step, lie), rounds=2)
    report = asyncio.run(made.run())
    check_the_others_have_their_model(made, report)
    assert {event.detail["peer"] for event in made.told("coordinator", "left-round")} == {LIAR}


def test_a_party_that_replays_its_words_of_an_earlier_round_is_forgiven_a_few_times():
    kept: list[bytes] = []

    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        packet = read(body)
        if sender == LIAR and packet.envelope.step == "advertise":
            kept.append(body)
            return kept[0]
        return body

    made = federation(hook)
    report = asyncio.run(made.run())
    assert LIAR in report.records[0].survivors
    assert all(LIAR not in record.survivors for record in report.records[1:])
    refused = made.told("coordinator", "refused")
    assert refused
    assert all("belongs to round 1" in event.detail["reason"] for event in refused)


def test_a_party_that_never_answers_costs_a_deadline_a_round_and_no_more():
    made = federation(lying("advertise", lambda _packet: None))
    report = asyncio.run(made.run())
    check_the_others_have_their_model(made, report)
    assert all(record.seconds < 2 for record in report.records)


def test_a_withdrawal_is_final_whatever_the_party_says_afterwards():
    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        packet = read(body)
        if sender == LIAR and packet.envelope.step == "share":
            key, digest = made.identities[LIAR], made.signed.digest
            bye = seal(key, digest, packet.envelope.round, Withdrawal("share", "not today"))
            made.net.hub_events.put_nowait(Message(LIAR, memoryview(encode(Packet(bye)))))
        return body  # the shares follow all the same

    made = federation(hook)
    report = asyncio.run(made.run())
    check_the_others_have_their_model(made, report)
    assert not made.told("coordinator", "refused")


def test_nobody_withdraws_another_party():
    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        packet = read(body)
        if sender == LIAR and packet.envelope.step == "advertise":
            key, digest = made.identities[LIAR], made.signed.digest
            bye = seal(key, digest, packet.envelope.round, Withdrawal("share", ""))
            return forge(Packet(bye), sender="party-2")
        return body

    made = federation(hook)
    report = asyncio.run(made.run())
    check_the_others_have_their_model(made, report)


def test_a_reason_with_terminal_commands_reaches_no_screen():
    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        packet = read(body)
        if sender == LIAR and packet.envelope.step == "advertise":
            payload = msgspec.msgpack.encode(("share", "\x1b]0;owned\x07"))
            bye = made.identities[LIAR].seal(
                agreement=made.signed.digest,
                round_=packet.envelope.round,
                step="withdraw",
                payload=payload,
            )
            return encode(Packet(bye))
        return body

    made = federation(hook)
    check_the_others_have_their_model(made, asyncio.run(made.run()))
    assert "owned" not in repr(made.events)


class Chatter:
    """A party that never stops talking, beside its honest node or instead of it."""

    def __init__(self, made: NodeFederation, body: bytes) -> None:
        self.made, self.body, self.sent = made, body, 0

    async def run(self) -> None:
        while True:
            # As the transport's window: no more than 16 messages wait for the coordinator.
            if self.made.net.hub_events.qsize() < 16:
                self.made.net.hub_events.put_nowait(Message(LIAR, memoryview(self.body)))
                self.sent += 1
            await asyncio.sleep(0)


def test_a_flood_holds_up_no_round_and_fills_no_log():
    made = federation()

    async def scenario():
        made.net.inboxes[LIAR] = asyncio.Queue()
        made.net.hub_events.put_nowait(Connected(LIAR, resumed=False))
        chatter = Chatter(made, b"\xc1" * 100)
        talking = asyncio.create_task(chatter.run())
        try:
            return await made.run(list(HONEST)), chatter.sent
        finally:
            talking.cancel()

    report, sent = asyncio.run(scenario())
    check_the_others_have_their_model(made, report)
    assert sent > 1000
    assert len(made.told("coordinator", "refused")) <= MOST_PER_WINDOW
    assert sum(record.seconds for record in report.records) < 10
    assert report.bytes_up[LIAR] >= 100 * 1000


class StuckHub(MemoryHub):
    """Streams of which one takes nothing more after its first message."""

    def __init__(self, network) -> None:
        super().__init__(network)
        self.taken = 0

    async def send(self, peer: str, body: bytes) -> None:
        if peer == LIAR:
            self.taken += 1
            if self.taken > 1:
                await asyncio.Event().wait()
        await super().send(peer, body)


def test_a_party_that_takes_nothing_holds_up_nobody_and_is_not_invited_again():
    made = federation(rounds=8)
    made.net.hub = lambda: StuckHub(made.net)
    report = asyncio.run(made.run())
    check_the_others_have_their_model(made, report)
    rounds = made.told("coordinator", "round-opened")
    assert LIAR in rounds[0].detail["invited"]
    assert LIAR not in rounds[-1].detail["invited"]
    assert sum(record.seconds for record in report.records) < 6


def test_a_second_process_with_a_partys_keys_does_not_cost_the_first_its_place():
    def hook(sender: str, receiver: str, body: bytes) -> bytes | None:
        if sender == LIAR and read(body).envelope.step == "advertise":
            error = DuplicateError(LIAR, "hello", "another process with this identity is connected")
            made.net.hub_events.put_nowait(Refused(LIAR, error))
        return body

    made = federation(hook)
    report = asyncio.run(made.run())
    assert all(LIAR in record.survivors for record in report.records)


def test_a_party_that_comes_and_goes_all_the_time_disturbs_nobody():
    made = federation()

    async def scenario():
        async def flap() -> None:
            while True:
                made.net.hub_events.put_nowait(Connected(LIAR, resumed=False))
                made.net.hub_events.put_nowait(Disconnected(LIAR, "again"))
                await asyncio.sleep(0.001)

        flapping = asyncio.create_task(flap())
        try:
            return await made.run(list(HONEST))
        finally:
            flapping.cancel()

    report = asyncio.run(scenario())
    check_the_others_have_their_model(made, report)
    assert len(made.told("coordinator", "connected")) <= MOST_PER_WINDOW + len(HONEST)
