"""An agreement as TOML text that :func:`protocols.agreement.load_agreement` reads back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from protocols.agreement import Agreement


def agreement_to_toml(agreement: Agreement) -> str:
    """Return TOML text of an agreement; reading it back gives the same digest."""
    plain = agreement.to_plain()
    lines: list[str] = []
    _write_table(lines, "", plain)
    return "\n".join(lines).lstrip("\n") + "\n"


def _write_table(lines: list[str], path: str, table: Mapping[str, Any]) -> None:
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    arrays = {
        key: value
        for key, value in table.items()
        if isinstance(value, list) and value and isinstance(value[0], Mapping)
    }
    for key, value in table.items():
        if value is not None and key not in tables and key not in arrays:
            lines.append(f"{key} = {toml_value(value)}")
    for key, value in tables.items():
        name = f"{path}{key}"
        lines.extend(("", f"[{name}]"))
        _write_table(lines, f"{name}.", value)
    for key, rows in arrays.items():
        name = f"{path}{key}"
        for row in rows:
            lines.extend(("", f"[[{name}]]"))
            _write_table(lines, f"{name}.", row)


def toml_value(value: Any) -> str:
    """Return a scalar or a list of scalars as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    # A JSON string is a TOML basic string, but for the one control character that JSON lets pass.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
