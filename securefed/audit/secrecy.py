"""What keeps one company's part from everybody else, and who could read it all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from protocols.agreement import Agreement
from protocols.agreement.members import names
from securefed.collusion import Coalition, Exposure, exposure

HIDES: Final = {
    "masking": "Masks hide",
    "paillier": "Encryption hides",
    "layered": "Masks and encryption hide",
}
"""By mode: what hides which company contributed what."""

_LEAVES: Final = {
    "masking": "masked; the masks cancel in the sum",
    "paillier": "encrypted; only a product of them, which holds the sum, is opened",
    "layered": "masked and then encrypted; only a product of them, which holds the sum, is opened, "
    "and the masks cancel in it",
}


def secrecy(agreement: Agreement, key: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what hides one company's part, whose key that takes, and who could read it.

    Args:
        agreement: a validated one.
        key: of a record that was checked, see :func:`securefed.audit.key_leaf.key_facts`.
    """
    found = exposure(agreement)
    return {
        "mode": agreement.aggregation.mode,
        "hidden_by": found.rests_on,
        "key": _key(agreement, key),
        "stays_private_from": _told(found.safe_from),
        "readable": {
            "unnoticed": _told(found.unnoticed),
            "provably": _told(found.provable),
            "later": _told(found.later),
        },
        "sentences": [
            (
                f'Mode "{agreement.aggregation.mode}": by the agreement every vector leaves its '
                f"company {_LEAVES[agreement.aggregation.mode]}."
            ),
            *_about_key(agreement, key),
            *_about_readers(agreement, found),
        ],
    }


def key_owner(agreement: Agreement) -> tuple[str, str] | None:
    """Return "dealer" or "key holder", and its name; ``None`` where nothing is encrypted."""
    rules = agreement.paillier
    if rules is None:
        return None
    if rules.key_holder is not None:
        return "key holder", rules.key_holder.name
    return None if rules.dealer is None else ("dealer", rules.dealer.name)


def whose_key(agreement: Agreement) -> str:
    """Return in one clause who opens a sum, and under which key; empty where nobody has to."""
    owner, rules = key_owner(agreement), agreement.paillier
    if owner is None or rules is None:
        return ""
    role, name = owner
    if role == "key holder":
        return f"key of {rules.key_bits} bits, held by {name} alone"
    trustees = names(agreement.trustees)
    return (
        f"key of {rules.key_bits} bits, dealt by {name}; any {agreement.quorum} of {trustees} "
        "open a sum together"
    )


def _key(agreement: Agreement, key: dict[str, Any] | None) -> dict[str, Any] | None:
    owner, rules = key_owner(agreement), agreement.paillier
    if owner is None or rules is None:
        return None
    role, name = owner
    return {
        "role": role,
        "name": name,
        "bits": rules.key_bits,
        "trustees": [one.name for one in agreement.trustees],
        "threshold": agreement.quorum if role == "dealer" else 1,
        "ceremony_holds": key is not None,
        "digest": None if key is None else key["key"],
        "record": None if key is None else key["record"],
    }


def _about_key(agreement: Agreement, key: dict[str, Any] | None) -> Iterator[str]:
    owner = key_owner(agreement)
    if owner is None:
        return
    role, name = owner
    clause = whose_key(agreement)
    trust = (
        "What it opens is still masked."
        if role == "key holder"
        else f"{name} is trusted to have kept nothing of it."
        if agreement.aggregation.mode == "paillier"
        else "What they open is still masked."
    )
    yield f"{clause[0].upper()}{clause[1:]}. {trust}"
    if key is None:
        return
    signers = name if role == "key holder" else f"{name} and every trustee"
    yield (
        f"The record of how the key was made holds: {signers} signed it, and its proofs are right. "
        f"The key's digest is {key['key']}; a company compares it with its own by securefed "
        "ceremony check."
    )


def _about_readers(agreement: Agreement, found: Exposure) -> Iterator[str]:
    yield (
        f"Without anybody's help, reading one company's part takes breaking {found.rests_on}. It "
        f"stays private from these together: {_either(found.safe_from)}."
    )
    ways = (
        ("unseen", found.unnoticed),
        ("leaving signatures that contradict each other", found.provable),
        ("from what was recorded, at any time later", found.later),
    )
    for how, coalitions in ways:
        if coalitions:
            yield f"Could read it together, {how}: {_either(coalitions)}."
    if _deals(agreement):
        yield "A dealer could only if it kept what it dealt, which no record can show."


def _deals(agreement: Agreement) -> bool:
    return agreement.paillier is not None and agreement.paillier.dealer is not None


def _told(coalitions: Sequence[Coalition]) -> list[str]:
    return [one.told("company", "companies") for one in coalitions]


def _either(coalitions: Sequence[Coalition]) -> str:
    return "; or ".join(_told(coalitions))
