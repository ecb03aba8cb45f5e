"""Bytes from a peer become one bounded, canonical message, or a named refusal."""

from __future__ import annotations

import struct
import traceback
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masked_round import opened, play
from support.masking import federation
from support.mutation import mutants

from protocols.errors import OversizedError, PeerError, SignatureError, WireError
from protocols.identity import Envelope, Identity
from protocols.masking.messages import MAX_PARTIES, STEPS, Advertise, Confirmation, Parties
from protocols.rounds import RoundAborted
from protocols.signed import open_signed
from protocols.wire import Packet, decode, decode_packet, encode

LIMIT = 1 << 20


def examples() -> dict[str, msgspec.Struct]:
    this = play(federation(4, max_dropouts=1, threshold=2), silent={"submit": {3}})
    boxes = {**this.mail, **this.sent}
    return {step: opened(box[1]) for step, box in boxes.items()} | {
        "envelope": this.sent["unmask"][1]
    }


EXAMPLES = examples()


def read(kind: type, data: bytes, max_bytes: int = LIMIT) -> Any:
    return decode(kind, data, party="party-1", step="test", max_bytes=max_bytes)


def parse(kind: type, data: bytes) -> Any:
    if kind is Packet:
        return decode_packet(data, party="party-1", max_bytes=LIMIT)
    return read(kind, data)


