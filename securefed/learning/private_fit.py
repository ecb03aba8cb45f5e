"""Run a private task in one process: the yardstick for what noise costs in quality.

The sums are the federation's own: the same sampling, clipping, integers, noise shares and ring, by
the same functions. Masks cancel and are left out, and randomness is seeded: an experiment on data
that may be seen. It hides nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.agreement.noise import NoisePlan
from protocols.errors import MisuseError, PrivacyParameterError
from protocols.prg import RandomBytes, Words
from protocols.privacy.accounting import Guarantee
from protocols.privacy.noise_meter import NoiseReading, read_meter
from protocols.privacy.noised_words import centred
from protocols.privacy.private_sum import private_words
from securefed.data.table import Data
from securefed.learning.person import (
    AnyTask,
    PersonPrivacy,
    PersonTask,
    require_people,
    require_private,
)
from securefed.learning.reference import Fit
from securefed.learning.sampled import sampled_vectors
from securefed.learning.state import State, require_like, state_from_bytes, state_to_bytes
from securefed.learning.task import Step


@dataclass(frozen=True, slots=True)
class PrivateFit:
    """What a run under differential privacy ended with.

    Attributes:
        fit: state, rounds and metrics.
        guarantee: for every person, with the agreed number of honest parties.
        worst_case: where all other parties collude and tell their noise; ``None`` where the noise
            left is too little for any bound.
        readings: the noise meter of every round, in order.
    """

    fit: Fit
    guarantee: Guarantee
    worst_case: Guarantee | None
    readings: tuple[NoiseReading, ...] = field(repr=False)

    @property
    def epsilon(self) -> float:
        """The tight epsilon of the guarantee."""
        return self.guarantee.epsilon_pld


def fit_private(
    task: AnyTask,
    parts: Sequence[Data],
    privacy: PersonPrivacy,
    *,
    rounds: int,
    seed: int = 0,
    people: int | None = None,
) -> PrivateFit:
    """Run a private task over parties in this process; all parties are in every sum.

    Args:
        task: one that gives one vector a person.
        parts: one data set per party.
        privacy: of the noised sums.
        rounds: most rounds, at least 1.
        seed: seeds samples, rounding, noise and the task's own generators.
        people: of all parties together, as agreed; the true number unless given.

    Raises:
        AgreementError: the task gives one vector a company, or no ring holds the sum.
        MisuseError: no party, no round, or more honest parties than parties.
        PrivacyParameterError: parameters that the mechanism or its accounting do not cover.
        InputError: as the task, for whichever person; or more people than agreed.
        WireError: the task returned a state of other arrays than its first one.
    """
    learner = require_private(task)
    if not parts or rounds < 1 or privacy.honest > len(parts):
        raise MisuseError("a fit needs a round, a party, and no more honest parties than parties")
    agreed = sum(len(part) for part in parts) if people is None else people
    for part in parts:
        require_people(len(part), agreed)
    plan = privacy.plan(learner.layout().size, parties=len(parts), people=agreed)
    run = _Run(learner, plan, [_Party(part, seed, number) for number, part in enumerate(parts)])
    first = learner.initial_state()
    state, done = first, False
    history: list[dict[str, float]] = []
    readings: list[NoiseReading] = []
    while not done and len(history) < rounds:
        step, reading = run.round(state, len(history) + 1)
        # Through bytes, as a federation sends it: a task cannot lean on what they do not keep.
        state, done = state_from_bytes(state_to_bytes(step.state)), step.done
        require_like(state, first)
        history.append(step.metrics)
        readings.append(reading)
    return PrivateFit(
        Fit(state, len(history), done, tuple(history)),
        privacy.guarantee(plan, len(history)),
        _worst_case(privacy, plan, len(history)),
        tuple(readings),
    )


class _Party:
    """One party's data and generators."""

    def __init__(self, data: Data, seed: int, number: int) -> None:
        self.data = data
        self.generator = np.random.default_rng([seed, number, 0])
        self.random: RandomBytes = np.random.default_rng([seed, number, 1]).bytes


@dataclass(frozen=True, slots=True)
class _Run:
    """A task with the constants of its sums and its parties."""

    task: PersonTask
    plan: NoisePlan
    parties: list[_Party]

    def round(self, state: State, number: int) -> tuple[Step, NoiseReading]:
        """Sum over all parties, as they and the coordinator do."""
        plan, bits = self.plan, self.plan.least_modulus_bits
        total = self._words(self.parties[0], state, number)
        for party in self.parties[1:]:
            total += self._words(party, state, number)
        whole = centred(total, bits)
        reading = read_meter(
            whole[plan.clip.length :],
            share_variance=plan.noise.share_variance,
            sharers=len(self.parties),
        )
        step = self.task.combine(
            state,
            self.task.layout().unflatten(whole[: plan.clip.dimension] / plan.clip.scale),
            plan.expected_people,
            plan.clip.clip_norm,
            plan.noise_deviation,
            number,
        )
        return step, reading

    def _words(self, party: _Party, state: State, number: int) -> Words:
        def vectors(chosen: NDArray[np.int64]) -> Iterable[NDArray[np.floating[Any]]]:
            return sampled_vectors(self.task, state, party.data, chosen, number, party.generator)

        return private_words(
            vectors,
            people=len(party.data),
            sampling_rate=self.plan.sampling_rate,
            clip=self.plan.clip,
            share=self.plan.share,
            modulus_bits=self.plan.least_modulus_bits,
            random=party.random,
            failed=_raise,
        )


def _raise(error: Exception) -> None:
    """A party would go on, without that person: its users should know before."""
    raise error


def _worst_case(privacy: PersonPrivacy, plan: NoisePlan, rounds: int) -> Guarantee | None:
    try:
        return privacy.guarantee(plan, rounds, sharers=1)
    except PrivacyParameterError:
        return None
