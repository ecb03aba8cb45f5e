"""TOML text to a valid agreement; every failure names the key and what to write instead."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from protocols.agreement.fields import HEX_32_PATTERN, PARAMETER_PATTERN
from protocols.agreement.lines import line_of
from protocols.agreement.members import Auditor, Coordinator, Dealer, KeyHolder, Party
from protocols.agreement.model import Aggregation, Agreement, Paillier, Privacy, Task
from protocols.agreement.validate import validate
from protocols.errors import AgreementError
from protocols.identity import NAME_PATTERN

MAX_TEXT_BYTES: Final = 1 << 20
"""Longest agreement that is parsed; 1000 parties with 16 tasks need about 300 kB."""

TABLES: Final[Mapping[str, type[BaseModel]]] = {
    "coordinator": Coordinator,
    "parties": Party,
    "auditors": Auditor,
    "tasks": Task,
    "aggregation": Aggregation,
    "privacy": Privacy,
    "paillier": Paillier,
    "dealer": Dealer,
    "key_holder": KeyHolder,
}
"""Which class stands under which key of the file."""

_WORDS: Final = {
    "bool_type": "is not true or false",
    "dict_type": "is not a table",
    "finite_number": "is not a finite number",
    "float_type": "is not a number",
    "greater_than": "is not greater than {gt}",
    "greater_than_equal": "is less than {ge}",
    "int_from_float": "is not a whole number",
    "int_parsing_size": "is too large a number",
    "int_type": "is not a whole number",
    "less_than": "is not less than {lt}",
    "less_than_equal": "is greater than {le}",
    "literal_error": "is not a known value",
    "mapping_type": "is not a table",
    "missing": "is missing",
    "model_type": "is not a table",
    "multiple_of": "is no multiple of {multiple_of}",
    "string_too_long": "is longer than {max_length} characters",
    "string_type": "is not a string in quotes",
    "too_long": "has more than {max_length} entries",
    "too_short": "has fewer than {min_length} entries",
    "tuple_type": "is not a list",
}
_SHAPE: Final = {
    HEX_32_PATTERN: "is not 64 hexadecimal digits",
    NAME_PATTERN: "is not a name of a-z, 0-9 and inner hyphens, at most 64 characters",
    PARAMETER_PATTERN: "is not a parameter name of a-z, 0-9 and underscores",
}


def load_agreement(text: str) -> Agreement:
    """Parse and validate the TOML text of an agreement.

    Args:
        text: the whole file, at most 1 MiB.

    Raises:
        AgreementError: not TOML, a key that is unknown, missing or out of bounds, or a combination
            that is unsafe; the text names the line. With several problems the first is raised and
            says how many there are.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise AgreementError(
            "file", f"has {len(text)} characters", f"keep it below {MAX_TEXT_BYTES}"
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AgreementError(
            "file", f"is not TOML: {error}", "correct that line; `securefed init` writes an example"
        ) from error
    except (RecursionError, ValueError) as error:  # nested too deep, or an endless number
        raise AgreementError(
            "file", "is not TOML that can be read", "remove deep nesting and overlong numbers"
        ) from error
    try:
        return agreement_from(data)
    except AgreementError as error:
        line = line_of(text, error.key)
        if line is None:
            raise
        problem = f"{error.problem} (line {line})"
        raise AgreementError(error.key, problem, error.remedy) from error


def agreement_from(data: Mapping[str, Any]) -> Agreement:
    """Build and validate an agreement from plain dicts and lists, as parsed from TOML.

    Raises:
        AgreementError: as :func:`load_agreement`.
    """
    try:
        agreement = Agreement.model_validate(dict(data))
    except ValidationError as error:
        raise _translate(error, data) from error
    validate(agreement)
    return agreement


def _translate(error: ValidationError, data: Mapping[str, Any]) -> AgreementError:
    details = error.errors(include_url=False, include_input=False)
    # A misspelt key is also a missing one: the misspelling is the better thing to name.
    first = min(details, key=lambda one: one["type"] != "extra_forbidden")
    found = _explain(first, data)
    paths = {_path(one["loc"], data) for one in details}
    # A list that is too short only because of a bad entry is not a problem of its own.
    count = sum(not any(other.startswith(f"{path}[") for other in paths) for path in paths)
    problem = found.problem + (f" (the first of {count} problems)" if count > 1 else "")
    return AgreementError(found.key, problem, found.remedy)


def _path(loc: Sequence[int | str], data: Any) -> str:
    # pydantic appends the branch of a union; only what the file has, or lacks, is a key.
    path, here = "", data
    for part in loc:
        if isinstance(here, Mapping):
            path += f".{part}"
            here = here.get(part)
        elif isinstance(here, Sequence) and not isinstance(here, str) and isinstance(part, int):
            path += f"[{part}]"
            here = here[part] if part < len(here) else None
        else:
            break
    return path.removeprefix(".") or "file"


def _explain(detail: ErrorDetails, data: Mapping[str, Any]) -> AgreementError:
    loc, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    key, (model, about) = _path(loc, data), _describe(loc)
    if kind == "extra_forbidden":
        return _unknown_key(key, str(loc[-1]), model)
    words = _WORDS.get(kind)
    problem = words.format_map(context) if words else detail["msg"]
    if kind == "string_pattern_mismatch":
        problem = _SHAPE.get(str(context["pattern"]), "has characters that are not allowed")
    verb = {"missing": "add it", "placeholder": "replace it"}.get(kind, "expected")
    expected = f"{context['expected']}, {about}" if kind == "literal_error" else about
    return AgreementError(key, problem, f"{verb}: {expected}")


def _describe(loc: Sequence[int | str]) -> tuple[type[BaseModel], str]:
    """Follow a location through the models; return the innermost model and the field's text."""
    model: type[BaseModel] = Agreement
    about = "one table, as `securefed init` writes it"
    for part in loc:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            break
        about = field.description or about
        model = TABLES.get(part, model)
    return model, about


def _unknown_key(key: str, last: str, model: type[BaseModel]) -> AgreementError:
    known = list(model.model_fields)
    close = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
    if close:
        return AgreementError(key, "is not a known key", f"did you mean {close[0]!r}?")
    return AgreementError(key, "is not a known key", f"remove it; known are {', '.join(known)}")
