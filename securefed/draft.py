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
from securefed.draft_noise import DraftNoise
from securefed.federation import Federation, MemberKeys
from securefed.learning.glm import LogisticParameters
from securefed.learning.private_glm import PrivateGlmParameters
from securefed.learning.private_logistic import PrivateLogisticParameters
from securefed.learning.private_torch_parameters import PrivateTorchParameters
from securefed.learning.torch_parameters import TorchParameters

PARAMETERS: Final[Mapping[str, type[BaseModel]]] = {
    "glm-logistic": LogisticParameters,
    "torch": TorchParameters,
    "dp-logistic": PrivateLogisticParameters,
    "dp-glm": PrivateGlmParameters,
    "dp-torch": PrivateTorchParameters,
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
        noise: of the sums; ``None`` is no differential privacy, which the agreement then accepts
            in writing.
        colluders: by default a quarter of the parties.
        max_dropouts: by default as many as possible.
        deadline_seconds: at each step of a round.
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

    def to_toml(self) -> str:
        """Return the commented text; only what is left open keeps it from being valid.

        Raises:
            AgreementError: a number, name or parameter that ``validate`` would refuse.
            PrivacyParameterError: no noise keeps the promise, or the accounting does not cover it.
        """
        members = (self.coordinator, *self.parties)
        stand_in = {one.name: one.keys or _some_keys(index) for index, one in enumerate(members)}
        plain = self._plain(stand_in, self.address or "localhost:1")
        agreement_from(plain)
        plain["coordinator"]["address"] = self.address or f"{PLACEHOLDER} host:port"
        for member, row in zip(members, (plain["coordinator"], *plain["parties"]), strict=True):
            keys = member.known_keys()
            row.update(public_key=keys.public_key, tls_fingerprint=keys.tls_fingerprint)
        return "\n".join(_document(plain)) + "\n"

    def _plain(self, keys: Mapping[str, MemberKeys], address: str) -> dict[str, Any]:
        lead = Federation(
            self.federation,
            [party.name for party in self.parties],
            colluders=self.colluders,
            max_dropouts=self.max_dropouts,
            deadline_seconds=self.deadline_seconds,
            privacy=self.noise.goal if self.noise else None,
        )
        lead.add_task(
            self.task,
            self.kind,
            rounds=self.rounds,
            privacy=self.noise.of_task() if self.noise else None,
            **spell_out(self.kind, self.parameters),
        )
        return lead.draft(keys, coordinator=self.coordinator.name, address=address)


def spell_out(kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with every default written down, where the kind is built in.

    A parameter that is worked out unless given has no default to write down: TOML knows no null.
    """
    model = PARAMETERS.get(kind)
    if model is None:
        return dict(parameters)
    defaults = {
        key: list(field.default) if isinstance(field.default, tuple) else field.default
        for key, field in model.model_fields.items()
        if not field.is_required() and field.default is not None
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
            yield from _inner(f"tasks.{key}", field, inner, meanings)
            for name in (n for n in meanings if key == "parameters" and n not in inner):
                yield from _comment(f"{meanings[name]}\n{name} = …")


def _inner(
    path: str, field: FieldInfo, table: Mapping[str, Any], meanings: Mapping[str, str]
) -> Iterator[str]:
    """Write a table within a table; its own tables come last."""
    yield ""
    yield from _comment(field.description or path)
    yield f"[{path}]"
    for name, value in table.items():
        if not isinstance(value, Mapping):
            yield from _entry(name, value, meanings.get(name, ""))
    model = _model_of(field)
    for name, value in table.items():
        if isinstance(value, Mapping) and model is not None:
            deeper = model.model_fields[name]
            yield from _inner(f"{path}.{name}", deeper, value, _meanings(deeper))


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the type of a table within a table, which may be optional."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _meanings(field: FieldInfo) -> dict[str, str]:
    """Describe the keys of a table within a table."""
    model = _model_of(field)
    fields: Mapping[str, FieldInfo] = model.model_fields if model else {}
    return {name: one.description or "" for name, one in fields.items()}


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
    fields: Mapping[str, FieldInfo] = model.model_fields if model else {}
    for owner in reversed(model.__mro__) if model else ():
        text = inspect.cleandoc(owner.__doc__ or "") if issubclass(owner, BaseModel) else ""
        section = text.partition("Attributes:\n")[2]
        for name, about in re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section, re.MULTILINE):
            if name in fields:
                meanings[name] = " ".join(about.replace("``", "").split())
    return meanings
