"""Who could read one party's update, and by working together with how many others.

Counted for the agreement at hand, in each way that its numbers leave open. Everybody else's
signatures, shares and keys are taken to be sound; see ``docs/threat-model.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protocols.agreement import Agreement


@dataclass(frozen=True, slots=True)
class Coalition:
    """Who has to work together.

    Attributes:
        roles: of "coordinator", "key holder", and "dealer" for one that kept what it dealt.
        parties: how many parties beside them, any of them but the one whose update is read.
    """

    roles: tuple[str, ...]
    parties: int

    def __str__(self) -> str:
        return self.told("party", "parties")

    def told(self, one: str, more: str) -> str:
        """Return who they are, with a noun for the parties."""
        count = f"{self.parties} {one if self.parties == 1 else more}"
        *most, last = (*self.roles, *([count] if self.parties else []))
        return f"{', '.join(most)} and {last}" if most else last

    def includes(self, other: Coalition) -> bool:
        """Whether this coalition has everybody of another one."""
        return set(other.roles) <= set(self.roles) and other.parties <= self.parties


@dataclass(frozen=True, slots=True)
class Exposure:
    """What may happen to one party's update.

    Attributes:
        rests_on: what has to be broken to read it without anybody's help.
        safe_from: the largest coalitions against which it is promised to stay private.
        unnoticed: the smallest that can read it during the round and leave no trace.
        provable: the smallest that can read it by having two sums of one round opened, which leaves
            contradicting signatures.
        later: the smallest that can read it from recorded messages once the round is over.
    """

    rests_on: str
    safe_from: tuple[Coalition, ...]
    unnoticed: tuple[Coalition, ...]
    provable: tuple[Coalition, ...]
    later: tuple[Coalition, ...]


def fewest_survivors(agreement: Agreement) -> int:
    """Return how many parties are in any sum that is opened, at the least."""
    rules = agreement.aggregation
    masked = 0 if rules.mode == "paillier" else rules.threshold + 1
    return max(rules.min_cohort, agreement.quorum, masked)


def exposure(agreement: Agreement) -> Exposure:
    """Return who could read one party's update under a validated agreement."""
    mode, c = agreement.aggregation.mode, agreement.aggregation.colluders
    alone = agreement.paillier is not None and agreement.paillier.key_holder is not None
    # Two survivor sets are both confirmed, and opened, from 2 quorum - n colluders on.
    split = 2 * agreement.quorum - len(agreement.parties)
    helped = ("coordinator", "key holder") if alone else ("coordinator",)
    rests_on = {"masking": "masks", "paillier": "the Paillier key"}
    trusted = ("coordinator",) if mode != "layered" else (*helped, *(() if alone else ("dealer",)))
    return Exposure(
        rests_on.get(mode, "masks and the Paillier key, both"),
        (Coalition(trusted, c),),
        _smallest(agreement, _unnoticed(agreement, alone=alone)),
        _smallest(agreement, [Coalition(helped, split)]),
        _smallest(agreement, _key_alone(agreement) if mode == "paillier" else []),
    )


def _unnoticed(agreement: Agreement, *, alone: bool) -> Iterator[Coalition]:
    rules = agreement.aggregation
    # Everybody else of a sum subtracts its own part; the coordinator can see to a small one.
    yield Coalition(("coordinator",), fewest_survivors(agreement) - 1)
    if rules.mode == "masking":
        yield Coalition(("coordinator",), rules.threshold)
    elif rules.mode == "paillier":
        yield from _key_alone(agreement)
    elif alone:
        yield Coalition(("key holder",), rules.threshold)
    else:
        # Every party has every ciphertext, so that no coordinator is needed.
        yield Coalition((), max(agreement.quorum, rules.threshold))
        yield Coalition(("dealer",), rules.threshold)


def _key_alone(agreement: Agreement) -> Iterator[Coalition]:
    """Who has the Paillier key and the ciphertexts, which every trustee has."""
    yield Coalition((), agreement.quorum)
    yield Coalition(("dealer",), 1)
    yield Coalition(("coordinator", "dealer"), 0)


def _smallest(agreement: Agreement, found: Iterable[Coalition]) -> tuple[Coalition, ...]:
    """Leave out whoever needs the very party whose update is read, or more than another does."""
    others = len(agreement.parties) - 1
    able = list(dict.fromkeys(one for one in found if one.parties <= others))
    return tuple(one for one in able if not any(one != two and one.includes(two) for two in able))
