"""Tasks under person-level differential privacy: one vector a person, and only noised sums leave.

The task says what a person adds and what becomes of the noisy sum. Everything that the guarantee
rests on lies outside of it, in :mod:`protocols.privacy.private_sum`: who takes part, clipping,
rounding, the check of the integer norm, noise. It holds for any task in which a person's vector
depends on that person's row, the state and the generator alone, and what ``combine`` returns on
nothing but the state and the noisy total.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from protocols.agreement.noise import NoisePlan
from protocols.errors import AgreementError, InputError
from protocols.privacy.accounting import Guarantee, guarantee
from protocols.privacy.calibration import smallest_noise_multiplier
from protocols.privacy.clipping import GridClip
from protocols.privacy.lattice import SummedNoise
from protocols.privacy.noise_meter import METER_VALUES
from protocols.privacy.releases import Release
from securefed.data.table import Data
from securefed.learning.layout import Arrays, Layout
from securefed.learning.state import State
from securefed.learning.task import Step, Task

if TYPE_CHECKING:
    from typing_extensions import TypeIs

GRID_NORM: Final = 2.0**14
"""Least grid units in the clip norm: integer noise then costs what continuous noise costs."""

_GRID_PER_ROOT: Final = 8.0
"""Least grid units in the clip norm for every square root of a dimension: rounding d values adds
d / 4 to a squared norm, which then is below 0.4 %."""

_MOST_BITS: Final = 64


@runtime_checkable
class PersonTask(Protocol):
    """One learning task whose sums are noised; a person is one row of one company.

    Everything that it keeps between rounds lies in the state. ``round_in_task`` counts from 1 and
    also counts rounds that were aborted.
    """

    kind: ClassVar[str]

    def initial_state(self) -> State:
        """Return the first state: the same at every party, from the parameters alone."""
        ...

    def layout(self) -> Layout:
        """Return names and shapes of what is summed, the same in every round."""
        ...

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterable[NDArray[np.float64]]:
        """Compute one vector for each of the given rows, at a party.

        Args:
            state: from the coordinator; hostile.
            data: the people of this round, at least one: already sampled.
            round_in_task: number of the round.
            rng: for a task that draws; each person's draws must not depend on who else is there.

        Returns:
            Chunks of shape (people in the chunk, ``layout().size``), float64, model units, not
            clipped. A row that cannot be used gives zeros or NaN, which count as zeros. Where a
            task raises instead, it is asked again for halves of the rows, until the rows that it
            fails on are alone; those count as zeros.

        Raises:
            InputError: the table as a whole does not suit, such as a wrong number of columns. It
                has to be refused for a single row of zeros as well, which every round begins with.
            WireError: the coordinator's state is none of this task's.
        """
        ...

    def combine(
        self,
        state: State,
        total: Arrays,
        expected_people: float,
        clip_norm: float,
        noise_std: float,
        round_in_task: int,
    ) -> Step:
        """Turn the noisy total into the next state, at the coordinator.

        Args:
            state: the last one.
            total: noisy sum of clipped vectors, model units.
            expected_people: the agreement's ``sampling_rate * people``, a public constant. How
                many people were in the sum is nobody's to know.
            clip_norm: largest norm of a person's vector in the sum, model units.
            noise_std: standard deviation of the noise of each value of ``total``, model units.
            round_in_task: number of the round.

        Raises:
            NoResultError: the total admits no model; says what to change.
        """
        ...


AnyTask: TypeAlias = Task | PersonTask


def is_private(task: AnyTask) -> TypeIs[PersonTask]:
    """Tell whether a task gives one vector a person, to be summed under differential privacy."""
    return isinstance(task, PersonTask)


def require_private(task: AnyTask, *, name: str = "task") -> PersonTask:
    """Return the task if its sums can hide a person.

    Raises:
        AgreementError: it gives one vector a company, in which no person's share is bounded.
    """
    if is_private(task):
        return task
    raise AgreementError(
        f"tasks.{name}.kind",
        f"{task.kind!r} gives one vector a company, in which nobody bounds a person's share",
        "choose a kind that gives one vector a person, such as 'dp-logistic' or 'dp-torch'",
    )


def require_plain(task: AnyTask, *, name: str = "task") -> Task:
    """Return the task if it gives one vector a company.

    Raises:
        AgreementError: it gives one vector a person, which only a noised sum may hold.
    """
    if not is_private(task):
        return task
    raise AgreementError(
        f"tasks.{name}.kind",
        f"{task.kind!r} gives one vector a person and runs under differential privacy only",
        "agree on privacy with the unit 'person', or choose a kind such as 'glm-logistic'",
    )


def require_people(people: int, agreed: int) -> None:
    """Check the number of people of one party, before it takes part in anything.

    Raises:
        InputError: it has more than the agreement allows in all parties together.
    """
    if people > agreed:
        raise InputError(
            f"there are {people} people (rows) here, and the agreement allows {agreed} in all "
            "parties together: leave some out, chosen at random, or agree on more people"
        )


@dataclass(frozen=True, slots=True)
class PersonPrivacy:
    """What is agreed about the noised sums of one task, the same in every round.

    Attributes:
        clip_norm: C, largest norm of a person's vector, model units.
        noise_multiplier: z, promised standard deviation of the noise over the sensitivity.
        sampling_rate: q, probability that a person takes part in a round, in (0, 1].
        honest: t, parties that are sure to add their share of noise: all but the colluders and
            the tolerated dropouts.
        delta: at which epsilon is stated, 1e-12..1, exclusive.
        companies: most companies that one person may be in.
    """

    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    honest: int
    delta: float
    companies: int = 1

    def plan(self, dimension: int, *, parties: int, people: int) -> NoisePlan:
        """Return the constants of a sum of vectors of ``dimension`` values.

        Args:
            dimension: values in a person's vector.
            parties: in the agreement; all of them add noise.
            people: of all parties together, at most; a public constant.

        Raises:
            PrivacyParameterError: a parameter that the mechanism or its accounting do not cover.
        """
        clip = GridClip(self.clip_norm, grid_scale(self.clip_norm, dimension), dimension)
        return NoisePlan(
            unit="person",
            clip=clip,
            noise=SummedNoise(
                self.noise_multiplier, clip.sensitivity, self.honest, clip.length + METER_VALUES
            ),
            sampling_rate=self.sampling_rate,
            people=people,
            parties=parties,
            companies=self.companies,
        )

    def at_epsilon(self, target: float, *, dimension: int, rounds: int) -> PersonPrivacy:
        """Return the same with the least noise with which ``rounds`` sums cost at most ``target``.

        Args:
            target: epsilon, above 0.
            dimension: values in a person's vector.
            rounds: number of sums, >= 1.

        Raises:
            PrivacyParameterError: a parameter that the accounting does not cover, or no noise is
                enough.
        """

        def releases(noise_multiplier: float) -> list[Release]:
            changed = replace(self, noise_multiplier=noise_multiplier)
            return [changed.plan(dimension, parties=self.honest, people=1).release(rounds)]

        found = smallest_noise_multiplier(releases, target_epsilon=target, delta=self.delta)
        return replace(self, noise_multiplier=found)

    def guarantee(self, plan: NoisePlan, rounds: int, *, sharers: int | None = None) -> Guarantee:
        """Account for ``rounds`` sums of a plan.

        Args:
            plan: as :meth:`plan` returns it.
            rounds: number of sums, >= 1.
            sharers: honest parties counted on; 1 is the worst case, in which all others collude.

        Raises:
            PrivacyParameterError: a parameter that the accounting does not cover.
        """
        return guarantee([plan.release(rounds, sharers=sharers)], self.delta)


@dataclass(frozen=True, slots=True)
class PrivateSuggestion:
    """Agreement keys that suit a task whose sums hide a person.

    Attributes:
        dimension: values in a person's vector; the noise meter is not counted.
        scale: grid units per model unit.
        modulus_bits: of the smallest ring that the noised sum does not wrap.
    """

    dimension: int
    scale: float
    modulus_bits: int


def grid_scale(clip_norm: float, dimension: int) -> float:
    """Return the least power of two that makes rounding free of charge: grid units per unit.

    Raises:
        AgreementError: the clip norm is not positive and finite.
    """
    if not 0 < clip_norm < math.inf:
        raise AgreementError(
            "clip_norm", f"{clip_norm} is not positive and finite", "correct the value"
        )
    norm = max(GRID_NORM, _GRID_PER_ROOT * math.sqrt(dimension))
    return 2.0 ** math.ceil(math.log2(norm / clip_norm))


def suggest_ring(
    dimension: int, privacy: PersonPrivacy, *, parties: int, people: int
) -> PrivateSuggestion:
    """Choose grid and ring for noised sums of vectors of ``dimension`` values.

    Args:
        dimension: values in a person's vector.
        privacy: what is agreed about the sums.
        parties: in the agreement.
        people: of all parties together, at most.

    Raises:
        PrivacyParameterError: a parameter that the mechanism or its accounting do not cover.
        AgreementError: no ring of 64 bits holds the sum.
    """
    plan = privacy.plan(dimension, parties=parties, people=people)
    bits = plan.least_modulus_bits
    if bits > _MOST_BITS:
        raise AgreementError(
            "modulus_bits",
            f"the noised sum needs {bits} bits, and a ring has at most {_MOST_BITS}",
            "lower the noise multiplier",
        )
    return PrivateSuggestion(dimension, plan.clip.scale, bits)
