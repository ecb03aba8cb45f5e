"""Poisson sampling: each person joins a round independently, in secret.

The amplification that the accountants count on holds only while nobody learns who was sampled, or
how many: the result, and its length, stay inside the party.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError, PrivacyParameterError
from protocols.prg import SEED_BYTES, RandomBytes, expand

_WORD_BITS: Final = 64
_CHUNK: Final = 2**16


def poisson_sample(people: int, sampling_rate: float, random: RandomBytes) -> NDArray[np.int64]:
    """Draw who takes part.

    Args:
        people: number of people, >= 0.
        sampling_rate: q, in (0, 1]. A person joins with probability q rounded down to a multiple of
            2^-64, never with a larger one.
        random: asked once, for the key of 32 bytes that decides everything.

    Returns:
        Their numbers, rising, shape (sampled,), each in ``range(people)``.

    Raises:
        MisuseError: ``people`` is negative.
        PrivacyParameterError: the rate is not a probability above 0.
    """
    if people < 0:
        raise MisuseError(f"cannot sample from {people} people")
    if not 0 < sampling_rate <= 1:
        raise PrivacyParameterError(
            "sampling_rate", f"{sampling_rate} is not a probability above 0"
        )
    seed = random(SEED_BYTES)
    limit = int(Fraction(sampling_rate) * 2**_WORD_BITS)
    if limit == 2**_WORD_BITS:
        return np.arange(people, dtype=np.int64)
    chosen = [
        np.flatnonzero(expand(seed, min(_CHUNK, people - low), _WORD_BITS, low) < np.uint64(limit))
        + low
        for low in range(0, people, _CHUNK)
    ]
    return np.concatenate(chosen).astype(np.int64) if chosen else np.empty(0, np.int64)
