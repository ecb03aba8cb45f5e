from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.seeded import Counting, forbidden, seeded
from vectors.generate import FOLDER, encoding_vectors, render

from protocols import encoding
from protocols.encoding import FixedPoint, pack, packed_size, unpack, unpack_add, word_bits_for
from protocols.errors import EncodingOverflowError, InputError, MisuseError
from protocols.prg import expand, word_type

bit_widths = st.integers(2, 64)
roundings = st.sampled_from(["nearest", "stochastic"])


def random_words(count: int, bits: int, label: object = "words") -> np.ndarray:
    return expand(seeded(label)(32), count, word_bits_for(bits))


def low(words: np.ndarray, bits: int) -> np.ndarray:
    return words & words.dtype.type(2**bits - 1)


def packed_plainly(words: np.ndarray, bits: int) -> bytes:
    """Pack as one long integer: the layout in one line."""
    total = sum(
        (word & (2**bits - 1)) << (index * bits) for index, word in enumerate(words.tolist())
    )
    return total.to_bytes((len(words) * bits + 7) // 8, "little")


def roomy(bound: float, scale: float, parties: int) -> FixedPoint:
    """Make a codec with the fewest bits that its parameters allow."""
    largest = parties * (math.floor(bound * scale) + 1)
    return FixedPoint(max(2, largest.bit_length() + 1), scale, bound, parties)


@st.composite
def codecs(draw: st.DrawFn) -> FixedPoint:
    scale = draw(st.floats(1e-3, 2.0**40))
    bound = draw(st.floats(1e-3, min(1e6, 2.0**51 / scale)))
    largest = math.floor(bound * scale) + 1
    return roomy(bound, scale, draw(st.integers(1, min(1000, (2**62) // largest))))


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[FixedPoint, np.ndarray]:
    codec = draw(codecs())
    terms = draw(st.integers(1, min(codec.parties, 6)))
    values = st.floats(-codec.bound, codec.bound)
    rows = st.lists(values, min_size=4, max_size=4)
    return codec, np.array(draw(st.lists(rows, min_size=terms, max_size=terms)))


def test_the_committed_vectors_are_what_this_code_makes() -> None:
    assert (FOLDER / "encoding.json").read_text() == render(encoding_vectors())


@settings(max_examples=100, deadline=None)
@given(cohorts())
def test_the_decoded_sum_is_the_plain_sum_of_the_rounded_integers(
    cohort: tuple[FixedPoint, np.ndarray],
) -> None:
    codec, values = cohort
    words = [codec.encode(row, rounding="nearest", random=forbidden) for row in values]
    total = np.sum(words, axis=0, dtype=words[0].dtype)
    integers = [sum(round(v * codec.scale) for v in column) for column in values.T.tolist()]
    assert codec.decode(total).tolist() == [float(i) / codec.scale for i in integers]


@settings(max_examples=100, deadline=None)
@given(codecs(), roundings, st.sampled_from([-1.0, 1.0]))
def test_all_parties_at_the_bound_do_not_wrap(
    codec: FixedPoint, rounding: str, sign: float
) -> None:
    [word] = codec.encode(
        np.array([sign * codec.bound]), rounding=rounding, random=seeded("extreme")
    ).tolist()
    total = np.array([word * codec.parties % 2**codec.word_bits], word_type(codec.word_bits))
    grid = word if word < 2 ** (codec.modulus_bits - 1) else word - 2**codec.modulus_bits
    assert sign * grid >= 0
    assert abs(grid) <= math.floor(codec.bound * codec.scale) + 1
    assert codec.decode(total)[0] == float(grid * codec.parties) / codec.scale


@settings(max_examples=60, deadline=None)
@given(codecs())
def test_one_bit_less_than_the_sum_needs_is_refused(codec: FixedPoint) -> None:
    if codec.modulus_bits == 2:
        return
    with pytest.raises(EncodingOverflowError, match=f"at least {codec.modulus_bits}"):
        FixedPoint(codec.modulus_bits - 1, codec.scale, codec.bound, codec.parties)


def test_negative_values_are_twos_complement_in_the_ring() -> None:
    codec = FixedPoint(20, 1.0, 100.0, 10)
    words = codec.encode(np.array([-1.0, -100.0, 100.0]), rounding="nearest", random=forbidden)
    assert words.tolist() == [2**20 - 1, 2**20 - 100, 100]
    assert words.dtype == np.uint32


@settings(max_examples=60, deadline=None)
@given(cohorts(), roundings)
def test_words_lie_in_the_ring_within_one_grid_unit(
    cohort: tuple[FixedPoint, np.ndarray], rounding: str
) -> None:
    codec, values = cohort
    words = codec.encode(values[0], rounding=rounding, random=seeded("unit"))
    reach = 0.5 if rounding == "nearest" else 1.0
    for word, value in zip(words.tolist(), values[0].tolist(), strict=True):
        assert 0 <= word < 2**codec.modulus_bits
        grid = word if word < 2 ** (codec.modulus_bits - 1) else word - 2**codec.modulus_bits
        assert abs(grid - value * codec.scale) <= reach


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 64), st.integers(0, 2**64 - 1))
def test_only_the_bits_that_travel_are_decoded(bits: int, noise: int) -> None:
    codec = FixedPoint(bits, 0.25, 1.0, 1)
    words = low(random_words(50, bits), bits)
    high = words.dtype.type((noise << bits) % 2**codec.word_bits)
    assert np.array_equal(codec.decode(words + high), codec.decode(words))


@pytest.mark.parametrize("bits", [2, 5, 16, 17, 32, 33, 63, 64])
def test_the_whole_ring_is_decoded_centred(bits: int) -> None:
    codec = FixedPoint(bits, 0.25, 1.0, 1)
    half = 2 ** (bits - 1)
    words = np.array([0, 1, half - 1, half, 2**bits - 1], word_type(codec.word_bits))
    expected = [0.0, 4.0, 4.0 * (half - 1), -4.0 * half, -4.0]
    assert codec.decode(words).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.999, 0.999), st.integers(-1000, 1000))
def test_stochastic_rounding_goes_up_as_often_as_the_fraction_says(
    fraction: float, whole: int
) -> None:
    # Coins spread evenly over [0, 1) turn the probability into a count.
    coins = np.arange(4096, dtype=np.uint64) << np.uint64(52)
    value = whole + fraction
    rounded = encoding._round_stochastically(np.full(4096, value), coins)
    assert set(rounded.tolist()) <= {math.floor(value), math.ceil(value)}
    assert abs(rounded.mean() - value) <= 1 / 4096


@pytest.mark.parametrize("value", [0.3, -0.3, 0.5, -0.001, 7.75])
def test_stochastic_rounding_is_unbiased(value: float) -> None:
    codec = FixedPoint(32, 1.0, 10.0, 10)
    count = 200_000
    words = codec.encode(np.full(count, value), rounding="stochastic", random=seeded(value))
    fraction = abs(value - math.trunc(value))
    deviation = math.sqrt(fraction * (1 - fraction) / count)
    assert abs(codec.decode(words).mean() - value) < 5 * deviation


def test_values_on_the_grid_are_never_moved() -> None:
    codec = FixedPoint(32, 4.0, 10.0, 10)
    values = np.tile(np.array([0.0, -0.0, 0.25, -9.75, 10.0, -10.0]), 1000)
    words = codec.encode(values, rounding="stochastic", random=seeded("grid"))
    assert np.array_equal(codec.decode(words), values)
    assert not words[0::6].any()
    assert not words[1::6].any()


def test_stochastic_rounding_draws_one_seed_and_follows_it() -> None:
    codec = FixedPoint(32, 1.0, 10.0, 10)
    values = np.linspace(-9, 9, encoding._CHUNK + 1001)
    random = Counting(seeded("a"))
    first = codec.encode(values, rounding="stochastic", random=random)
    assert random.asked == [32]
    again = codec.encode(values, rounding="stochastic", random=seeded("a"))
    other = codec.encode(values, rounding="stochastic", random=seeded("b"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # No stretch of coins is used twice.
    assert not np.array_equal(
        expand(seeded("a")(32), 1001, 64), expand(seeded("a")(32), 1001, 64, encoding._CHUNK)
    )


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize(
    ("values", "error"),
    [
        (np.array([0.0, np.nan]), InputError),
        (np.array([np.inf, 0.0]), InputError),
        (np.array([-np.inf]), InputError),
        (np.array([1.0000001]), EncodingOverflowError),
        (np.array([0.0, -1.0000001]), EncodingOverflowError),
        (np.zeros((2, 2)), InputError),
        (np.zeros(2, np.float32), InputError),
        (np.zeros(2, np.int64), InputError),
    ],
)
def test_a_refused_update_costs_no_randomness(
    values: np.ndarray, error: type[InputError], rounding: str
) -> None:
    codec = FixedPoint(32, 100.0, 1.0, 10)
    with pytest.raises(error):
        codec.encode(values, rounding=rounding, random=forbidden)


def test_a_refusal_names_no_value() -> None:
    codec = FixedPoint(32, 100.0, 1.0, 10)
    with pytest.raises(EncodingOverflowError) as caught:
        codec.encode(np.array([0.5, 173.25]), rounding="nearest", random=forbidden)
    assert "173" not in str(caught.value)
    assert "bound of 1" in str(caught.value)


def test_an_empty_update_is_encoded_as_nothing() -> None:
    codec = FixedPoint(32, 100.0, 1.0, 10)
    words = codec.encode(np.zeros(0), rounding="stochastic", random=seeded("empty"))
    assert words.shape == (0,)
    assert codec.decode(words).shape == (0,)


@pytest.mark.parametrize(
    ("bits", "scale", "bound", "parties"),
    [
        (1, 1.0, 1.0, 1),
        (65, 1.0, 1.0, 1),
        (32, 0.0, 1.0, 1),
        (32, -1.0, 1.0, 1),
        (32, math.nan, 1.0, 1),
        (32, math.inf, 1.0, 1),
        (32, 1.0, 0.0, 1),
        (32, 1.0, math.nan, 1),
        (32, 1.0, 1.0, 0),
    ],
)
def test_a_codec_without_meaning_is_refused(
    bits: int, scale: float, bound: float, parties: int
) -> None:
    with pytest.raises(MisuseError):
        FixedPoint(bits, scale, bound, parties)


def test_a_grid_finer_than_float64_is_refused() -> None:
    FixedPoint(64, 2.0**52 - 1, 1.0, 1)
    with pytest.raises(EncodingOverflowError, match=r"2\^52"):
        FixedPoint(64, 2.0**52, 1.0, 1)
    with pytest.raises(EncodingOverflowError, match=r"2\^52"):
        FixedPoint(64, 1e300, 1e300, 1)


def test_an_unknown_rounding_is_refused() -> None:
    with pytest.raises(MisuseError, match="rounding"):
        FixedPoint(32, 1.0, 1.0, 1).encode(np.zeros(1), rounding="up", random=forbidden)


def test_a_sum_of_another_width_is_not_decoded() -> None:
    with pytest.raises(MisuseError, match="32 bits"):
        FixedPoint(32, 1.0, 1.0, 1).decode(np.zeros(1, np.uint64))


@settings(max_examples=200, deadline=None)
@given(bit_widths, st.integers(0, 1100))
def test_packing_follows_the_stated_layout(bits: int, count: int) -> None:
    words = random_words(count, bits)
    wire = pack(words, bits)
    assert len(wire) == packed_size(count, bits)
    assert wire == packed_plainly(words, bits)
    assert np.array_equal(unpack(wire, bits, count), low(words, bits))


@pytest.mark.parametrize("bits", [2, 3, 11, 16, 20, 31, 33, 57, 63, 64])
def test_long_vectors_survive_packing(bits: int) -> None:
    for count in (2**16 - 1, 2**16, 2**16 + 9):
        words = random_words(count, bits)
        assert np.array_equal(unpack(memoryview(pack(words, bits)), bits, count), low(words, bits))


@settings(max_examples=100, deadline=None)
@given(bit_widths, st.integers(0, 600))
def test_folding_packed_words_in_adds_them_modulo_the_word(bits: int, count: int) -> None:
    total, words = random_words(count, bits, "total"), random_words(count, bits)
    expected = total + low(words, bits)
    unpack_add(total, memoryview(pack(words, bits)), bits)
    assert np.array_equal(total, expected)


@settings(max_examples=100, deadline=None)
@given(bit_widths, st.integers(1, 50), st.integers(-9, 9).filter(bool))
def test_packed_words_of_another_length_are_refused(bits: int, count: int, more: int) -> None:
    wire = pack(random_words(count, bits), bits)
    other = wire + bytes(more) if more > 0 else wire[:more]
    with pytest.raises(InputError, match="bytes, not"):
        unpack(other, bits, count)


@settings(max_examples=100, deadline=None)
@given(bit_widths, st.integers(1, 50))
def test_one_vector_has_one_encoding(bits: int, count: int) -> None:
    used = count * bits % 8
    if not used:
        return
    wire = bytearray(pack(random_words(count, bits), bits))
    wire[-1] |= 0x80
    total = np.zeros(count, word_type(word_bits_for(bits)))
    with pytest.raises(InputError, match="not zero"):
        unpack_add(total, memoryview(wire), bits)
    assert not total.any()


def test_a_count_that_the_bytes_do_not_bear_out_is_refused_before_allocation() -> None:
    with pytest.raises(InputError):
        unpack(b"abc", 20, 2**60)


def test_words_are_packed_at_their_own_width_only() -> None:
    with pytest.raises(MisuseError):
        pack(np.zeros(4, np.uint64), 20)
    with pytest.raises(MisuseError):
        pack(np.zeros((2, 2), np.uint32), 20)
    with pytest.raises(MisuseError):
        unpack_add(np.zeros(4, np.uint64), memoryview(bytes(10)), 20)
    with pytest.raises(MisuseError):
        packed_size(-1, 20)
    for bits in (0, 1, 65):
        with pytest.raises(MisuseError):
            packed_size(1, bits)
