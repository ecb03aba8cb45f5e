"""The tasks of the demonstration: agreement parameters that suit the breast cancer data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

PEOPLE: Final = 400
"""Most people of all companies together; an agreed constant, not a count."""

# Where each measurement of a cell nucleus lies and how wide, to one or two digits: mean, standard
# error and worst of radius, texture, perimeter, area, smoothness, compactness, concavity, concave
# points, symmetry and fractal dimension. Published with the data set, so nobody's secret.
FEATURE_CENTER: Final = (
    *(15, 20, 90, 700, 0.1, 0.1, 0.1, 0.05, 0.2, 0.06),
    *(0.4, 1.2, 3, 40, 0.007, 0.03, 0.03, 0.01, 0.02, 0.004),
    *(16, 26, 110, 900, 0.13, 0.25, 0.27, 0.11, 0.29, 0.08),
)
FEATURE_UNIT: Final = (
    *(4, 4, 24, 350, 0.014, 0.05, 0.08, 0.04, 0.03, 0.007),
    *(0.3, 0.6, 2, 45, 0.003, 0.02, 0.03, 0.006, 0.008, 0.003),
    *(5, 6, 34, 570, 0.02, 0.16, 0.2, 0.07, 0.06, 0.02),
)


@dataclass(frozen=True, slots=True)
class DemoTask:
    """What the agreement says of a demonstration task, but for the ring and the noise.

    Attributes:
        name: in the agreement.
        kind: of the task.
        rounds: at most.
        parameters: of the kind.
        privacy: of a noised task: clip norm, people, sampling rate.
        baseline: the task without noise that local-only and pooled models are trained by.
    """

    name: str
    kind: str
    rounds: int
    parameters: Mapping[str, Any]
    privacy: Mapping[str, Any] | None = None
    baseline: DemoTask | None = None


RISK_SCORE: Final = DemoTask(
    "risk-score",
    "glm-logistic",
    20,
    MappingProxyType({"features": 30, "max_rows": 1000, "ridge": 1.0}),
)
"""Exact logistic regression: done after 8 to 10 rounds by itself."""

NEURAL_NETWORK: Final = DemoTask(
    "neural-network",
    "torch",
    20,
    MappingProxyType(
        {
            "features": 30,
            "max_rows": 1000,
            "model": "mlp",
            "hidden": (16,),
            "local_steps": 10,
            "batch_size": 32,
            "learning_rate": 0.1,
        }
    ),
)
"""A small network by FedAvg: one round for the scaling, 19 of training."""

_PUBLIC: Final = {
    "features": 30,
    "feature_center": FEATURE_CENTER,
    "feature_unit": FEATURE_UNIT,
}
_SAMPLED: Final = MappingProxyType({"clip_norm": 1.0, "people": PEOPLE, "sampling_rate": 0.3})

PRIVATE_SCORE: Final = DemoTask(
    "private-score",
    "dp-logistic",
    30,
    MappingProxyType(_PUBLIC),
    _SAMPLED,
    RISK_SCORE,
)
"""Logistic regression by DP-FedSGD."""

PRIVATE_NETWORK: Final = DemoTask(
    "private-network",
    "dp-torch",
    30,
    MappingProxyType({**_PUBLIC, "hidden": (6,), "learning_rate": 0.5}),
    _SAMPLED,
    NEURAL_NETWORK,
)
"""A small network by DP-FedSGD with per-person gradients."""
