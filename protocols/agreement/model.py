"""The federation agreement as typed, bounded, frozen data with one canonical byte string.

A value of these classes is well formed, not yet safe: :func:`protocols.agreement.validate` checks
the numbers against each other. Descriptions are what ``securefed init`` and ``schema`` print.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from protocols.agreement.fields import (
    AsTuple,
    Kind,
    Neighbours,
    Parameter,
    Parameters,
    PartyName,
    PositiveZero,
)
from protocols.agreement.members import (
    Auditor,
    Coordinator,
    Dealer,
    KeyHolder,
    Member,
    Party,
    Table,
    names,
)
from protocols.encoding import FixedPoint
from protocols.errors import AgreementError
from protocols.identity import VerifyKey

CANONICAL_LABEL: Final = b"securefed agreement v1\x00"
MAX_PARTIES: Final = 1000
MAX_AUDITORS: Final = 100
MAX_TASKS: Final = 16
MAX_DIMENSION: Final = 2**28
MAX_ROUNDS: Final = 1_000_000


class AdaptiveClip(Table):
    """How the clip norm follows a quantile of the people's norms (Andrew et al. 2021)."""

    quantile: Annotated[float, Field(gt=0, lt=1), PositiveZero]
    """share of people whose vectors should be within the clip norm"""
    rate: Annotated[float, Field(gt=0, le=1), PositiveZero] = 0.2
    """largest change of the logarithm of the clip norm in one round"""
    lowest: Annotated[float, Field(gt=0, allow_inf_nan=False), PositiveZero]
    """smallest clip norm that parties accept, model units"""
    highest: Annotated[float, Field(gt=0, allow_inf_nan=False), PositiveZero]
    """largest clip norm that parties accept, model units"""


class TaskPrivacy(Table):
    """How much noise the sums of one task carry. Only with a mechanism that adds noise."""

    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False), PositiveZero]
    """largest Euclidean norm of one person's vector, model units; longer ones are shortened"""
    noise_multiplier: Annotated[
        float, Field(ge=0.02, le=2.0**24, allow_inf_nan=False), PositiveZero
    ]
    """standard deviation of the noise in a sum over the norm that clip_norm has on the grid"""
    sampling_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), PositiveZero] = 1.0
    """probability that a person takes part in a round, drawn in secret by the party"""
    people: Annotated[int, Field(ge=1, le=10**10)]
    """most people of all parties together, an agreed constant that sums are divided by"""
    adaptive: AdaptiveClip | None = None
    """let the clip norm change from round to round, beginning with clip_norm; left out: fixed"""


class Task(Table):
    """One thing that is computed from sums. Tasks run in the order in which they stand."""

    name: PartyName
    """name of the task, unique here"""
    kind: Kind
    """what is computed, such as "glm-logistic" or "torch\""""
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    """most rounds the task may take; no party answers a further one"""
    dimension: Annotated[int, Field(ge=1, le=MAX_DIMENSION)]
    """how many numbers the summed vector holds"""
    bound: Annotated[float, Field(gt=0, allow_inf_nan=False), PositiveZero]
    """largest absolute value of any number of any party, in model units; larger ones are refused"""
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False), PositiveZero]
    """grid steps per model unit: numbers are rounded to multiples of 1/scale"""
    modulus_bits: Annotated[int, Field(ge=2, le=64)]
    """bits per summed number on the wire; parties x bound x scale must stay below 2^(bits-1)"""
    rounding: Literal["nearest", "stochastic"] = "stochastic"
    """"stochastic" is unbiased in every number, "nearest" has the smaller single error"""
    parameters: Parameters = Field(default_factory=lambda: MappingProxyType({}))
    """settings of this kind of task: strings, numbers, booleans and lists of these"""
    privacy: TaskPrivacy | None = None
    """noise of this task's sums; left out where the mechanism is "none\""""


class Aggregation(Table):
    """How the sum is formed, and what the parties withstand together."""

    mode: Literal["masking", "paillier", "layered"] = "masking"
    """"masking": pairwise masks; "paillier": ciphertexts, opened by a quorum; "layered": both"""
    colluders: Annotated[int, Field(ge=0, lt=MAX_PARTIES)]
    """parties that may secretly side with the coordinator while the others stay private"""
    max_dropouts: Annotated[int, Field(ge=0, lt=MAX_PARTIES)]
    """parties that may be missing or fall silent in a round that still succeeds"""
    threshold: Annotated[int, Field(ge=1, lt=MAX_PARTIES)]
    """shares that open a mask; above colluders, at most parties - 1 - max_dropouts if complete"""
    min_cohort: Annotated[int, Field(ge=2, le=MAX_PARTIES)]
    """fewest parties whose sum may be revealed"""
    neighbours: Neighbours = "complete"
    """"complete": every pair of parties shares a mask; or how many neighbours each party draws"""
    deadline_seconds: Annotated[float, Field(ge=0.5, le=86_400), PositiveZero]
    """how long the coordinator waits at each step of a round, in seconds"""
    max_message_bytes: Annotated[int, Field(ge=2**16, le=2**34)]
    """longest message that a node accepts, in bytes"""


class Paillier(Table):
    """Under whose Paillier key vectors are encrypted. Only with "paillier" or "layered"."""

    key_bits: Annotated[int, Field(ge=2048, le=4096, multiple_of=64)] = 3072
    """length of the modulus in bits: 3072, or 2048 at the least"""
    dealer: Dealer | None = None
    """who deals the key to the parties, a quorum of whom opens a sum; or else a key holder"""
    key_holder: KeyHolder | None = None
    """who holds the key alone; with "layered" only, where what it opens is still masked"""


