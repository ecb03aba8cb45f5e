"""What an agreement means, in words and numbers, for somebody who is asked to sign it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log2
from typing import Any

from protocols.agreement import Agreement, validate
from protocols.agreement.neighbours import privacy_bits, recovery_bits
from securefed.budget_plan import BudgetPlan, budget_plan
from securefed.forecast import Forecast
from securefed.signing import SignatureState, SignatureStatus


@dataclass(frozen=True, slots=True)
class Insight:
    """What one role learns, and what it does not.

    Attributes:
        who: the role.
        sees: what it learns.
        never: what stays hidden from it, within the agreed bounds.
    """

    who: str
    sees: str
    never: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that ``securefed inspect`` shows.

    Attributes:
        federation: its name.
        digest: what is signed, 64 hexadecimal digits.
        insights: who sees what.
        resilience: what the parties withstand together, one sentence each.
        forecast: what it costs.
        warnings: what everybody who signs should know.
        signatures: one status per party.
        privacy: the budget plan; ``None`` where no noise is added.
    """

    federation: str
    digest: str
    insights: tuple[Insight, ...]
    resilience: tuple[str, ...]
    forecast: Forecast
    warnings: tuple[str, ...]
    signatures: tuple[SignatureStatus, ...]
    privacy: BudgetPlan | None = None

    @property
    def in_force(self) -> bool:
        """Whether every party has signed."""
        return all(one.state is SignatureState.VALID for one in self.signatures)

    def to_plain(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers."""
        return {**asdict(self), "in_force": self.in_force}


def summarise(
    agreement: Agreement,
    forecast: Forecast,
    signatures: Sequence[SignatureStatus],
    notes: Sequence[str] = (),
) -> Summary:
    """Put together what an agreement means.

    Args:
        agreement: the one in question.
        forecast: of the same agreement.
        signatures: of the same agreement.
        notes: further warnings, such as a task that could not be checked here.

    Raises:
        AgreementError: it is unsafe.
    """
    warnings = validate(agreement)
    return Summary(
        federation=agreement.federation,
        digest=agreement.digest().hex(),
        insights=_insights(agreement),
        resilience=_resilience(agreement),
        forecast=forecast,
        warnings=(*warnings, *notes),
        signatures=tuple(signatures),
        privacy=budget_plan(agreement),
    )


def fewest_survivors(agreement: Agreement) -> int:
    """Return how many parties are in any sum that is opened, at the least."""
    rules = agreement.aggregation
    return max(rules.min_cohort, agreement.quorum, rules.threshold + 1)


def counted(number: int, one: str, more: str) -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else more}"


def _insights(agreement: Agreement) -> tuple[Insight, ...]:
    fewest, c = fewest_survivors(agreement), agreement.aggregation.colluders
    auditors = (Insight("auditors", "this agreement and its signatures", "anything of a round"),)
    return (
        Insight(
            f"coordinator {agreement.coordinator.name}",
            f"who takes part, sizes and times of messages, in each round the sum of at least "
            f"{fewest} parties, and every global model",
            "the numbers of a single party: what it receives is masked",
        ),
        Insight(
            "each party",
            "its own data, every global model, who takes part",
            "data or numbers of another party, beyond what follows from the models and its own",
        ),
        Insight(
            f"coordinator and {counted(c or 1, 'party', 'parties')} together",
            f"the sum of the at least {fewest - c} other parties"
            if c
            else "nothing is promised here: the agreement assumes no colluder",
            "any single one of the others" if c else "-",
        ),
        *(auditors if agreement.auditors else ()),
        Insight("the network", "who talks to whom, when and how much", "any content (TLS 1.3)"),
    )


def _resilience(agreement: Agreement) -> tuple[str, ...]:
    n, rules = len(agreement.parties), agreement.aggregation
    t, d, c = rules.threshold, rules.max_dropouts, rules.colluders
    least = fewest_survivors(agreement)
    few, crowd = counted(c, "colluder is", "colluders are"), counted(c, "colluder", "colluders")
    opening = f"{t} of {agreement.holders} share holders open a mask, for which {few} too few"
    if rules.neighbours != "complete":
        k = rules.neighbours
        private = privacy_bits(n, c, d, k, t) - log2(agreement.max_rounds)
        kept = recovery_bits(n, d, k, t)
        opening = (
            f"Each party draws {k} share holders, {t} of whom open a mask; by bad luck of the draw "
            f"privacy fails in any round with a chance below 2^-{int(private)} and a round is lost "
            f"below 2^-{int(kept)}"
        )
    return (
        f"{c} of {n} parties may side with the coordinator; the others stay private.",
        (
            f"{d} of {n} parties may be missing or fall silent in a round. With more it is "
            "aborted, and nothing of it is revealed."
        ),
        (
            f"{agreement.quorum} of {n} parties must confirm the same survivors before anything is "
            f"unmasked (quorum): more than half of {n} parties and {crowd} together, so that "
            "two different sums of one round can never both be opened."
        ),
        f"{opening}. At least {least} parties are in every sum.",
    )
