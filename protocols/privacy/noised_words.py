"""The noised sum of one party as ring words, and the federation's sum back as integers.

The last step before masking and the first after unmasking: clipped sum, noise share and noise meter
are one integer vector, added in Z and reduced modulo 2^b once.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from protocols.packing import check_bits, word_bits_for
from protocols.prg import RandomBytes, Ranges, Words, word_type
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noise_meter import METER_VALUES


def noised_words(
    total: NDArray[np.int64],
    share: DiscreteGaussian,
    *,
    modulus_bits: int,
    random: RandomBytes,
    meter: int = METER_VALUES,
    ranges: Ranges | None = None,
) -> Words:
    """Append the meter, add this party's noise share and reduce modulo 2^modulus_bits.

    Args:
        total: sum over this party's people, int64, shape (d,), grid units.
        share: this party's share of the noise.
        modulus_bits: 2..64.
        random: asked once, for the key of the noise. The key is used up: never draw from it again.
        meter: coordinates of noise alone, appended; 0 for none.
        ranges: how to partition the drawing of noise.

    Returns:
        Words, shape (d + meter,), in ``[0, 2^modulus_bits)``: what masks are added to.

    Raises:
        MisuseError: another shape or dtype, or ``modulus_bits`` out of range.
    """
    check_bits(modulus_bits)
    if total.dtype != np.int64 or total.ndim != 1 or meter < 0:
        raise MisuseError("a sum to be noised is a flat int64 array")
    noised = share.sample(total.size + meter, random, ranges=ranges)
    noised[: total.size] += total
    words = noised.view(np.uint64)
    words &= np.uint64(2**modulus_bits - 1)
    return words.astype(word_type(word_bits_for(modulus_bits)))


def centred(words: Words, modulus_bits: int) -> NDArray[np.int64]:
    """Return the representatives in ``[-2^(b-1), 2^(b-1))`` of a sum in the ring.

    Args:
        words: as :func:`noised_words` makes them, added up; only the low ``modulus_bits`` count.
        modulus_bits: b, 2..64.

    Raises:
        MisuseError: ``modulus_bits`` out of range.
    """
    check_bits(modulus_bits)
    spare = 64 - modulus_bits
    wide = words.astype(np.uint64)
    wide <<= np.uint64(spare)
    return wide.view(np.int64) >> np.int64(spare)


def least_modulus_bits(*, people: int, sensitivity: int, sum_variance: Fraction) -> int:
    """Return the least b for which the noised sum wraps with probability below 2^-100 a value.

    Args:
        people: most people in one sum, over all parties.
        sensitivity: Delta, grid units.
        sum_variance: variance of all parties' noise together, squared grid units.
    """
    # 12 standard deviations: a Gaussian tail of 2^-107.
    largest = people * sensitivity + math.isqrt(math.ceil(144 * sum_variance)) + 1
    return max(2, largest.bit_length() + 1)
