"""Reading an agreement: whatever is wrong with the file, the key at fault is named."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agreements import (
    changed,
    leaves,
    plain_agreement,
    plain_toml,
    without,
)

from protocols.agreement import (
    agreement_from,
    load_agreement,
    validate,
)
from protocols.errors import AgreementError

# Refusals of the file itself


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("version", 2, "version: is not a known value; expected: 1"),
        ("version", "1", "version: is not a known value"),
        ("federation", "Heart Study", "federation: is not a name of a-z, 0-9"),
        ("federation", "a\n", "federation: is not a name"),
        ("federation", "a" * 65, "federation: is"),
        ("coordinator.name", "../hub", "coordinator.name: is not a name"),
        ("coordinator.address", "hub", "coordinator.address: is not host:port"),
        ("coordinator.address", "hub:0", "coordinator.address: is not host:port"),
        ("coordinator.address", "hub:65536", "coordinator.address: is not host:port"),
        ("coordinator.address", "hub:٣", "coordinator.address: is not host:port"),
        ("coordinator.address", "a b:1", "coordinator.address: does not start with a host"),
        ("coordinator.address", ":1", "coordinator.address: does not start with a host"),
        ("coordinator.address", "[::g]:1", "coordinator.address: is not an IPv6 address"),
        ("coordinator.address", "http://hub:1", "coordinator.address: does not start"),
        ("coordinator.address", "PASTE host:port", "coordinator.address: is still the placeholder"),
        ("parties", [], "parties: has fewer than 2 entries"),
        ("parties", {}, "parties: is not a list"),
        ("parties", [1, 2], r"parties\[0\]: is not a table"),
        ("parties.0.public_key", "ab" * 31, r"parties\[0\].public_key: is not 64 hexadecimal"),
        ("parties.0.public_key", "gh" * 32, r"parties\[0\].public_key: is not 64 hexadecimal"),
        ("parties.0.public_key", 12, r"parties\[0\].public_key: is not a string in quotes"),
        ("tasks", [], "tasks: has fewer than 1 entries"),
        ("tasks.0.kind", "Torch", r"tasks\[0\].kind: has characters that are not allowed"),
        ("tasks.0.rounds", 0, r"tasks\[0\].rounds: is less than 1"),
        ("tasks.0.rounds", 1_000_001, r"tasks\[0\].rounds: is greater than 1000000"),
        ("tasks.0.rounds", True, r"tasks\[0\].rounds: is not a whole number"),
        ("tasks.0.rounds", 2.0, r"tasks\[0\].rounds: is not a whole number"),
        ("tasks.0.dimension", 2**28 + 1, r"tasks\[0\].dimension: is greater than"),
        ("tasks.0.bound", 0.0, r"tasks\[0\].bound: is not greater than 0"),
        ("tasks.0.bound", -1.0, r"tasks\[0\].bound: is not greater than 0"),
        ("tasks.0.bound", math.nan, r"tasks\[0\].bound: is not a finite number"),
        ("tasks.0.bound", math.inf, r"tasks\[0\].bound: is not a finite number"),
        ("tasks.0.bound", 10**400, r"tasks\[0\].bound: is not a"),
        ("tasks.0.bound", True, r"tasks\[0\].bound: is not a number"),
        ("tasks.0.modulus_bits", 65, r"tasks\[0\].modulus_bits: is greater than 64"),
        ("tasks.0.modulus_bits", 1, r"tasks\[0\].modulus_bits: is less than 2"),
        ("tasks.0.rounding", "up", r"tasks\[0\].rounding: is not a known value; .*'nearest'"),
        ("tasks.0.parameters", [], r"tasks\[0\].parameters: is not a table"),
        ("tasks.0.parameters", {"Bad": 1}, r"tasks\[0\].parameters.Bad: is not a parameter name"),
        ("tasks.0.parameters", {"x": math.nan}, r"tasks\[0\].parameters.x: is not a string, a bo"),
        ("tasks.0.parameters", {"x": 2**63}, r"tasks\[0\].parameters.x: is not a string, a bo"),
        ("tasks.0.parameters", {"x": {"y": 1}}, r"tasks\[0\].parameters.x: is not a string, a"),
        ("tasks.0.parameters", {"x": [[1]]}, r"tasks\[0\].parameters.x: is not a string, a bo"),
        ("tasks.0.parameters", {"x": None}, r"tasks\[0\].parameters.x: is not a string, a bo"),
        ("tasks.0.parameters", {"x": [0] * 4097}, r"tasks\[0\].parameters.x: is a list of more"),
        ("tasks.0.parameters", {"x": "a" * 4097}, r"tasks\[0\].parameters.x: is longer than 4096"),
        ("tasks.0.parameters", {f"p{i}": 1 for i in range(65)}, "has more than 64 entries"),
        ("aggregation.mode", "none", "aggregation.mode: is not a known value"),
        ("aggregation.colluders", -1, "aggregation.colluders: is less than 0"),
        ("aggregation.threshold", 0, "aggregation.threshold: is less than 1"),
        ("aggregation.min_cohort", 1, "aggregation.min_cohort: is less than 2"),
        ("aggregation.neighbours", "all", 'aggregation.neighbours: is neither "complete" nor'),
        ("aggregation.neighbours", True, 'aggregation.neighbours: is neither "complete" nor'),
        ("aggregation.neighbours", -3, "aggregation.neighbours: is less than 1"),
        ("aggregation.neighbours", 10**30, "aggregation.neighbours: is not less than 1000"),
        ("aggregation.deadline_seconds", math.nan, "aggregation.deadline_seconds: is"),
        ("aggregation.deadline_seconds", 0.4, "aggregation.deadline_seconds: is less than 0.5"),
        ("aggregation.max_message_bytes", 100, "aggregation.max_message_bytes: is less than 65536"),
        ("privacy.mechanism", "gaussian", "privacy.mechanism: is not a known value"),
        ("privacy", "none", "privacy: is not a table"),
    ],
)  # fmt: skip
def test_a_value_out_of_its_bounds_is_refused_by_key(path: str, value: Any, words: str) -> None:
    with pytest.raises(AgreementError, match=words):
        agreement_from(changed(plain_agreement(), path, value))


OPTIONAL = {"auditors", "rounding", "parameters", "mode", "neighbours"}


def test_every_required_key_that_is_missing_is_named() -> None:
    plain = plain_agreement(2, colluders=0)
    paths = {path for path, _ in leaves(plain) if ".parameters." not in path}
    paths |= {"coordinator", "parties", "tasks", "aggregation", "privacy"}
    for path in sorted(paths):
        last = path.rsplit(".", 1)[-1]
        shown = path.replace(".0", "[0]").replace(".1", "[1]")
        if last in OPTIONAL:
            agreement_from(without(plain, path))
            continue
        if last == "accept_no_differential_privacy":
            continue  # its absence is a no, which is refused with other words
        with pytest.raises(AgreementError) as caught:
            agreement_from(without(plain, path))
        assert caught.value.key == shown
        assert caught.value.problem.startswith("is missing")
        assert caught.value.remedy.startswith("add it: ")


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("aggregation", "treshold", "threshold"),
        ("aggregation", "colluder", "colluders"),
        ("tasks.0", "round", "rounds"),
        ("privacy", "mechansim", "mechanism"),
        ("parties.1", "public-key", "public_key"),
        ("coordinator", "adress", "address"),
    ],
)
def test_a_misspelt_key_is_named_with_its_nearest_match(path: str, wrong: str, right: str) -> None:
    plain = plain_agreement()
    value = dict(leaves(plain))[f"{path}.{right}"]
    plain = without(changed(plain, f"{path}.{wrong}", value), f"{path}.{right}")
    with pytest.raises(AgreementError) as caught:
        agreement_from(plain)
    assert caught.value.key.endswith(f".{wrong}")
    assert caught.value.remedy == f"did you mean {right!r}?"


def test_an_unknown_key_that_is_like_no_other_lists_the_known_ones() -> None:
    plain = changed(plain_agreement(), "privacy.zzz", 1)
    with pytest.raises(AgreementError, match="remove it; known are mechanism, accept_no"):
        agreement_from(plain)


@pytest.mark.parametrize(
    "text",
    [
        "version = ",
        "version = 1\nversion = 1",
        "[" * 50_000,
        "x = " + "[" * 50_000,
        "x = " + "9" * 10_000,
        "version = 1 \x00",
        "# too long " + "x" * (1 << 20),
    ],
    ids=["cut", "twice", "headers", "nested", "endless number", "zero byte", "too long"],
)
def test_what_is_not_toml_is_refused_and_says_where(text: str) -> None:
    with pytest.raises(AgreementError, match=r"^file: "):
        load_agreement(text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_raises_nothing_but_an_agreement_error(data: st.DataObject) -> None:
    text = plain_toml(plain_agreement(2, colluders=0))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.text(max_size=6)) + text[stop:]
    refusal: AgreementError | None = None
    try:
        validate(load_agreement(text))
    except AgreementError as error:
        refusal = error
    if refusal is not None:
        assert refusal.key
        assert refusal.problem
        assert refusal.remedy
        assert "\n" not in str(refusal)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("federation", "No", "federation = "),
        ("coordinator.address", "x", "address = "),
        ("aggregation.threshold", 1, "threshold = "),
        ("tasks.0.rounds", 0, "rounds = "),
        ("tasks.0.parameters", {"ok": 1, "Bad": 1}, "Bad = "),
        ("privacy.oops", 1, "oops = "),
    ],
)
def test_the_line_of_the_key_at_fault_is_named(path: str, value: Any, line: str) -> None:
    text = plain_toml(changed(plain_agreement(3), path, value))
    number = next(i for i, one in enumerate(text.splitlines(), 1) if one.startswith(line))
    with pytest.raises(AgreementError, match=rf"\(line {number}\)"):
        load_agreement(text)


def test_the_line_of_one_of_many_tables_is_told_apart() -> None:
    text = plain_toml(changed(plain_agreement(4), "parties.2.name", "BAD"))
    number = next(i for i, one in enumerate(text.splitlines(), 1) if "BAD" in one)
    with pytest.raises(AgreementError, match=rf"parties\[2\].name: .*\(line {number}\)"):
        load_agreement(text)


def test_a_missing_key_is_looked_for_in_its_table() -> None:
    text = plain_toml(without(plain_agreement(3), "parties.1.public_key"))
    headers = [i for i, one in enumerate(text.splitlines(), 1) if one == "[[parties]]"]
    with pytest.raises(AgreementError, match=rf"is missing.*\(line {headers[1]}\)"):
        load_agreement(text)
    without_table = plain_toml(without(plain_agreement(3), "aggregation"))
    with pytest.raises(AgreementError, match=r"^aggregation: is missing; add it"):
        load_agreement(without_table)


@pytest.mark.parametrize("key", ["x[y]", "a.", ".", "]", "[0]", "a b", "", "\\n", "privacy.x"])
def test_a_strange_key_is_refused_like_any_other(key: str) -> None:
    text = f'"{key}" = 1\n' + plain_toml(plain_agreement(3))
    with pytest.raises(AgreementError, match="is not a known key"):
        load_agreement(text)


def test_a_private_key_pasted_by_mistake_is_not_repeated_in_the_error() -> None:
    secret = "-----BEGIN PRIVATE KEY-----MC4CAQAwBQYDK2VwBCIEIH" + "q" * 32
    with pytest.raises(AgreementError) as caught:
        agreement_from(changed(plain_agreement(), "parties.0.public_key", secret))
    cause = caught.value.__cause__
    assert "MC4CAQ" not in f"{caught.value}{cause}".replace("mc4caq", "MC4CAQ")
