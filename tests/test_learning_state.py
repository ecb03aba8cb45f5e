import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocols.errors import InputError, MisuseError, OversizedError, WireError
from securefed.learning import Layout, state_digest, state_from_bytes, state_to_bytes
from securefed.learning.state import MAX_TENSORS, require_like

FINITE = {"allow_nan": False, "allow_infinity": False}
ARRAYS = st.one_of(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, min_side=0), elements=st.floats(**FINITE)),
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=0, min_side=0), elements=st.floats(width=32, **FINITE)
    ),
)
STATES = st.dictionaries(
    st.text("abcXYZ019._-", min_size=1, max_size=8), ARRAYS, min_size=1, max_size=5
)
EXAMPLE = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32), "c": np.array(7.0)}


def with_header(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@given(STATES)
@settings(max_examples=60, deadline=None)
def test_a_state_survives_its_bytes(state):
    raw = state_to_bytes(state)
    back = state_from_bytes(raw)
    assert set(back) == set(state)
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    assert state_to_bytes(back) == raw


@given(STATES)
@settings(max_examples=40, deadline=None)
def test_the_safetensors_library_reads_what_we_write_and_writes_what_we_read(state):
    read = safetensors.numpy.load(state_to_bytes(state))
    for name, array in state.items():
        np.testing.assert_array_equal(read[name], array)
    written = safetensors.numpy.save({name: np.array(a, order="C") for name, a in state.items()})
    assert written == state_to_bytes(state)


def test_equal_states_have_one_digest_whatever_their_order_or_memory_layout():
    turned = {name: np.array(EXAMPLE[name], order="F") for name in ("c", "a", "b")}
    assert state_digest(turned) == state_digest(EXAMPLE)
    assert state_digest(EXAMPLE | {"c": np.array(8.0)}) != state_digest(EXAMPLE)
    assert state_digest(EXAMPLE).hex() == (
        "c231d2aa59ce47c599b44ec4bd2d669879ef3916e0b26de7df88d5687ad7ccfb"
    )


def test_a_state_that_cannot_be_stored_is_refused():
    for state, reason in (
        ({}, "1 to"),
        ({"x": np.array([1, 2])}, "int64"),
        ({"x": np.zeros(2, np.float16)}, "float16"),
        ({"x": np.zeros((1,) * 9)}, "9 dimensions"),
        ({"x": np.array([np.nan])}, "NaN or Inf"),
        ({"x": np.array([np.inf], np.float32)}, "NaN or Inf"),
        ({"x/y": np.zeros(1)}, "names are"),
        ({"x" * 201: np.zeros(1)}, "names are"),
        ({str(i): np.zeros(1) for i in range(MAX_TENSORS + 1)}, "1 to"),
    ):
        with pytest.raises(InputError, match=reason):
            state_to_bytes(state)


def test_an_oversized_model_is_refused_before_it_is_parsed():
    with pytest.raises(OversizedError, match="101 bytes, 100 allowed"):
        state_from_bytes(bytes(101), max_bytes=100)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(7),
        struct.pack("<Q", 2**63) + b"{}",
        with_header(b"not json"),
        with_header({}),
        with_header({"x": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
        with_header({"x": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}}, bytes(8)),
        with_header({"x": {"dtype": "F64", "shape": [2**31] * 8, "data_offsets": [0, 8]}}),
        with_header({"x": {"dtype": "F64", "shape": [1] * 9, "data_offsets": [0, 8]}}, bytes(8)),
        with_header({"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8], "y": 1}}),
        with_header({"__metadata__": {"x": "y"}}),
        state_to_bytes({"x": np.zeros(2)})[:-1],
        state_to_bytes({"x": np.zeros(2)}) + b"\0",
        state_to_bytes({"x": np.zeros(1)})[:-8] + struct.pack("<d", float("nan")),
        state_to_bytes({"x": np.zeros(1)})[:-8] + struct.pack("<d", float("inf")),
        state_to_bytes({"x": np.zeros(1)}).replace(b'"x"', b'"\xff"'),
        state_to_bytes({"x": np.zeros(1)}).replace(b'"x"', b'"/"'),
        state_to_bytes({"x": np.zeros(1)}).replace(b":[1]", b":[ 1]"),
    ],
)
def test_bytes_that_are_no_canonical_state_are_refused_and_name_the_sender(raw):
    with pytest.raises(WireError, match="coordinator at model"):
        state_from_bytes(raw, sender="coordinator")


def test_more_arrays_than_allowed_are_refused():
    entry = {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}
    raw = with_header({f"{i:05d}": entry for i in range(MAX_TENSORS + 1)})
    with pytest.raises(WireError, match="10001 arrays"):
        state_from_bytes(raw)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_never_give_a_second_spelling_of_a_state(data):
    raw = bytearray(state_to_bytes(EXAMPLE))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        state = state_from_bytes(bytes(raw))
    except WireError:
        return
    assert state_to_bytes(state) == bytes(raw)


def test_a_received_state_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        state_from_bytes(state_to_bytes(EXAMPLE))["b"][0] = 1.0


def test_a_state_of_other_shapes_names_the_odd_arrays():
    require_like(EXAMPLE, EXAMPLE)
    for other in ({"b": np.zeros(4)}, {"c": np.float32(1).reshape(())}, {"d": np.zeros(1)}):
        with pytest.raises(WireError, match=next(iter(other))):
            require_like(EXAMPLE | other, EXAMPLE)


SHAPES = st.dictionaries(
    st.text("abc", min_size=1), hnp.array_shapes(min_dims=0, max_dims=3), min_size=1, max_size=4
)


@given(SHAPES, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_unflatten_undoes_flatten(shapes, seed):
    layout = Layout.of(shapes)
    vector = np.random.default_rng(seed).normal(size=layout.size)
    arrays = layout.unflatten(vector)
    assert {name: array.shape for name, array in arrays.items()} == shapes
    np.testing.assert_array_equal(layout.flatten(arrays), vector)
    assert layout.flatten(layout.zeros()).sum() == 0


def test_a_contribution_that_does_not_fit_its_layout_is_refused():
    layout = Layout.of({"sum": (2,), "rows": ()})
    for values, reason in (
        ({"sum": np.zeros(2)}, "layout says"),
        ({"sum": np.zeros(2), "rows": np.zeros(()), "more": np.zeros(1)}, "layout says"),
        ({"sum": np.zeros(3), "rows": np.zeros(())}, "sum has shape"),
        ({"sum": np.array([1, np.nan]), "rows": np.zeros(())}, "not finite"),
    ):
        with pytest.raises(InputError, match=reason):
            layout.flatten(values)
    with pytest.raises(InputError, match="shape"):
        layout.unflatten(np.zeros(4))
    for shapes in ({}, {"x": (0,)}, {"x": (-1,)}):
        with pytest.raises(MisuseError, match="at least one value"):
            Layout.of(shapes)
