"""Attacks on rounds that encrypt: what opened lanes tell, and what puts honest nodes out."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.encrypted import HOLDER, ROUNDS, EncryptedFederation, forget_keys
from support.seeded import seeded
from support.trustees import dealt

from parties.coordinator import hearing
from parties.coordinator.cipher import RoundOpening
from protocols.identity import Identity
from protocols.packing import word_bits_for
from protocols.paillier.fixed_base import FixedBase
from protocols.paillier.obfuscators import Powers, make_obfuscators
from protocols.paillier.threshold import combine, partial_decryption
from protocols.paillier.threshold_context import OpeningContext
from protocols.paillier.threshold_knowledge import plaintext_knowledge
from protocols.paillier.threshold_product import SubmittedProduct
from protocols.paillier.vectors import encrypt_vector, lanes_of, read_sum
from protocols.prg import word_type
from protocols.wire import Packet

PARTIES = ("alpha", "bravo", "charlie", "delta")
VALUES = 3


@pytest.fixture(scope="module", autouse=True)
def _keys() -> Iterator[None]:
    yield
    forget_keys()


@lru_cache
def tables() -> Powers:
    return FixedBase.build(dealt(3, 2)[0].public, expected=100).powers


def identity(name: str) -> Identity:
    return Identity(name, hashlib.sha256(name.encode()).digest())


def facts(ring_bits: int) -> OpeningContext:
    key, _ = dealt(3, 2)
    members = tuple(identity(name).public for name in PARTIES)
    trustees = tuple(identity(name).public for name in ("tango", "uniform", "victor"))
    context = OpeningContext(
        hashlib.sha256(b"agreement").digest(),
        1,
        identity("coordinator").public,
        members,
        trustees,
        key,
        min_cohort=2,
        count=1,
        summands=len(PARTIES),
        max_message_bytes=2**16,
        model=hashlib.sha256(b"model").digest(),
    )
    assert lanes_of(context, ring_bits).plaintexts(VALUES) == 1
    return context


def opened(ring_bits: int, vectors: list[list[int]]) -> list[int]:
    """The plaintexts that a coordinator reads of these parties' values."""
    context, shares = facts(ring_bits), dealt(3, 2)[1]
    key, random = context.key, seeded("attack")
    product = SubmittedProduct(context, plaintext_knowledge(context))
    for name, values in zip(PARTIES, vectors, strict=False):
        words = np.array([value % 2**ring_bits for value in values], np.uint64)
        words = words.astype(word_type(word_bits_for(ring_bits)))
        product.receive(
            *encrypt_vector(
                context,
                identity(name),
                words,
                ring_bits,
                take=lambda count: make_obfuscators(
                    key.public, count, random=random, powers=tables()
                ),
                random=random,
            )
        )
    partials = [partial_decryption(key, share, product.values) for share in shares[:2]]
    return combine(key, product.values, partials)


RINGS = st.sampled_from([8, 16, 24, 32, 64])


@settings(max_examples=12)
@given(RINGS, st.data())
def test_what_is_opened_is_the_same_for_all_values_of_one_sum_whatever_their_signs(bits, data):
    limit = 2 ** (bits - 1) // len(PARTIES) - 1
    own = st.lists(st.integers(-limit, limit), min_size=VALUES, max_size=VALUES)
    first, second, third = (data.draw(own) for _ in range(3))
    # Another two parties' values with the same sum: one is as negative as it can be.
    low = [max(-limit, a + b - limit) for a, b in zip(first, second, strict=True)]
    high = [a + b - c for a, b, c in zip(first, second, low, strict=True)]
    assert opened(bits, [first, second, third]) == opened(bits, [low, high, third])


@pytest.mark.parametrize("parties", [2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16, 24, 32, 64])
def test_a_sum_of_signed_values_is_read_as_it_is_in_the_ring(bits, parties):
    limit = 2 ** (bits - 1) // len(PARTIES) - 1
    vectors = [[-limit, limit, place - 1] for place in range(parties)]
    values = opened(bits, vectors)
    words = read_sum(facts(bits), values, bits, VALUES, vectors=parties)
    expected = [sum(column) % 2**bits for column in zip(*vectors, strict=True)]
    assert words.tolist() == expected
    assert words.dtype == word_type(word_bits_for(bits))


@pytest.mark.parametrize(
    ("mode", "name", "step"),
    [
        ("paillier", "party-1", "encrypt"),
        ("layered", "party-1", "submit"),
        ("layered", "party-1", "decrypt"),
        ("key holder", HOLDER, "decrypt"),
    ],
)
def test_a_word_that_comes_one_round_late_puts_nobody_out_of_the_next_round(mode, name, step):
    late: list[Packet] = []

    def lie(made, sender, receiver, packet):
        envelope = packet.envelope
        if envelope.step == "open" and envelope.round == 2 and not late:
            late.append(made.word(name, step, 1))
            made.tell_hub(name, late[0])
        return packet

    made = EncryptedFederation(mode, lie)
    report = made.play()
    assert [one.survivors for one in report.records] == [tuple(made.names)] * ROUNDS
    assert made.refusals("coordinator") == [f"{name} at {step}: belongs to round 1, not 2"]
    assert made.told("coordinator", "left-round") == []


def test_a_key_holder_that_was_lost_for_long_is_sent_every_vector_all_the_same():
    def lie(made, sender, receiver, packet):
        if (sender, packet.envelope.step, packet.envelope.round) == ("party-1", "submit", 1):
            # The coordinator hears of these two before and after the vector, and waits not at all.
            made.cut(HOLDER)
            asyncio.get_running_loop().call_soon(made.resume, HOLDER)
        return packet

    made = EncryptedFederation("key holder", lie, grace_seconds=0.0)
    report = made.play()
    assert made.refusals(HOLDER) == []
    assert [one.survivors for one in report.records] == [tuple(made.names)] * ROUNDS


def test_vectors_that_came_in_time_count_however_long_those_before_them_are_checked(monkeypatch):
    skipped, held = [0.0], []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + skipped[0])
    monkeypatch.setattr(hearing, "time", clock)
    examine = RoundOpening.examine

    def slow(self, *vector):
        skipped[0] += 6.0  # of the 10 seconds of a step: two of these are longer than it
        return examine(self, *vector)

    monkeypatch.setattr(RoundOpening, "examine", slow)

    def lie(made, sender, receiver, packet):
        if packet.envelope.step != "submit":
            return packet
        held.append(packet)
        if len(held) == len(made.names):
            for one in held:
                made.tell_hub(one.envelope.sender, one)
            held.clear()
        return None

    made = EncryptedFederation("layered", lie)
    report = made.play()
    assert [one.survivors for one in report.records] == [tuple(made.names)] * ROUNDS
