"""Over real TLS on loopback: messages arrive once and in order, whatever network and peers do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.loopback import (
    MAX_MESSAGE_BYTES,
    QUICK,
    SECONDS,
    Proxy,
    RawClient,
    bodies,
    both_connected,
    client,
    grpc,
    hello,
    identity,
    loopback,
    raw_client,
    server,
    until,
)

from parties.transport.events import (
    Connected,
    Disconnected,
    Message,
    Refused,
    SessionLost,
)
from parties.transport.flow import WINDOW_MESSAGES
from parties.transport.frames import MAX_FRAME_BYTES, Ack, Chunk, Code, Goodbye, encode, goodbye
from parties.transport.limits import Limits
from parties.transport.server import Server
from protocols.errors import (
    AgreementMismatchError,
    DuplicateError,
    MisuseError,
    OversizedError,
    PeerError,
    ReplayError,
    SignatureError,
    TransportError,
    UnexpectedMessageError,
    WireError,
)

MIB = 2**20


def chunk(number: int, body: bytes, offset: int = 0, total: int | None = None) -> Chunk:
    return Chunk(number, offset, len(body) if total is None else total, memoryview(body))


# --- the good case


@loopback
async def test_messages_pass_both_ways_in_order(spool):
    async with server(spool) as (coordinator, port), client(spool, port) as party:
        assert (await until(coordinator, Connected)) == Connected("bank-a", resumed=False)
        assert (await until(party, Connected)) == Connected("coordinator", resumed=False)
        assert coordinator.connected == {"bank-a"}
        assert party.connected
        for number in range(40):
            await party.send(f"up {number}".encode())
            await coordinator.send("bank-a", f"down {number}".encode())
            assert await bodies(coordinator, 1) == [f"up {number}".encode()]
            assert await bodies(party, 1) == [f"down {number}".encode()]


@loopback
async def test_many_messages_wait_in_the_window_and_arrive_in_order(spool):
    async with server(spool) as (coordinator, port), client(spool, port) as party:
        sent = [os.urandom(n + 1) for n in range(100)]

        async def send_all() -> None:
            for body in sent:
                await party.send(body)

        sender = asyncio.create_task(send_all())
        assert await bodies(coordinator, len(sent)) == sent
        await sender


@pytest.mark.parametrize("size", [1, MIB - 1, MIB, MIB + 1, 4 * MIB, 4 * MIB + 1, 40_000_000])
def test_a_message_of_any_agreed_size_arrives_whole(tmp_path, size):
    @loopback
    async def run(spool):
        async with server(spool) as (coordinator, port), client(spool, port) as party:
            body = random.Random(size).randbytes(size)
            await party.send(body)
            arrived = await until(coordinator, Message)
            assert arrived.peer == "bank-a"
            assert arrived.body.readonly
            assert arrived.body == body
            await coordinator.send("bank-a", arrived.body)
            assert (await until(party, Message)).body == body

    run(tmp_path)


@loopback
async def test_large_bodies_leave_no_file_behind(spool):
    async with server(spool) as (coordinator, port), client(spool, port) as party:
        body = os.urandom(6 * MIB)
        await party.send(body)
        arrived = (await until(coordinator, Message)).body
        assert list(spool.iterdir()) == []
        assert arrived == body


@loopback
async def test_each_party_has_its_own_session(spool):
    async with (
        server(spool) as (coordinator, port),
        client(spool, port) as one,
        client(spool, port, name="bank-b") as two,
    ):
        await until(one, Connected)
        await until(two, Connected)
        await coordinator.send("bank-a", b"for a")
        await coordinator.send("bank-b", b"for b")
        assert await bodies(one, 1) == [b"for a"]
        assert await bodies(two, 1) == [b"for b"]
        await two.send(b"from b")
        assert (await until(coordinator, Message)).peer == "bank-b"


@loopback
async def test_both_sides_say_goodbye_when_they_stop(spool):
    async with server(spool) as (coordinator, port):
        async with client(spool, port) as party:
            await both_connected(coordinator, party)
            await party.stop()
            gone = await until(coordinator, Disconnected)
            assert gone == Disconnected("bank-a", "said goodbye: the party stops")
            with pytest.raises(TransportError, match="not connected"):
                await coordinator.send("bank-a", b"too late")
            assert (await until(party, Disconnected)).peer == "coordinator"
            with pytest.raises(TransportError, match="stopped"):
                await party.next_event()
        async with client(spool, port) as party:
            await both_connected(coordinator, party)
            await coordinator.stop()
            assert "the coordinator stops" in (await until(party, Disconnected)).reason


@loopback
async def test_a_stopping_server_first_lets_the_parties_take_what_is_queued(spool):
    async with server(spool) as (coordinator, port), client(spool, port) as party:
        await both_connected(coordinator, party)
        await coordinator.send("bank-a", bytes(8 * MIB))
        await coordinator.send("bank-a", b"the end")
        stop = asyncio.create_task(coordinator.stop(drain_seconds=SECONDS))
        assert await bodies(party, 2) == [bytes(8 * MIB), b"the end"]
        await stop


# --- what our own side must not do


@loopback
async def test_messages_that_no_agreement_allows_are_refused_before_they_are_sent(spool):
    async with server(spool) as (coordinator, port), client(spool, port) as party:
        await both_connected(coordinator, party)
        with pytest.raises(MisuseError, match="at least one byte"):
            await party.send(b"")
        with pytest.raises(OversizedError, match="our own message"):
            await party.send(bytes(MAX_MESSAGE_BYTES + 1))
        with pytest.raises(MisuseError, match="not a party"):
            await coordinator.send("bank-z", b"x")
        with pytest.raises(TransportError, match="bank-b is not connected"):
            await coordinator.send("bank-b", b"x")
        with pytest.raises(MisuseError, match="started once"):
            await party.start()


@loopback
async def test_sending_to_a_peer_that_takes_nothing_ends_at_the_deadline(spool):
    limits = replace(QUICK, send_seconds=0.2)
    async with server(spool, limits=limits) as (coordinator, port), client(spool, port) as party:
        await both_connected(coordinator, party)
        for _ in range(2 * WINDOW_MESSAGES):
            await coordinator.send("bank-a", b"x")
        with pytest.raises(TransportError, match="has taken no message"):
            await coordinator.send("bank-a", b"x")
        await bodies(party, 2 * WINDOW_MESSAGES)
        await coordinator.send("bank-a", b"room again")
        assert await bodies(party, 1) == [b"room again"]


@loopback
async def test_two_servers_cannot_share_a_port(spool):
    async with server(spool) as (_, port):
        with pytest.raises(TransportError, match="cannot listen"):
            async with server(spool, port=port):
                pass


# --- the network


@loopback
async def test_an_upload_resumes_after_every_cut(spool):
    async with server(spool) as (coordinator, port), Proxy(port) as proxy:
        proxy.cut_after = [3 * MIB, 5 * MIB, 200_000, 2000, 9 * MIB]
        async with client(spool, proxy.port) as party:
            body = os.urandom(40_000_000)
            await party.send(body)
            await party.send(b"and then this")
            assert await bodies(coordinator, 2) == [body, b"and then this"]
            assert proxy.accepted == 6


@loopback
async def test_what_has_arrived_is_not_sent_again(spool):
    async with server(spool) as (coordinator, port), Proxy(port) as proxy:
        proxy.cut_after = [30 * MIB]
        async with client(spool, proxy.port) as party:
            body = os.urandom(40_000_000)
            sent: list[int] = []
            outbox = party._session.outbox
            piece = outbox.next_chunk

            def spy() -> Chunk | None:
                if (found := piece()) is not None:
                    sent.append(len(found.payload))
                return found

            outbox.next_chunk = spy
            await party.send(body)
            assert (await until(coordinator, Message)).body == body
            assert len(body) <= sum(sent) < 1.5 * len(body)


@pytest.mark.parametrize("seed", range(3))
def test_random_cuts_lose_and_double_nothing(tmp_path, seed):
    @loopback
    async def run(spool):
        chance = random.Random(seed)
        up = [chance.randbytes(chance.choice([10, 1000, 300_000, 5_000_000])) for _ in range(20)]
        down = [chance.randbytes(chance.choice([10, 1000, 300_000])) for _ in range(20)]
        async with server(spool) as (coordinator, port), Proxy(port) as proxy:
            proxy.cut_after = [chance.randrange(1000, 4 * MIB) for _ in range(10)]
            async with client(spool, proxy.port) as party:
                await until(coordinator, Connected)

                async def exchange(send: Any, node: Any, out: list[bytes], want: list[bytes]):
                    async def send_all() -> None:
                        for body in out:
                            await send(body)

                    sender = asyncio.create_task(send_all())
                    got = await bodies(node, len(want))
                    await sender
                    return got == want

                async def to_party(body: bytes) -> None:
                    await coordinator.send("bank-a", body)

                assert await asyncio.gather(
                    exchange(party.send, party, up, down),
                    exchange(to_party, coordinator, down, up),
                ) == [True, True]

    run(tmp_path)


@loopback
async def test_a_flipped_bit_on_the_network_only_costs_a_reconnect(spool):
    async with server(spool) as (coordinator, port), Proxy(port) as proxy:
        proxy.flip_at = 700_000
        async with client(spool, proxy.port) as party:
            body = os.urandom(3 * MIB)
            await party.send(body)
            assert (await until(coordinator, Message)).body == body
            assert proxy.accepted == 2


@loopback
async def test_a_connection_that_goes_silent_is_given_up_and_resumed(spool):
    async with (
        server(spool) as (coordinator, port),
        Proxy(port) as proxy,
        client(spool, proxy.port) as party,
    ):
        await both_connected(coordinator, party)
        began = time.monotonic()
        proxy.mute.set()  # no FIN, no RST: a pulled cable
        await until(party, Disconnected)
        assert time.monotonic() - began < 5
        proxy.mute.clear()
        assert await until(party, Connected) == Connected("coordinator", resumed=True)
        await party.send(b"still one session")
        assert await bodies(coordinator, 1) == [b"still one session"]


@loopback
async def test_the_server_notices_a_silent_party_as_well(spool):
    async with (
        server(spool) as (coordinator, port),
        Proxy(port) as proxy,
        client(spool, proxy.port) as party,
    ):
        await both_connected(coordinator, party)
        proxy.mute.set()
        began = time.monotonic()
        await until(coordinator, Disconnected)
        assert time.monotonic() - began < 5
        assert coordinator.connected == frozenset()


@loopback
async def test_a_peer_that_has_nothing_to_say_is_not_a_dead_one(spool):
    async with server(spool) as (coordinator, port), client(spool, port) as party:
        await both_connected(coordinator, party)
        with pytest.raises(TimeoutError):
            await party.next_event(2.5)  # longer than a keep-alive and its timeout
        assert party.connected
        assert coordinator.connected == {"bank-a"}


@loopback
async def test_messages_for_a_party_that_is_away_wait_for_it(spool):
    async with (
        server(spool) as (coordinator, port),
        Proxy(port) as proxy,
        client(spool, proxy.port) as party,
    ):
        await both_connected(coordinator, party)
        proxy.reset()
        await until(coordinator, Disconnected)
        await coordinator.send("bank-a", b"while you were away")
        assert await bodies(party, 1) == [b"while you were away"]


@loopback
async def test_a_restarted_coordinator_means_a_lost_session(spool):
    async with (
        server(spool) as (first, port),
        server(spool) as (second, new_port),
        Proxy(port) as proxy,
        client(spool, proxy.port) as party,
    ):
        await both_connected(first, party)
        await party.send(b"taken")
        await bodies(first, 1)
        proxy.upstream = new_port
        proxy.reset()
        await until(party, SessionLost)
        assert await until(party, Connected) == Connected("coordinator", resumed=False)
        await party.send(b"anew")
        assert await until(second, Connected) == Connected("bank-a", resumed=False)
        assert await bodies(second, 1) == [b"anew"]


@loopback
async def test_a_restarted_party_begins_a_new_session(spool):
    async with server(spool) as (coordinator, port), Proxy(port) as proxy:
        async with client(spool, proxy.port) as party:
            await both_connected(coordinator, party)
            await coordinator.send("bank-a", b"for the first process")
            proxy.mute.set()
            party._stopping.set()
        proxy.reset()
        proxy.mute.clear()
        await until(coordinator, Disconnected)
        async with client(spool, proxy.port) as party:
            assert await until(coordinator, Connected) == Connected("bank-a", resumed=False)
            await coordinator.send("bank-a", b"for the second")
            assert await bodies(party, 1) == [b"for the second"]


PARTY = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, "tests")
from support import loopback
from parties.transport.tls import TlsIdentity, PinnedPeer

async def main():
    own, theirs, port, spool = sys.argv[1:]
    name, pem, key, mark = eval(own)
    client = loopback.Client(
        address=f"127.0.0.1:{port}", server=PinnedPeer(*eval(theirs)),
        tls=TlsIdentity(name, pem, key, mark), agreement_digest=loopback.AGREEMENT,
        max_message_bytes=loopback.MAX_MESSAGE_BYTES, spool=Path(spool))
    await client.start()
    await client.send(b"alive")
    await client.next_event()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@loopback
async def test_the_death_of_a_party_is_noticed_at_once(spool):
    own, theirs = identity("bank-a"), identity("coordinator")
    async with server(spool, limits=Limits()) as (coordinator, port):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PARTY,
            repr((own.name, own.certificate_pem, own.private_key_pem, own.fingerprint)),
            repr((theirs.name, theirs.certificate_pem, theirs.fingerprint)),
            str(port),
            str(spool),
            cwd=Path(__file__).parent.parent,
        )
        try:
            assert await bodies(coordinator, 1) == [b"alive"]
            child.send_signal(signal.SIGKILL)
            began = time.monotonic()
            await until(coordinator, Disconnected)
            assert time.monotonic() - began < 3  # keep-alive alone would take 8
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


# --- hostile and broken peers


async def refused(coordinator: Server, kind: type[PeerError]) -> PeerError:
    event = await until(coordinator, Refused)
    assert isinstance(event.error, kind), repr(event.error)
    return event.error


HOSTILE: dict[str, tuple[list[Any], type[PeerError], str]] = {
    "a duplicate": ([chunk(1, b"x"), chunk(1, b"x")], DuplicateError, "received already"),
    "a gap": ([chunk(2, b"x")], ReplayError, "was due"),
    "a gap in a message": ([chunk(1, bytes(MIB), MIB, 3 * MIB)], ReplayError, "was due"),
    "a repeated piece": (
        [chunk(1, bytes(MIB), 0, 3 * MIB), chunk(1, bytes(MIB), 0, 3 * MIB)],
        DuplicateError,
        "received already",
    ),
    "another length": (
        [chunk(1, bytes(MIB), 0, 3 * MIB), chunk(1, bytes(MIB), MIB, 4 * MIB)],
        UnexpectedMessageError,
        "announced with",
    ),
    "a message too long": (
        [chunk(1, bytes(MIB), 0, MAX_MESSAGE_BYTES + 1)],
        OversizedError,
        "the agreement allows",
    ),
    "a frame too long": ([bytes(MAX_FRAME_BYTES + 1)], OversizedError, "a frame of"),
    "random bytes": ([random.Random(1).randbytes(1000)], WireError, "not a frame"),
    "nothing": ([b""], WireError, "not a frame"),
    "a truncated frame": ([encode(chunk(1, b"xyz"))[:-1]], WireError, "not a frame"),
    "a trailing byte": ([encode(chunk(1, b"xyz")) + b"\0"], WireError, "not a frame"),
    "tiny chunks": ([chunk(1, b"x", 0, 100)], WireError, "not the last"),
    "an acknowledgement of nothing": ([Ack(1)], UnexpectedMessageError, "acknowledges"),
    "a second hello": ([hello()], UnexpectedMessageError, "second hello"),
    "too many messages": (
        [chunk(n, b"x") for n in range(1, WINDOW_MESSAGES + 2)],
        OversizedError,
        "flooding",
    ),
    "too many bytes": (
        [chunk(1, bytes(4 * MIB), 4 * MIB * n, 40 * MIB) for n in range(10)]
        + [chunk(2, bytes(4 * MIB), 0, 20 * MIB)],
        OversizedError,
        "flooding",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_peer_that_breaks_the_rules_is_named_and_cut_off_and_others_are_served(tmp_path, what):
    frames, kind, text = HOSTILE[what]

    @loopback
    async def run(spool):
        async with (
            server(spool) as (coordinator, port),
            client(spool, port, name="bank-b") as honest,
            raw_client(port) as hostile,
        ):
            await until(honest, Connected)
            await hostile.greet()
            await hostile.say(*frames)
            farewell = await hostile.hear()  # before anything is taken: taking opens the window
            assert isinstance(farewell, Goodbye)
            assert farewell.code == Code.BROKEN_RULE
            error = await refused(coordinator, kind)
            assert error.party == "bank-a"
            assert text in str(error)
            assert (await until(coordinator, Disconnected)).peer == "bank-a"
            await honest.send(b"still here")
            assert await bodies(coordinator, 1) == [b"still here"]

    run(tmp_path)


BAD_HELLOS: dict[str, tuple[Any, type[PeerError], Code, str]] = {
    "another agreement": (
        hello(agreement=bytes(32)),
        AgreementMismatchError,
        Code.AGREEMENT,
        "compare the agreement files",
    ),
    "another version": (hello(version=2), WireError, Code.VERSION, "protocol version 2"),
    "another name": (hello(name="bank-b"), SignatureError, Code.IDENTITY, "says it is 'bank-b'"),
    "no hello": (Ack(1), UnexpectedMessageError, Code.BROKEN_RULE, "not a hello"),
    "random bytes": (b"\x00\x01", WireError, Code.BROKEN_RULE, "not a frame"),
}


@pytest.mark.parametrize("what", BAD_HELLOS)
def test_a_wrong_greeting_is_refused_by_name_with_its_reason(tmp_path, what):
    first, kind, code, text = BAD_HELLOS[what]

    @loopback
    async def run(spool):
        async with server(spool) as (coordinator, port), raw_client(port) as party:
            await party.say(first)
            error = await refused(coordinator, kind)
            assert error.party == "bank-a"
            assert text in str(error)
            farewell = await party.hear()
            assert isinstance(farewell, Goodbye)
            assert farewell.code == code
            assert coordinator.connected == frozenset()

    run(tmp_path)


@loopback
async def test_a_goodbye_instead_of_a_hello_is_refused(spool):
    async with server(spool) as (coordinator, port), raw_client(port) as party:
        await party.say(goodbye(Code.FAILED, "no"))
        await refused(coordinator, UnexpectedMessageError)


@loopback
async def test_impossible_claims_about_what_was_received_are_refused(spool):
    async with server(spool) as (coordinator, port):
        async with raw_client(port) as party:
            welcome = await party.greet()
            await party.say(goodbye(Code.FAILED, "come back later"))
            await until(coordinator, Disconnected)
        async with raw_client(port) as party:
            await party.say(hello(epoch=welcome.epoch, received=1))
            error = await refused(coordinator, UnexpectedMessageError)
            assert "holds 1 messages" in str(error)


@loopback
async def test_a_party_that_says_nothing_is_let_go(spool):
    limits = replace(QUICK, hello_seconds=0.2)
    async with server(spool, limits=limits) as (coordinator, port), raw_client(port):
        error = await refused(coordinator, UnexpectedMessageError)
        assert "said nothing" in str(error)


@loopback
async def test_the_newest_connection_of_one_process_wins(spool):
    async with server(spool) as (coordinator, port), raw_client(port) as old:
        first = await old.greet()
        await until(coordinator, Connected)
        async with raw_client(port) as new:
            second = await new.greet()
            assert second.epoch == first.epoch
            assert "took its place" in (await until(coordinator, Disconnected)).reason
            assert await until(coordinator, Connected) == Connected("bank-a", resumed=True)
            await new.say(chunk(1, b"over the new one"))
            assert await bodies(coordinator, 1) == [b"over the new one"]


@loopback
async def test_another_process_under_the_same_identity_is_refused_while_the_first_lives(spool):
    async with server(spool) as (coordinator, port), raw_client(port) as first:
        await first.greet()
        async with raw_client(port) as second:
            await second.say(hello(session=bytes([9] * 16)))
            error = await refused(coordinator, DuplicateError)
            assert "another process" in str(error)
            farewell = await second.hear()
            assert isinstance(farewell, Goodbye)
            assert farewell.code == Code.BUSY
        await first.say(chunk(1, b"undisturbed"))
        assert await bodies(coordinator, 1) == [b"undisturbed"]


@loopback
async def test_no_party_can_hold_many_streams_open(spool):
    async with server(spool) as (_, port), contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(raw_client(port)) for _ in range(6)]
        turned_away = 0
        for each in asyncio.as_completed([_first_word(stream) for stream in streams]):
            if isinstance(farewell := await each, Goodbye) and farewell.code == Code.BUSY:
                turned_away += 1
                if turned_away == 4:
                    break
        assert turned_away == 4


async def _first_word(stream: RawClient) -> Any:
    try:
        return await stream.hear()
    except (TimeoutError, asyncio.CancelledError):
        return None


@loopback
async def test_a_coordinator_of_another_agreement_is_final_for_the_party(spool):
    async with (
        server(spool) as (coordinator, port),
        client(spool, port, agreement_digest=bytes(32)) as party,
    ):
        event = await until(party, Refused)
        assert isinstance(event.error, AgreementMismatchError)
        assert "coordinator" in str(event.error)
        with pytest.raises(TransportError):
            await party.next_event()
        with pytest.raises(TransportError, match="session with coordinator ended"):
            await party.send(b"x")
        await refused(coordinator, AgreementMismatchError)


@loopback
async def test_an_unreachable_coordinator_is_tried_again_until_it_is_there(spool):
    async with Proxy(1) as proxy, client(spool, proxy.port) as party:  # nobody listens on port 1
        await party.send(b"early")
        with pytest.raises(TimeoutError):
            await party.next_event(0.3)
        async with server(spool) as (coordinator, port):
            proxy.upstream = port
            assert await bodies(coordinator, 1) == [b"early"]


@loopback
async def test_a_full_spool_is_our_own_named_failure_and_passes(spool):
    home = spool / "spool"
    async with server(home) as (coordinator, port), client(spool, port) as party:
        await both_connected(coordinator, party)
        await party.send(bytes(5 * MIB))
        event = await until(coordinator, Refused)
        assert isinstance(event.error, TransportError)
        assert "spool" in str(event.error)
        home.mkdir()
        assert (await until(coordinator, Message)).body == bytes(5 * MIB)


@loopback
async def test_a_process_restarted_behind_a_dead_connection_gets_in_once_that_is_noticed(spool):
    async with (
        server(spool) as (coordinator, port),
        Proxy(port) as proxy,
        client(spool, proxy.port) as first,
    ):
        await both_connected(coordinator, first)
        proxy.mute.set()  # the machine of the first process lost power
        began = time.monotonic()
        async with client(spool, port) as second:
            error = await refused(coordinator, DuplicateError)
            assert "another process" in str(error)
            assert await until(coordinator, Connected) == Connected("bank-a", resumed=False)
            assert time.monotonic() - began < 5
            await second.send(b"back")
            assert await bodies(coordinator, 1) == [b"back"]


@loopback
async def test_compressed_frames_are_refused_unexpanded(spool):
    async with (
        server(spool) as (coordinator, port),
        raw_client(port, compression=grpc.Compression.Gzip) as bomber,
        client(spool, port, name="bank-b") as honest,
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await say_and_hear(bomber, bytes(4 * MIB))  # four kilobytes on the wire
        await honest.send(b"served")
        assert await until(coordinator, Connected) == Connected("bank-b", resumed=False)
        assert await bodies(coordinator, 1) == [b"served"]


async def say_and_hear(party: RawClient, frame: bytes) -> None:
    await party.say(frame)
    await party.hear()


@loopback
async def test_a_frame_beyond_the_hard_limit_ends_the_stream_before_it_is_read(spool):
    async with server(spool) as (coordinator, port), raw_client(port) as hostile:
        await hostile.greet()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await say_and_hear(hostile, bytes(3 * MAX_FRAME_BYTES))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await until(coordinator, Disconnected)).peer == "bank-a"
        async with client(spool, port) as honest:
            await honest.send(b"served")
            assert await bodies(coordinator, 1) == [b"served"]


@loopback
async def test_hundreds_of_connections_that_say_nothing_do_not_keep_members_out(spool):
    async with server(spool) as (coordinator, port):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(400)]
        try:
            async with client(spool, port) as party:
                await party.send(b"served")
                assert await bodies(coordinator, 1) == [b"served"]
        finally:
            for _, writer in idle:
                writer.transport.abort()


@loopback
async def test_a_bug_in_the_client_ends_the_wait_for_events(spool):
    async with server(spool) as (_, port), client(spool, port, started=False) as party:

        async def broken() -> None:
            raise ZeroDivisionError

        party._connect = broken
        await party.start()
        with pytest.raises(TransportError, match="ZeroDivisionError"):
            await until(party, Connected)
