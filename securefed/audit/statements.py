"""What an audit says in sentences: who is protected from whom, and what nobody claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.agreement import Agreement
from securefed.audit.secrecy import HIDES, key_owner
from securefed.collusion import fewest_survivors

_SAMPLER: Final = {
    "noise": "Exact discrete Gaussian noise on integers: Walker alias tables whose integer weights "
    "sum to 2^128; each value is within statistical distance 2^-100 of the distribution.",
    "people": "Poisson sampling: each company draws each of its people independently and in "
    "secret; neither who was drawn nor how many is sent or written down.",
    "randomness": "AES-256 in counter mode under keys that are fresh from the operating system.",
    "floating_point": "Vectors are clipped in floating point and rounded to integers; the norm "
    "that the promise rests on is then checked in exact integers, and the noise is integer.",
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


def sampler(agreement: Agreement | None) -> dict[str, str]:
    """Return how noise and samples are drawn, what leaks beside messages, and how we know."""
    mode = None if agreement is None else agreement.aggregation.mode
    slow = [
        *([] if mode == "paillier" else ["Python integers in secret sharing"]),
        *([] if mode in {None, "masking"} else ["powers of big integers (GMP)"]),
    ]
    return {
        **_SAMPLER,
        "side_channels": "How long a company trains shows roughly how many people it drew. "
        f"{_sentence(' and '.join(slow))} take no constant time. Table look-ups leave traces in "
        "caches.",
    }


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:]


def fewest_in_a_sum(agreement: Agreement) -> int:
    """Return how many parties are in any sum, at the least."""
    noised = agreement.privacy.mechanism != "none"
    enough = len(agreement.parties) - agreement.aggregation.max_dropouts if noised else 0
    return max(fewest_survivors(agreement), enough)


def not_claimed(agreement: Agreement | None) -> list[str]:
    """Return what nobody should read into a report."""
    if agreement is None:
        return list(_NEVER)
    mode = agreement.aggregation.mode
    unprotected = (
        f"That people are protected. No noise was added: {HIDES[mode].lower()} which company "
        "contributed what, not what the sums and models tell about people."
    )
    noised = agreement.privacy.mechanism != "none"
    return [
        *(_NEVER_WITH_NOISE if noised else (unprotected,)),
        *_never_of_keys(agreement),
        *_NEVER,
    ]


def _never_of_keys(agreement: Agreement) -> Iterator[str]:
    owner = key_owner(agreement)
    if owner is None:
        return
    role, name = owner
    yield (
        f"That {name} kept its key to itself."
        if role == "key holder"
        else f"That {name} forgot the key that it dealt."
    )
    yield (
        "That no other key was made under this agreement. Every opening of a round, and with it "
        "every company's part, is bound to the one on record here; who holds another, or another "
        "record, sees it in the companies' own copies and heads."
    )
    if agreement.aggregation.mode == "paillier":
        yield (
            "That recorded vectors stay secret for ever: whoever gets the key, or enough of its "
            "shares, can open each of them at any time later."
        )


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
        *_of_the_key(agreement),
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


def _of_the_key(agreement: Agreement) -> Iterator[str]:
    owner, rules = key_owner(agreement), agreement.paillier
    if owner is None or rules is None:
        return
    role, name = owner
    kept = (
        f"{name} shows it to nobody"
        if role == "key holder"
        else f"{name} has forgotten it, fewer than {agreement.quorum} companies pool their shares"
    )
    holds = f"nobody can factor a modulus of {rules.key_bits} bits"
    if agreement.aggregation.mode == "paillier":
        yield f"As long as recorded vectors exist, the key holds: {kept}, and {holds}."
    else:
        yield (
            "The masks hold, or else the key does: either hides one company's part while the other "
            f"is broken. The key holds while {kept}, and {holds}."
        )
