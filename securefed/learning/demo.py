"""The two tasks of the demonstration: agreement parameters that suit the breast cancer data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class DemoTask:
    """What the agreement says of a demonstration task, but for the ring (see ``suggest``)."""

    name: str
    kind: str
    rounds: int
    parameters: Mapping[str, Any]


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
