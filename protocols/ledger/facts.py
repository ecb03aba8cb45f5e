"""What a verified ledger says, as plain facts for reports: nothing here is taken on trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from protocols.agreement import SignedAgreement
from protocols.intent import Terms
from protocols.privacy.accounting import Guarantee

Verdict = Literal["verified", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """One checkpoint whose signatures hold.

    Attributes:
        leaf: its position in the log.
        size: leaves that it covers, those before it.
        root: of the tree over them, 32 bytes.
        witnesses: parties that cosigned, by number, in order.
        times: when each of them says it did, Unix seconds, in the same order.
    """

    leaf: int
    size: int
    root: bytes
    witnesses: tuple[int, ...]
    times: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """One round that ended. Parties are given by number.

    Attributes:
        round: its number.
        leaf: position of its intent in the log.
        task: name of its task.
        round_in_task: its number within the task.
        outcome: whether it has a sum.
        step: where it was aborted; else empty.
        reason: why it was aborted; else empty.
        invited: parties that were asked.
        committed: parties whose commit is in the log in its place.
        late: parties whose commit was recorded only after the round.
        survivors: parties in the sum.
        dropouts: parties that dealt shares, or were invited where nothing is masked, and are not in
            the sum.
        confirmations: parties that signed the survivor set.
        model_before: digest of the model that it started from, 32 bytes.
        model_after: digest of the model that came of it; ``None`` if it was aborted.
        aggregate: digest of the opened sum; ``None`` if it was aborted.
        terms: of noise, clip norm and sampling; ``None`` without noise.
        outputs: names of everything that was opened.
        noise_meter: measured over promised variance, as the coordinator states it.
        epsilon_before: spent before, by the Renyi accountant, recomputed.
        epsilon_after: spent with it, recomputed.
        task_done: whether it ended its task.
        software: what the parties say computed their commits, each once.
    """

    round: int
    leaf: int
    task: str
    round_in_task: int
    outcome: Literal["completed", "aborted"]
    step: str
    reason: str
    invited: tuple[int, ...]
    committed: tuple[int, ...]
    late: tuple[int, ...]
    survivors: tuple[int, ...]
    dropouts: tuple[int, ...]
    confirmations: tuple[int, ...]
    model_before: bytes
    model_after: bytes | None
    aggregate: bytes | None
    terms: Terms | None
    outputs: tuple[str, ...]
    noise_meter: float | None
    epsilon_before: float | None
    epsilon_after: float | None
    task_done: bool
    software: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an auditor has to know.

    Attributes:
        name: short and stable, such as ``"commit-missing"``.
        reason: what was found, in one clause.
        leaf: position of the leaf at fault; ``None`` if no single one is.
        round: round that it belongs to, 0 outside any.
        party: name of who is at fault as far as it can be known; else empty.
    """

    name: str
    reason: str
    leaf: int | None = None
    round: int = 0
    party: str = ""


@dataclass(frozen=True, slots=True)
class PartySpending:
    """What the rounds cost the people of one party.

    Attributes:
        party: its name.
        invited: rounds that it was asked to join; all of them are charged.
        committed: rounds in which a vector of it left.
        guarantee: of the rounds that it was charged for; ``None`` without noise.
        worst_case: epsilon if all other parties collude and tell their noise; ``inf`` where no
            bound is left; ``None`` without noise.
    """

    party: str
    invited: int
    committed: int
    guarantee: Guarantee | None
    worst_case: float | None


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What the audit of one ledger came to.

    Attributes:
        verdict: ``failed`` if anything is wrong; ``incomplete`` if all is well so far but the run
            was not closed, so that later rounds may exist; else ``verified``.
        failure: the first thing that is wrong; ``None`` unless the verdict is ``failed``.
        warnings: what an auditor has to look at although nothing is wrong with the record.
        signed: the agreement of leaf 0; ``None`` if not even that could be read.
        anchored: whether the agreement, or its digest, was given from outside the bundle.
        heads_checked: heads from outside with which the log was found to be consistent.
        leaves: leaves that were read.
        root: of the tree over all of them, 32 bytes.
        rounds: every round that ended, in order.
        checkpoints: every checkpoint, in order.
        spending: what each party's people spent, in order of the agreement.
        total: of all rounds; ``None`` without noise.
        worst_case: epsilon of all rounds if all parties but one collude; ``None`` without noise.
        alarms: rounds whose noise meter is outside its bounds.
        signatures: signatures that were checked.
        closed: whether the coordinator declared the run complete.
    """

    verdict: Verdict
    failure: Finding | None
    warnings: tuple[Finding, ...]
    signed: SignedAgreement | None = field(repr=False)
    anchored: bool
    heads_checked: int
    leaves: int
    root: bytes
    rounds: tuple[RoundFacts, ...] = field(repr=False)
    checkpoints: tuple[CheckpointFacts, ...] = field(repr=False)
    spending: tuple[PartySpending, ...]
    total: Guarantee | None
    worst_case: float | None
    alarms: tuple[int, ...]
    signatures: int
    closed: bool
