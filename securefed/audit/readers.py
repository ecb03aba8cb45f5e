"""Who sees what of a run, and how people are protected from each: one row for each reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocols.agreement import Agreement
from securefed.audit.secrecy import key_owner
from securefed.audit.statements import fewest_in_a_sum
from securefed.summary import counted


def protected_from(agreement: Agreement, spent: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each kind of reader what they see and at which epsilon people are protected."""
    n, c = len(agreement.parties), agreement.aggregation.colluders
    fewest = fewest_in_a_sum(agreement)
    noised = bool(spent["noise"])
    summed = f"the {'noised ' if noised else ''}sum of at least {fewest} companies"
    sums = f"in each round {summed}, and every model"
    epsilon = spent.get("epsilon_pld")
    worst = spent.get("worst_case", {"epsilon": None, "bounded": False})
    kept = (
        "as promised"
        if noised
        else "people are not protected; a single company's part stays hidden"
    )
    alone = "little or nothing is left" if noised else "nothing is left"
    own = "a person's own company" if agreement.privacy.unit == "person" else "the company itself"
    return [
        _reader("the coordinator", sums, kept, epsilon),
        *(
            _with_colluders(agreement, kept, epsilon)
            if c
            else _without_colluders(agreement, kept, noised=noised)
        ),
        *_key_makers(agreement, fewest),
        _reader("whoever gets the models", "every model", kept, epsilon),
        _reader(
            f"the coordinator and {n - 1} of {n} companies together",
            "everything but the data of the one company that is left",
            "the worst case: the noise of one company alone" if worst["bounded"] else alone,
            worst["epsilon"],
        ),
        _reader(
            "the network", "who talks to whom, when and how much", "TLS 1.3 hides the rest", None
        ),
        _reader(own, "its own data", "not protected: it holds the data", None),
    ]


def _key_makers(agreement: Agreement, fewest: int) -> Iterator[dict[str, Any]]:
    owner = key_owner(agreement)
    if owner is None:
        return
    role, name = owner
    if role == "key holder":
        sees = (
            "who takes part, every company's encrypted vector, and in each round one sum of at "
            f"least {fewest} companies that is still masked"
        )
        yield _reader(f"the key holder {name}", sees, "it learns no result and no model", None)
        return
    how = "it is in no round; it is trusted to have forgotten the key"
    if agreement.aggregation.mode == "layered":
        how = "it is in no round; what the key opens is still masked"
    yield _reader(f"the dealer {name}", "the key, while it deals it", how, None)
    if agreement.aggregation.mode == "paillier":
        whom = f"{name} with the coordinator or a company, had it kept the key"
        yield _reader(whom, "every company's vector", "nothing is promised", None)


def _seen_by_others(agreement: Agreement) -> str:
    opens = agreement.trustees == agreement.parties
    return f"every model, {'every encrypted vector, ' if opens else ''}and its own noise"


def _with_colluders(agreement: Agreement, kept: str, epsilon: float | None) -> list[dict[str, Any]]:
    colluders = agreement.aggregation.colluders
    whom = counted(colluders, "company", "companies")
    theirs = "those companies know" if colluders > 1 else "that company knows"
    return [
        _reader(
            f"the coordinator and up to {whom} together",
            f"the same, and what {theirs}",
            kept,
            epsilon,
        ),
        _reader("another company", _seen_by_others(agreement), kept, epsilon),
    ]


def _without_colluders(agreement: Agreement, kept: str, *, noised: bool) -> list[dict[str, Any]]:
    # What another company sees holds noise that it knows: its own share.
    how = "less than promised: the agreement counts on its noise" if noised else kept
    return [
        _reader(
            "the coordinator and any company together", "the same", "nothing is promised", None
        ),
        _reader("another company", _seen_by_others(agreement), how, None),
    ]


def _reader(who: str, sees: str, how: str, epsilon: float | None) -> dict[str, Any]:
    return {"who": who, "sees": sees, "how": how, "epsilon": epsilon}
