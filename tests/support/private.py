"""Federations whose sums carry noise, as nodes in one process."""

from __future__ import annotations

from protocols.agreement import Agreement, bring_into_force, sign_agreement
from protocols.identity import Identity
from securefed.federation import Federation
from securefed.privacy_goal import PrivacyGoal
from support.masking import seeded_random
from support.nodes import NodeFederation, toy_data

PARTIES = 5
ROUNDS = 4


def make_identities() -> dict[str, Identity]:
    random = seeded_random(21)
    names = ["coordinator", *(f"party-{i}" for i in range(PARTIES))]
    return {name: Identity(name, random(32)) for name in names}


def private_federation(
    epsilon: float = 3.0, *, rounds: int = ROUNDS, people: int = 1000, **privacy: object
) -> tuple[Federation, dict[str, Identity], Agreement]:
    identities = make_identities()
    lead = Federation(
        "private",
        [name for name in identities if name != "coordinator"],
        colluders=1,
        max_dropouts=1,
        deadline_seconds=0.5,
        privacy=PrivacyGoal(epsilon=epsilon, delta=1e-4),
    )
    told = {"clip_norm": 1.0, "people": people, "sampling_rate": 0.5, **privacy}
    lead.add_task("risk", "dp-logistic", rounds=rounds, privacy=told, features=3)
    return lead, identities, lead.agreement_for(identities)


def company_federation(
    sampling_rate: float = 1.0, **privacy: object
) -> tuple[Federation, dict[str, Identity], Agreement]:
    identities = make_identities()
    lead = Federation(
        "companies",
        [name for name in identities if name != "coordinator"],
        deadline_seconds=2.0,
        privacy=PrivacyGoal(epsilon=8.0, delta=1e-3, unit="company"),
    )
    lead.add_task(
        "net",
        "torch",
        rounds=2,
        privacy={"clip_norm": 1.0, "people": 1000, "sampling_rate": sampling_rate, **privacy},
        features=3,
        max_rows=1000,
        model="logistic",
        standardize=False,
        local_steps=2,
        clip_norm=0.5,
    )
    return lead, identities, lead.agreement_for(identities)


def nodes(
    agreement: Agreement, identities: dict[str, Identity], rows: int = 60, **options: object
) -> NodeFederation:
    signed = bring_into_force(
        agreement, [sign_agreement(agreement, identities[f"party-{i}"]) for i in range(PARTIES)]
    )
    return NodeFederation(signed, identities, toy_data(PARTIES, rows=rows), **options)
