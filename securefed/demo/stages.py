"""What the demonstration runs: one federation after the other, each under its own agreement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from securefed.learning.demo import (
    NEURAL_NETWORK,
    PRIVATE_NETWORK,
    PRIVATE_SCORE,
    RISK_SCORE,
    DemoTask,
)
from securefed.privacy_goal import PrivacyGoal

COMPANIES: Final = ("north", "east", "south", "west", "centre")
VICTIM: Final = "south"
KILL_IN_ROUND: Final = 5
"""Round of a stage's last task in which the victim dies, after it dealt its shares."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One federation of the demonstration.

    Attributes:
        name: of the federation.
        tasks: in order.
        goal: what every person is promised; ``None`` adds no noise.
        loses_a_party: whether the victim is killed in the last task.
    """

    name: str
    tasks: tuple[DemoTask, ...]
    goal: PrivacyGoal | None
    loses_a_party: bool

    @property
    def about(self) -> str:
        """One line for people."""
        if self.goal is None:
            return "exact sums, no noise: the federated model is the pooled one"
        return (
            f"every person is promised epsilon {self.goal.epsilon:g} at delta {self.goal.delta:g}"
        )


EXACT: Final = Stage("exact-sums", (RISK_SCORE,), None, loses_a_party=False)
PRIVATE: Final = Stage(
    "private-sums",
    (PRIVATE_SCORE, PRIVATE_NETWORK),
    PrivacyGoal(epsilon=3.0, delta=1e-4),
    loses_a_party=True,
)
PLAIN: Final = Stage("plain-sums", (RISK_SCORE, NEURAL_NETWORK), None, loses_a_party=True)

BY_DEFAULT: Final = (EXACT, PRIVATE)
WITHOUT_PRIVACY: Final = (PLAIN,)
