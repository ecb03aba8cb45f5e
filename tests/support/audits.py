"""Results of audits, made by hand: what a report is to be written about."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from protocols.agreement import SignedAgreement, agreement_from
from protocols.agreement.noise import composed_epsilon, composed_releases
from protocols.intent import outputs_of, terms_of
from protocols.ledger.facts import AuditResult, CheckpointFacts, Finding, PartySpending, RoundFacts
from protocols.privacy.accounting import epsilon, guarantee
from securefed.audit.report import Source
from support.agreements import encrypted, in_force, member, noised, plain_agreement

START = 1_800_000_000
SOURCE = Source("run.ledger", 1_234_567, "ab" * 32, START + 86_400, "agreement", heads=1)
CITIES = ("north", "south", "west", "east", "centre")


def digest(label: object) -> bytes:
    return hashlib.sha256(str(label).encode()).digest()


@lru_cache(maxsize=8)
def federation(
    parties: int = 5, rounds: tuple[int, ...] = (40, 30), *, noise: bool = True
) -> SignedAgreement:
    dropouts = max(1, parties // 10)
    plain = plain_agreement(parties, max_dropouts=dropouts, colluders=max(1, parties // 10))
    plain["federation"] = "regional-clinics"
    plain["auditors"] = [{"name": "eve", "public_key": member("eve")["public_key"]}]
    if noise:
        plain = noised(plain, epsilon=200.0 if parties > 5 else 3.0, delta=1e-5)
        plain["aggregation"] = plain["aggregation"] | {"min_cohort": parties - dropouts}
    tasks = [
        plain["tasks"][0] | {"name": name, "rounds": count, "dimension": 31 + 200 * number}
        for number, (name, count) in enumerate(zip(("risk-score", "network"), rounds, strict=False))
    ]
    for task in tasks:
        if noise:
            wide = 12.0 if parties > 5 else 4.2
            task["privacy"] = task["privacy"] | {"noise_multiplier": wide, "sampling_rate": 0.3}
    if noise and len(tasks) > 1:
        fixed = {k: v for k, v in tasks[0]["privacy"].items() if k != "adaptive"}
        tasks[0] = tasks[0] | {"privacy": fixed}
    return in_force(agreement_from(plain | {"tasks": tasks}))


def facts(signed: SignedAgreement, random: np.random.Generator) -> list[RoundFacts]:
    """Rounds with parties that fall silent, drop out, are not invited, and with aborts."""
    agreement, n = signed.agreement, len(signed.agreement.parties)
    rounds: list[RoundFacts] = []
    counts: dict[str, int] = {}
    model, leaf, clip = digest("initial"), 2, {}
    noise = agreement.privacy.mechanism != "none"
    for task in agreement.tasks:
        for place in range(1, task.rounds + 1):
            number = len(rounds) + 1
            before = _spent(agreement, counts)
            counts[task.name] = counts.get(task.name, 0) + 1
            after = _spent(agreement, counts)
            draw = random.random(n)
            invited = tuple(i for i in range(n) if not (i == n - 1 and 20 <= number < 26))
            silent = {i for i in invited if draw[i] < 0.02 or (i == 2 and 50 <= number < 53)}
            committed = tuple(i for i in invited if i not in silent)
            aborted = number % 23 == 0
            lost = {i for i in committed if draw[i] > 0.985}
            late = tuple(sorted(lost)) if number % 3 == 0 else ()
            alive = tuple(i for i in committed if i not in lost)
            adapts = task.privacy is not None and task.privacy.adaptive is not None
            norm = clip.get(task.name, 2.0)
            clip[task.name] = float(np.clip(norm * np.exp(random.normal(-0.01, 0.05)), 0.5, 2))
            nothing = digest((number, "model"))
            rounds.append(
                RoundFacts(
                    round=number,
                    leaf=leaf,
                    task=task.name,
                    round_in_task=place,
                    outcome="aborted" if aborted else "completed",
                    step="submit" if aborted else "",
                    reason="submit: 3 parties answered, 4 needed; the round is aborted"
                    if aborted
                    else "",
                    invited=invited,
                    committed=tuple(i for i in committed if i not in late),
                    late=late,
                    survivors=() if aborted else alive,
                    dropouts=() if aborted else tuple(sorted(lost)),
                    confirmations=() if aborted else alive,
                    model_before=model,
                    model_after=None if aborted else nothing,
                    aggregate=None if aborted else digest((number, "sum")),
                    terms=terms_of(agreement, task, norm if adapts else None),
                    outputs=outputs_of(agreement, task),
                    noise_meter=None
                    if aborted or not noise
                    else float(random.normal(0.8 if number == 17 else 1, 0.022)),
                    epsilon_before=before,
                    epsilon_after=after,
                    task_done=place == task.rounds,
                    software=("securefed/0.1.0",),
                )
            )
            model = model if aborted else nothing
            leaf += 2 * n + 3
    return rounds


def _spent(agreement: Any, counts: dict[str, int]) -> float | None:
    if agreement.privacy.mechanism == "none":
        return None
    return epsilon(composed_releases(agreement, counts), 1e-5, accountant="rdp")


@lru_cache(maxsize=8)
def verified(
    parties: int = 5, rounds: tuple[int, ...] = (40, 30), *, noise: bool = True
) -> AuditResult:
    signed = federation(parties, rounds, noise=noise)
    done = facts(signed, np.random.default_rng(7))
    counts = {task.name: task.rounds for task in signed.agreement.tasks}
    agreement, n = signed.agreement, parties
    total = guarantee(composed_releases(agreement, counts), 1e-5) if noise else None
    alone = composed_epsilon(agreement, counts, sharers=1) if noise else None
    checkpoints = [
        CheckpointFacts(
            leaf=one.leaf - 1,
            size=one.leaf - 1,
            root=digest(("root", one.round)),
            witnesses=one.survivors or tuple(range(n)),
            times=tuple(
                START + 60 * one.round + i for i, _ in enumerate(one.survivors or range(n))
            ),
        )
        for one in done
    ]
    return AuditResult(
        verdict="verified",
        failure=None,
        warnings=tuple(
            Finding("round-aborted", "it ended without a sum", one.leaf, one.round)
            for one in done
            if one.outcome == "aborted"
        )
        + (Finding("noise-too-little", "measured 0.80 of the promise", 210, 17),)
        * (noise and len(done) > 17),
        signed=signed,
        anchored=True,
        heads_checked=1,
        leaves=done[-1].leaf + 2 * n + 4,
        root=digest("final root"),
        rounds=tuple(done),
        checkpoints=tuple(checkpoints),
        spending=tuple(
            PartySpending(
                party.name,
                sum(i in one.invited for one in done),
                sum(i in one.committed or i in one.late for one in done),
                total,
                alone,
            )
            for i, party in enumerate(agreement.parties)
        ),
        total=total,
        worst_case=alone,
        alarms=(17,) if noise and len(done) > 17 else (),
        signatures=len(done) * (2 * n + 2),
        closed=True,
    )


def encrypted_run(mode: str, who: str, *, noise: bool = True) -> AuditResult:
    """The same rounds under an agreement that encrypts."""
    agreement = federation(noise=noise).agreement
    plain = agreement.model_dump(mode="json", exclude_none=True)
    return replace(
        verified(noise=noise), signed=in_force(agreement_from(encrypted(plain, mode, who)))
    )


def incomplete(**changes: Any) -> AuditResult:
    return replace(verified(), verdict="incomplete", closed=False, **changes)


def failed(finding: Finding | None = None, **changes: Any) -> AuditResult:
    whole = verified()
    fault = finding or Finding(
        "commit-missing",
        "south is said to be in the sum, and its commit is not there",
        131,
        12,
        "south",
    )
    return replace(
        whole,
        verdict="failed",
        closed=False,
        failure=fault,
        warnings=(),
        rounds=whole.rounds[:11],
        checkpoints=whole.checkpoints[:11],
        spending=(),
        total=None,
        worst_case=None,
        alarms=(),
        **changes,
    )


def unreadable() -> AuditResult:
    return AuditResult(
        verdict="failed",
        failure=Finding("not-a-bundle", "the file does not begin like an exported ledger"),
        warnings=(),
        signed=None,
        anchored=False,
        heads_checked=0,
        leaves=0,
        root=hashlib.sha256().digest(),
        rounds=(),
        checkpoints=(),
        spending=(),
        total=None,
        worst_case=None,
        alarms=(),
        signatures=0,
        closed=False,
    )
