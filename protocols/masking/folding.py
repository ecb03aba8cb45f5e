"""Step 3 at the coordinator: vectors into the running sum, which opens ciphertexts elsewhere."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np

from protocols.encoding import packed_size, unpack_add
from protocols.errors import InputError, MisuseError, SubmissionError
from protocols.masking.context import RoundContext
from protocols.masking.coordinator_states import Submitting
from protocols.masking.messages import Submission
from protocols.prg import Words


def fold_in(
    context: RoundContext,
    message: Submission,
    vector: bytes | memoryview,
    state: Submitting,
    model: bytes,
    name: str,
) -> None:
    """Check a vector against its signed header and the round, and add it to the running sum.

    Args:
        context: the round.
        message: the header.
        vector: the packed masked vector; where vectors are encrypted, the digest of the
            ciphertexts, which are multiplied elsewhere.
        state: the round so far.
        model: digest of the global model that this round hands out, 32 bytes.
        name: whose vector it is.

    Raises:
        SubmissionError: another roster, sharers, model, length or digest. Nothing was added.
    """
    _check_header(context, message, state, model, name)
    if context.encrypted_bytes:
        _check_digest(message, bytes(vector), name)
        return
    got, size = memoryview(vector).nbytes, packed_size(context.count, context.modulus_bits)
    if got != size:
        reason = f"{got} bytes for {message.count} values; {size} for {context.count} are agreed"
        raise SubmissionError(name, "submit", reason)
    _check_digest(message, hashlib.sha256(vector).digest(), name)
    try:
        unpack_add(state.total, memoryview(vector), context.modulus_bits)
    except InputError as error:  # raised before anything is added
        reason = "the vector has bits set after its last word"
        raise SubmissionError(name, "submit", reason) from error


def _check_header(
    context: RoundContext, message: Submission, state: Submitting, model: bytes, name: str
) -> None:
    for ours, theirs, what in (
        (state.roster_digest, message.roster, "roster"),
        (state.sharers_digest, message.sharers, "sharers"),
        (model, message.model, "model"),
    ):
        if not hmac.compare_digest(ours, theirs):
            raise SubmissionError(name, "submit", f"names another {what} than this round's")
    if message.count != context.count:
        raise SubmissionError(
            name, "submit", f"is a vector of {message.count} values, {context.count} are agreed"
        )


def _check_digest(message: Submission, vector: bytes, name: str) -> None:
    if not hmac.compare_digest(vector, message.vector):
        raise SubmissionError(name, "submit", "the vector is not the one that was signed")


def take_opened(context: RoundContext, total: Words, opened: Words | None) -> None:
    """Put the sum of encrypted vectors in the place of the running sum.

    Raises:
        MisuseError: it is missing, or there is nothing to open; or it has another shape or type.
    """
    if (opened is None) != (not context.encrypted_bytes):
        raise MisuseError("a sum is opened exactly where vectors are encrypted")
    if opened is None:
        return
    if opened.shape != total.shape or opened.dtype != total.dtype:
        raise MisuseError(f"an opened sum of {opened.dtype}, shape {opened.shape}, is not agreed")
    np.copyto(total, opened)
