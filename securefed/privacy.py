"""Checks of privacy that a user runs: the empirical lower bound beside the proven upper one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MisuseError
from protocols.prg import RandomBytes
from protocols.privacy.accounting import epsilon
from protocols.privacy.canary_bound import epsilon_lower_bound
from protocols.privacy.clipping import GridClip
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.mechanisms import DiscreteGaussian
from protocols.privacy.noise_meter import METER_VALUES
from protocols.privacy.noised_words import centred, least_modulus_bits
from protocols.privacy.private_sum import private_words

_DIMENSION = 64
_CLIP_NORM = 1.0
_GRID_NORM = 2.0**14


@dataclass(frozen=True, slots=True)
class CanaryAudit:
    """What an attacker that knows every canary learns from what was released.

    Attributes:
        epsilon_lower: no epsilon below this one describes what was released, with ``confidence``.
        epsilon_proven: what the accountant says of the configuration.
        delta: of both.
        confidence: with which the lower bound holds.
        canaries: planted, each with probability one half.
        guesses: that the attacker made.
        right: that were right.
    """

    epsilon_lower: float
    epsilon_proven: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    right: int

    @property
    def passed(self) -> bool:
        """Whether the proven bound survives: the attack refutes nothing below it."""
        return self.epsilon_lower <= self.epsilon_proven


Tamper = Callable[[DiscreteGaussian], DiscreteGaussian | None]
"""From the share that a party should add to the one that it adds; ``None`` is no noise at all."""


def audit_canaries(
    noise_multiplier: float,
    *,
    sampling_rate: float = 1.0,
    rounds: int = 1,
    honest: int = 3,
    delta: float = 1e-5,
    canaries: int = 100_000,
    guesses: int = 1000,
    confidence: float = 0.95,
    random: RandomBytes = secrets.token_bytes,
    tamper: Tamper | None = None,
) -> CanaryAudit:
    """Attack the very code that a party runs, and bound its epsilon from below.

    Canaries are people of one party, each with a coordinate of its own and a vector of exactly the
    clip norm: the most visible people there can be. They are planted by fair coins in many sums of
    64 values, each canary in one of them only, so that all sums together cost what one does. The
    attacker sees the sums and bets on the canaries with the most extreme coordinates.

    Args:
        noise_multiplier: z of every sum.
        sampling_rate: q of every round.
        rounds: sums that each canary may join.
        honest: t, parties that share the noise; all of them add their part here.
        delta: at which epsilon is taken.
        canaries: rounded up to a multiple of 64; more see more.
        guesses: bets, fixed beforehand; even.
        confidence: of the lower bound.
        random: source of coins and noise.
        tamper: changes each party's noise, to see that the audit would notice.

    Raises:
        PrivacyParameterError: a parameter that the accounting does not cover.
        MisuseError: more guesses than canaries, or an odd number.

    Source: Steinke, Nasr and Jagielski 2023.
    """
    groups = -(-canaries // _DIMENSION)
    planted = groups * _DIMENSION
    if guesses % 2 or not 0 < guesses <= planted:
        raise MisuseError(f"{guesses} guesses about {planted} canaries: give an even number")
    clip = GridClip.of_grid_norm(_CLIP_NORM, _DIMENSION, grid_norm=_GRID_NORM)
    noise = SummedNoise(noise_multiplier, clip.sensitivity, honest, clip.length + METER_VALUES)
    share = DiscreteGaussian(noise.share_variance)
    used = share if tamper is None else tamper(share)
    bits = least_modulus_bits(
        people=_DIMENSION,
        sensitivity=clip.sensitivity,
        sum_variance=noise.share_variance * honest,
    )
    coins = np.unpackbits(np.frombuffer(random(planted // 8), np.uint8)).astype(bool)
    scores = np.zeros((groups, _DIMENSION))
    for group, included in enumerate(coins.reshape(groups, _DIMENSION)):
        for _ in range(rounds):
            scores[group] += _one_sum(
                included, clip, used, sampling_rate, honest=honest, bits=bits, random=random
            )
    right = _right_guesses(scores.ravel(), coins, guesses)
    release = noise.release(sampling_rate=sampling_rate, count=rounds)
    return CanaryAudit(
        epsilon_lower=epsilon_lower_bound(
            canaries=planted, guesses=guesses, right=right, delta=delta, confidence=confidence
        ),
        epsilon_proven=epsilon([release], delta),
        delta=delta,
        confidence=confidence,
        canaries=planted,
        guesses=guesses,
        right=right,
    )


def _one_sum(
    included: NDArray[np.bool_],
    clip: GridClip,
    share: DiscreteGaussian | None,
    sampling_rate: float,
    *,
    honest: int,
    bits: int,
    random: RandomBytes,
) -> NDArray[np.int64]:
    """Return one noised sum: one party has the canaries, the others have nobody."""
    vectors = np.eye(_DIMENSION)[included] * clip.clip_norm
    # The least noise that the sampler has, under a thousandth of a clipped vector, is "none".
    drawn = DiscreteGaussian.of_deviation(0.25) if share is None else share
    total = np.zeros(clip.length + METER_VALUES, np.int64)
    for party in range(honest):
        words = private_words(
            lambda chosen: [vectors[chosen]],
            people=len(vectors) if party == 0 else 0,
            sampling_rate=sampling_rate,
            clip=clip,
            share=drawn,
            modulus_bits=bits,
            random=random,
            failed=_raise,
        )
        total += centred(words, bits)
    wrapped = centred(total.astype(np.uint64), bits)
    return wrapped[:_DIMENSION]


def _raise(error: Exception) -> None:
    raise error


def _right_guesses(scores: NDArray[np.float64], coins: NDArray[np.bool_], guesses: int) -> int:
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int(coins[order[-half:]].sum() + (~coins[order[:half]]).sum())
