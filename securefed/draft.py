"""A new agreement as fully commented TOML, written without any connection.

Every comment is the description of the field in the model, so file, schema and errors agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from protocols.agreement import agreement_from
from protocols.agreement.fields import PLACEHOLDER
from protocols.errors import AgreementError
from protocols.identity import Identity
from securefed.draft_noise import DraftNoise
from securefed.draft_parameters import spell_out
from securefed.draft_text import document
from securefed.federation import Federation, MemberKeys
from securefed.sum_mode import DEFAULT_KEY_BITS, Mode


@dataclass(frozen=True, slots=True)
class DraftMember:
    """A member whose keys may not be known yet.

    Attributes:
        name: a-z, 0-9 and inner hyphens.
        keys: as ``securefed keygen`` printed them; placeholders by default.
    """

    name: str
    keys: MemberKeys | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NAME`` or ``NAME:PUBLIC_KEY:TLS_FINGERPRINT``.

        Raises:
            AgreementError: another form.
        """
        name, *keys = text.split(":", 2)
        if not keys:
            return cls(name)
        if len(keys) != 2:
            raise AgreementError(
                "parties", f"{text[:80]!r} lacks a part", "write NAME:PUBLIC_KEY:TLS_FINGERPRINT"
            )
        return cls(name, MemberKeys(*keys))

    def known_keys(self) -> MemberKeys:
        """Return the keys, or placeholders that ``validate`` refuses by name."""
        return self.keys or MemberKeys(
            f"{PLACEHOLDER} the public key of {self.name}",
            f"{PLACEHOLDER} the TLS fingerprint of {self.name}",
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """What a new agreement is made of; everything else follows.

    Attributes:
        federation: its name.
        coordinator: who runs the rounds.
        address: where, ``host:port``; a placeholder if ``None``.
        parties: 2 to 1000 members.
        task: name of the one task; add others by hand.
        kind: of the task.
        rounds: at most.
        parameters: of the task; the others get their defaults.
        noise: of the sums; ``None`` is no differential privacy, which the agreement then accepts
            in writing.
        colluders: by default a quarter of the parties.
        max_dropouts: by default as many as possible.
        deadline_seconds: at each step of a round.
        mode: how sums are formed.
        key_bits: length of the Paillier modulus, where vectors are encrypted.
        dealer: who deals the Paillier key to the parties.
        key_holder: who holds it alone instead.
    """

    federation: str
    coordinator: DraftMember
    address: str | None
    parties: Sequence[DraftMember]
    task: str
    kind: str
    rounds: int
    parameters: Mapping[str, Any]
    noise: DraftNoise | None
    colluders: int | None = None
    max_dropouts: int | None = None
    deadline_seconds: float = 60.0
    mode: Mode = "masking"
    key_bits: int = DEFAULT_KEY_BITS
    dealer: DraftMember | None = None
    key_holder: DraftMember | None = None

    def to_toml(self) -> str:
        """Return the commented text; only what is left open keeps it from being valid.

        Raises:
            AgreementError: a number, name or parameter that ``validate`` would refuse.
            PrivacyParameterError: no noise keeps the promise, or the accounting does not cover it.
        """
        makers = [one for one in (self.dealer, self.key_holder) if one is not None]
        members = (self.coordinator, *self.parties, *makers)
        stand_in = {one.name: one.keys or _some_keys(index) for index, one in enumerate(members)}
        plain = self._plain(stand_in, self.address or "localhost:1")
        agreement_from(plain)
        plain["coordinator"]["address"] = self.address or f"{PLACEHOLDER} host:port"
        rows = [plain["coordinator"], *plain["parties"]]
        rows += [row for row in plain.get("paillier", {}).values() if isinstance(row, dict)]
        for member, row in zip(members, rows, strict=True):
            keys = asdict(member.known_keys())
            row.update((key, keys[key]) for key in row.keys() & keys.keys())
        return "\n".join(document(plain)) + "\n"

    def _plain(self, keys: Mapping[str, MemberKeys], address: str) -> dict[str, Any]:
        lead = Federation(
            self.federation,
            [party.name for party in self.parties],
            colluders=self.colluders,
            max_dropouts=self.max_dropouts,
            deadline_seconds=self.deadline_seconds,
            privacy=self.noise.goal if self.noise else None,
            mode=self.mode,
            key_bits=self.key_bits,
            dealer=self.dealer.name if self.dealer else None,
            key_holder=self.key_holder.name if self.key_holder else None,
        )
        lead.add_task(
            self.task,
            self.kind,
            rounds=self.rounds,
            privacy=self.noise.of_task() if self.noise else None,
            **spell_out(self.kind, self.parameters),
        )
        return lead.draft(keys, coordinator=self.coordinator.name, address=address)


def _some_keys(index: int) -> MemberKeys:
    # Stand-ins that check the numbers of a draft; they are never written.
    seed = index.to_bytes(32, "big")
    return MemberKeys(Identity("stand-in", seed).public.raw.hex(), seed.hex())
