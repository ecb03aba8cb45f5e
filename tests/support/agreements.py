"""Agreements and identities for tests: small, valid, and easy to bend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
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


def encrypted(
    plain: dict[str, Any], mode: str, who: str, *, key_bits: int = 2048
) -> dict[str, Any]:
    """The same agreement with ciphertexts; ``who`` is "dealer" or "key_holder", by that name."""
    named = member(who.replace("_", "-"))
    if who == "dealer":
        del named["tls_fingerprint"]
    aggregation = plain["aggregation"] | {"mode": mode}
    return plain | {
        "aggregation": aggregation,
        "paillier": {"key_bits": key_bits, who: named},
    }


def make_agreement(parties: int = 5, **changes: Any) -> Agreement:
    return agreement_from(plain_agreement(parties, **changes))


def signatures(agreement: Agreement) -> list[AgreementSignature]:
    return [sign_agreement(agreement, identity_of(party.name)) for party in agreement.parties]


def in_force(agreement: Agreement) -> SignedAgreement:
    return bring_into_force(agreement, signatures(agreement))


def noised(plain: dict[str, Any], **privacy: Any) -> dict[str, Any]:
    """The same agreement with noise: every key of privacy is written out."""
    task = plain["tasks"][0] | {
        "bound": 2.0,
        "scale": 8192.0,
        "rounding": "stochastic",
        "privacy": {
            "clip_norm": 2.0,
            "noise_multiplier": 4.0,
            "sampling_rate": 0.5,
            "people": 1000,
            "adaptive": {"quantile": 0.5, "rate": 0.2, "lowest": 0.5, "highest": 2.0},
        },
    }
    whole = {
        "mechanism": "discrete-gaussian",
        "accept_no_differential_privacy": False,
        "unit": "person",
        "epsilon": 3.0,
        "delta": 1e-5,
        "companies_per_person": 1,
    }
    return plain | {"tasks": [task], "privacy": whole | privacy}


FULL = noised(plain_agreement(3)) | {
    "auditors": [{k: v for k, v in member("eve").items() if k != "tls_fingerprint"}]
}


def without(plain: dict[str, Any], path: str) -> dict[str, Any]:
    copy = json.loads(json.dumps(plain))
    here = copy
    *parents, last = path.split(".")
    for part in parents:
        here = here[int(part)] if isinstance(here, list) else here[part]
    del here[last]
    return copy


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{index}")
    else:
        yield path, value


def plain_toml(plain: dict[str, Any]) -> str:
    """One fixed TOML text, in the order of the dict."""

    def value(one: Any) -> str:
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        return json.dumps(one) if not isinstance(one, float) else repr(one)

    lines = [f"{k} = {value(v)}" for k, v in plain.items() if not isinstance(v, dict | list)]
    for key, table in plain.items():
        for one in [table] if isinstance(table, dict) else table if isinstance(table, list) else []:
            lines.append(f"[{key}]" if isinstance(table, dict) else f"[[{key}]]")
            lines += [f"{k} = {value(v)}" for k, v in one.items() if not isinstance(v, dict)]
            for inner, content in one.items():
                if isinstance(content, dict):
                    lines.append(f"[{key}.{inner}]")
                    lines += [f"{k} = {value(v)}" for k, v in content.items()]
    return "\n".join(lines) + "\n"
