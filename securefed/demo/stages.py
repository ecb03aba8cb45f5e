"""What the demonstration runs: one federation after the other, each under its own agreement."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from securefed.federation import Federation
from securefed.learning.demo import (
    NEURAL_NETWORK,
    PRIVATE_NETWORK,
    PRIVATE_SCORE,
    RISK_SCORE,
    DemoTask,
)
from securefed.privacy_goal import PrivacyGoal
from securefed.sum_mode import Mode, SumMode

COMPANIES: Final = ("north", "east", "south", "west", "centre")
VICTIM: Final = "south"
KILL_IN_ROUND: Final = 5
"""Round of a stage's last task in which the victim dies."""
DEALER: Final = "notary"
KEY_HOLDER: Final = "keyholder"
KEY_BITS: Final = 2048
"""Of the Paillier key: the least that is allowed, which is found in seconds."""
DEADLINE_SECONDS: Final = 8.0
"""Long enough for a step on two busy cores, short enough to watch a dropout being survived."""
ENCRYPTED_DEADLINE_SECONDS: Final = 30.0
"""The same with ciphertexts, which five companies share two cores for."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One federation of the demonstration.

    Attributes:
        name: of the federation.
        tasks: in order.
        goal: what every person is promised; ``None`` adds no noise.
        loses_a_party: whether the victim is killed in the last task.
        sums: how sums are formed, and who makes the Paillier key.
    """

    name: str
    tasks: tuple[DemoTask, ...]
    goal: PrivacyGoal | None
    loses_a_party: bool
    sums: SumMode = field(default_factory=SumMode)

    @property
    def members(self) -> tuple[str, ...]:
        """Who is connected to the coordinator: the companies, and a key holder."""
        holder = self.sums.key_holder
        return COMPANIES if holder is None else (*COMPANIES, holder)

    @property
    def killed_after(self) -> str:
        """Name of the victim's last event.

        With masks it has dealt its shares and not sent its update: its masks are in everybody's
        vector. With ciphertexts alone its own are out, and a share of the key is missing.
        """
        return "submitted" if self.sums.mode == "paillier" else "training"

    def federation(self) -> Federation:
        """Return the federation of the companies, with its tasks."""
        sums = self.sums
        lead = Federation(
            self.name,
            COMPANIES,
            privacy=self.goal,
            deadline_seconds=ENCRYPTED_DEADLINE_SECONDS if sums.names else DEADLINE_SECONDS,
            mode=sums.mode,
            key_bits=sums.key_bits,
            dealer=sums.dealer,
            key_holder=sums.key_holder,
        )
        for task in self.tasks:
            lead.add_task(
                task.name, task.kind, rounds=task.rounds, privacy=task.privacy, **task.parameters
            )
        return lead

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
# Each round with ciphertexts takes many times as long: fewer of them show the same.
ENCRYPTED_PRIVATE: Final = replace(PRIVATE, tasks=(replace(PRIVATE_SCORE, rounds=12),))
ENCRYPTED_PLAIN: Final = replace(PLAIN, tasks=(RISK_SCORE, replace(NEURAL_NETWORK, rounds=10)))


def sums_of(mode: Mode, *, key_holder: bool) -> SumMode:
    """Return how sums are formed; nobody makes a key with "masking"."""
    if mode == "masking":
        return SumMode()
    maker = {"key_holder": KEY_HOLDER} if key_holder else {"dealer": DEALER}
    return SumMode(mode, KEY_BITS, **maker)


def stages_of(sums: SumMode, *, private: bool) -> tuple[Stage, ...]:
    """Return what runs, one federation after the other."""
    if sums.mode == "masking":
        return (EXACT, PRIVATE) if private else (PLAIN,)
    chosen = (EXACT, ENCRYPTED_PRIVATE) if private else (ENCRYPTED_PLAIN,)
    return tuple(replace(stage, sums=sums) for stage in chosen)
