"""Frames have one form each, and the two halves of a session lose and double nothing."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parties.transport.flow import WINDOW_MESSAGES, Inbox, Outbox
from parties.transport.frames import (
    MAX_CHUNK_BYTES,
    MAX_FRAME_BYTES,
    MAX_REASON_LENGTH,
    MIN_CHUNK_BYTES,
    Ack,
    Chunk,
    Code,
    Frame,
    Goodbye,
    Hello,
    decode,
    encode,
    goodbye,
)
from parties.transport.limits import Limits
from parties.transport.spool import Assembly
from protocols.errors import (
    MisuseError,
    OversizedError,
    TransportError,
    UnexpectedMessageError,
    WireError,
)

numbers = st.integers(1, 2**63 - 1)
counts = st.integers(0, 2**63 - 1)
short = st.binary(min_size=16, max_size=16)
hellos = st.builds(
    Hello,
    version=st.integers(0, 0xFFFF),
    agreement=st.binary(min_size=32, max_size=32),
    name=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?", fullmatch=True),
    session=short,
    epoch=short,
    received=counts,
    held=counts,
    taken=counts,
)
chunks = st.builds(
    lambda number, offset, body: Chunk(number, offset, offset + len(body), memoryview(body)),
    numbers,
    st.integers(0, 2**40),
    st.binary(min_size=1, max_size=300) | st.just(bytes(70_000)),
)
goodbyes = st.builds(goodbye, st.sampled_from(Code), st.text(max_size=400))
frames: st.SearchStrategy[Frame] = hellos | chunks | st.builds(Ack, numbers) | goodbyes


@settings(max_examples=200, deadline=None)
@given(frame=frames)
def test_a_frame_survives_the_wire(frame):
    assert decode("bank-a", encode(frame)) == frame


@settings(max_examples=100, deadline=None)
@given(frame=frames, cut=st.integers(0, 2**20), more=st.binary(min_size=1, max_size=4))
def test_every_strict_prefix_and_every_extension_is_refused(frame, cut, more):
    raw = encode(frame)
    for wrong in (raw[: cut % len(raw)], raw + more):
        with pytest.raises(WireError) as caught:
            decode("bank-a", wrong)
        assert caught.value.party == "bank-a"


@settings(max_examples=200, deadline=None)
@given(frame=frames, at=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_what_decodes_after_a_flipped_bit_still_has_one_form(frame, at, bit):
    raw = bytearray(encode(frame))
    raw[at % len(raw)] ^= 1 << bit
    try:
        found = decode("bank-a", bytes(raw))
    except WireError:
        return
    assert encode(found) == bytes(raw)


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=200))
def test_random_bytes_are_a_named_refusal_and_nothing_else(raw):
    try:
        found = decode("bank-a", raw)
    except WireError:
        return
    assert encode(found) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"\x91" * 100_000,  # nested arrays
        b"\x95\x02\x01\x00\x01\xc6\xff\xff\xff\xff",  # four gigabytes announced, none sent
        b"\xdd\xff\xff\xff\xff",  # an array of four billion
        b"\x93\x04\xa4busy\xa2\xff\xfe",  # not UTF-8
        b"\x92\x09\x01",  # unknown tag
        b"\x93\x03\x01\x01",  # one field too many
        b"\x91\x03",  # one too few
        b"\x92\x03\x00",  # an acknowledgement of message 0
        b"\x92\x03\xff",  # of message -1
        b"\x92\x03\xcf\xff\xff\xff\xff\xff\xff\xff\xff",  # of message 2^64 - 1
        b"\x92\x03\xcc\x01",  # of message 1, in a longer form
        b"\x92\x03\xd1\x01\x00",  # of message 256, in a signed form of the same length
        b"\x92\x03\xca\x3f\x80\x00\x00",  # of message 1.0
        b"\xdc\x00\x02\x03\x01",  # the array in a longer form
        b"\x82\x00\x03\x01\x01",  # a map
    ],
)
def test_hostile_bytes_are_refused(raw):
    with pytest.raises(WireError):
        decode("bank-a", raw)


def test_a_chunk_has_one_form_only():
    raw = encode(Chunk(1, 0, 3, memoryview(b"abc")))
    head = raw[:-5]
    assert decode("bank-a", head + b"\xc4\x03abc")
    for longer in (b"\xc5\x00\x03abc", b"\xc6\x00\x00\x00\x03abc"):
        with pytest.raises(WireError, match="canonical"):
            decode("bank-a", head + longer)
    with pytest.raises(WireError, match="canonical"):
        decode("bank-a", b"\x95\x02\xcc\x01\x00\x03\xc4\x03abc")


@pytest.mark.parametrize(
    ("offset", "size", "total", "accepted"),
    [
        (0, 0, 1, False),
        (0, 2, 1, False),
        (5, 1, 5, False),
        (4, 1, 5, True),
        (0, MIN_CHUNK_BYTES, MIN_CHUNK_BYTES + 1, True),
        (0, MIN_CHUNK_BYTES - 1, MIN_CHUNK_BYTES, False),
        (0, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, True),
        (0, MAX_CHUNK_BYTES + 1, MAX_CHUNK_BYTES + 1, False),
    ],
)
def test_the_bounds_of_a_chunk_are_checked_to_the_byte(offset, size, total, accepted):
    raw = encode(Chunk(1, offset, total, memoryview(bytes(size))))
    if accepted:
        assert decode("bank-a", raw)
    else:
        with pytest.raises(WireError):
            decode("bank-a", raw)


def test_a_frame_one_byte_too_long_is_refused_unread():
    with pytest.raises(OversizedError):
        decode("bank-a", bytes(MAX_FRAME_BYTES + 1))
    with pytest.raises(WireError, match="not a frame"):
        decode("bank-a", bytes(MAX_FRAME_BYTES))


def test_a_payload_is_a_view_and_never_in_a_repr():
    raw = encode(Chunk(1, 0, 6, memoryview(b"secret")))
    frame = decode("bank-a", raw)
    assert isinstance(frame, Chunk)
    assert frame.payload.obj is raw
    assert "secret" not in repr(frame)


def test_a_reason_is_printable_and_short():
    said = goodbye(Code.FAILED, "\x1b[31m\n" + "ä" * 1000)
    assert len(said.reason) == MAX_REASON_LENGTH
    assert said.reason.isascii()
    assert said.reason.isprintable()
    assert msgspec.msgpack.encode(said) == encode(said)


@pytest.mark.parametrize("size", [0, 1000, 2**23])
def test_chunk_sizes_outside_the_framing_are_misuse(size):
    with pytest.raises(MisuseError):
        Limits(chunk_bytes=size)


def test_a_keep_alive_that_floods_is_misuse():
    with pytest.raises(MisuseError):
        Limits(keepalive_seconds=0.5)


# --- numbering, windows and resumption

LIMIT = 1_000_000


def halves(spool: Path) -> tuple[Outbox, Inbox]:
    return (
        Outbox("bank-a", max_message_bytes=LIMIT, chunk_bytes=MIN_CHUNK_BYTES),
        Inbox("bank-a", max_message_bytes=LIMIT, spool=spool),
    )


def carry(frame: Frame) -> Frame:
    return decode("bank-a", encode(frame))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.integers(0, 30), lost=st.floats(0, 1))
def test_whatever_is_lost_on_the_way_each_message_arrives_once_and_in_order(
    tmp_path_factory, seed, cuts, lost
):
    chance = random.Random(seed)
    outbox, inbox = halves(tmp_path_factory.mktemp("spool"))
    sent = [chance.randbytes(chance.choice([1, 100, 70_000, 300_000])) for _ in range(25)]
    waiting, got, untaken = list(sent), [], 0
    for _ in range(100_000):
        while waiting and outbox.has_room(len(waiting[0])):
            outbox.append(waiting.pop(0))
        if cuts and chance.random() < 0.05:
            cuts -= 1
            for _ in range(chance.randrange(4)):  # sent into the connection that is being cut
                if chance.random() < lost:
                    outbox.next_chunk()
            outbox.resume(received=inbox.received, held=inbox.held, taken=inbox.taken)
            inbox.resume()
        chunk = outbox.next_chunk()
        if chunk is not None:
            arrived = carry(chunk)
            assert isinstance(arrived, Chunk)
            if (body := inbox.accept(arrived)) is not None:
                got.append(bytes(body))
                untaken += 1
        if untaken and (chunk is None or chance.random() < 0.5):
            inbox.take()
            untaken -= 1
            if (ack := inbox.acknowledgement()) is not None and chance.random() > lost / 2:
                outbox.acknowledge(ack.taken)
            else:  # the acknowledgement went down with its connection
                outbox.resume(received=inbox.received, held=inbox.held, taken=inbox.taken)
                inbox.resume()
        if len(got) == len(sent) and not untaken:
            break
    assert got == sent
    assert outbox.empty


def test_the_sender_keeps_within_the_window_that_the_receiver_enforces(tmp_path):
    outbox, inbox = halves(tmp_path)
    for _ in range(2 * WINDOW_MESSAGES):
        assert outbox.has_room(1)
        outbox.append(b"x")
    assert not outbox.has_room(1)
    while (chunk := outbox.next_chunk()) is not None:
        inbox.accept(chunk)
    assert inbox.received == WINDOW_MESSAGES
    with pytest.raises(OversizedError, match="flooding"):
        inbox.accept(Chunk(WINDOW_MESSAGES + 1, 0, 1, memoryview(b"x")))
    inbox.take()
    ack = inbox.acknowledgement()
    assert ack == Ack(1)
    assert inbox.acknowledgement() is None
    outbox.acknowledge(1)
    chunk = outbox.next_chunk()
    assert chunk is not None
    assert inbox.accept(chunk) is not None


def test_bytes_count_in_the_window_as_well(tmp_path):
    outbox, inbox = halves(tmp_path)
    outbox.append(bytes(LIMIT - 10))
    outbox.append(bytes(11))
    assert not outbox.has_room(LIMIT)
    while (chunk := outbox.next_chunk()) is not None:
        inbox.accept(chunk)
    assert inbox.received == 1
    with pytest.raises(OversizedError, match="flooding"):
        inbox.accept(Chunk(2, 0, 11, memoryview(bytes(11))))


def test_nothing_is_allocated_for_an_announced_length(tmp_path):
    inbox = Inbox("bank-a", max_message_bytes=2**40, spool=tmp_path)
    inbox.accept(Chunk(1, 0, 2**40, memoryview(bytes(MIN_CHUNK_BYTES))))
    assert inbox.held == MIN_CHUNK_BYTES
    inbox.close()
    assert inbox.held == 0


def test_a_peer_holds_little_memory_however_it_cuts_its_messages(tmp_path, monkeypatch):
    made: list[bool] = []
    real = Assembly.__init__

    def spy(self, total, *, in_memory, spool):
        made.append(in_memory)
        real(self, total, in_memory=in_memory, spool=spool)

    monkeypatch.setattr(Assembly, "__init__", spy)
    inbox = Inbox("bank-a", max_message_bytes=2**26, spool=tmp_path)
    body = bytes(3 * 2**20)
    for number in (1, 2, 3):
        assert inbox.accept(Chunk(number, 0, len(body), memoryview(body))) == body
    inbox.take()
    assert inbox.accept(Chunk(4, 0, len(body), memoryview(body))) == body
    assert made == [True, False, False, True]


@pytest.mark.parametrize(
    "claim",
    [
        {"received": 3, "held": 0, "taken": 0},  # more than was sent
        {"received": 2, "held": 1, "taken": 0},  # a piece of a message that was not sent
        {"received": 1, "held": 0, "taken": 2},  # taken before received
        {"received": 0, "held": 0, "taken": 0},  # forgets what it acknowledged
        {"received": 1, "held": 2**62, "taken": 1},
        {"received": 1, "held": 100, "taken": 1},  # a whole message that does not count as one
    ],
)
def test_a_peer_cannot_claim_what_was_never_sent(tmp_path, claim):
    outbox, inbox = halves(tmp_path)
    for body in (bytes(100), bytes(100), bytes(100)):
        outbox.append(body)
    for _ in range(2):
        chunk = outbox.next_chunk()
        assert chunk is not None
        inbox.accept(chunk)
    outbox.acknowledge(1)
    with pytest.raises(UnexpectedMessageError):
        outbox.resume(**claim)
    outbox.resume(received=2, held=0, taken=1)
    outbox.resume(received=1, held=99, taken=1)
    assert outbox.position == (2, 99)


@pytest.mark.parametrize("taken", [1, 3, 4])
def test_an_acknowledgement_of_the_past_or_the_future_is_refused(tmp_path, taken):
    outbox, _ = halves(tmp_path)
    for _ in range(3):
        outbox.append(b"x")
    outbox.next_chunk()
    outbox.next_chunk()
    outbox.acknowledge(1)
    with pytest.raises(UnexpectedMessageError):
        outbox.acknowledge(taken)
    outbox.acknowledge(2)


def test_a_spool_that_cannot_be_written_says_what_to_do(tmp_path):
    with pytest.raises(TransportError, match="free space there"):
        Assembly(10, in_memory=False, spool=tmp_path / "gone")
    broken = Assembly(10, in_memory=False, spool=tmp_path)
    file, broken._file = broken._file, 10**6
    with pytest.raises(TransportError, match="free space there"):
        broken.append(memoryview(b"x"))
    assert broken.held == 0
    broken._file = file
    broken.append(memoryview(bytes(range(10))))
    assert broken.finish() == bytes(range(10))


@pytest.mark.parametrize("reason", ["\x1b[2J", "a\nb", "tab\t", "é"])
def test_a_goodbye_cannot_send_commands_to_an_operators_terminal(reason):
    hostile = msgspec.msgpack.encode(Goodbye(Code.FAILED, reason))
    with pytest.raises(WireError):
        decode("hub", hostile)
