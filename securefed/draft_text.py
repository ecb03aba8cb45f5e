"""The commented TOML text of a draft: every key with the description that the model gives it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from protocols.agreement import Agreement
from protocols.agreement.parse import TABLES
from securefed.agreement_text import toml_value
from securefed.draft_parameters import parameter_meanings

_WIDTH: Final = 98
_NEXT_STEPS: Final = """\
A federation agreement. Nothing runs that is not in here.

1. Every member runs `securefed keygen NAME --out keys` and sends its public key and fingerprint.
2. Fill in what still says PASTE, then run `securefed validate` and `securefed inspect`.
3. Send this file to every party. Each runs `securefed sign`; any change voids all signatures.
4. It is in force when every party has signed.
{key}
All sizes are bytes, all times seconds. "Model units" are those of the numbers that are summed."""
_KEY_STEPS: Final = {
    "dealer": "5. The dealer makes the key and every party checks it: `securefed ceremony`.\n",
    "key_holder": "5. The key holder makes its key: `securefed keyholder keygen`.\n",
}


def document(plain: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an agreement's commented text.

    Args:
        plain: the agreement as plain dicts and lists; keys may still be placeholders.
    """
    keys = "".join(_KEY_STEPS.get(key, "") for key in plain.get("paillier", {}))
    yield from _comment(_NEXT_STEPS.format(key=keys))
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
            yield from _table(key, row, explained=number == 0)
        if key == "parties":
            yield from _auditors()


def _table(path: str, row: Mapping[str, Any], *, explained: bool) -> Iterator[str]:
    model = TABLES[path]
    for key, value in row.items():
        if not isinstance(value, Mapping):
            about = (model.model_fields[key].description or "") if explained else ""
            yield from _entry(key, value, about)
    for key, inner in row.items():
        if isinstance(inner, Mapping):
            field = model.model_fields[key]
            meanings = (
                parameter_meanings(str(row["kind"])) if key == "parameters" else _meanings(field)
            )
            yield from _inner(f"{path}.{key}", field, inner, meanings)
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
