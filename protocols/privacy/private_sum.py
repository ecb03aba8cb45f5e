"""One party's part of a noised sum, whole: sample, clip, quantise, add up, noise.

Nothing between the data and the masked vector is left to the task: it only says, for the people
that were sampled here, what each of them contributes.

A person for whom it says nothing counts as zero. To leave the round would tell that such a person
is there, and zeros for everybody would move the sum by more than one person may. So where a task
fails, it is asked again for one half of the people and for the other, down to the people on whose
own rows it fails. Why that is covered by the accounting: ``docs/theory/unusable-rows.md``.
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
"""From the numbers of some people, none too, to blocks of their vectors, one row each, together
exactly as many rows as people. Whether it fails for a person depends on that person alone."""

NoteFailure = Callable[[Exception], None]
"""Told why somebody counts as zero; for this party's own people alone."""


def private_words(
    vectors: Vectors,
    *,
    people: int,
    sampling_rate: float,
    clip: GridClip,
    share: DiscreteGaussian,
    modulus_bits: int,
    random: RandomBytes,
    failed: NoteFailure,
) -> Words:
    """Return what a party masks and submits in one round.

    How many people there are is not compared with the agreed number: whoever has too many is told
    before the first round, not by leaving one. Beyond it a sum may wrap, which spoils it and tells
    nothing, as it is a function of the noised sum.

    Args:
        vectors: computes people's vectors, float32 or float64. Asked for nobody first: what it
            raises then ends the round. What it raises later does not, and it is asked again for
            fewer people.
        people: how many this party has; units of the guarantee.
        sampling_rate: q, in (0, 1].
        clip: norm and grid.
        share: noise that this party adds.
        modulus_bits: of the ring.
        random: secret and cryptographically secure.
        failed: called for each sampled person for whom ``vectors`` raised, or made no vector of
            the right form. What it raises is not caught.

    Returns:
        Words, shape ``(clip.length + METER_VALUES,)``.

    Raises:
        InputError: ``vectors`` made a vector for nobody.
        Exception: whatever ``vectors`` raised when it was asked for nobody.
    """
    _check(vectors)
    chosen = poisson_sample(people, sampling_rate, random)
    total = _sum_of_usable(vectors, chosen, clip, random, failed)
    return noised_words(total, share, modulus_bits=modulus_bits, random=random)


def _check(vectors: Vectors) -> None:
    """Let a model be refused before anybody is sampled: who leaves a round then tells nothing."""
    if any(len(block) for block in vectors(np.empty(0, np.int64))):
        raise InputError("the task made a vector for nobody; it makes one for each person")


def _sum_of_usable(
    vectors: Vectors,
    chosen: NDArray[np.int64],
    clip: GridClip,
    random: RandomBytes,
    failed: NoteFailure,
) -> NDArray[np.int64]:
    """Add up the people whose own rows do not fail, each with a norm of at most Delta."""
    total = np.zeros(clip.length, np.int64)
    waiting = [chosen] if chosen.size else []
    while waiting:
        group = waiting.pop()
        found = _attempt(vectors, group, clip, random)
        if not isinstance(found, Exception):
            total += found
        elif group.size > 1:
            waiting += [group[group.size // 2 :], group[: group.size // 2]]
        else:
            # As a vector that is not finite: zeros, and not within the clip norm.
            total[-1] -= clip.indicator
            failed(found)
    return total


def _attempt(
    vectors: Vectors, group: NDArray[np.int64], clip: GridClip, random: RandomBytes
) -> NDArray[np.int64] | Exception:
    """Add up a whole group, or nothing of it."""
    total = np.zeros(clip.length, np.int64)
    rows = 0
    try:
        for block in vectors(group):
            rows += len(block)
            # Nobody may count twice.
            if rows > group.size:
                break
            total += sum_of_people(block, clip, random).values
    except Exception as error:  # noqa: BLE001 - whatever the task raises is about somebody's row
        return error
    if rows != group.size:
        # How many were sampled stays secret, so the text does not say it.
        return InputError("the task did not return exactly one vector for each person")
    return total