def refuse(kind: type, data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read(kind, data)
    assert (caught.value.party, caught.value.step) == ("party-1", "test")
    return caught.value


def test_there_is_an_example_of_every_message():
    assert set(EXAMPLES) == {*STEPS, "envelope"}


@pytest.mark.parametrize("step", list(EXAMPLES))
def test_a_message_has_one_byte_string(step):
    message = EXAMPLES[step]
    data = encode(message)
    assert read(type(message), data) == message
    assert encode(read(type(message), data)) == data


@pytest.mark.parametrize("step", list(EXAMPLES))
def test_a_message_that_is_cut_or_followed_by_anything_is_refused(step):
    message = EXAMPLES[step]
    data = encode(message)
    for length in range(0, len(data), max(1, len(data) // 97)):
        refuse(type(message), data[:length])
    for more in (b"\0", b"\x90", data):
        refuse(type(message), data + more)


@pytest.mark.parametrize("step", list(EXAMPLES))
def test_no_message_passes_for_another_one(step):
    data = encode(EXAMPLES[step])
    for other, message in EXAMPLES.items():
        if type(message) is not type(EXAMPLES[step]):
            try:
                read(type(message), data)
            except WireError:
                continue
            # Alike in shape; the step that is signed with the payload keeps them apart.
            assert {step, other} <= {"roster", "confirmations"}


def spellings(value: Any) -> list[bytes]:
    """Every msgpack encoding of an integer, byte string, text or list that is not the shortest."""
    match value:
        case int():
            formats = [(b"\xcc", ">B"), (b"\xcd", ">H"), (b"\xce", ">I"), (b"\xcf", ">Q")]
            formats += [(b"\xd0", ">b"), (b"\xd1", ">h"), (b"\xd2", ">i"), (b"\xd3", ">q")]
            limits = {">B": 2**8, ">H": 2**16, ">I": 2**32, ">Q": 2**64}
            limits |= {">b": 2**7, ">h": 2**15, ">i": 2**31, ">q": 2**63}
            found = [
                tag + struct.pack(form, value) for tag, form in formats if value < limits[form]
            ]
        case bytes():
            heads = [(b"\xc4", ">B"), (b"\xc5", ">H"), (b"\xc6", ">I")]
            found = [
                tag + struct.pack(form, len(value)) + value
                for tag, form in heads
                if len(value) < 2 ** (8 * struct.calcsize(form))
            ]
        case str():
            raw = value.encode()
            found = [b"\xd9" + bytes([len(raw)]) + raw, b"\xda" + struct.pack(">H", len(raw)) + raw]
        case _:
            elements = value.__struct_fields__ if isinstance(value, msgspec.Struct) else value
            inner = msgspec.msgpack.encode(value)[1:] if len(elements) < 16 else b""
            found = [b"\xdc" + struct.pack(">H", len(elements)) + inner] if inner else []
    shortest = msgspec.msgpack.encode(value)
    return [one for one in found if one != shortest]


def parts(value: Any) -> list[Any]:
    if isinstance(value, msgspec.Struct):
        values = [getattr(value, name) for name in value.__struct_fields__]
        return [value, *(part for one in values for part in parts(one))]
    if isinstance(value, tuple):
        return [value, *(part for one in value for part in parts(one))]
    return [value]


@pytest.mark.parametrize("step", list(EXAMPLES))
def test_a_second_spelling_of_any_part_of_a_message_is_refused(step):
    message = EXAMPLES[step]
    data = encode(message)
    tried = 0
    for part in parts(message):
        shortest = msgspec.msgpack.encode(part)
        for spelling in spellings(part):
            # The first place where these bytes stand, be it this part or an equal one.
            refuse(type(message), data.replace(shortest, spelling, 1))
            tried += 1
    assert tried >= 3


@pytest.mark.parametrize("step", list(EXAMPLES))
def test_a_field_of_another_type_is_refused(step):
    message = EXAMPLES[step]
    for index, name in enumerate(message.__struct_fields__):
        plain = msgspec.msgpack.decode(encode(message))
        for wrong in (None, True, -1, 1.5, 2**63, "text", b"", [], [[]], {"a": 1}, {}):
            plain[index] = wrong
            data = msgspec.msgpack.encode(plain)
            try:
                found = read(type(message), data)
            except WireError:
                continue
            assert getattr(found, name) in ((), b"", "text", 2**63)
            assert encode(found) == data


@pytest.mark.parametrize("step", list(EXAMPLES))
def test_a_missing_or_additional_field_is_refused(step):
    message = EXAMPLES[step]
    plain = msgspec.msgpack.decode(encode(message))
    refuse(type(message), msgspec.msgpack.encode(plain[:-1]))
    refuse(type(message), msgspec.msgpack.encode([*plain, 0]))
    refuse(type(message), msgspec.msgpack.encode({"0": plain}))


def test_byte_strings_have_their_exact_length_and_numbers_their_range():
    refused = 0
    for step, message in EXAMPLES.items():
        for path, mutant in mutants(message):
            found = mutant
            for name in path:
                found = found[name] if isinstance(name, int) else getattr(found, name)
            if isinstance(found, bytes) and path[-1] not in {"payload", "statement"}:
                honest = message
                for name in path:
                    honest = honest[name] if isinstance(name, int) else getattr(honest, name)
                if len(found) != len(honest):
                    refuse(STEPS.get(step, Envelope), encode(mutant))
                    refused += 1
    assert refused > 100
    numbers = msgspec.msgpack.Decoder(Parties)
    for bad in ([-1], [MAX_PARTIES], [0] * (MAX_PARTIES + 1), [2**64 - 1], [1.0], [True]):
        with pytest.raises(msgspec.ValidationError):
            numbers.decode(msgspec.msgpack.encode(bad))
    assert len(numbers.decode(msgspec.msgpack.encode([0] * MAX_PARTIES))) == MAX_PARTIES


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", -1),
        ("version", 2**16),
        ("round", -1),
        ("round", 2**63),
        ("step", ""),
        ("step", "Submit"),
        ("step", "submit\n"),
        ("step", "a" * 33),
        ("sender", ""),
        ("sender", "party-1\n"),
        ("sender", "Party"),
        ("sender", "-party"),
        ("sender", "party\u0131"),
        ("sender", "../party"),
        ("sender", "a" * 65),
    ],
)
def test_an_envelope_with_a_field_out_of_bounds_is_refused(field, value):
    envelope = msgspec.structs.replace(EXAMPLES["envelope"], **{field: value})
    refuse(Envelope, encode(envelope))
    with pytest.raises(WireError):
        decode_packet(encode(Packet(envelope)), party="party-1", max_bytes=LIMIT)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*STEPS.values(), Envelope]), st.binary(max_size=120))
def test_any_bytes_are_one_canonical_message_or_a_wire_error(kind, data):
    try:
        message = read(kind, data)
    except WireError:
        return
    assert encode(message) == data


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_message_with_any_bytes_overwritten_is_another_message_or_a_wire_error(data):
    message = EXAMPLES[data.draw(st.sampled_from(list(EXAMPLES)))]
    whole = encode(message)
    start = data.draw(st.integers(0, len(whole) - 1))
    patch = data.draw(st.binary(min_size=1, max_size=8))
    damaged = whole[:start] + patch + whole[start + len(patch) :]
    try:
        found = read(type(message), damaged)
    except WireError:
        return
    assert encode(found) == damaged
    assert (found == message) == (damaged == whole)


JSONLIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=3),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*STEPS.values(), Envelope, Packet]), JSONLIKE)
def test_any_well_formed_msgpack_of_the_wrong_shape_is_a_wire_error(kind, value):
    data = msgspec.msgpack.encode(value)
    if kind is Packet:
        with pytest.raises(WireError):
            decode_packet(data, party="party-1", max_bytes=LIMIT)
        return
    try:
        assert encode(read(kind, data)) == data
    except WireError:
        return


# Memory


