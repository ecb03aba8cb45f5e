"""The audit of a ledger as plain data: the whole content of the HTML page, for machines.

Every number is finite. An epsilon without bound is ``null`` beside ``"bounded": false``. The fields
are listed in ``docs/audit.md``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Final

from protocols.agreement import Agreement
from protocols.agreement.noise import composed_releases
from protocols.errors import PrivacyParameterError
from protocols.intent import OUTPUT_INDICATOR, OUTPUT_METER, OUTPUT_SUM, SOFTWARE
from protocols.ledger.facts import AuditResult, CheckpointFacts, Finding, RoundFacts
from protocols.ledger.findings import FINDINGS
from protocols.privacy.accounting import epsilon
from securefed.audit.canary import Canary, empirical
from securefed.audit.cards import cards
from securefed.audit.checklist import checklist
from securefed.audit.participation import participation
from securefed.audit.readers import protected_from
from securefed.audit.secrecy import secrecy
from securefed.audit.spending import charged, meter_bounds, spending
from securefed.audit.statements import (
    CONTROLLERS,
    adjacency,
    assumptions,
    contribution,
    fewest_in_a_sum,
    not_claimed,
    sampler,
)
from securefed.audit.transcript import Anchor, transcript
from securefed.audit.words import HEADLINES, clean, instant, verdict_sentence

FORMAT: Final = "securefed audit report"
VERSION: Final = 1
_DELTAS: Final = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
_MEANINGS: Final = {
    "canary-refutes": "An attack did better than the proven epsilon allows: the proof, the code or "
    "what was attacked is not what it seems.",
}
_OUTPUTS: Final = {
    OUTPUT_SUM: "the sum of the parties' vectors, of which the next model is made",
    OUTPUT_METER: "4096 values that hold noise alone",
    OUTPUT_INDICATOR: "how many people were within the clip norm, noised, inside the same sum",
}


@dataclass(frozen=True, slots=True)
class Source:
    """What was audited, when, and against what.

    Attributes:
        name: of the bundle's file.
        bytes: its length.
        sha256: of the file, 64 hexadecimal digits.
        at: when the audit was made, Unix seconds.
        anchor: what was given from outside for the agreement.
        heads: how many heads were given from outside.
        anchor_digest: of the agreement that was given, 64 hexadecimal digits; empty if none was.
    """

    name: str
    bytes: int
    sha256: str
    at: int
    anchor: Anchor
    heads: int = 0
    anchor_digest: str = ""


def report(
    result: AuditResult,
    source: Source,
    canary: Canary | None = None,
    key: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything that an audit found as plain dicts, lists, strings and finite numbers.

    Args:
        result: of the audit.
        source: what was audited.
        canary: an empirical lower bound, measured apart.
        key: that ciphertexts are under, see :func:`securefed.audit.key_leaf.key_facts`.
    """
    agreement = None if result.signed is None else result.signed.agreement
    names = [] if agreement is None else [party.name for party in agreement.parties]
    spent = {"noise": False} if agreement is None else spending(result, agreement)
    if spent["noise"] and agreement is not None:
        spent |= {
            "accountants": _accountants(),
            "curve_over_delta": _over_delta(result.rounds, agreement),
            "meter": {"bounds": meter_bounds(), "alarms": list(result.alarms)},
        }
    told: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "made": {"at": instant(source.at), "software": SOFTWARE},
        "bundle": {"name": clean(source.name), "bytes": source.bytes, "sha256": source.sha256},
        "verdict": _verdict(result, source, canary),
        "agreement": None if agreement is None else _agreement(agreement),
        "protection": None if agreement is None else _protection(agreement, spent, result),
        "secrecy": None if agreement is None else secrecy(agreement, key),
        "privacy": spent,
        "releases": [] if agreement is None else _releases(result.rounds, agreement),
        "participation": participation(result.rounds, names),
        "ledger": _ledger(result, agreement),
        "checkpoints": [_checkpoint(one, names) for one in result.checkpoints],
        "rounds": [_round(one) for one in result.rounds],
        "transcript": transcript(result, source.anchor, source.heads),
        "empirical": empirical(canary),
        "sampler": sampler(agreement),
        "not_recorded": list(CONTROLLERS),
        "not_claimed": not_claimed(agreement),
    }
    return told | {"checklist": checklist(told), "cards": cards(told)}


