"""A new agreement as fully commented TOML, written without any connection.

Every comment is the description of the field in the model, so file, schema and errors agree.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from protocols.agreement import Agreement, agreement_from
from protocols.agreement.fields import PLACEHOLDER
from protocols.agreement.parse import TABLES
from protocols.errors import AgreementError
from protocols.identity import Identity
from securefed.agreement_text import toml_value
from securefed.federation import Federation, MemberKeys
from securefed.learning.glm import LogisticParameters
from securefed.learning.torch_parameters import TorchParameters

PARAMETERS: Final[Mapping[str, type[BaseModel]]] = {
    "glm-logistic": LogisticParameters,
    "torch": TorchParameters,
}
"""Kinds whose every parameter a draft spells out; of other kinds it holds what was given."""

_WIDTH: Final = 98
_NEXT_STEPS: Final = """\
A federation agreement. Nothing runs that is not in here.

1. Every member runs `securefed keygen NAME --out keys` and sends its public key and fingerprint.
2. Fill in what still says PASTE, then run `securefed validate` and `securefed inspect`.
3. Send this file to every party. Each runs `securefed sign`; any change voids all signatures.
4. It is in force when every party has signed.

All sizes are bytes, all times seconds. "Model units" are those of the numbers that are summed."""


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
        colluders: by default a quarter of the parties.
        max_dropouts: by default as many as possible.
        deadline_seconds: at each step of a round.
        accept_no_differential_privacy: whether to answer that question now; ``validate`` refuses
            the agreement until somebody has.
    """

    federation: str
    coordinator: DraftMember
    address: str | None
    parties: Sequence[DraftMember]
    task: str
    kind: str
    rounds: int
    parameters: Mapping[str, Any]
    colluders: int | None = None
    max_dropouts: int | None = None
    deadline_seconds: float = 60.0
    accept_no_differential_privacy: bool = False

    def to_toml(self) -> str:
        """Return the commented text; only what is left open keeps it from being valid.

        Raises:
            AgreementError: a number, name or parameter that ``validate`` would refuse.
        """
        members = (self.coordinator, *self.parties)
        stand_in = {one.name: one.keys or _some_keys(index) for index, one in enumerate(members)}
        agreement_from(self._plain(stand_in, self.address or "localhost:1"))
        keys = {one.name: one.known_keys() for one in members}
        plain = self._plain(keys, self.address or f"{PLACEHOLDER} host:port")
        accepted = self.accept_no_differential_privacy
        plain["privacy"] = {**plain["privacy"], "accept_no_differential_privacy": accepted}
        return "\n".join(_document(plain)) + "\n"

    def _plain(self, keys: Mapping[str, MemberKeys], address: str) -> dict[str, Any]:
        lead = Federation(
            self.federation,
            [party.name for party in self.parties],
            colluders=self.colluders,
            max_dropouts=self.max_dropouts,
            deadline_seconds=self.deadline_seconds,
            privacy=None,
        )
        lead.add_task(
            self.task, self.kind, rounds=self.rounds, **spell_out(self.kind, self.parameters)
        )
        return lead.draft(keys, coordinator=self.coordinator.name, address=address)


def spell_out(kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with every default written down, where the kind is built in."""
    model = PARAMETERS.get(kind)
    if model is None:
        return dict(parameters)
    defaults = {
        key: list(field.default) if isinstance(field.default, tuple) else field.default
        for key, field in model.model_fields.items()
        if not field.is_required()
    }
    # Unknown keys stay in, so that the task's own check names them.
    return {**{key: parameters[key] for key in parameters if key not in defaults}, **defaults} | {
        key: parameters[key] for key in parameters if key in defaults
    }


def _some_keys(index: int) -> MemberKeys:
    # Stand-ins that check the numbers of a draft; they are never written.
    seed = index.to_bytes(32, "big")
    return MemberKeys(Identity("stand-in", seed).public.raw.hex(), seed.hex())


def _document(plain: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(_NEXT_STEPS)
    yield ""
    fields = Agreement.model_fields
    for key, value in plain.items():
        if not isinstance(value, Mapping | list):
            yield from _entry(key, value, fields[key].description or "")
    for key, value in plain.items():
        rows = value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
        if rows:
            yield ""
            yield from _comment(f"-- {key}: {fields[key].description}")
        header = f"[[{key}]]" if isinstance(value, list) else f"[{key}]"
        for number, row in enumerate(rows):
            yield from ([""] if number else [])
            yield header
            yield from _table(TABLES[key], row, explained=number == 0)
        if key == "parties":
            yield from _auditors()


def _table(model: type[BaseModel], row: Mapping[str, Any], *, explained: bool) -> Iterator[str]:
    for key, value in row.items():
        if not isinstance(value, Mapping):
            about = (model.model_fields[key].description or "") if explained else ""
            yield from _entry(key, value, about)
    for key, inner in row.items():
        if isinstance(inner, Mapping):
            field = model.model_fields[key]
            meanings = (
                _parameter_meanings(PARAMETERS.get(str(row["kind"])))
                if key == "parameters"
                else _meanings(field)
            )
            yield ""
            yield from _comment(field.description or key)
            yield f"[tasks.{key}]"
            for name, value in inner.items():
                yield from _entry(name, value, meanings.get(name, ""))


def _meanings(field: FieldInfo) -> dict[str, str]:
    """Describe the keys of a table within a table, which may be optional."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return {name: one.description or "" for name, one in kind.model_fields.items()}
    return {}


def _entry(key: str, value: Any, about: str) -> Iterator[str]:
    if about:
        yield from _comment(about)
    yield f"{key} = {toml_value(value)}"


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        for line in textwrap.wrap(paragraph, _WIDTH) or [""]:
            yield f"# {line}".rstrip()


def _auditors() -> Iterator[str]:
    yield ""
    yield from _comment(f"-- auditors: {Agreement.model_fields['auditors'].description}")
    yield from ("# [[auditors]]", '# name = "auditor"', '# public_key = "…"')


def _parameter_meanings(model: type[BaseModel] | None) -> dict[str, str]:
    """Read the ``Attributes`` section of a parameters class and of the classes it builds on."""
    meanings: dict[str, str] = {}
    for owner in reversed(model.__mro__) if model else ():
        text = inspect.cleandoc(owner.__doc__ or "") if issubclass(owner, BaseModel) else ""
        section = text.partition("Attributes:\n")[2]
        for name, about in re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section, re.MULTILINE):
            meanings[name] = " ".join(about.replace("``", "").split())
    return meanings
