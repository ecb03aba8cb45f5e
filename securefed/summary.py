"""What an agreement means, in words and numbers, for somebody who is asked to sign it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import log2
from typing import Any, Final

from protocols.agreement import Agreement, validate
from protocols.agreement.neighbours import privacy_bits, recovery_bits
from securefed.budget_plan import BudgetPlan, budget_plan
from securefed.collusion import fewest_survivors
from securefed.forecast import Forecast
from securefed.mode_comparison import ModePrice, compare_modes, slow_openings
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
        modes: what each way of summing costs, and whom it protects from.
        privacy: the budget plan; ``None`` where no noise is added.
    """

    federation: str
    digest: str
    insights: tuple[Insight, ...]
    resilience: tuple[str, ...]
    forecast: Forecast
    warnings: tuple[str, ...]
    signatures: tuple[SignatureStatus, ...]
    modes: tuple[ModePrice, ...]
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
        warnings=(*warnings, *slow_openings(agreement), *notes),
        signatures=tuple(signatures),
        modes=compare_modes(agreement, forecast),
        privacy=budget_plan(agreement),
    )


def counted(number: int, one: str, more: str) -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else more}"


RECEIVED: Final = {
    "masking": "masked",
    "paillier": "encrypted",
    "layered": "masked and encrypted",
}
"""By mode: how a party's numbers reach the coordinator."""


def _insights(agreement: Agreement) -> tuple[Insight, ...]:
    fewest, c = fewest_survivors(agreement), agreement.aggregation.colluders
    auditors = (Insight("auditors", "this agreement and its signatures", "anything of a round"),)
    trustee = "" if agreement.paillier is None else ", every party's encrypted numbers"
    makers = tuple(_key_makers(agreement, fewest))
    return (
        Insight(
            f"coordinator {agreement.coordinator.name}",
            f"who takes part, sizes and times of messages, in each round the sum of at least "
            f"{fewest} parties, and every global model",
            "the numbers of a single party: what it receives is "
            f"{RECEIVED[agreement.aggregation.mode]}",
        ),
        Insight(
            "each party",
            "its own data, every global model, who takes part"
            + (trustee if agreement.parties == agreement.trustees else ""),
            "data or numbers of another party, beyond what follows from the models and its own",
        ),
        Insight(
            f"coordinator and {counted(c or 1, 'party', 'parties')} together",
            f"the sum of the at least {fewest - c} other parties"
            if c
            else "nothing is promised here: the agreement assumes no colluder",
            "any single one of the others" if c else "-",
        ),
        *makers,
        *(auditors if agreement.auditors else ()),
        Insight("the network", "who talks to whom, when and how much", "any content (TLS 1.3)"),
    )


def _key_makers(agreement: Agreement, fewest: int) -> Iterator[Insight]:
    rules = agreement.paillier
    if rules is not None and rules.dealer is not None:
        yield Insight(
            f"dealer {rules.dealer.name}",
            "the Paillier key while it deals it, and afterwards unless it forgets it",
            "anything of a round: it takes part in none",
        )
    if rules is not None and rules.key_holder is not None:
        yield Insight(
            f"key holder {rules.key_holder.name}",
            f"who takes part, every party's encrypted numbers, in each round one sum of at least "
            f"{fewest} parties that is still masked",
            "any result, and the numbers of a single party",
        )


def _resilience(agreement: Agreement) -> tuple[str, ...]:
    n, rules = len(agreement.parties), agreement.aggregation
    d, c = rules.max_dropouts, rules.colluders
    crowd = counted(c, "colluder", "colluders")
    told = "unmasked" if rules.mode == "masking" else "opened"
    return (
        f"{c} of {n} parties may side with the coordinator; the others stay private.",
        (
            f"{d} of {n} parties may be missing or fall silent in a round. With more it is "
            "aborted, and nothing of it is revealed."
        ),
        (
            f"{agreement.quorum} of {n} parties must confirm the same survivors before anything is "
            f"{told} (quorum): more than half of {n} parties and {crowd} together, so that "
            "two different sums of one round can never both be opened."
        ),
        *_opening_of_ciphertexts(agreement),
        *([] if rules.mode == "paillier" else [_opening_of_masks(agreement)]),
        f"At least {fewest_survivors(agreement)} parties are in every sum.",
    )


def _opening_of_ciphertexts(agreement: Agreement) -> Iterator[str]:
    n, rules, c = len(agreement.parties), agreement.paillier, agreement.aggregation.colluders
    if rules is not None and rules.key_holder is not None:
        yield (
            f"{rules.key_holder.name} alone opens ciphertexts, and what it opens is still masked. "
            "While it does not answer, no round can finish."
        )
    elif rules is not None:
        few = counted(c, "colluder is", "colluders are")
        yield f"{agreement.quorum} of {n} parties open a ciphertext, for which {few} too few."


def _opening_of_masks(agreement: Agreement) -> str:
    n, rules = len(agreement.parties), agreement.aggregation
    t, d, c = rules.threshold, rules.max_dropouts, rules.colluders
    if rules.neighbours == "complete":
        few = counted(c, "colluder is", "colluders are")
        return f"{t} of {agreement.holders} share holders open a mask, for which {few} too few."
    k = rules.neighbours
    private = privacy_bits(n, c, d, k, t) - log2(agreement.max_rounds)
    kept = recovery_bits(n, d, k, t)
    return (
        f"Each party draws {k} share holders, {t} of whom open a mask; by bad luck of the draw "
        f"privacy fails in any round with a chance below 2^-{int(private)} and a round is lost "
        f"below 2^-{int(kept)}."
    )