class Privacy(Table):
    """What the results themselves may reveal about one person in anybody's data."""

    mechanism: Literal["discrete-gaussian", "none"]
    """"discrete-gaussian": every sum carries exact integer noise; "none": no privacy of people"""
    accept_no_differential_privacy: bool = False
    """must be true with "none": a published sum or model can reveal people in the data"""
    unit: Literal["person", "company"] = "person"
    """what one noised sum hides: one "person" inside a company, or one whole "company\""""
    epsilon: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False), PositiveZero] = 0.0
    """most epsilon that anybody may be charged over all rounds; nodes stop before it is passed"""
    delta: Annotated[float, Field(ge=1e-12, lt=1, allow_inf_nan=False), PositiveZero] = 1e-6
    """delta of that epsilon; well below one over the number of people"""
    companies_per_person: Annotated[int, Field(ge=1, le=100)] = 1
    """most parties whose data one person may be in"""


class Agreement(Table):
    """Everything the parties agree on before any of them computes anything."""

    version: Literal[1]
    """format of this file"""
    federation: PartyName
    """name of the federation: a-z, 0-9 and inner hyphens, at most 64 characters"""
    coordinator: Coordinator
    """who runs the rounds"""
    parties: Annotated[tuple[Party, ...], Field(min_length=2, max_length=MAX_PARTIES), AsTuple]
    """the companies that take part, 2 to 1000"""
    auditors: Annotated[tuple[Auditor, ...], Field(max_length=MAX_AUDITORS), AsTuple] = ()
    """who may check the record afterwards, at most 100"""
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=MAX_TASKS), AsTuple]
    """what is computed, 1 to 16 tasks in this order; round numbers run on without gaps"""
    aggregation: Aggregation
    """how the sum is formed"""
    privacy: Privacy
    """what the result may reveal"""
    paillier: Paillier | None = None
    """key of the ciphertexts; left out with "masking\""""

    @property
    def quorum(self) -> int:
        """Confirmations of one survivor set that a party needs before it unmasks."""
        return quorum_of(len(self.parties), self.aggregation.colluders)

    @property
    def holders(self) -> int:
        """Parties that hold shares of one party's masks; the party itself holds none."""
        chosen = self.aggregation.neighbours
        return len(self.parties) - 1 if chosen == "complete" else chosen

    @property
    def trustees(self) -> tuple[Party, ...] | tuple[KeyHolder]:
        """Who opens ciphertexts: the key holder, or else every party; nobody with "masking"."""
        if self.paillier is None:
            return ()
        holder = self.paillier.key_holder
        return self.parties if holder is None else (holder,)

    @property
    def max_rounds(self) -> int:
        """Rounds of all tasks together; round numbers run from 1 to this."""
        return sum(task.rounds for task in self.tasks)

    def to_plain(self) -> dict[str, Any]:
        """Return the agreement as plain dicts, lists and scalars, every default spelled out."""
        return self._without_gaps(self.model_dump(mode="json"))

    def canonical_bytes(self) -> bytes:
        """Return the one byte string of this agreement: a label, then sorted msgpack."""
        plain = self._without_gaps(self.model_dump(mode="python"))
        return CANONICAL_LABEL + msgspec.msgpack.encode(plain, order="sorted")

    def _without_gaps(self, plain: dict[str, Any]) -> dict[str, Any]:
        # An agreement from before there were ciphertexts keeps its digest.
        return {key: value for key, value in plain.items() if key != "paillier" or value}

    def digest(self) -> bytes:
        """Return SHA-256 of :meth:`canonical_bytes`, 32 bytes."""
        return hashlib.sha256(self.canonical_bytes()).digest()

    def party_index(self, name: str) -> int:
        """Return the number of a party, from 0.

        Raises:
            AgreementError: the agreement names no such party.
        """
        for index, party in enumerate(self.parties):
            if party.name == name:
                return index
        raise AgreementError(
            "parties", f"no party is called {name!r}", f"use one of {names(self.parties)}"
        )

    def verify_key(self, name: str) -> VerifyKey:
        """Return the public key of the coordinator, a party or an auditor.

        Raises:
            AgreementError: the agreement names nobody so.
            SignatureError: the key is no Ed25519 key, which :func:`validate` refuses.
        """
        members = dict(self.members())
        for member in members.values():
            if member.name == name:
                return member.verify_key()
        raise AgreementError(
            "parties", f"nobody is called {name!r}", f"use one of {names(tuple(members.values()))}"
        )

    def members(self) -> Iterator[tuple[str, Member]]:
        """Yield everybody named, each with its place in the file."""
        yield "coordinator", self.coordinator
        yield from ((f"parties[{i}]", party) for i, party in enumerate(self.parties))
        yield from ((f"auditors[{i}]", auditor) for i, auditor in enumerate(self.auditors))
        if self.paillier is not None and self.paillier.dealer is not None:
            yield "paillier.dealer", self.paillier.dealer
        if self.paillier is not None and self.paillier.key_holder is not None:
            yield "paillier.key_holder", self.paillier.key_holder

    def codec(self, task: Task) -> FixedPoint:
        """Return the agreed map between numbers and the ring for one of the tasks.

        Raises:
            EncodingOverflowError: the ring cannot hold the sum of all parties.
        """
        return FixedPoint(
            modulus_bits=task.modulus_bits,
            scale=task.scale,
            bound=task.bound,
            parties=len(self.parties),
        )


def quorum_of(parties: int, colluders: int) -> int:
    """Return ``floor((n + c) / 2) + 1``: the smallest Q with 2Q > n + c.

    So two different survivor sets can never both be confirmed, even when colluders confirm both.
    """
    return (parties + colluders) // 2 + 1


ParameterValues = Mapping[str, Parameter]
"""What ``Task.parameters`` holds; lists have become tuples."""
