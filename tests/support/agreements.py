"""Agreements and identities for tests: small, valid, and easy to bend."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from protocols.agreement import (
    Agreement,
    AgreementSignature,
    SignedAgreement,
    agreement_from,
    bring_into_force,
    sign_agreement,
)
from protocols.identity import Identity

COORDINATOR = "hub"


def party_name(number: int) -> str:
    return f"party-{number}"


def identity_of(name: str) -> Identity:
    """The one test identity of a name."""
    return Identity(name, hashlib.sha256(f"test identity of {name}".encode()).digest())


def fingerprint_of(name: str) -> str:
    return hashlib.sha256(f"test certificate of {name}".encode()).hexdigest()


def member(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "public_key": identity_of(name).public.raw.hex(),
        "tls_fingerprint": fingerprint_of(name),
    }


def plain_agreement(
    parties: int = 5,
    *,
    colluders: int = 1,
    max_dropouts: int = 0,
    threshold: int | None = None,
    min_cohort: int | None = None,
    neighbours: int | str = "complete",
    **changes: Any,
) -> dict[str, Any]:
    """The plain dict of an agreement; by default with the smallest safe threshold and cohort."""
    quorum = (parties + colluders) // 2 + 1
    plain: dict[str, Any] = {
        "version": 1,
        "federation": "test-federation",
        "coordinator": member(COORDINATOR) | {"address": "127.0.0.1:7443"},
        "parties": [member(party_name(number)) for number in range(parties)],
        "tasks": [
            {
                "name": "mean",
                "kind": "glm-logistic",
                "rounds": 3,
                "dimension": 10,
                "bound": 8.0,
                "scale": 1024.0,
                "modulus_bits": 32,
                "rounding": "nearest",
                "parameters": {"features": 3, "ridge": 1.0, "columns": ["a", "b"], "on": True},
            }
        ],
        "aggregation": {
            "mode": "masking",
            "colluders": colluders,
            "max_dropouts": max_dropouts,
            "threshold": colluders + 1 if threshold is None else threshold,
            "min_cohort": quorum if min_cohort is None else min_cohort,
            "neighbours": neighbours,
            "deadline_seconds": 30.0,
            "max_message_bytes": 1 << 24,
        },
        "privacy": {"mechanism": "none", "accept_no_differential_privacy": True},
    }
    return plain | changes


def changed(plain: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A deep copy with one value set; ``path`` is dotted, list positions are numbers."""
    first, _, rest = path.partition(".")
    inner = value if not rest else None
    if isinstance(plain, list):
        copy: Any = list(plain)
        copy[int(first)] = inner if not rest else changed(plain[int(first)], rest, value)
        return copy
    return {**plain, first: inner if not rest else changed(plain[first], rest, value)}


def make_agreement(parties: int = 5, **changes: Any) -> Agreement:
    return agreement_from(plain_agreement(parties, **changes))


def signatures(agreement: Agreement) -> list[AgreementSignature]:
    return [sign_agreement(agreement, identity_of(party.name)) for party in agreement.parties]


def in_force(agreement: Agreement) -> SignedAgreement:
    return bring_into_force(agreement, signatures(agreement))
