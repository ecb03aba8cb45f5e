"""What an audit says in sentences: who is protected from whom, and what nobody claims."""

from __future__ import annotations

from typing import Any, Final

from protocols.agreement import Agreement
from securefed.collusion import fewest_survivors
from securefed.summary import counted

SAMPLER: Final = {
    "noise": "Exact discrete Gaussian noise on integers: Walker alias tables whose integer weights "
    "sum to 2^128; each value is within statistical distance 2^-100 of the distribution.",
    "people": "Poisson sampling: each company draws each of its people independently and in "
    "secret; neither who was drawn nor how many is sent or written down.",
    "randomness": "AES-256 in counter mode under keys that are fresh from the operating system.",
    "floating_point": "Vectors are clipped in floating point and rounded to integers; the norm "
    "that the promise rests on is then checked in exact integers, and the noise is integer.",
    "side_channels": "How long a company trains shows roughly how many people it drew. Python "
    "integers in secret sharing take no constant time. Table look-ups leave traces in caches.",
    "evidence": "This is what the software named in the commits does. The record holds each "
    "company's signed statement of software and parameters, not a proof of what ran.",
}

CONTROLLERS: Final = (
    "purpose of the processing",
    "lawful basis",
    "controllers and processors, and how to reach them",
    "retention of data, models and this record",
    "reference of the data protection impact assessment",
    "other federations that use the same people's data",
)
"""What only those responsible for the data know; the ledger has no field for it."""

_NEVER: Final = (
    (
        "That the results are right, fair or useful: data may be wrong, and a company can spoil a "
        "sum within its bound."
    ),
    (
        "That what is true of the record is true of the world if a quorum of companies and the "
        "coordinator made it up together."
    ),
    "That the clocks of the witnesses were right: times are what each of them says.",
    (
        "That this is the newest copy of the record, unless heads that companies hold were "
        "compared with it."
    ),
    "Anything about what a company does with its own data outside these rounds.",
    "That the results are anonymous, or the processing lawful, in the sense of any law.",
)
_NEVER_WITH_NOISE: Final = (
    (
        "That a company clipped, sampled and added noise as it signed. A party that clips wrongly "
        "exposes its own people only; one that leaves its noise out is counted as a colluder."
    ),
    (
        "That noise is secret from its maker: each company knows the noise that it added itself, "
        "which is why the worst case counts the noise of one company alone."
    ),
    (
        "That people who are also in the data of another federation are protected at this epsilon: "
        "what several cost adds up."
    ),
)
_NEVER_WITHOUT = (
    (
        "That people are protected. No noise was added: masks hide which company contributed "
        "what, not what the sums and models tell about people."
    ),
)


def fewest_in_a_sum(agreement: Agreement) -> int:
    """Return how many parties are in any sum, at the least."""
    noised = agreement.privacy.mechanism != "none"
    enough = len(agreement.parties) - agreement.aggregation.max_dropouts if noised else 0
    return max(fewest_survivors(agreement), enough)


def not_claimed(agreement: Agreement | None) -> list[str]:
    """Return what nobody should read into a report."""
    if agreement is None:
        return list(_NEVER)
    noised = agreement.privacy.mechanism != "none"
    return [*(_NEVER_WITH_NOISE if noised else _NEVER_WITHOUT), *_NEVER]


def adjacency(agreement: Agreement) -> str:
    """Return between which data sets nobody can tell."""
    if agreement.privacy.mechanism == "none":
        return "Without noise no two data sets are promised to look alike."
    if agreement.privacy.unit == "company":
        return "Two data sets are neighbours if one has all the data of one company more."
    most = agreement.privacy.companies_per_person
    where = "one company" if most == 1 else f"up to {most} companies"
    return f"Two data sets are neighbours if one has one person more, with all data at {where}."


def contribution(agreement: Agreement) -> str:
    """Return how much one person can change, across companies."""
    if agreement.privacy.mechanism == "none":
        return "What one person contributes is not bounded: there is no clipping."
    if agreement.privacy.unit == "company":
        return "Each company adds one vector, shortened to the clip norm, to each sum."
    most = agreement.privacy.companies_per_person
    if most == 1:
        return (
            "Each person adds at most one vector, shortened to the clip norm, to each sum, through "
            "one company. A person in two companies is not covered by this epsilon."
        )
    return (
        f"Each person adds at most {most} vectors, each shortened to the clip norm, to each sum, "
        f"through at most {most} companies that sample independently; epsilon covers all of them."
    )


def assumptions(agreement: Agreement, *, anchored: bool) -> list[str]:
    """Return what has to be true for the promise to hold."""
    n, c = len(agreement.parties), agreement.aggregation.colluders
    source = "" if anchored else ", and the agreement in this file is the one that they signed"
    side = "side" if c > 1 else "sides"
    listed = [
        f"At most {c} of {n} companies secretly {side} with the coordinator."
        if c
        else "No company sides with the coordinator: the agreement assumes none.",
        f"The public keys in the agreement belong to those whom it names{source}.",
        "Ed25519, X25519, AES-256 and SHA-256 hold, and every machine has good random numbers.",
    ]
    if agreement.privacy.mechanism == "none":
        return listed
    one_row = {
        "person": "One row is one person. Somebody with more rows, or in more companies than "
        "agreed, is protected less.",
        "company": "One company takes part under one name only.",
    }[agreement.privacy.unit]
    return [
        *listed[:1],
        (
            "Every other company ran the software that it signed for: drew its people in secret, "
            "clipped, and added its noise."
        ),
        one_row,
        *listed[1:],
    ]


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
        *(_with_colluders(c, kept, epsilon) if c else _without_colluders(kept, noised=noised)),
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


def _with_colluders(colluders: int, kept: str, epsilon: float | None) -> list[dict[str, Any]]:
    whom = counted(colluders, "company", "companies")
    theirs = "those companies know" if colluders > 1 else "that company knows"
    return [
        _reader(
            f"the coordinator and up to {whom} together",
            f"the same, and what {theirs}",
            kept,
            epsilon,
        ),
        _reader("another company", "every model, and its own noise", kept, epsilon),
    ]


def _without_colluders(kept: str, *, noised: bool) -> list[dict[str, Any]]:
    # What another company sees holds noise that it knows: its own share.
    how = "less than promised: the agreement counts on its noise" if noised else kept
    return [
        _reader(
            "the coordinator and any company together", "the same", "nothing is promised", None
        ),
        _reader("another company", "every model, and its own noise", how, None),
    ]


def _reader(who: str, sees: str, how: str, epsilon: float | None) -> dict[str, Any]:
    return {"who": who, "sees": sees, "how": how, "epsilon": epsilon}
