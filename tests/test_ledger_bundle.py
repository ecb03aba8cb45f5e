"""An exported ledger: what is read is what was written, or the reader is told what is wrong."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors.generate_merkle import FOLDER, LEAVES

from protocols.errors import LedgerError
from protocols.ledger import bundle
from protocols.ledger.bundle import bundle_parts, read_leaves
from protocols.ledger.merkle import EMPTY_ROOT, Tree, leaf_hash
from protocols.ledger.records import MAX_LEAF_BYTES

MAGIC = b"securefed ledger v1\n"
END = b"\xff\xff\xff\xff"
lists = st.lists(st.binary(max_size=30), max_size=8)


def pack(leaves: Iterable[bytes]) -> bytes:
    return b"".join(bundle_parts(leaves))


def unpack(data: bytes) -> list[bytes]:
    return list(read_leaves(io.BytesIO(data).read))


def refuse(finding: str, data: bytes, leaf: int | None = None) -> None:
    with pytest.raises(LedgerError) as caught:
        unpack(data)
    assert (caught.value.finding, caught.value.leaf) == (finding, leaf)


SMALL = pack(LEAVES)


@settings(max_examples=100, deadline=None)
@given(lists)
def test_the_leaves_of_a_bundle_are_those_that_were_written(leaves):
    data = pack(leaves)
    assert unpack(data) == leaves
    footer = msgspec.msgpack.encode([len(leaves), Tree(map(leaf_hash, leaves)).root()])
    framed = b"".join(len(leaf).to_bytes(4, "big") + leaf for leaf in leaves)
    assert data == MAGIC + framed + END + footer


@settings(max_examples=50, deadline=None)
@given(lists, st.data())
def test_a_pipe_that_gives_a_few_bytes_at_a_time_makes_no_difference(leaves, data):
    stream = io.BytesIO(pack(leaves))
    pieces = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=20))
    calls = 0

    def read(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return stream.read(min(count, pieces[calls % len(pieces)]))

    assert list(read_leaves(read)) == leaves


@settings(max_examples=300, deadline=None)
@given(lists, st.data())
def test_no_flipped_bit_goes_unnoticed(leaves, data):
    damaged = bytearray(pack(leaves))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(LedgerError):
        unpack(bytes(damaged))


def test_a_bundle_cut_at_any_byte_is_truncated():
    for end in range(len(SMALL)):
        with pytest.raises(LedgerError) as caught:
            unpack(SMALL[:end])
        assert caught.value.finding == "truncated"
    refuse("truncated", MAGIC + b"\0\0\0\3ab", leaf=0)
    refuse("truncated", MAGIC + b"\0\0\0\1a\0", leaf=1)


@pytest.mark.parametrize(
    "data",
    [b"\n", b"PK\x03\x04", b"securefed", b"Securefed ledger v1\n", b"securefed ledger", SMALL[1:]],
)
def test_another_file_is_no_bundle(data):
    refuse("truncated" if MAGIC.startswith(data) else "not-a-bundle", data)


@pytest.mark.parametrize("version", [b"2\n", b"10\n", b"1\r\n", b"0\n", b"\n"])
def test_a_bundle_of_another_version_is_not_guessed_at(version):
    refuse("unknown-version", SMALL.replace(b"1\n", version, 1))


def test_nothing_may_follow_the_footer():
    refuse("trailing-bytes", SMALL + b"\0")
    refuse("trailing-bytes", SMALL + SMALL)


def with_footer(*fields: object) -> bytes:
    body = SMALL[: SMALL.index(END) + 4]
    return body + msgspec.msgpack.encode(fields)


def test_a_footer_of_other_leaves_is_refused():
    root = Tree(map(leaf_hash, LEAVES)).root()
    assert with_footer(8, root) == SMALL
    refuse("footer-mismatch", with_footer(7, root))
    refuse("footer-mismatch", with_footer(9, root))
    refuse("footer-mismatch", with_footer(8, EMPTY_ROOT))
    refuse("footer-mismatch", with_footer(8, root, None))
    refuse("footer-mismatch", with_footer(root, 8))
    refuse("footer-mismatch", SMALL.replace(b"\x92\x08\xc4", b"\x92\xcc\x08\xc4"))
    refuse("footer-mismatch", pack(LEAVES[:-1])[: -len(root)] + root)
    refuse("trailing-bytes", with_footer(8, root) + b"\xc0")


def test_leaves_in_another_order_do_not_match_the_footer():
    swapped = [LEAVES[1], LEAVES[0], *LEAVES[2:]]
    refuse("footer-mismatch", pack(swapped)[:-32] + SMALL[-32:])


@pytest.mark.parametrize("length", [MAX_LEAF_BYTES + 1, 2**31, 2**32 - 2])
def test_an_oversized_leaf_is_refused_before_anything_of_it_is_read(length):
    data = io.BytesIO(MAGIC + b"\0\0\0\1a" + length.to_bytes(4, "big") + bytes(100))
    asked = []

    def read(count: int) -> bytes:
        asked.append(count)
        return data.read(count)

    with pytest.raises(LedgerError) as caught:
        list(read_leaves(read))
    assert (caught.value.finding, caught.value.leaf) == ("leaf-oversized", 1)
    assert max(asked) == len(MAGIC)


def test_a_leaf_of_the_largest_size_is_written_and_read_and_a_larger_one_is_not_written():
    largest = bytes(MAX_LEAF_BYTES)
    assert unpack(pack([largest])) == [largest]
    with pytest.raises(LedgerError, match="leaf-oversized"):
        pack([b"small", largest + b"\0"])


def test_more_leaves_than_a_bundle_may_hold_are_neither_written_nor_read(monkeypatch):
    monkeypatch.setattr(bundle, "MAX_LEAVES", 8)
    assert unpack(SMALL) == LEAVES
    monkeypatch.setattr(bundle, "MAX_LEAVES", 7)
    refuse("too-many-leaves", SMALL, leaf=7)
    with pytest.raises(LedgerError, match="too-many-leaves"):
        pack(LEAVES)


def test_a_large_bundle_is_never_in_memory_as_a_whole():
    leaf, count = bytes(100_000), 200
    parts = bundle_parts(leaf for _ in range(count))
    left = b""

    def read(wanted: int) -> bytes:
        nonlocal left
        left = left or next(parts, b"")
        given_, left = left[:wanted], left[wanted:]
        return given_

    tracemalloc.start()
    try:
        assert sum(1 for _ in read_leaves(read)) == count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(leaf)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_a_file_holds_only_a_ledger_error_leaves(rest):
    for data in (rest, MAGIC + rest):
        try:
            leaves = unpack(data)
        except LedgerError:
            continue
        assert pack(leaves) == data


def test_the_committed_bundle_is_read_without_any_of_this_code():
    vectors = json.loads((FOLDER / "merkle.json").read_text(encoding="utf-8"))
    data = bytes.fromhex(vectors["bundle"])
    assert data.startswith(MAGIC)
    stream, leaves = io.BytesIO(data[len(MAGIC) :]), []
    while (length := stream.read(4)) != END:
        leaves.append(stream.read(int.from_bytes(length, "big")).hex())
    assert leaves == vectors["leaves"]
    assert stream.read() == b"\x92\x08\xc4\x20" + bytes.fromhex(vectors["roots"][8])
    assert data == pack(LEAVES)
