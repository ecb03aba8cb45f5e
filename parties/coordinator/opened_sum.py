"""What the coordinator reads from a sum that is open: numbers, their noise, the next model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parties.coordinator.round_plan import RoundPlan
from parties.coordinator.strategy import Published, Strategy
from protocols.agreement import Agreement, Task
from protocols.agreement.noise import noise_plan
from protocols.encoding import decode_centred
from protocols.errors import NoResultError, SecureFedError
from protocols.masking.coordinator_states import Aggregate
from protocols.privacy.noise_meter import NoiseReading, read_meter
from protocols.privacy.noised_words import centred


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSum:
    """A sum over the survivors.

    Attributes:
        values: shape ``(task.dimension,)``, float64, model units.
        reading: what the noise meter showed; ``None`` where no noise was agreed.
        indicator: noised sum of the people's indicators, grid units; ``None`` where the clip norm
            does not adapt.
    """

    values: NDArray[np.float64] = field(repr=False)
    reading: NoiseReading | None
    indicator: float | None = None


def open_sum(
    agreement: Agreement, task: Task, aggregate: Aggregate, clip_norm: float | None = None
) -> OpenedSum:
    """Decode an aggregate that was clipped to ``clip_norm``, or as the agreement says."""
    plan = noise_plan(agreement, task, clip_norm=clip_norm)
    if plan is None:
        return OpenedSum(agreement.codec(task).decode(aggregate.total), None)
    # After the task's own values: the indicator, where there is one, and the noise meter.
    rest = centred(aggregate.total[task.dimension :], task.modulus_bits)
    reading = read_meter(
        rest[plan.clip.length - task.dimension :],
        share_variance=plan.noise.share_variance,
        sharers=len(aggregate.survivors),
    )
    values = decode_centred(aggregate.total[: task.dimension], task.modulus_bits, plan.clip.scale)
    return OpenedSum(values, reading, float(rest[0]) if plan.clip.indicator else None)


def next_model(
    agreement: Agreement, strategy: Strategy, plan: RoundPlan, aggregate: Aggregate
) -> tuple[NoiseReading | None, Published]:
    """Decode a sum and make the next model of it; what was decoded is gone when this returns.

    Returns:
        What the noise meter showed, and the model.

    Raises:
        NoResultError: the sum admits none.
        SecureFedError: whatever else the strategy refuses.
    """
    clip_norm = strategy.clip_norm(plan.task, plan.model)
    opened = open_sum(agreement, plan.task, aggregate, clip_norm)
    try:
        published = strategy.combine(
            plan.task,
            plan.model,
            opened.values,
            plan.round_in_task,
            opened.indicator,
            survivors=len(aggregate.survivors),
        )
    except SecureFedError:
        raise
    except Exception as error:
        raise NoResultError(
            f"task {plan.task.name} made no model of the sum: {type(error).__name__}"
        ) from error
    return opened.reading, published
