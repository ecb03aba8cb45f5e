"""A model card: what a model is, how it came about, and what it may tell about people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from parties.coordinator.progress import RoundRecord
from protocols.agreement import Agreement, Task
from protocols.agreement.noise import composed_epsilon
from protocols.errors import MisuseError
from protocols.intent import SOFTWARE

_CAVEATS = (
    "Hidden sums do not bound what the model tells about its data: only differential privacy does.",
    "Nothing stopped a party from training on wrong or poisoned data.",
    "Metrics come from the training sums, not from data held out by somebody independent.",
)
_NO_NOISE = (
    "No differential privacy: the weights may tell whether somebody was in the training data, and "
    "parts of that data. Treat the model as confidential as the data."
)
_NOISE = (
    "Epsilon holds for one {unit} in this run alone. Other models from the same people add up, and "
    "a correlated group is protected less."
)


@dataclass(frozen=True, slots=True)
class PrivacyClaim:
    """What is promised of one person or company.

    Attributes:
        unit: ``person`` or ``company``.
        epsilon: within the agreed colluders and dropouts, over all tasks; ``None`` without bound.
        epsilon_worst_case: if all other parties collude; ``None`` without bound.
        delta: of both.
        spent: by the rounds that were run, aborted ones too; else the most that the agreement lets
            a run spend.
    """

    unit: str
    epsilon: float | None
    epsilon_worst_case: float | None
    delta: float
    spent: bool


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything that goes with an exported model.

    Attributes:
        task: its name in the agreement.
        kind: of the task.
        parameters: agreed for the task.
        federation: its name.
        agreement_digest: 64 hexadecimal digits.
        parties: their names.
        rounds: with a sum; ``None`` where no record of the run was given.
        agreed_rounds: most rounds of the task.
        privacy: ``None`` without differential privacy.
        metrics: of the task's last round.
        software: that exported it.
        model_sha256: of the final state, safetensors: the name of the model in the ledger.
        file: name of the exported file.
        file_sha256: of that file.
        caveats: what a user has to know.
    """

    task: str
    kind: str
    parameters: dict[str, Any]
    federation: str
    agreement_digest: str
    parties: tuple[str, ...]
    rounds: int | None
    agreed_rounds: int
    privacy: PrivacyClaim | None
    metrics: dict[str, float] = field(default_factory=dict)
    software: str = SOFTWARE
    model_sha256: str = ""
    file: str = ""
    file_sha256: str = ""
    caveats: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and finite numbers."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return the card as a page for people."""
        ran = "not recorded" if self.rounds is None else str(self.rounds)
        rows = {
            "Federation": self.federation,
            "Agreement": f"`{self.agreement_digest}`",
            "Parties": ", ".join(self.parties),
            "Task": f"{self.task} (kind `{self.kind}`)",
            "Rounds": f"{ran}, at most {self.agreed_rounds} agreed",
            "Software": self.software,
            "Model SHA-256": f"`{self.model_sha256}`",
            f"{self.file} SHA-256": f"`{self.file_sha256}`",
        }
        return "\n".join(
            [
                f"# Model card: {self.task}",
                "",
                *_table("", "", rows),
                "## Privacy",
                "",
                f"**{self.privacy_line()}**",
                "",
                "## Parameters",
                "",
                *_table("parameter", "value", self.parameters),
                *(["## Metrics of the last round", ""] if self.metrics else []),
                *(_table("metric", "value", self.metrics) if self.metrics else []),
                "## Caveats",
                "",
                *(f"- {caveat}" for caveat in self.caveats),
                "",
            ]
        )

    def privacy_line(self) -> str:
        """Return in one sentence what is promised of people."""
        claim = self.privacy
        if claim is None:
            return "No differential privacy."
        verb = "spent" if claim.spent else "at most, by the agreement"
        worst = _bound(claim.epsilon_worst_case)
        return (
            f"Epsilon {_bound(claim.epsilon)} at delta {claim.delta:g} for every {claim.unit}, "
            f"{verb}, over all tasks; {worst} if all other parties collude."
        )


def _bound(epsilon: float | None) -> str:
    return "without bound" if epsilon is None else f"{epsilon:.3f}"


def _table(left: str, right: str, rows: Mapping[str, Any]) -> list[str]:
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return [f"| {left} | {right} |", "| --- | --- |", *lines, ""]


def _cell(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def agreed_task(agreement: Agreement, name: str) -> Task:
    """Return a task of an agreement.

    Raises:
        MisuseError: no such task.
    """
    for task in agreement.tasks:
        if task.name == name:
            return task
    names = ", ".join(task.name for task in agreement.tasks)
    raise MisuseError(f"the agreement has no task {name!r}; there are {names}")


def model_card(
    agreement: Agreement, task: str, records: Sequence[RoundRecord] | None = None
) -> ModelCard:
    """Describe a task's model, as far as it does not depend on the file.

    Args:
        agreement: under which it was trained.
        task: name of the task.
        records: every round of the run; without them, epsilon is that of all agreed rounds.

    Raises:
        MisuseError: no such task.
    """
    agreed = agreed_task(agreement, task)
    plain = agreement.to_plain()["tasks"][agreement.tasks.index(agreed)]
    own = [one for one in records or () if one.task == task and one.outcome == "completed"]
    claim = _claim(agreement, records)
    about = _NO_NOISE if claim is None else _NOISE.format(unit=claim.unit)
    return ModelCard(
        task=task,
        kind=agreed.kind,
        parameters=dict(plain.get("parameters", {})),
        federation=agreement.federation,
        agreement_digest=agreement.digest().hex(),
        parties=tuple(party.name for party in agreement.parties),
        rounds=None if records is None else len(own),
        agreed_rounds=agreed.rounds,
        privacy=claim,
        metrics=dict(own[-1].metrics) if own else {},
        caveats=(about, *_CAVEATS),
    )


def _claim(agreement: Agreement, records: Sequence[RoundRecord] | None) -> PrivacyClaim | None:
    if agreement.privacy.mechanism == "none":
        return None
    rounds = Counter({task.name: task.rounds for task in agreement.tasks})
    if records is not None:
        rounds = Counter(record.task for record in records)
    epsilon = composed_epsilon(agreement, rounds)
    worst = composed_epsilon(agreement, rounds, sharers=1)
    return PrivacyClaim(
        unit=agreement.privacy.unit,
        epsilon=epsilon if math.isfinite(epsilon) else None,
        epsilon_worst_case=worst if math.isfinite(worst) else None,
        delta=agreement.privacy.delta,
        spent=records is not None,
    )
