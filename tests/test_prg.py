from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import seeded
from vectors.generate import FOLDER, prg_vectors, render

from parties.parallel import (
    MASKS_PER_TURN,
    MIN_RANGE,
    ThreadedRanges,
    add_masks_over,
    add_masks_parallel,
)
from protocols.errors import MisuseError, RosterError
from protocols.prg import CHUNK_BYTES, MASKS_AT_ONCE, add_masks, expand, uniform_below

SEED = bytes(range(32))
WIDTHS = (16, 32, 64)
widths = st.sampled_from(WIDTHS)


def test_a_mask_is_the_published_aes_256_keystream_from_a_zero_counter() -> None:
    # Blocks of the zero key at counters 0, 1 and 2: H, the tag of test case 13 and the ciphertext
    # of test case 14 in "The Galois/Counter Mode of Operation" (McGrew and Viega).
    published = bytes.fromhex(
        "dc95c078a2408989ad48a21492842087"
        "530f8afbc74536b9a963b4f1c4cb738b"
        "cea7403d4d606b6e074ec5d3baf39d18"
    )
    assert expand(bytes(32), 12, 32).tobytes() == published


def test_the_committed_vectors_are_what_this_code_makes() -> None:
    assert (FOLDER / "prg.json").read_text() == render(prg_vectors())


