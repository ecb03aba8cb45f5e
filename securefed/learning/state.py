"""Model states as bytes: the safetensors format, one canonical byte string per state.

The writer fixes what the format leaves open (float64 before float32, then by name; header padded
with spaces to 8 bytes), so that a SHA-256 digest of the bytes names a model on every machine and
under every release of the safetensors library. Source: the format section of
https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, OversizedError, WireError

FloatArray = NDArray[np.float64] | NDArray[np.float32]
State = dict[str, FloatArray]

MAX_TENSORS: Final = 10_000
MAX_DIMENSIONS: Final = 8
MAX_STATE_BYTES: Final = 2**32
_MAX_HEADER_BYTES: Final = 8 * 2**20
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,200}")
_LENGTH: Final = struct.Struct("<Q")
_DTYPES: Final[dict[Literal["F64", "F32"], np.dtype[np.float64] | np.dtype[np.float32]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
}

Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_STATE_BYTES)]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: Literal["F64", "F32"]
    shape: Annotated[tuple[Size, ...], msgspec.Meta(max_length=MAX_DIMENSIONS)]
    data_offsets: tuple[Size, Size]


_HEADER: Final = msgspec.json.Decoder(dict[str, _Entry])


def _header(tensors: Mapping[str, tuple[Literal["F64", "F32"], tuple[int, ...]]]) -> bytes:
    entries: dict[str, _Entry] = {}
    start = 0
    for name in sorted(tensors, key=lambda name: (tensors[name][0] != "F64", name)):
        dtype, shape = tensors[name]
        stop = start + math.prod(shape) * _DTYPES[dtype].itemsize
        entries[name] = _Entry(dtype, shape, (start, stop))
        start = stop
    text = msgspec.json.encode(entries)
    return text + b" " * (-len(text) % 8)


def _finite(array: FloatArray) -> bool:
    # min and max carry NaN and Inf through without a temporary of the array's size.
    return not array.size or bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def state_to_bytes(state: Mapping[str, FloatArray]) -> bytes:
    """Serialise a state; equal states give equal bytes.

    Args:
        state: named float64 or float32 arrays, at most 10^4, of at most 8 dimensions.

    Raises:
        InputError: a name, dtype, number of dimensions or value that cannot be stored.
    """
    if not 1 <= len(state) <= MAX_TENSORS:
        raise InputError(f"a state has 1 to {MAX_TENSORS} arrays, this one {len(state)}")
    kinds: dict[str, tuple[Literal["F64", "F32"], tuple[int, ...]]] = {}
    for name, array in state.items():
        if not _NAME.fullmatch(name):
            raise InputError(f"{name[:40]!r}: names are 1 to 200 letters, digits, '.', '_' and '-'")
        if array.dtype not in (np.float64, np.float32) or array.ndim > MAX_DIMENSIONS:
            raise InputError(
                f"{name} is {array.dtype} with {array.ndim} dimensions; "
                f"use float64 or float32 with at most {MAX_DIMENSIONS}"
            )
        if not _finite(array):
            raise InputError(f"{name} holds NaN or Inf; the model has diverged")
        kinds[name] = ("F64" if array.dtype == np.float64 else "F32", array.shape)
    if sum(array.nbytes for array in state.values()) > MAX_STATE_BYTES:
        raise InputError(f"the state has more than {MAX_STATE_BYTES} bytes; use a smaller model")
    header = _header(kinds)
    order = sorted(kinds, key=lambda name: (kinds[name][0] != "F64", name))
    # Joined as they lie in memory: a contiguous array is copied once.
    body = (np.ascontiguousarray(state[name], dtype=_DTYPES[kinds[name][0]]).data for name in order)
    return b"".join((_LENGTH.pack(len(header)), header, *body))


def state_from_bytes(
    data: bytes | memoryview,
    *,
    sender: str = "unknown",
    step: str = "model",
    max_bytes: int = MAX_STATE_BYTES,
) -> State:
    """Read a state from hostile bytes; the arrays are read-only views of ``data``.

    Raises:
        OversizedError: longer than ``max_bytes``; nothing was allocated.
        WireError: not the canonical bytes of one finite state of bounded size.
    """
    view = memoryview(data)
    if view.nbytes > max_bytes:
        raise OversizedError(sender, step, f"a model of {view.nbytes} bytes, {max_bytes} allowed")
    if view.nbytes < _LENGTH.size:
        raise WireError(sender, step, "a model without a header")
    (length,) = _LENGTH.unpack_from(view)
    start = _LENGTH.size + length
    if length > _MAX_HEADER_BYTES or start > view.nbytes:
        raise WireError(sender, step, f"a model header of {length} bytes")
    header = bytes(view[_LENGTH.size : start])
    entries = _entries(header, sender, step)
    last = max(entry.data_offsets[1] for entry in entries.values())
    if start + last != view.nbytes:
        raise WireError(sender, step, "the model has another length than its header announces")
    state: State = {}
    for name, entry in entries.items():
        raw = view[start + entry.data_offsets[0] : start + entry.data_offsets[1]]
        array: FloatArray = (
            np.frombuffer(raw, "<f8") if entry.dtype == "F64" else np.frombuffer(raw, "<f4")
        )
        array = array.reshape(entry.shape)
        if not _finite(array):
            raise WireError(sender, step, f"{name} holds NaN or Inf")
        state[name] = array
    return state


def _entries(header: bytes, sender: str, step: str) -> dict[str, _Entry]:
    try:
        entries = _HEADER.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(sender, step, "the model header is not a safetensors header") from error
    if not 1 <= len(entries) <= MAX_TENSORS:
        raise WireError(sender, step, f"a model of {len(entries)} arrays, {MAX_TENSORS} allowed")
    if not all(_NAME.fullmatch(name) for name in entries):
        raise WireError(sender, step, "an array name of the model is not allowed")
    sizes = [_DTYPES[each.dtype].itemsize * math.prod(each.shape) for each in entries.values()]
    if sum(sizes) > MAX_STATE_BYTES:
        raise WireError(sender, step, f"a model of more than {MAX_STATE_BYTES} bytes")
    # Offsets, order, padding and spelling are all fixed by what the header describes: comparing
    # with the header that we would write ourselves leaves one byte string per state.
    if _header({name: (entry.dtype, entry.shape) for name, entry in entries.items()}) != header:
        raise WireError(sender, step, "the model header is not in canonical form")
    return entries


def state_digest(state: Mapping[str, FloatArray]) -> bytes:
    """Return the SHA-256 digest of the state's bytes, 32 bytes: the name of the model."""
    return hashlib.sha256(state_to_bytes(state)).digest()


def require_like(state: Mapping[str, FloatArray], template: Mapping[str, FloatArray]) -> None:
    """Check that a state from the coordinator has the names, shapes and dtypes of ours.

    Raises:
        WireError: it has not, so this task cannot have produced it.
    """
    ours = {name: (array.dtype, array.shape) for name, array in template.items()}
    theirs = {name: (array.dtype, array.shape) for name, array in state.items()}
    if ours != theirs:
        odd = sorted(name for name in ours.keys() | theirs if ours.get(name) != theirs.get(name))
        raise WireError(
            "coordinator", "model", f"not a state of the agreed task: see {', '.join(odd[:3])}"
        )
