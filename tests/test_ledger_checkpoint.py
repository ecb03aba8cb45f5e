"""Heads of the ledger: one way to write each, and signatures that mean one thing only."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors.generate_merkle import FOLDER

from protocols.agreement.model import MAX_PARTIES
from protocols.errors import LedgerError, MisuseError
from protocols.identity import MAX_NAME_LENGTH, Identity, VerifyKey, signed_bytes
from protocols.ledger.checkpoint import (
    Checkpoint,
    Note,
    NoteSignature,
    coordinator_check,
    cosign,
    cosignature_check,
    cosignature_checks,
    key_id,
    origin_of,
    parse_note,
    parse_signature,
    sign_checkpoint,
    witness_name,
)
from protocols.ledger.note import MAX_LINE_BYTES, MAX_SIGNATURES
from protocols.ledger.records import MAX_NOTE_BYTES

VECTOR = json.loads((FOLDER / "merkle.json").read_text(encoding="utf-8"))["note"]
NOW = 1_700_000_000


def identity(name: str) -> Identity:
    return Identity(name, hashlib.sha256(name.encode()).digest())


COORDINATOR = identity("coordinator")
PARTIES = [identity(f"party-{number}") for number in range(4)]
KEYS = {party.name: party.public for party in PARTIES}
CHECKPOINT = Checkpoint(origin_of("example", bytes(32)), 12, hashlib.sha256(b"root").digest())


def line_of(line: bytes) -> NoteSignature:
    return parse_signature(line, party="tester")


def note_of(*lines: bytes, checkpoint: Checkpoint = CHECKPOINT) -> Note:
    return Note(checkpoint, tuple(map(line_of, lines)))


def cosigned(checkpoint: Checkpoint = CHECKPOINT, count: int = len(PARTIES)) -> Note:
    lines = [cosign(checkpoint, who, NOW + n) for n, who in enumerate(PARTIES[:count])]
    return note_of(sign_checkpoint(checkpoint, COORDINATOR), *lines, checkpoint=checkpoint)


NOTE = cosigned()
TEXT = NOTE.to_bytes()
BODY, LINES = TEXT.split(b"\n\n")
OWN = LINES.split(b"\n")[0] + b"\n"


def refuse(finding: str, call, party: str | None = None) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        call()
    assert caught.value.finding == finding
    if party is not None:
        assert caught.value.party == party
    return caught.value


def unreadable(text: bytes) -> None:
    refuse("checkpoint-unreadable", lambda: parse_note(text, party="tester"), "tester")


# What is signed


def test_every_signature_of_a_cosigned_note_holds_and_says_whose_it_is():
    note = parse_note(TEXT, party="tester")
    assert coordinator_check(note, COORDINATOR.public).holds()
    found = cosignature_checks(note, KEYS)
    assert [(one.party, one.timestamp) for one in found] == [
        (party.name, NOW + number) for number, party in enumerate(PARTIES)
    ]
    assert all(check.holds() for _, _, check in found)


@pytest.mark.parametrize(
    "change", [{"origin": origin_of("other", bytes(32))}, {"size": 13}, {"root": bytes(32)}]
)
def test_no_signature_holds_for_another_head(change):
    other = replace(CHECKPOINT, **change)
    lines = [replace(line, name=other.origin) for line in NOTE.signatures[:1]]
    identifier = key_id(other.origin, b"\x01", COORDINATOR.public.raw)
    moved = Note(other, (replace(lines[0], key_id=identifier), *NOTE.signatures[1:]))
    assert not coordinator_check(moved, COORDINATOR.public).holds()
    assert not any(one.check.holds() for one in cosignature_checks(moved, KEYS))


def test_the_time_of_a_cosignature_is_signed():
    line = line_of(cosign(CHECKPOINT, PARTIES[0], NOW))
    later = replace(line, blob=(NOW + 1).to_bytes(8, "big") + line.blob[8:])
    assert cosignature_check(CHECKPOINT, line, KEYS).check.holds()
    assert not cosignature_check(CHECKPOINT, later, KEYS).check.holds()


def test_a_signature_of_one_witness_under_the_name_of_another_does_not_hold():
    line = line_of(cosign(CHECKPOINT, PARTIES[0], NOW))
    name = witness_name(PARTIES[1].name)
    moved = replace(line, name=name, key_id=key_id(name, b"\x04", PARTIES[1].public.raw))
    assert not cosignature_check(CHECKPOINT, moved, KEYS).check.holds()


@settings(max_examples=50, deadline=None)
@given(
    st.text("abcz09-", min_size=1, max_size=64),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
)
def test_a_signature_on_a_note_is_no_signature_on_anything_else(federation, root, size, time):
    checkpoint = Checkpoint(origin_of(federation, root), size, root)
    alpha = PARTIES[0]
    note = note_of(
        sign_checkpoint(checkpoint, alpha), cosign(checkpoint, alpha, time), checkpoint=checkpoint
    )
    head = coordinator_check(note, alpha.public)
    [witness] = cosignature_checks(note, KEYS)
    assert head.holds()
    assert witness.check.holds()
    # Whatever else the key signs holds a zero byte; and neither text is ever the other.
    assert b"\0" not in head.message + witness.check.message
    envelope = alpha.seal(agreement=root, round_=1, step="open", payload=head.message)
    assert b"\0" in signed_bytes(envelope)
    assert not alpha.public.accepts(head.message, envelope.signature)
    assert head.message.split(b"\n")[1].isdigit()
    assert witness.check.message.split(b"\n")[1].startswith(b"time ")
    assert not replace(head, signature=witness.check.signature).holds()
    assert not replace(witness.check, signature=head.signature).holds()


def test_the_ledgers_of_two_agreements_have_two_origins():
    assert origin_of("example", bytes(32)) == "securefed.ledger/example/" + "00" * 32
    longest = Checkpoint(origin_of("x" * MAX_NAME_LENGTH, bytes(32)), 2**63 - 1, bytes(32))
    named = identity("y" * MAX_NAME_LENGTH)
    for line in (sign_checkpoint(longest, named), cosign(longest, named, 2**63 - 1)):
        assert len(line) <= MAX_LINE_BYTES
        assert line_of(line).to_bytes() == line


# Other implementations


def test_signatures_and_key_ids_are_those_of_the_go_implementation():
    # The example of golang.org/x/mod/sumdb/note.
    seed = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
    text = (
        b"If you think cryptography is the answer to your problem,\n"
        b"then you don't know what your problem is.\n"
    )
    line = (
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
        "pRZb6KE6RyyBwJnAM=\n"
    ).encode()
    signer = Identity("PeterNeumann", seed)
    identifier = key_id(signer.name, b"\x01", signer.public.raw)
    assert identifier.hex() == "c74f20a3"
    assert NoteSignature(signer.name, identifier, signer.sign_text(text)).to_bytes() == line


def test_a_head_of_the_go_checksum_database_verifies():
    raw = b64decode("Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")[1:]
    line = line_of(
        "— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9"
        "nTo+zyWE+xeMcTOAYQ8=\n".encode()
    )
    assert line.key_id == key_id("sum.golang.org", b"\x01", raw)
    root = b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    body = Checkpoint("go.sum", 20852163, root).body()
    # Its origin holds spaces, which we do not take.
    text = body.replace(b"go.sum", b"go.sum database tree")
    assert VerifyKey("sum", raw).accepts(text, line.blob)


def test_the_example_of_the_cosignature_specification_reads():
    text = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhc"
        "yv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX"
        "3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    note = parse_note(text, party="tester")
    assert note.to_bytes() == text
    assert note.checkpoint.size == 20852163
    assert int.from_bytes(note.signatures[1].blob[:8], "big") == 1679315147


def test_the_committed_note_is_what_its_description_makes():
    # Without any of this code: hashlib, base64 and Ed25519 alone, as the vectors' README says.
    root = bytes.fromhex(json.loads((FOLDER / "merkle.json").read_text())["roots"][VECTOR["size"]])
    origin = f"securefed.ledger/{VECTOR['federation']}/{VECTOR['agreement']}"
    body = f"{origin}\n{VECTOR['size']}\n{b64encode(root).decode()}\n"
    signers = [("coordinator", origin, b"\x01", b"", body)]
    for name, time in VECTOR["times"].items():
        text = f"cosignature/v1\ntime {time}\n{body}"
        signers.append((name, f"securefed.party/{name}", b"\x04", time.to_bytes(8, "big"), text))
    note = body + "\n"
    for name, key_name, kind, time, text in signers:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTOR["private_keys"][name]))
        public = key.public_key().public_bytes_raw()
        identifier = hashlib.sha256(key_name.encode() + b"\n" + kind + public).digest()[:4]
        blob = identifier + time + key.sign(text.encode())
        note += f"— {key_name} {b64encode(blob).decode()}\n"
    assert note == VECTOR["note"]


# Whose signatures a note may carry


def test_a_note_whose_first_line_is_not_the_coordinators_is_unsigned():
    cosignatures = NOTE.signatures[1:]
    for signatures in ((), cosignatures, (cosignatures[0], NOTE.signatures[0])):
        note = Note(CHECKPOINT, signatures)
        refuse(
            "checkpoint-unsigned",
            lambda note=note: coordinator_check(note, COORDINATOR.public),
            "coordinator",
        )


def test_a_head_signed_by_another_key_in_the_coordinators_name_is_refused():
    note = note_of(sign_checkpoint(CHECKPOINT, PARTIES[0]))
    refuse("checkpoint-foreign-signature", lambda: coordinator_check(note, COORDINATOR.public))
    # The short identifier can be copied; the signature cannot.
    copied = replace(note.signatures[0], key_id=NOTE.signatures[0].key_id)
    assert not coordinator_check(Note(CHECKPOINT, (copied,)), COORDINATOR.public).holds()


@pytest.mark.parametrize(
    ("line", "party"),
    [
        (line_of(cosign(CHECKPOINT, identity("stranger"), NOW)), ""),
        (line_of(cosign(CHECKPOINT, COORDINATOR, NOW)), ""),
        (line_of(sign_checkpoint(CHECKPOINT, COORDINATOR)), ""),
        (line_of(sign_checkpoint(CHECKPOINT, PARTIES[0])), ""),
        (line_of(cosign(CHECKPOINT, Identity("party-1", bytes(32)), NOW)), "party-1"),
        (replace(NOTE.signatures[1], name="party-0"), ""),
        (replace(NOTE.signatures[1], name="securefed.party/securefed.party/party-0"), ""),
        (replace(NOTE.signatures[1], key_id=bytes(4)), "party-0"),
        (replace(NOTE.signatures[1], blob=NOTE.signatures[1].blob[8:]), "party-0"),
    ],
)
def test_a_line_by_a_key_that_is_no_partys_is_refused(line, party):
    note = Note(CHECKPOINT, (NOTE.signatures[0], line))
    refuse("checkpoint-foreign-signature", lambda: cosignature_checks(note, KEYS), party)


def test_a_cosignature_in_the_coordinators_place_is_refused():
    padded = replace(NOTE.signatures[0], blob=bytes(8) + NOTE.signatures[0].blob)
    note = Note(CHECKPOINT, (padded,))
    refuse("checkpoint-foreign-signature", lambda: coordinator_check(note, COORDINATOR.public))


def test_a_party_counts_once_however_often_it_signs():
    again = line_of(cosign(CHECKPOINT, PARTIES[2], NOW + 99))
    for line in (again, NOTE.signatures[3]):
        note = Note(CHECKPOINT, (*NOTE.signatures, line))
        refuse(
            "checkpoint-duplicate-signature",
            lambda note=note: cosignature_checks(note, KEYS),
            "party-2",
        )


# One way to write a note


def test_a_note_of_a_thousand_witnesses_reads_and_one_more_does_not():
    line = LINES.split(b"\n")[1] + b"\n"
    longest = Identity("z" * MAX_NAME_LENGTH, bytes(32))
    for one in (line, cosign(CHECKPOINT, longest, 2**63 - 1)):
        full = BODY + b"\n\n" + OWN + one * MAX_PARTIES
        assert len(full) <= MAX_NOTE_BYTES
        assert len(parse_note(full, party="tester").signatures) == MAX_SIGNATURES
        unreadable(full + one)
        unreadable(full + b"\n")
    huge = BODY + b"\n\n" + OWN * (MAX_NOTE_BYTES // len(OWN) + 1)
    assert f"{len(huge)} bytes" in str(
        refuse("checkpoint-unreadable", lambda: parse_note(huge, party="tester"))
    )


ROOT = b64encode(CHECKPOINT.root)
ORIGIN = CHECKPOINT.origin.encode()


def with_line(line: str | bytes) -> bytes:
    return BODY + b"\n\n" + (line.encode() if isinstance(line, str) else line)


def encoded(blob: bytes) -> str:
    return b64encode(blob).decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n12\n" + ROOT,
        ORIGIN + b"\n12",
        ORIGIN + b"\n012\n" + ROOT,
        ORIGIN + b"\n+12\n" + ROOT,
        ORIGIN + b"\n-1\n" + ROOT,
        ORIGIN + b"\n00\n" + ROOT,
        ORIGIN + b"\n\n" + ROOT,
        ORIGIN + b"\n1_2\n" + ROOT,
        ORIGIN + "\n\u0661\u0662\n".encode() + ROOT,
        ORIGIN + b"\n12 \n" + ROOT,
        ORIGIN + b"\n%d\n" % 2**63 + ROOT,
        ORIGIN + b"\n%d\n" % 10**4000 + ROOT,
        ORIGIN + b"\n12\n" + ROOT[:-1],
        ORIGIN + b"\n12\n" + ROOT + b"=",
        ORIGIN + b"\n12\n" + b64encode(CHECKPOINT.root[:-1]),
        ORIGIN + b"\n12\n" + b64encode(CHECKPOINT.root + b"\0"),
        ORIGIN + b"\n12\n" + bytes(32),
        ORIGIN + b"\n12\n" + b"A" * 42 + b"B=",
        ORIGIN + b"\n12\n" + ROOT + b"\nan extension line",
        ORIGIN + b"\r\n12\r\n" + ROOT + b"\r",
        b" " + ORIGIN + b"\n12\n" + ROOT,
        ORIGIN + b"+x\n12\n" + ROOT,
        ORIGIN + b"\t\n12\n" + ROOT,
        ORIGIN + b"\0\n12\n" + ROOT,
        ORIGIN + "é\n12\n".encode() + ROOT,
        ORIGIN + b"\xff\n12\n" + ROOT,
        b"x" * 256 + b"\n12\n" + ROOT,
    ],
)
def test_a_text_that_is_no_canonical_head_is_refused(body):
    unreadable(body + b"\n\n" + OWN)


GOOD = bytes(4 + 64)
LATE = bytes(4) + b"\x80" + bytes(7 + 64)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        BODY,
        BODY + b"\n",
        BODY + b"\n\n",
        BODY + b"\n" + OWN,
        BODY + b"\n\n\n" + OWN,
        BODY + b"\n\n" + OWN[:-1],
        BODY + b"\n\n" + OWN + b"\n",
        BODY + b"\n\n" + OWN + b"\n" + OWN,
        BODY + b"\n\n" + OWN + BODY + b"\n\n" + OWN,
        BODY + b"\n\n" + OWN.replace(b"\n", b"\r\n"),
        with_line(f"- name {encoded(GOOD)}\n"),
        with_line(f"—name {encoded(GOOD)}\n"),
        with_line(f"—\u00a0name {encoded(GOOD)}\n"),
        with_line(f"—  name {encoded(GOOD)}\n"),
        with_line(f"— na me {encoded(GOOD)}\n"),
        with_line(f"— na+me {encoded(GOOD)}\n"),
        with_line(f"— n\u2003me {encoded(GOOD)}\n"),
        with_line(f"— {'n' * 256} {encoded(GOOD)}\n"),
        with_line(f"—  {encoded(GOOD)}\n"),
        with_line(f"— name  {encoded(GOOD)}\n"),
        with_line(f"— name {encoded(GOOD)} \n"),
        with_line(f"— name {encoded(GOOD)[:-1]}\n"),
        with_line(f"— name {encoded(GOOD)}=\n"),
        with_line(f"— name {encoded(GOOD)[:-2]}B=\n"),
        with_line(f"— name {encoded(GOOD).replace('A', '-', 1)}\n"),
        with_line("— name \n"),
        with_line("— name\n"),
        with_line(f"— name {encoded(b'')}\n"),
        with_line(f"— name {encoded(GOOD[:-1])}\n"),
        with_line(f"— name {encoded(GOOD + bytes(1))}\n"),
        with_line(f"— name {encoded(GOOD + bytes(9))}\n"),
        with_line(f"— name {encoded(LATE)}\n"),
        with_line(f"— name {encoded(bytes(4 + 8 + 2420))}\n"),
        with_line(b"\xe2\x80 name " + b64encode(GOOD) + b"\n"),
        with_line("— na\0me ".encode() + b64encode(GOOD) + b"\n"),
    ],
)
def test_what_is_no_canonical_list_of_signatures_is_refused(text):
    unreadable(text)


def test_a_single_line_is_read_as_strictly_as_a_note():
    assert line_of(OWN) == NOTE.signatures[0]
    for line in (b"", b"\n", OWN[:-1], OWN + b"\n", OWN + OWN, b" " + OWN, OWN.strip() + b" \n"):
        refuse("checkpoint-unreadable", lambda line=line: line_of(line), "tester")


def read(text: bytes) -> Note | None:
    try:
        return parse_note(text, party="tester")
    except LedgerError as error:
        if error.finding != "checkpoint-unreadable":
            raise
        return None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_an_altered_note_is_unreadable_or_another_note(data):
    text = bytearray(cosigned(count=2).to_bytes())
    place = data.draw(st.integers(0, len(text) - 1))
    match data.draw(st.sampled_from(["flip", "insert", "drop", "copy"])):
        case "flip":
            text[place] ^= 1 << data.draw(st.integers(0, 7))
        case "insert":
            text[place:place] = data.draw(st.binary(min_size=1, max_size=3))
        case "drop":
            del text[place : place + data.draw(st.integers(1, 200))]
        case "copy":
            text[place:place] = text[place : place + data.draw(st.integers(1, 200))]
    note = read(bytes(text))
    assert note is None or note.to_bytes() == bytes(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_whatever_bytes_come_only_a_ledger_error_leaves(text):
    for call in (parse_note, parse_signature):
        refuse("checkpoint-unreadable", lambda call=call: call(text, party="tester"), "tester")


# Our own mistakes


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 1, bytes(32)),
        ("two words", 1, bytes(32)),
        ("a+b", 1, bytes(32)),
        ("line\n", 1, bytes(32)),
        ("é", 1, bytes(32)),
        ("x" * 256, 1, bytes(32)),
        ("log", -1, bytes(32)),
        ("log", 2**63, bytes(32)),
        ("log", 1, bytes(31)),
    ],
)
def test_a_head_that_no_note_can_carry_is_not_made(origin, size, root):
    with pytest.raises(MisuseError, match="no checkpoint"):
        Checkpoint(origin, size, root)


@pytest.mark.parametrize("timestamp", [-1, 2**63])
def test_a_time_that_no_cosignature_can_carry_is_not_signed(timestamp):
    with pytest.raises(MisuseError, match="time"):
        cosign(CHECKPOINT, PARTIES[0], timestamp)