@pytest.mark.parametrize("bits", WIDTHS)
def test_words_of_every_width_are_cut_from_one_little_endian_stream(bits: int) -> None:
    stream = expand(SEED, 24, 64).tobytes()
    expected = [
        int.from_bytes(stream[low : low + bits // 8], "little")
        for low in range(0, len(stream), bits // 8)
    ]
    assert expand(SEED, len(expected), bits).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(widths, st.integers(0, 5000), st.integers(0, 300))
def test_any_range_of_a_mask_can_be_computed_alone(bits: int, start: int, count: int) -> None:
    whole = expand(SEED, 5300, bits)
    assert np.array_equal(expand(SEED, count, bits, start), whole[start : start + count])


def test_a_range_far_beyond_the_first_gigabytes_can_be_computed_alone() -> None:
    far = 2**40
    assert np.array_equal(expand(SEED, 8, 32, far)[3:], expand(SEED, 5, 32, far + 3))


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("extra", [-1, 0, 1, 12345])
def test_masks_are_added_and_subtracted_across_chunks(bits: int, extra: int) -> None:
    count = 2 * CHUNK_BYTES * 8 // bits + extra
    seeds = [seeded("chunks")(32) for _ in range(3)]
    vector = expand(b"v" * 32, count, bits)
    expected = vector + expand(seeds[0], count, bits) - expand(seeds[1], count, bits)
    expected += expand(seeds[2], count, bits)
    add_masks(vector, [(seeds[0], True), (seeds[1], False), (seeds[2], True)])
    assert np.array_equal(vector, expected)


@settings(max_examples=40, deadline=None)
@given(widths, st.lists(st.booleans(), max_size=5), st.integers(0, 400), st.randoms())
def test_pairwise_masks_cancel_in_any_order(
    bits: int, signs: list[bool], count: int, shuffler: object
) -> None:
    source = seeded("cancel")
    masks = [(source(32), sign) for sign in signs]
    both = masks + [(seed, not sign) for seed, sign in masks]
    shuffler.shuffle(both)
    vector = expand(SEED, count, bits)
    before = vector.copy()
    add_masks(vector, both)
    assert np.array_equal(vector, before)


@settings(max_examples=40, deadline=None)
@given(widths, st.lists(st.integers(0, 900), max_size=4))
def test_masking_range_by_range_is_masking_the_whole(bits: int, cuts: list[int]) -> None:
    masks = [(SEED, True), (bytes(32), False)]
    whole, ranged = np.zeros(900, f"<u{bits // 8}"), np.zeros(900, f"<u{bits // 8}")
    add_masks(whole, masks)
    edges = sorted({0, 900, *cuts})
    for start, stop in itertools.pairwise(edges):
        add_masks(ranged[start:stop], masks, start=start)
    assert np.array_equal(ranged, whole)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(MisuseError, match=f"32 bytes, not {length}"):
        expand(bytes(length), 4, 32)
    with pytest.raises(MisuseError, match="32 bytes"):
        add_masks(np.zeros(4, np.uint32), [(SEED, True), (bytes(length), True)])


def test_a_bad_seed_is_refused_before_any_mask_is_added() -> None:
    vector = np.zeros(4, np.uint32)
    with pytest.raises(MisuseError):
        add_masks(vector, [(SEED, True), (b"short", True)])
    assert not vector.any()


@pytest.mark.parametrize(
    "target",
    [
        np.zeros(4, np.int32),
        np.zeros(4, np.float64),
        np.zeros(4, np.uint8),
        np.zeros(4, ">u4"),
        np.zeros((2, 2), np.uint32),
        np.zeros(8, np.uint32)[::2],
        np.frombuffer(bytes(16), np.uint32),
    ],
    ids=["signed", "float", "bytes", "big-endian", "matrix", "strided", "read-only"],
)
def test_masks_are_added_only_to_a_flat_writable_word_vector(target: np.ndarray) -> None:
    with pytest.raises(MisuseError):
        add_masks(target, [(SEED, True)])


def test_nonsense_ranges_are_refused() -> None:
    for count, bits, start in ((-1, 32, 0), (1, 8, 0), (1, 32, -1)):
        with pytest.raises(MisuseError):
            expand(SEED, count, bits, start)


@pytest.mark.parametrize("bound", [1, 2, 3, 100, 128, 129, 255, 256])
def test_bounded_integers_have_no_modulo_bias(bound: int) -> None:
    class AnotherByteWantedError(Exception):
        pass

    taken = []
    for byte in range(256):
        draws = iter([bytes([byte])])

        def random(count: int, draws: object = draws) -> bytes:
            chunk = next(draws, None)
            if chunk is None:
                raise AnotherByteWantedError
            return chunk[:count]

        try:
            taken.append(uniform_below(bound, random))
        except AnotherByteWantedError:
            continue
    counts = np.bincount(taken, minlength=bound)
    assert counts.size == bound
    assert counts.min() == counts.max() > 0


def test_no_integer_is_below_a_bound_of_zero() -> None:
    with pytest.raises(MisuseError):
        uniform_below(0, seeded("none"))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, MIN_RANGE - 1, 3 * MIN_RANGE + 7])
def test_several_threads_give_the_very_sum_of_one(workers: int, count: int) -> None:
    masks = [(SEED, True), (bytes(32), False), (b"x" * 32, True)]
    alone, together = np.zeros(count, np.uint32), np.zeros(count, np.uint32)
    add_masks(alone, masks)
    add_masks_parallel(together, masks, workers)
    assert np.array_equal(alone, together)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_seeds_derived_on_demand_by_several_threads_are_each_added_once(
    workers: int, extra: int
) -> None:
    source = seeded("turns")
    masks = [(source(32), index % 3 > 0) for index in range(2 * workers * MASKS_PER_TURN + extra)]
    alone, together = expand(SEED, 1000, 64), expand(SEED, 1000, 64)
    add_masks(alone, masks)
    add_masks_parallel(together, (mask for mask in masks), workers)
    assert np.array_equal(alone, together)


def test_more_masks_than_ciphers_are_held_add_up() -> None:
    masks = [(SEED, True)] * (2 * MASKS_AT_ONCE + 1)
    vector = np.zeros(50, np.uint16)
    add_masks(vector, iter(masks))
    assert np.array_equal(vector, expand(SEED, 50, 16) * np.uint16(len(masks)))


def test_a_seed_that_cannot_be_derived_reaches_the_caller_of_several_threads() -> None:
    def masks() -> Iterator[tuple[bytes, bool]]:
        yield from [(SEED, True)] * (3 * MASKS_PER_TURN)
        raise RosterError("party-1", "advertise", "its X25519 key is unsound")

    with pytest.raises(RosterError, match="party-1"):
        add_masks_parallel(np.zeros(100, np.uint32), masks(), 2)


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    with ThreadedRanges(2) as ranges, pytest.raises(MisuseError, match="32 bytes"):
        add_masks_over(ranges, np.zeros(4 * MIN_RANGE, np.uint32), [(b"short", True)])


def test_ranges_cover_the_vector_once() -> None:
    seen = np.zeros(10 * MIN_RANGE + 3, np.uint8)

    def work(start: int, stop: int) -> None:
        assert stop > start
        seen[start:stop] += 1

    with ThreadedRanges(2) as ranges:
        ranges(work, seen.size)
    assert seen.min() == seen.max() == 1


def test_no_workers_are_refused() -> None:
    with pytest.raises(MisuseError):
        ThreadedRanges(0)