def finding_to_plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as a plain dict; its text is one printable line."""
    plain = asdict(finding)
    return {
        **plain,
        **{key: clean(plain[key]) for key in ("name", "reason", "party")},
        "means": FINDINGS.get(finding.name, _MEANINGS.get(finding.name, "")),
    }


def _verdict(result: AuditResult, source: Source, canary: Canary | None) -> dict[str, Any]:
    warnings = list(result.warnings)
    if canary is not None and canary.refuted:
        warnings.append(
            Finding(
                "canary-refutes", f"epsilon {canary.epsilon_lower:.4g} was needed to explain it"
            )
        )
    return {
        "verdict": result.verdict,
        "headline": HEADLINES[result.verdict],
        "sentence": verdict_sentence(result),
        "failure": None if result.failure is None else finding_to_plain(result.failure),
        "warnings": [finding_to_plain(one) for one in warnings],
        "anchor": source.anchor,
        "anchor_digest": source.anchor_digest or None,
        "anchored": result.anchored,
        "heads_checked": result.heads_checked,
        "closed": result.closed,
    }


def _agreement(agreement: Agreement) -> dict[str, Any]:
    rules = agreement.aggregation
    return {
        "digest": agreement.digest().hex(),
        "federation": agreement.federation,
        "coordinator": agreement.coordinator.name,
        "parties": [{"name": one.name, "public_key": one.public_key} for one in agreement.parties],
        "auditors": [
            {"name": one.name, "public_key": one.public_key} for one in agreement.auditors
        ],
        "tasks": [
            {"name": one.name, "kind": one.kind, "rounds": one.rounds, "dimension": one.dimension}
            for one in agreement.tasks
        ],
        "mode": rules.mode,
        "colluders": rules.colluders,
        "max_dropouts": rules.max_dropouts,
        "threshold": rules.threshold,
        "quorum": agreement.quorum,
        "fewest_in_a_sum": fewest_in_a_sum(agreement),
        "privacy": agreement.privacy.model_dump(mode="json"),
    }


def _protection(agreement: Agreement, spent: dict[str, Any], result: AuditResult) -> dict[str, Any]:
    return {
        "unit": agreement.privacy.unit if spent["noise"] else "none",
        "adjacency": adjacency(agreement),
        "contribution": contribution(agreement),
        "from": protected_from(agreement, spent),
        "assumptions": assumptions(agreement, anchored=result.anchored),
    }


def _accountants() -> list[dict[str, str]]:
    return [
        {
            "name": "privacy loss distributions",
            "software": f"dp-accounting {version('dp-accounting')}",
        },
        {"name": "Renyi divergences", "software": SOFTWARE},
    ]


def _over_delta(rounds: Sequence[RoundFacts], agreement: Agreement) -> list[dict[str, Any]]:
    releases = composed_releases(agreement, charged(rounds))
    points = []
    for delta in _DELTAS:
        try:
            bound = epsilon(releases, delta, accountant="rdp")
        except PrivacyParameterError:
            # So small a delta that the noise, which is integer, promises nothing there.
            bound = math.inf
        points.append({"delta": delta, "epsilon_rdp": bound if math.isfinite(bound) else None})
    return points


def _releases(rounds: Sequence[RoundFacts], agreement: Agreement) -> list[dict[str, Any]]:
    opened = Counter(
        (one.task, output) for one in rounds if one.outcome == "completed" for output in one.outputs
    )
    noised = agreement.privacy.mechanism != "none"
    return [
        {
            "task": task,
            "output": output,
            "count": count,
            "noised": noised,
            "what": _OUTPUTS.get(output, "not known to this release"),
        }
        for (task, output), count in sorted(opened.items())
    ]


def _ledger(result: AuditResult, agreement: Agreement | None) -> dict[str, Any]:
    parties = () if agreement is None else agreement.parties
    signed = Counter(number for one in result.checkpoints for number in one.witnesses)
    return {
        "leaves": result.leaves,
        "root": result.root.hex(),
        "closed": result.closed,
        "signatures": result.signatures,
        "quorum": 0 if agreement is None else agreement.quorum,
        "witnesses": [
            {"party": party.name, "cosigned": signed[number]}
            for number, party in enumerate(parties)
        ],
        "software": sorted({name for one in result.rounds for name in one.software}),
    }


def _checkpoint(one: CheckpointFacts, names: Sequence[str]) -> dict[str, Any]:
    return {
        "leaf": one.leaf,
        "size": one.size,
        "root": one.root.hex(),
        "witnesses": [names[number] for number in one.witnesses],
        "first_signed": instant(min(one.times)) if one.times else None,
        "last_signed": instant(max(one.times)) if one.times else None,
    }


def _round(one: RoundFacts) -> dict[str, Any]:
    digests = {
        "model_before": one.model_before.hex(),
        "model_after": None if one.model_after is None else one.model_after.hex(),
        "aggregate": None if one.aggregate is None else one.aggregate.hex(),
    }
    terms = one.terms
    return {
        **asdict(one),
        "reason": clean(one.reason),
        "terms": None
        if terms is None
        else {name: getattr(terms, name) for name in terms.__struct_fields__},
        **digests,
    }