@pytest.mark.parametrize("step", list(EXAMPLES))
def test_a_message_longer_than_allowed_is_not_looked_at(step):
    message = EXAMPLES[step]
    data = encode(message)
    assert read(type(message), data, max_bytes=len(data)) == message
    with pytest.raises(OversizedError) as caught:
        read(type(message), data, max_bytes=len(data) - 1)
    assert caught.value.party == "party-1"
    with pytest.raises(OversizedError):
        read(type(message), bytes(len(data)), max_bytes=len(data) - 1)


def bombs() -> list[bytes]:
    """A few bytes that announce gigabytes, or nest without end."""
    heads = [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"]
    heads += [b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xdc\xff\xff"]
    heads += [b"\x91" * 200_000, b"\xdc\x27\x10" + b"\x91" * 60_000, b"\x81\xa1a" * 60_000]
    return heads


@pytest.mark.parametrize("kind", [*STEPS.values(), Envelope, Packet])
def test_a_bomb_is_refused_without_its_memory(kind):
    fields = len(kind.__struct_fields__)
    message = next((one for one in EXAMPLES.values() if type(one) is kind), None)
    honest = [] if message is None else [
        msgspec.msgpack.encode(value) for value in msgspec.msgpack.decode(encode(message))
    ]  # fmt: skip
    tracemalloc.start()
    try:
        for bomb in bombs():
            bodies = [bomb]
            for index in range(len(honest)):
                head = bytes([0x90 + fields])
                bodies.append(head + b"".join([*honest[:index], bomb, *honest[index + 1 :]]))
            for body in bodies:
                with pytest.raises(WireError):
                    parse(kind, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * LIMIT


# Packets


def test_the_attachment_of_a_packet_is_a_view_of_its_body():
    vector = bytes(range(256)) * 4096
    body = encode(Packet(EXAMPLES["envelope"], memoryview(vector)))
    packet = decode_packet(memoryview(body), party="party-1", max_bytes=2 * LIMIT)
    assert packet.envelope == EXAMPLES["envelope"]
    assert packet.attachment == vector
    assert packet.attachment.obj is body or packet.attachment.obj == body
    tracemalloc.start()
    decode_packet(memoryview(body), party="party-1", max_bytes=2 * LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(vector) / 8


def test_an_oversized_packet_is_refused_before_it_is_parsed():
    body = encode(Packet(EXAMPLES["envelope"], memoryview(bytes(1000))))
    for data in (body, bytes(len(body))):
        with pytest.raises(OversizedError) as caught:
            decode_packet(data, party="party-1", max_bytes=len(body) - 1)
        assert caught.value.step == "packet"
    assert decode_packet(body, party="party-1", max_bytes=len(body)).attachment.nbytes == 1000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_body_is_a_packet_or_a_wire_error(body):
    try:
        decode_packet(body, party="party-1", max_bytes=LIMIT)
    except PeerError as error:
        assert isinstance(error, WireError)  # noqa: PT017 - hardly any body is a packet


# What errors show


def test_a_refusal_quotes_nothing_of_what_was_refused():
    secret = "canary-" + "5f3a" * 8
    for value in (secret, secret.encode(), [secret], [secret.encode()] * 3, {secret: secret}):
        data = msgspec.msgpack.encode(value)
        for kind in (Advertise, Confirmation, Envelope):
            error = refuse(kind, data)
            shown = "".join(traceback.format_exception(error)) + repr(error)
            assert secret not in shown
    envelope = msgspec.structs.replace(EXAMPLES["envelope"], sender=secret + "\n")
    error = refuse(Envelope, encode(envelope))
    assert secret not in "".join(traceback.format_exception(error))


def test_the_repr_of_envelopes_and_packets_shows_sizes_only():
    envelope = EXAMPLES["envelope"]
    packet = Packet(envelope, memoryview(b"secret attachment"))
    for shown in (repr(envelope), str(packet)):
        assert "bytes" in shown
        assert envelope.payload.hex() not in shown
        assert "secret" not in shown
        assert repr(envelope.payload)[2:30] not in shown


def test_an_error_names_whose_word_was_wanted_and_not_whom_the_envelope_claims():
    wanted, claimed = Identity("hub", b"\x01" * 32), Identity("party-1", b"\x02" * 32)
    envelope = claimed.seal(agreement=bytes(32), round_=7, step="abort", payload=b"\xc1")
    with pytest.raises(SignatureError, match="signed as 'party-1'") as caught:
        open_signed(
            envelope,
            RoundAborted,
            step="abort",
            signer=wanted.public,
            agreement=b"\x01" * 32,
            round_=1,
            max_bytes=100,
        )
    assert caught.value.party == "hub"
