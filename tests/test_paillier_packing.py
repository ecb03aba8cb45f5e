"""Lanes: no carry ever crosses one, and every vector comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.encoding import word_bits_for
from protocols.errors import InputError, MisuseError
from protocols.paillier.integers import mpz
from protocols.paillier.packing import Lanes
from protocols.prg import Words, word_type

RINGS = st.integers(2, 64)
SUMMANDS = st.one_of(st.integers(1, 300), st.sampled_from([1, 2, 3, 4, 100, 2**16, 2**20 + 1]))
MODULI = st.sampled_from([256, 512, 2048, 3072])


def words_of(values: list[int], ring_bits: int) -> Words:
    return np.array(values, word_type(word_bits_for(ring_bits)))


def vector(count: int, ring_bits: int, seed: int) -> Words:
    kind = word_type(word_bits_for(ring_bits))
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**ring_bits, count, kind, endpoint=False)


def by_hand(words: Words, lanes: Lanes) -> list[int]:
    """The plain definition, lane by lane."""
    step = lanes.lanes
    return [
        sum(int(w) << index * lanes.lane_bits for index, w in enumerate(words[low : low + step]))
        for low in range(0, words.size, step)
    ]


@settings(max_examples=150, deadline=None)
@given(RINGS, SUMMANDS, MODULI, st.integers(0, 400), st.integers(0, 2**32))
@example(16, 100, 2048, 1, 0)
@example(64, 100, 2048, 29, 1)
@example(64, 128, 2048, 64, 1)
@example(2, 1, 256, 300, 2)
def test_packing_is_the_plain_definition_and_unpacking_its_inverse(
    ring_bits, summands, modulus_bits, count, seed
):
    lanes = Lanes(ring_bits, summands, modulus_bits)
    words = vector(count, ring_bits, seed)
    packed = lanes.pack(words)
    assert packed == by_hand(words, lanes)
    assert len(packed) == lanes.plaintexts(count)
    assert np.array_equal(lanes.unpack(packed, count), words)


@settings(max_examples=150, deadline=None)
@given(RINGS, SUMMANDS, MODULI, st.integers(1, 200), st.data())
def test_the_largest_sum_carries_into_no_lane_and_stays_below_the_modulus(
    ring_bits, summands, modulus_bits, count, data
):
    lanes = Lanes(ring_bits, summands, modulus_bits)
    largest = 2**ring_bits - 1
    full = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    words = words_of([largest if one else 0 for one in full], ring_bits)
    totals = [value * summands for value in lanes.pack(words)]
    expected = (np.array(full, object) * largest * summands) % 2**ring_bits
    assert lanes.unpack(totals, count).tolist() == expected.tolist()
    # The sum in the integers, not only modulo the ring, lies in its own lane.
    for total, low in zip(totals, range(0, count, lanes.lanes), strict=True):
        assert total < 2 ** (modulus_bits - 1)
        for index, one in enumerate(full[low : low + lanes.lanes]):
            lane = int(total) >> index * lanes.lane_bits & (1 << lanes.lane_bits) - 1
            assert lane == summands * largest * one


@settings(max_examples=60, deadline=None)
@given(RINGS, st.integers(1, 12), st.integers(0, 150), st.integers(0, 2**32))
def test_a_sum_of_packed_vectors_is_the_sum_in_the_ring(ring_bits, summands, count, seed):
    lanes = Lanes(ring_bits, summands, 512)
    vectors = [vector(count, ring_bits, seed + index) for index in range(summands)]
    totals = [sum(column) for column in zip(*map(lanes.pack, vectors), strict=True)]
    wanted = sum(one.astype(object) for one in vectors) % 2**ring_bits
    assert lanes.unpack(totals, count).tolist() == wanted.tolist()


def test_words_are_taken_modulo_the_ring():
    lanes = Lanes(12, 100, 512)
    words = np.array([0xFFFF, 0x1000, 0x0FFF], "<u2")
    assert lanes.unpack(lanes.pack(words), 3).tolist() == [0xFFF, 0, 0xFFF]


def test_as_many_lanes_as_fit_are_used():
    assert (Lanes(16, 100, 2048).lane_bits, Lanes(16, 100, 2048).lanes) == (23, 89)
    assert (Lanes(17, 100, 2048).lane_bits, Lanes(17, 100, 2048).lanes) == (24, 85)
    assert Lanes(16, 1, 2048).lane_bits == 16
    assert Lanes(16, 128, 2048).lane_bits == 23
    assert Lanes(16, 129, 2048).lane_bits == 24


def test_a_million_words_come_back():
    lanes = Lanes(17, 100, 2048)
    words = vector(1_000_000, 17, 1)
    assert np.array_equal(lanes.unpack(lanes.pack(words), words.size), words)


@pytest.mark.parametrize("facts", [(1, 2, 2048), (65, 2, 2048), (16, 0, 2048), (64, 2, 64)])
def test_lanes_that_cannot_be_are_refused(facts):
    with pytest.raises(MisuseError):
        Lanes(*facts)


def test_words_of_another_width_or_shape_are_refused():
    lanes = Lanes(16, 100, 2048)
    for words in (np.zeros(3, "<u4"), np.zeros((2, 2), "<u2"), np.zeros(3, "<i2")):
        with pytest.raises(MisuseError, match="packed"):
            lanes.pack(words)
    with pytest.raises(MisuseError, match="cannot pack"):
        lanes.plaintexts(-1)


@pytest.mark.parametrize("count", [0, 88, 90, 178, 180])
def test_another_number_of_plaintexts_is_refused(count):
    lanes = Lanes(16, 100, 2048)
    packed = lanes.pack(vector(89 if count < 100 else 179, 16, 0))
    if lanes.plaintexts(count) == len(packed):
        packed = packed[1:]
    with pytest.raises(InputError, match="plaintexts"):
        lanes.unpack(packed, count)


def test_a_plaintext_beyond_its_lanes_is_refused():
    lanes = Lanes(16, 100, 2048)
    top, last = lanes.lanes * lanes.lane_bits, 10 * lanes.lane_bits
    good = lanes.pack(vector(lanes.lanes + 10, 16, 0))
    for bad in (
        [good[0] + (mpz(1) << top), good[1]],
        [good[0], good[1] + (mpz(1) << last)],
        [mpz(-1), good[1]],
        [good[0], mpz(-1)],
    ):
        with pytest.raises(InputError, match="more than the lanes"):
            lanes.unpack(bad, lanes.lanes + 10)
