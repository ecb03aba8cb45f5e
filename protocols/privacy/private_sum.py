"""One party's part of a noised sum, whole: sample, clip, quantise, add up, noise.

Nothing between the data and the masked vector is left to the task: it only says, for the people
that were sampled here, what each of them contributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError
from protocols.prg import RandomBytes, Words
from protocols.privacy.clipping import GridClip, sum_of_people
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noised_words import noised_words
from protocols.privacy.sampling import poisson_sample

Vectors = Callable[[NDArray[np.int64]], Iterable[NDArray[np.floating[Any]]]]
"""From the numbers of the sampled people, none too, to blocks of their vectors, one row each,
together exactly as many rows as people."""


def private_words(
    vectors: Vectors,
    *,
    people: int,
    most_people: int,
    sampling_rate: float,
    clip: GridClip,
    share: DiscreteGaussian,
    modulus_bits: int,
    random: RandomBytes,
) -> Words:
    """Return what a party masks and submits in one round.

    Args:
        vectors: computes the vectors of the people that are sampled, float32 or float64.
        people: how many this party has; units of the guarantee.
        most_people: agreed most of all parties together; the ring is sized for them.
        sampling_rate: q, in (0, 1].
        clip: norm and grid.
        share: noise that this party adds.
        modulus_bits: of the ring.
        random: secret and cryptographically secure.

    Returns:
        Words, shape ``(clip.length + METER_VALUES,)``.

    Raises:
        InputError: more people than agreed, or ``vectors`` gave another number of rows or values.
    """
    if not 0 <= people <= most_people:
        raise InputError(
            f"this party has {people} people, the agreement allows {most_people} in all parties "
            "together; leave some out, or agree on more"
        )
    chosen = poisson_sample(people, sampling_rate, random)
    total = np.zeros(clip.length, np.int64)
    rows = 0
    # Asked even for nobody: a model that the task refuses would else tell whether somebody was
    # sampled, by who leaves the round.
    for block in vectors(chosen):
        rows += len(block)
        # Checked before a block is used: a task that returns too many rows for its people
        # would let somebody count twice.
        if rows > chosen.size:
            break
        total += sum_of_people(block, clip, random).values
    if rows != chosen.size:
        # How many were sampled stays secret, so the text does not say it.
        raise InputError("the task did not return exactly one vector for each sampled person")
    return noised_words(total, share, modulus_bits=modulus_bits, random=random)
