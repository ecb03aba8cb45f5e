"""What one party or the coordinator can do to the ledger of real nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from support.lies import Hub, read, sha
from support.nodes import GLM, NodeFederation, make_agreement, toy_data

from parties.coordinator import keeper, outbound
from parties.coordinator.witnesses import _MOST_ASKED
from parties.party.ledger_copy import EVIDENCE_KEY
from parties.transport.events import Message
from protocols.errors import PolicyError
from protocols.ledger.checkpoint import (
    Checkpoint,
    Note,
    cosign,
    origin_of,
    parse_signature,
    sign_checkpoint,
)
from protocols.ledger.merkle import Tree, leaf_hash
from protocols.ledger.messages import Cosigned, Extension, Holding, seal_ledger
from protocols.ledger.records import agreement_leaf, encode_leaf
from protocols.rounds import RoundAborted, RoundResult
from protocols.wire import Packet, decode, encode

PARTY = "party-0"
ONE = [PARTY]
LIAR = "party-1"
LATE = "party-3"


def run(scenario) -> None:
    asyncio.run(scenario())


def federation(rounds: int = 3, hook=None, **options: object) -> NodeFederation:
    """Four parties, of which one may be missing: three have to cosign."""
    signed, identities = make_agreement(
        [{**GLM, "rounds": rounds}], 4, max_dropouts=1, deadline_seconds=1.0
    )
    return NodeFederation(signed, identities, toy_data(4), hook, **options)


async def play(made: NodeFederation, late: Callable[[], object] | None = None, node=None):
    """Run a federation; ``late`` is waited for before the last party starts."""
    at_once = [name for name in made.data if late is None or name != LATE]
    parties = [asyncio.create_task(made.party(name).run()) for name in at_once]

    async def later() -> None:
        await late()
        await made.party(LATE).run()

    if late is not None:
        parties.append(asyncio.create_task(later()))
    try:
        return await asyncio.wait_for((node or made.coordinator()).run(), 60)
    finally:
        for task in parties:
            task.cancel()
        await asyncio.gather(*parties, return_exceptions=True)


def extension(hub: Hub, *leaves: bytes, start: int = 0, head: bytes = b"") -> bytes:
    message = Extension(start, leaves, head, ())
    return encode(Packet(seal_ledger(hub.key, hub.digest, message)))


# One party


@pytest.mark.parametrize("when", [5, 2**62])
def test_a_witness_with_an_impossible_clock_is_not_counted_and_stops_nobody(when):
    def hook(sender: str, _receiver: str, body: bytes) -> bytes:
        packet = read(body)
        if sender != LIAR or packet.envelope.step != "cosign":
            return body
        said = decode(
            Cosigned, packet.envelope.payload, party=LIAR, step="cosign", max_bytes=1 << 20
        )
        head = node._witnesses._head
        if head is None:
            return body
        key = made.identities[LIAR]
        line = cosign(head.checkpoint, key, when)
        lie = msgspec.structs.replace(said, line=line)
        return encode(Packet(seal_ledger(key, made.signed.digest, lie)))

    made = federation(2, hook)
    node = made.coordinator()

    async def scenario():
        report = await play(made, node=node)
        assert all(record.outcome == "completed" for record in report.records)
        assert "checkpoint-time" in made.told("coordinator", "refused")[0].detail["reason"]

    run(scenario)


def test_nobody_waits_for_a_witness_whose_word_was_refused():
    async def scenario():
        made = federation()
        node = made.coordinator()
        node._keeper.begin()
        key, digest = made.identities[LIAR], made.signed.digest
        hold = Holding(0, bytes(32))
        for message in (hold, None, Cosigned(1, b"no line", None)):
            if message is None:
                node._witnesses.begin()
                assert node._witnesses.waiting(0.0, waited=0.0) == {LIAR}
                continue
            body = encode(Packet(seal_ledger(key, digest, message)))
            assert await node._witnesses.take(LIAR, memoryview(body))
        assert node._witnesses.waiting(0.0, waited=0.0) == frozenset()
        await node._outbound.close()

    run(scenario)


def test_a_barred_party_does_not_count_towards_the_fewest_that_a_round_needs():
    async def scenario():
        made = federation()
        node = made.coordinator()
        node._membership.bar(LIAR, "dealt shares that open nothing")
        report = await play(made, lambda: asyncio.sleep(1.5), node)
        assert all(set(record.survivors) == {PARTY, "party-2", LATE} for record in report.records)

    run(scenario)


def test_parties_that_seem_stuck_are_invited_rather_than_the_run_given_up():
    async def scenario():
        made = federation()
        node = made.coordinator()
        node._outbound.stuck_seconds = lambda name: 9.0 if name in {LIAR, LATE} else 0.0
        report = await play(made, node=node)
        assert all(record.outcome == "completed" for record in report.records)

    run(scenario)


def test_a_reminder_of_a_commit_that_comes_after_its_head_is_recorded_all_the_same():
    def hook(sender: str, _receiver: str, body: bytes) -> bytes | None:
        envelope = read(body).envelope
        if sender != LATE:
            return body
        if envelope.step == "submit" and envelope.round == 1:
            return None
        if envelope.step == "cosign" and made.told("coordinator", "round-opened"):
            slow = Message(LATE, memoryview(body))
            asyncio.get_running_loop().call_later(1.2, made.net.hub_events.put_nowait, slow)
            return None
        return body

    made = federation(4, hook)

    async def scenario():
        report = await play(made)
        assert LATE not in report.records[0].survivors
        assert LATE in report.records[-1].survivors

    run(scenario)


def test_a_party_that_asks_for_the_log_again_and_again_is_answered_so_often_only():
    async def scenario():
        made = federation()
        node = made.coordinator()
        made_up = [0]
        honest = node._keeper.extensions

        def counted(start, head, max_bytes):
            made_up[0] += 1
            return honest(start, head, max_bytes)

        node._keeper.extensions = counted
        node._keeper.begin()
        key, digest = made.identities[LIAR], made.signed.digest
        node._membership.came(LIAR, resumed=True)
        node._witnesses.begin()
        for number in range(100):
            message = Holding(number % 2, bytes(32))
            body = encode(Packet(seal_ledger(key, digest, message)))
            assert await node._witnesses.take(LIAR, memoryview(body))
        assert made_up[0] <= _MOST_ASKED
        await node._outbound.close()

    run(scenario)


def test_a_party_that_lacks_more_of_the_log_than_a_queue_holds_catches_up(monkeypatch):
    monkeypatch.setattr(keeper, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(outbound, "MAX_QUEUED", 12)

    async def scenario():
        made = federation(8)
        report = await play(made, lambda: made.until("coordinator", "round-completed", 2))
        assert LATE not in report.records[1].survivors
        assert LATE in report.records[-1].survivors

    run(scenario)


def test_a_round_that_cannot_be_recorded_ends_the_run_with_its_own_reason():
    async def scenario():
        made = federation()

        def refuse(*_args: object) -> float:
            raise PolicyError("no clip norm is agreed")

        made.strategy.clip_norm = refuse
        with pytest.raises(PolicyError, match="no clip norm is agreed"):
            await play(made)

    run(scenario)


# The coordinator


@pytest.mark.parametrize("n", [2, 3])
def test_a_ledger_of_another_agreement_is_refused_and_ends_no_node(n):
    async def scenario():
        async with Hub() as hub:
            other, _ = make_agreement([{**GLM, "rounds": 7}], n)
            leaf = encode_leaf(agreement_leaf(other))
            origin = origin_of(hub.agreement.federation, hub.digest)
            head = Checkpoint(origin, 1, Tree([leaf_hash(leaf)]).root())
            line = parse_signature(sign_checkpoint(head, hub.key), party="test")
            last = hub.names[-1]
            hub.post(extension(hub, leaf, head=Note(head, (line,)).to_bytes()), [last])
            assert "another-agreement" in (await hub.refused(last))[0]
            assert hub.federation.journals[last].ledger.size == 0
            hub.open(1, to=[last])
            await hub.hear("advertise", [last])

    run(scenario)


def test_a_contradiction_in_the_middle_of_a_round_ends_the_round_for_its_party():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            submitted = await hub.to_submission(role)
            hub.post(extension(hub, b"another leaf", start=1), ONE)
            assert (await hub.hear("withdraw", ONE))[PARTY].envelope.round == 1
            for packet in submitted.values():
                role.receive_submission(packet.envelope, packet.attachment, model=sha(hub.model))
            hub.deliver(role.close_submissions())
            await hub.hear("confirm", hub.names[1:])
            assert "confirm" not in hub.steps(PARTY)

    run(scenario)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_round_that_ended_in_two_ways_is_the_last_one(restarted):
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            await hub.to_submission(hub.role(1))
            hub.post(encode(Packet(hub.sealed(1, RoundAborted("submit", "so it seems")))), ONE)
            await hub.federation.until(PARTY, "round-aborted")
            book = hub.books[PARTY]
            result = RoundResult(sha(hub.model), bytes(32), (0, 1, 2), (), None, done=False)
            book.end(result, hub.heard_envelopes())
            hub.show(PARTY)
            assert "in another way" in (await hub.refused(PARTY))[0]
            assert hub.federation.journals[PARTY].get(EVIDENCE_KEY)
            if restarted:
                hub.nodes[PARTY].cancel()
                await asyncio.gather(hub.nodes[PARTY], return_exceptions=True)
                hub.parties[PARTY] = hub.federation.party(PARTY)
                hub.nodes[PARTY] = asyncio.create_task(hub.parties[PARTY].run())
                await hub.federation.until(PARTY, "connected", 2)
            hub.open(2, to=ONE)
            assert (await hub.hear("withdraw", ONE))[PARTY].envelope.round == 2

    run(scenario)


def test_a_second_intent_for_a_round_makes_its_party_leave_it():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            await hub.hear("advertise")
            opened, envelope = hub.books[PARTY].open
            model = memoryview(hub.model)
            hub.post(encode(Packet(envelope, model)), ONE)  # the very same is no contradiction
            await hub.federation.until(PARTY, "ignored")
            other = msgspec.structs.replace(opened, outputs=("sum", "everything"))
            hub.post(encode(Packet(hub.sealed(1, other), model)), ONE)
            assert (await hub.hear("withdraw", ONE))[PARTY].envelope.round == 1
            assert "opened in another way" in (await hub.refused(PARTY))[0]

    run(scenario)


def test_rounds_that_come_with_a_head_that_is_refused_are_known_all_the_same():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            await hub.hear("advertise")
            book = hub.books[PARTY]
            start = len(book.leaves)
            book.end(RoundAborted("share", "it came to nothing"), ())
            rest = book.leaves[start:]
            hub.post(extension(hub, *rest, start=start, head=b"no head"), ONE)
            await hub.refused(PARTY)
            assert hub.parties[PARTY]._history.progress.ended == "aborted"
            assert hub.parties[PARTY]._seat.current is None

    run(scenario)


def test_a_sum_that_was_opened_and_is_recorded_as_never_confirmed_is_noticed_by_who_opened_it():
    async def scenario():
        async with Hub() as hub:
            hub.open(1)
            role = hub.role(1)
            await hub.finish(role, await hub.to_submission(role), hub.model)
            # The coordinator knows the sum, and says that too few confirmed it.
            hub.books[PARTY].end(RoundAborted("confirm", "too few"), hub.heard_envelopes())
            hub.show(PARTY)
            assert "hides that its sum could be opened" in (await hub.refused(PARTY))[0]
            hub.open(2, to=ONE)
            assert (await hub.hear("withdraw", ONE))[PARTY].envelope.round == 2

    run(scenario)
