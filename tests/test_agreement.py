"""The agreement as data: one meaning has one byte string, and every field is in the digest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from support.agreements import (
    FULL,
    changed,
    identity_of,
    leaves,
    make_agreement,
    party_name,
    plain_agreement,
    without,
)

from protocols.agreement import (
    Agreement,
    agreement_from,
    load_agreement,
)
from protocols.agreement.model import CANONICAL_LABEL, quorum_of
from protocols.errors import AgreementError

# A TOML writer with free choice of order, spacing, quoting and headers


def scalar_toml(value: Any, draw: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        literal = "'" not in value and draw(st.booleans())
        return f"'{value}'" if literal else json.dumps(value)
    if isinstance(value, float):
        return draw(
            st.sampled_from(
                [repr(value), f"{value:e}" if float(f"{value:e}") == value else repr(value)]
            )
        )
    if isinstance(value, int):
        return draw(st.sampled_from([str(value), f"+{value}" if value >= 0 else str(value)]))
    gap = draw(st.sampled_from(["", " ", "\n  # why not\n"]))
    return "[" + ("," + gap).join(scalar_toml(item, draw) for item in value) + gap + "]"


def table_toml(table: dict[str, Any], path: str, draw: Any) -> Iterator[str]:
    keys = draw(st.permutations(sorted(table)))
    inner = [k for k in keys if isinstance(table[k], dict)]
    many = [
        k for k in keys if isinstance(table[k], list) and table[k] and isinstance(table[k][0], dict)
    ]
    for key in keys:
        if key not in inner and key not in many:
            space = draw(st.sampled_from(["", " ", "\t "]))
            yield f"{space}{key}{space}={space}{scalar_toml(table[key], draw)}{space}# {key}"
    for key in inner:
        yield f"[{path}{key}]"
        yield from table_toml(table[key], f"{path}{key}.", draw)
    for key in many:
        for one in table[key]:
            yield f"[[{path}{key}]]"
            yield from table_toml(one, f"{path}{key}.", draw)


def to_toml(plain: dict[str, Any], draw: Any) -> str:
    end = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    return end.join(table_toml(plain, "", draw)) + end


# One meaning, one digest


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_order_spacing_quoting_and_comments_do_not_matter(data: st.DataObject) -> None:
    plain = plain_agreement(3)
    agreement = load_agreement(to_toml(plain, data.draw))
    assert agreement.canonical_bytes() == make_agreement(3).canonical_bytes()
    assert agreement == make_agreement(3)


def test_canonical_bytes_are_a_label_and_sorted_msgpack_of_everything() -> None:
    agreement = make_agreement()
    label, packed = agreement.canonical_bytes().split(b"\x00", 1)
    assert label + b"\x00" == CANONICAL_LABEL
    plain = msgspec.msgpack.decode(packed)
    assert plain == agreement.to_plain()
    assert agreement_from(plain).digest() == agreement.digest()

    def sorted_everywhere(value: Any) -> bool:
        if isinstance(value, dict):
            return list(value) == sorted(value) and all(map(sorted_everywhere, value.values()))
        return not isinstance(value, list) or all(map(sorted_everywhere, value))

    assert sorted_everywhere(plain)


def test_the_digest_never_changes_by_accident() -> None:
    # A change here makes every signed agreement in the world void: raise the version instead.
    assert make_agreement(3).digest().hex() == (
        "0ab25001d97b6795a6ae0f02c960d5ddcae9b80a57a40a5d9368843958eef796"
    )


@pytest.mark.parametrize(
    ("path", "one", "other"),
    [
        ("tasks.0.bound", 8, 8.0),
        ("tasks.0.scale", 1024, 1024.0),
        ("aggregation.deadline_seconds", 30, 30.0),
        ("tasks.0.parameters.ridge", 0.0, -0.0),
        ("tasks.0.parameters.columns", [0.0, 1.0], [-0.0, 1.0]),
        ("coordinator.address", "Hub.Example.ORG:07443", "hub.example.org:7443"),
        ("coordinator.address", "[0:0:0:0:0:0:0:1]:7443", "[::1]:7443"),
        ("parties.0.tls_fingerprint", "AB:" + "cd" * 31, "abcd" + "cd" * 30),
        ("tasks.0.rounding", "stochastic", None),
        ("aggregation.neighbours", "complete", None),
        ("auditors", [], None),
    ],
)
def test_two_spellings_of_one_meaning_have_one_digest(path: str, one: Any, other: Any) -> None:
    first = changed(plain_agreement(), path, one)
    second = without(first, path) if other is None else changed(plain_agreement(), path, other)
    assert agreement_from(first).canonical_bytes() == agreement_from(second).canonical_bytes()


def another(path: str, value: Any) -> Any:
    """Some other value that a field of this type can hold."""
    last = path.rsplit(".", 1)[-1]
    if last in {"public_key", "tls_fingerprint"}:
        return ("0" if value[0] != "0" else "1") + value[1:]
    fixed = {
        "address": "127.0.0.1:7444",
        "rounding": "nearest",
        "unit": "company",
        "delta": 1e-4,
        "sampling_rate": 0.25,
        "quantile": 0.25,
        "rate": 0.25,
        "neighbours": 2,
        "kind": "torch",
    }
    if last in fixed:
        return fixed[last]
    if isinstance(value, bool):
        return not value
    return value + "x" if isinstance(value, str) else value + 1


UNCHANGEABLE = {"version", "aggregation.mode", "privacy.mechanism"}


def test_every_field_is_in_the_digest() -> None:
    base = Agreement.model_validate(FULL)
    digests = {base.digest()}
    paths = [path for path, _ in leaves(FULL) if path not in UNCHANGEABLE]
    for path in paths:
        value = dict(leaves(FULL))[path]
        digests.add(Agreement.model_validate(changed(FULL, path, another(path, value))).digest())
    assert len(digests) == len(paths) + 1
    every = {path for path, _ in leaves(base.to_plain())}
    assert every == {path for path, _ in leaves(FULL)}  # no field hides behind a default


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_two_parameter_values_that_differ_differ_in_the_digest(data: st.DataObject) -> None:
    scalars = st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=8),
    )
    values = st.one_of(scalars, st.lists(scalars, max_size=3))
    one, other = data.draw(values), data.draw(values)

    def digest(value: Any) -> bytes:
        plain = changed(plain_agreement(2, colluders=0), "tasks.0.parameters", {"x": value})
        return Agreement.model_validate(plain).digest()

    def shape(value: Any) -> str:
        return repr(value).replace("-0.0", "0.0") if value in (0.0, -0.0) else repr(value)

    assert digest(one) == digest(one)
    same = shape(one) == shape(other) or _same_but_zero_sign(one, other)
    assert (digest(one) == digest(other)) == same


def _same_but_zero_sign(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(map(_same_but_zero_sign, one, other))
    return type(one) is type(other) and one == other


def test_the_order_of_parties_and_tasks_matters() -> None:
    plain = plain_agreement(3)
    turned = plain | {"parties": plain["parties"][::-1]}
    assert agreement_from(turned).digest() != agreement_from(plain).digest()


def test_an_agreement_cannot_be_changed_after_it_was_read() -> None:
    agreement = make_agreement()
    with pytest.raises(ValidationError):
        agreement.federation = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        agreement.aggregation.threshold = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        agreement.tasks[0].parameters["ridge"] = 2.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        agreement.tasks[0].parameters["columns"].append("c")  # type: ignore[union-attr]


def test_a_copy_with_another_value_has_another_digest() -> None:
    agreement = make_agreement()
    agreement.digest()
    rules = agreement.aggregation.model_copy(update={"threshold": 3})
    assert agreement.model_copy(update={"aggregation": rules}).digest() != agreement.digest()


# What the agreement answers


def test_parties_are_numbered_in_the_order_of_the_file() -> None:
    agreement = make_agreement(5)
    assert [agreement.party_index(party_name(i)) for i in range(5)] == list(range(5))
    with pytest.raises(AgreementError, match="no party is called 'hub'"):
        agreement.party_index("hub")


def test_keys_are_found_by_name_and_verify_their_owner() -> None:
    agreement = agreement_from(FULL)
    for name in ("hub", "party-2", "eve"):
        key = agreement.verify_key(name)
        key.verify_bytes(b"d", b"m", identity_of(name).sign_bytes(b"d", b"m"))
        assert key.name == name
    with pytest.raises(AgreementError, match="nobody is called 'mallory'; use one of hub"):
        agreement.verify_key("mallory")


def test_rounds_of_all_tasks_are_counted_together() -> None:
    plain = plain_agreement(3)
    plain["tasks"] = [plain["tasks"][0] | {"name": f"task-{i}", "rounds": i} for i in (1, 20, 300)]
    assert agreement_from(plain).max_rounds == 321


def test_the_codec_is_the_one_of_the_task() -> None:
    agreement = make_agreement(5)
    codec = agreement.codec(agreement.tasks[0])
    assert (codec.modulus_bits, codec.scale, codec.bound, codec.parties) == (32, 1024.0, 8.0, 5)


def test_the_quorum_is_the_smallest_that_two_sets_cannot_both_reach() -> None:
    for n in range(2, 101):
        for c in range(n):
            assert 2 * quorum_of(n, c) > n + c >= 2 * (quorum_of(n, c) - 1)


# The schema


def test_the_schema_describes_every_key() -> None:
    schema = Agreement.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    described = {key: prop for table in tables for key, prop in table["properties"].items()}
    assert {
        path.rsplit(".", 1)[-1] for path, _ in leaves(FULL) if ".parameters" not in path
    } <= set(described)
    for key, prop in described.items():
        assert prop.get("description"), key
    for table in tables:
        assert table["additionalProperties"] is False
    json.dumps(schema)


KEYWORDS = {
    "$defs", "$ref", "additionalProperties", "anyOf", "const", "default", "description", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maxLength", "maxProperties",
    "maximum", "minItems", "minLength", "minimum", "multipleOf", "pattern",
    "patternProperties", "properties", "propertyNames", "required", "title", "type",
}  # fmt: skip


def test_the_schema_uses_the_words_of_json_schema_where_they_have_a_meaning() -> None:
    def check(schema: dict[str, Any]) -> None:
        assert set(schema) <= KEYWORDS, schema
        kind = schema.get("type")
        assert not set(schema) & {"minLength", "maxLength"} or kind == "string"
        assert not set(schema) & {"minItems", "maxItems"} or kind == "array"
        for container in ("properties", "$defs"):
            for inner in schema.get(container, {}).values():
                check(inner)
        for inner in schema.get("anyOf", []):
            check(inner)
        for single in ("items", "additionalProperties"):
            if isinstance(schema.get(single), dict):
                check(schema[single])

    check(Agreement.model_json_schema())
