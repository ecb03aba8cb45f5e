"""Beside the functions of Flower that do the same work, in the same process.

Flower shares a secret in blocks of 16 bytes, here three with the padding, and expands a mask by
numpy's Mersenne Twister from 32 bits of seed, which is no cryptographic generator: the comparison
is one of speed alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from masking_rounds.report import installed
from protocols.prg import add_masks
from protocols.secret_sharing import combine, lagrange_at_zero, split

HOLDERS, THRESHOLD = 100, 51


def beside_flower(count: int, repeats: int) -> dict[str, Any] | None:
    """Time sharing, combining and masks of both, by CPU time of all threads.

    Args:
        count: words of a mask.
        repeats: turns behind each median.

    Returns:
        Median seconds of each and the ratio, or nothing where Flower is not installed.
    """
    if installed("flwr") is None:
        return None
    from flwr.common.secure_aggregation.crypto.shamir import (  # noqa: PLC0415  # optional
        combine_shares,
        create_shares,
    )
    from flwr.common.secure_aggregation.secaggplus_utils import (  # noqa: PLC0415  # optional
        pseudo_rand_gen,
    )

    secret, points = secrets.token_bytes(32), list(range(1, HOLDERS + 1))
    theirs = create_shares(secret, THRESHOLD, HOLDERS)[:THRESHOLD]
    ours = split([secret], threshold=THRESHOLD, points=points, random=secrets.token_bytes)
    helped = [ours[0][:THRESHOLD]]
    vector, their_vector = np.zeros(count, np.uint32), np.zeros(count, np.int64)
    seed = secrets.token_bytes(32)

    def their_mask() -> None:
        np.add(their_vector, pseudo_rand_gen(seed, 1 << 32, [(count,)])[0], out=their_vector)

    def our_combine() -> list[bytes]:
        lagrange_at_zero.cache_clear()
        return combine(helped, points[:THRESHOLD])

    if combine_shares(theirs) != secret or our_combine() != [secret]:
        raise SystemExit("the shares did not recover the secret")
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        f"share a secret, {THRESHOLD} of {HOLDERS}": (
            lambda: create_shares(secret, THRESHOLD, HOLDERS),
            lambda: split([secret], threshold=THRESHOLD, points=points, random=secrets.token_bytes),
        ),
        f"combine a secret, {THRESHOLD} of {HOLDERS}": (
            lambda: combine_shares(theirs),
            our_combine,
        ),
        f"expand and add a mask of {count} words": (
            their_mask,
            lambda: add_masks(vector, [(seed, True)]),
        ),
    }
    return {name: _compare(*both, repeats) for name, both in pairs.items()}


def _compare(
    theirs: Callable[[], object], ours: Callable[[], object], repeats: int
) -> dict[str, float]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, into in zip((theirs, ours), seconds, strict=True):
            start = process_time()
            run()
            into.append(process_time() - start)
    flower, securefed = (median(values) for values in seconds)
    return {
        "flower_seconds": flower,
        "flower_best": min(seconds[0]),
        "securefed_seconds": securefed,
        "securefed_best": min(seconds[1]),
        "times_as_fast": flower / securefed,
    }
