"""The commands around the agreement: what they write, print, ask and refuse."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.agreements import (
    changed,
    identity_of,
    make_agreement,
    plain_agreement,
    plain_toml,
)
from support.commands import WORDS, Done, Run, commands

from parties.keys import create_keys, load_keys
from protocols.agreement import Agreement, AgreementSignature, load_agreement, sign_agreement
from protocols.errors import (
    AgreementError,
    BelowThresholdError,
    InputError,
    JournalError,
    KeyFileError,
    MisuseError,
    NoResultError,
    PolicyError,
    SecureFedError,
    TransportError,
    WireError,
)
from securefed.cli.exit_codes import ExitCode, exit_code
from securefed.draft import Draft, DraftMember
from securefed.draft_parameters import PARAMETERS
from securefed.signing import SignatureState, signing_status, write_signature


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run ``securefed`` in this process and in an empty directory."""
    return commands(monkeypatch, capsys, tmp_path)


def init_five(run: Run, *more: object) -> Done:
    return run("init", "--address", "hub.example.org:7443", *more)


def fill_in(text: str, *names: str) -> str:
    for name in names:
        key = identity_of(name).public.raw.hex()
        text = text.replace(f"PASTE the public key of {name}", key)
        text = text.replace(f"PASTE the TLS fingerprint of {name}", key[::-1])
    return text.replace("PASTE host:port", "hub:7443")


@pytest.fixture
def ready(run: Run, tmp_path: Path) -> Agreement:
    """A valid agreement of three parties in agreement.toml, and keys of party a in keys."""
    rings = {
        name: create_keys(tmp_path / "keys", name, WORDS.encode(), log2_cost=14)
        for name in ("hub", "a", "b", "c")
    }
    members = {
        name: f"{name}:{ring.identity.public.raw.hex()}:{ring.tls.fingerprint}"
        for name, ring in rings.items()
    }
    done = init_five(
        run,
        *("--coordinator", members["hub"]),
        *(item for name in "abc" for item in ("--party", members[name])),
        *("--colluders", 1, "--federation", "heart-study", "--set", "features=4"),
        "--accept-no-differential-privacy",
    )
    assert done.code == 0, done.err
    return load_agreement((tmp_path / "agreement.toml").read_text())


# init


def test_init_writes_a_file_that_says_what_to_fill_in_and_validate_refuses_until_it_is(
    run: Run, tmp_path: Path
) -> None:
    done = run("init", "--people", 5000)
    assert done.code == ExitCode.OK
    assert "securefed validate agreement.toml" in done.out
    refused = run("validate", "agreement.toml")
    assert refused.code == ExitCode.AGREEMENT
    assert "is still the placeholder of `securefed init`" in refused.err
    assert "Traceback" not in refused.err
    text = (tmp_path / "agreement.toml").read_text()
    plain = tomllib.loads(text)
    assert len(plain["parties"]) == 5
    left = [line for line in text.splitlines() if '= "PASTE ' in line]
    assert f"{len(left)} values are left to fill in" in done.out
    assert "Every person is promised epsilon 3 at delta 1e-06" in done.out


def test_everything_filled_in_makes_a_valid_agreement(run: Run, tmp_path: Path) -> None:
    run("init", "--set", "features=7", "--people", 5000)
    file = tmp_path / "agreement.toml"
    names = ("coordinator", *(f"party-{i}" for i in range(1, 6)))
    file.write_text(fill_in(file.read_text(), *names))
    done = run("validate", "agreement.toml", "--json")
    assert done.code == ExitCode.OK
    assert done.json["valid"] is True
    assert not any("differential privacy is off" in warning for warning in done.json["warnings"])


def test_differential_privacy_is_on_unless_it_is_turned_off_by_name(
    run: Run, tmp_path: Path
) -> None:
    refused = run("init")
    assert refused.code == ExitCode.USAGE
    assert "give --people N" in refused.err
    assert "--accept-no-differential-privacy" in refused.err
    assert list(tmp_path.iterdir()) == []
    on = run("init", "on.toml", "--people", 5000, "--epsilon", 2, "--delta", "1e-5", "--json")
    assert on.json["differential_privacy"] == {"epsilon": 2.0, "delta": 1e-5}
    plain = tomllib.loads((tmp_path / "on.toml").read_text())
    assert plain["privacy"]["mechanism"] == "discrete-gaussian"
    assert plain["privacy"]["epsilon"] == 2.0
    assert plain["tasks"][0]["kind"] == "dp-logistic"
    assert plain["tasks"][0]["privacy"]["people"] == 5000
    off = run("init", "off.toml", "--accept-no-differential-privacy")
    assert "WARNING: differential privacy is off" in off.out
    plain = tomllib.loads((tmp_path / "off.toml").read_text())
    assert plain["privacy"] == {"mechanism": "none", "accept_no_differential_privacy": True}
    assert plain["tasks"][0]["kind"] == "glm-logistic"
    machine = run("init", "off.toml", "--accept-no-differential-privacy", "--force", "--json")
    assert machine.json["differential_privacy"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--people", "9", "--kind", "torch"), "choose --kind dp-logistic, dp-glm or dp-torch"),
        (("--people", "9", "--kind", "glm-logistic"), "--accept-no-differential-privacy"),
        (("--accept-no-differential-privacy", "--kind", "dp-glm"), "give --people N, or choose"),
        (("--accept-no-differential-privacy", "--people", "9"), "leave out one of them"),
        (("--accept-no-differential-privacy", "--clip-norm", "2"), "but --clip-norm says how much"),
        (("--accept-no-differential-privacy", "--unit", "company"), "but --unit says how much"),
        (("--unit", "company", "--people", "9"), "--people is about people"),
        (("--unit", "company", "--companies-per-person", "2"), "is about people"),
        (("--unit", "company", "--kind", "dp-glm"), "choose --kind torch, or --unit person"),
        (("--unit", "household"), "'person', 'company'"),
        (("--people", "9", "--clip-rate", "0.1"), "give --clip-quantile as well"),
    ],
)
def test_a_kind_and_its_privacy_that_do_not_match_are_refused_with_what_to_do(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run("init", *arguments)
    assert done.code == ExitCode.USAGE
    assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_init_can_hide_companies_let_a_person_be_at_several_and_let_the_clip_norm_move(
    run: Run, tmp_path: Path
) -> None:
    done = run("init", "c.toml", "--unit", "company", "--parties", 4, "--clip-norm", 0.5)
    assert done.code == ExitCode.OK, done.err
    assert "Every company is promised epsilon 3" in " ".join(done.out.split())
    plain = tomllib.loads((tmp_path / "c.toml").read_text())
    assert plain["privacy"]["unit"] == "company"
    assert plain["tasks"][0]["kind"] == "torch"
    assert plain["tasks"][0]["privacy"]["people"] == 4
    moving = ("--clip-quantile", 0.5, "--clip-rate", 0.1, "--clip-lowest", 0.1)
    people = ("--people", 5000, "--companies-per-person", 2)
    done = run("init", "p.toml", *people, *moving, "--clip-highest", 9)
    assert done.code == ExitCode.OK, done.err
    text = (tmp_path / "p.toml").read_text()
    plain = tomllib.loads(text)
    assert plain["privacy"]["companies_per_person"] == 2
    moves = plain["tasks"][0]["privacy"]["adaptive"]
    assert moves == {"quantile": 0.5, "rate": 0.1, "lowest": 0.1, "highest": 9.0}
    assert "# share of people whose vectors should be within the clip norm\nquantile = 0.5" in text


def test_init_can_have_every_vector_encrypted_and_says_who_makes_the_key(
    run: Run, tmp_path: Path
) -> None:
    ring = create_keys(tmp_path / "keys", "mint", WORDS.encode(), log2_cost=14)
    mint = f"mint:{ring.identity.public.raw.hex()}:{ring.tls.fingerprint}"
    for mode in ("paillier", "layered"):
        chosen = ("--aggregation", mode, "--dealer", mint, "--key-bits", 2048, "--force")
        done = run("init", "--people", 5000, *chosen)
        assert done.code == ExitCode.OK, done.err
        file = tmp_path / "agreement.toml"
        file.write_text(
            fill_in(file.read_text(), "coordinator", *(f"party-{i}" for i in range(1, 6)))
        )
        agreement = load_agreement(file.read_text())
        assert agreement.aggregation.mode == mode
        assert agreement.paillier.key_bits == 2048
        assert agreement.verify_key("mint").raw == ring.identity.public.raw
        valid = run("validate", file, "--json").json
        assert any("112-bit security" in warning for warning in valid["warnings"])
    run("init", "h.toml", "--people", 5000, "--aggregation", "layered", "--key-holder", "notary")
    plain = tomllib.loads((tmp_path / "h.toml").read_text())
    assert plain["paillier"]["key_bits"] == 3072
    assert plain["paillier"]["key_holder"]["tls_fingerprint"].startswith("PASTE")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dealer", "mint"), "--dealer is about the Paillier key: leave it out"),
        (("--key-bits", "3072"), "--key-bits is about the Paillier key"),
        (("--aggregation", "layered"), "give --dealer NAME, or else --key-holder NAME"),
        (("--aggregation", "paillier"), "makes the Paillier key: give --dealer NAME"),
        (("--aggregation", "paillier", "--key-holder", "k"), "give --dealer NAME instead"),
        (("--aggregation", "layered", "--key-holder", "k", "--dealer", "d"), "--key-holder NAME"),
        (("--aggregation", "summing"), "'masking', 'paillier',"),
    ],
)
def test_a_mode_and_a_key_that_do_not_match_are_refused_with_what_to_give(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run("init", "--people", 5000, *arguments)
    assert done.code == ExitCode.USAGE
    assert words in " ".join(done.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_a_length_that_no_agreement_takes_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path
) -> None:
    chosen = ("--aggregation", "layered", "--dealer", "mint", "--key-bits", 1024)
    done = run("init", "--people", 5000, *chosen)
    assert done.code == ExitCode.AGREEMENT
    assert "paillier.key_bits: is less than 2048" in done.err
    assert list(tmp_path.iterdir()) == []


def test_everybody_sees_the_privacy_plan_before_signing(run: Run, tmp_path: Path) -> None:
    ring = create_keys(tmp_path / "keys", "a", WORDS.encode(), log2_cost=14)
    member = f"a:{ring.identity.public.raw.hex()}:{ring.tls.fingerprint}"
    init_five(run, "--party", member, "--party", "b", "--party", "c", "--people", 5000)
    file = tmp_path / "agreement.toml"
    file.write_text(fill_in(file.read_text(), "coordinator", "b", "c"))
    valid = run("validate", "agreement.toml", "--json")
    assert any("if every other party sides" in warning for warning in valid.json["warnings"])
    for command in (
        ("inspect", "agreement.toml"),
        ("sign", "agreement.toml", "--name", "a", "--keys", "keys", "--yes"),
    ):
        done = run(*command)
        assert done.code == ExitCode.OK, done.err
        words = " ".join(done.out.split())
        assert "What is promised to every person" in words
        assert "of at most 3; nodes stop before that is passed" in words
        assert "Noise of each sum" in words
        assert "epsilon after so many rounds" in words
        assert "differential privacy is off" not in words


def test_every_key_of_a_new_agreement_is_explained(run: Run, tmp_path: Path) -> None:
    noised, plain = ("--people", 5000), ("--accept-no-differential-privacy",)
    for kind in PARAMETERS:
        privacy = noised if kind.startswith("dp-") else plain
        done = run("init", f"{kind}.toml", "--kind", kind, "--set", "features=3", *privacy)
        assert done.code == 0, done.err
        lines = (tmp_path / f"{kind}.toml").read_text().splitlines()
        explained: set[str] = set()
        for before, line in itertools.pairwise(lines):
            key = line.partition(" = ")[0]
            if " = " in line and not line.startswith("#") and before.startswith("# "):
                explained.add(key)
        keys = {line.partition(" = ")[0] for line in lines if " = " in line and line[0] != "#"}
        assert keys == explained
        assert all(len(line) <= 100 for line in lines)


def test_init_never_replaces_a_file_unless_told_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "agreement.toml").write_text("mine")
    refused = run("init", "--people", 5000)
    assert refused.code == ExitCode.USAGE
    assert "give --force" in refused.err
    assert (tmp_path / "agreement.toml").read_text() == "mine"
    assert run("init", "--force", "--people", 5000).code == ExitCode.OK
    assert [file.name for file in tmp_path.iterdir()] == ["agreement.toml"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--party", "Alpha", "--party", "b"), ExitCode.AGREEMENT, "is not a name"),
        (("--party", "a:b", "--party", "b"), ExitCode.AGREEMENT, "NAME:PUBLIC_KEY:TLS_FING"),
        (("--party", "a:xx:yy", "--party", "b"), ExitCode.AGREEMENT, "64 hexadecimal"),
        (("--party", "a"), ExitCode.AGREEMENT, "parties"),
        (("--colluders", "4"), ExitCode.AGREEMENT, "aggregation.colluders"),
        (("--max-dropouts", "3"), ExitCode.AGREEMENT, "aggregation.max_dropouts"),
        (("--kind", "magic"), ExitCode.AGREEMENT, "magic"),
        (("--set", "featurs=3"), ExitCode.AGREEMENT, "did you mean 'features'"),
        (("--set", "features"), ExitCode.USAGE, "is not KEY=VALUE in TOML"),
        (("--deadline", "0.1"), ExitCode.AGREEMENT, "deadline_seconds"),
        (("--epsilon", "0"), ExitCode.USAGE, "epsilon: 0.0 is not within"),
        (("--sampling-rate", "2"), ExitCode.USAGE, "sampling_rate: 2.0"),
        (("--clip-norm", "-1"), ExitCode.AGREEMENT, "clip_norm: -1.0"),
        (("--people", "0"), ExitCode.USAGE, "people"),
        (("--companies-per-person", "101"), ExitCode.USAGE, "companies-per-person"),
        (("--clip-quantile", "1.5"), ExitCode.AGREEMENT, "adaptive.quantile"),
        (
            ("--clip-quantile", "0.5", "--clip-lowest", "2"),
            ExitCode.AGREEMENT,
            "outside of the range in which it may move",
        ),
        (("--address", "nowhere"), ExitCode.AGREEMENT, "coordinator.address"),
        (("--parties", "1"), ExitCode.USAGE, "parties"),
    ],
)
def test_init_refuses_what_validate_would_refuse_and_writes_nothing(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    done = run("init", "--people", 5000, *arguments)
    assert done.code == code
    assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_fingerprints_with_colons_can_be_given_to_init(run: Run, tmp_path: Path) -> None:
    key = identity_of("a").public.raw.hex()
    colons = ":".join(key[i : i + 2].upper() for i in range(0, 64, 2))
    named = ("--party", f"a:{key}:{colons}", "--party", "b")
    assert run("init", "--people", 5000, *named).code == 0
    assert colons in (tmp_path / "agreement.toml").read_text()


# keygen


def test_keygen_prints_a_table_that_is_ready_to_paste(run: Run, tmp_path: Path) -> None:
    done = run("keygen", "alpha", "--out", "keys")
    assert done.code == ExitCode.OK
    table = tomllib.loads(done.out)["parties"][0]
    ring = load_keys(tmp_path / "keys", "alpha", WORDS.encode())
    assert table == {
        "name": "alpha",
        "public_key": ring.identity.public.raw.hex(),
        "tls_fingerprint": ring.tls.fingerprint,
    }
    assert ":".join(table.values()) in done.err
    assert "keys/alpha/alpha.pem" in done.err
    again = run("keygen", "alpha", "--out", "keys")
    assert again.code == ExitCode.KEYS
    assert "never overwritten" in again.err
    assert again.out == ""


def test_keygen_speaks_json_and_makes_the_coordinators_table(run: Run) -> None:
    done = run("keygen", "hub", "--out", "keys", "--json")
    assert set(done.json) == {"name", "public_key", "tls_fingerprint", "certificate", "keys"}
    assert tomllib.loads(run("keygen", "hub", "--out", "more", "--coordinator").out)["coordinator"]


def test_keygen_without_a_passphrase_makes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECUREFED_PASSPHRASE")
    done = run("keygen", "alpha", "--out", "keys", "--json")
    assert done.code == ExitCode.KEYS
    assert done.json["error"] == "KeyFileError"
    assert "--passphrase-file" in done.json["message"]
    assert list(tmp_path.iterdir()) == []


# validate, inspect, schema


def test_validate_names_the_digest_and_the_warnings(run: Run, ready: Agreement) -> None:
    done = run("validate", "agreement.toml")
    assert done.code == ExitCode.OK
    assert ready.digest().hex() in done.out
    assert "WARNING: differential privacy is off" in done.out


def test_validate_checks_the_tasks_as_well(run: Run, ready: Agreement, tmp_path: Path) -> None:
    file = tmp_path / "agreement.toml"
    size = ready.tasks[0].dimension
    file.write_text(file.read_text().replace(f"dimension = {size}", f"dimension = {size + 1}"))
    done = run("validate", "agreement.toml", "--json")
    assert done.code == ExitCode.AGREEMENT
    assert done.json["remedy"] == f"set dimension = {size}"


def test_validate_refuses_a_message_limit_below_the_global_model(run: Run, tmp_path: Path) -> None:
    plain = tomllib.loads(
        Draft(
            federation="f",
            coordinator=DraftMember("hub"),
            address="hub:1",
            parties=[DraftMember("a"), DraftMember("b")],
            task="t",
            kind="torch",
            rounds=3,
            parameters={"features": 200, "hidden": [100], "standardize": False},
            noise=None,
        ).to_toml()
    )
    for member in (plain["coordinator"], *plain["parties"]):
        key = identity_of(member["name"]).public.raw.hex()
        member |= {"public_key": key, "tls_fingerprint": key}
    plain = changed(plain, "tasks.0.modulus_bits", 16)
    plain = changed(plain, "tasks.0.scale", 1024.0)
    file = tmp_path / "agreement.toml"
    file.write_text(plain_toml(changed(plain, "aggregation.max_message_bytes", 70_000)))
    done = run("validate", file, "--json")
    assert done.json["key"] == "aggregation.max_message_bytes"
    assert "the global model" in done.json["problem"]
    need = int(done.json["remedy"].split()[-1])
    file.write_text(plain_toml(changed(plain, "aggregation.max_message_bytes", need)))
    assert run("validate", file).code == ExitCode.OK


def test_inspect_tells_everything_before_anybody_signs(run: Run, ready: Agreement) -> None:
    done = run("inspect", "agreement.toml")
    assert done.code == ExitCode.OK
    words = " ".join(done.out.split())
    for part in (
        ready.digest().hex(),
        "Who sees what",
        "coordinator hub",
        "1 of 3 parties may side with the coordinator",
        "0 of 3 parties may be missing",
        "3 of 3 parties must confirm the same survivors",
        "more than half of 3 parties and 1 colluder together",
        "Mbit/s",
        "Signed by 0 of 3 parties",
        "Still to sign: a, b, c",
        "WARNING: differential privacy is off",
        "WARNING: max_dropouts is 0",
    ):
        assert part in words, part


def test_inspect_as_json_holds_the_same_and_the_agreement_itself(
    run: Run, ready: Agreement
) -> None:
    shown = run("inspect", "agreement.toml", "--json", "--mbit", "10").json
    assert shown["digest"] == ready.digest().hex()
    assert shown["agreement"] == ready.to_plain()
    assert shown["in_force"] is False
    assert [one["state"] for one in shown["signatures"]] == ["missing"] * 3
    assert shown["forecast"]["mbit_per_second"] == 10
    assert shown["forecast"]["tasks"][0]["model_is_a_guess"] is False
    assert {one["who"] for one in shown["insights"]} >= {"coordinator hub", "each party"}
    assert len(shown["resilience"]) == 5
    assert [one["agreed"] for one in shown["modes"]] == [True, False, False, False]


def test_inspect_tells_a_signature_that_does_not_count(
    run: Run, ready: Agreement, tmp_path: Path
) -> None:
    other = make_agreement(3)
    stray = sign_agreement(other, identity_of("party-0"))
    write_signature(
        tmp_path / "signatures", AgreementSignature(stray.agreement, "b", stray.signature)
    )
    shown = run("inspect", "agreement.toml", "--json").json
    assert shown["signatures"][1]["state"] == "wrong"
    assert "b signed another agreement" in shown["signatures"][1]["problem"]
    text = " ".join(run("inspect", "agreement.toml").out.split())
    assert "Does not count: b signed another agreement" in text
    (tmp_path / "signatures" / "b.sig").write_text("{}")
    assert run("inspect", "agreement.toml").code == ExitCode.AGREEMENT


def test_schema_prints_the_json_schema(run: Run) -> None:
    pretty = run("schema")
    assert pretty.code == ExitCode.OK
    schema = json.loads(pretty.out)
    assert schema["title"] == "Agreement"
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert run("schema", "--json").json == schema


# sign


def test_signing_needs_a_yes_a_key_and_a_name_in_the_agreement(
    run: Run, ready: Agreement, tmp_path: Path
) -> None:
    asked = run("sign", "agreement.toml", "--name", "a", "--keys", "keys")
    assert asked.code == ExitCode.USAGE
    assert "give --yes" in asked.err
    assert not (tmp_path / "signatures").exists()
    done = run("sign", "agreement.toml", "--name", "a", "--keys", "keys", "--yes")
    assert done.code == ExitCode.OK
    assert "WARNING: differential privacy is off" in done.out
    assert "still to sign: b, c" in done.out
    states = [one.state for one in signing_status(ready, tmp_path / "signatures")]
    assert states == [SignatureState.VALID, SignatureState.MISSING, SignatureState.MISSING]
    stranger = run("sign", "agreement.toml", "--name", "hub", "--keys", "keys", "--yes")
    assert stranger.code == ExitCode.AGREEMENT
    assert "no party is called 'hub'" in stranger.err
    keyless = run("sign", "agreement.toml", "--name", "b", "--keys", "elsewhere", "--yes")
    assert keyless.code == ExitCode.KEYS


def test_the_last_signature_brings_the_agreement_into_force(run: Run, ready: Agreement) -> None:
    for name in "ab":
        assert run("sign", "agreement.toml", "--name", name, "--keys", "keys", "--yes").code == 0
    last = run("sign", "agreement.toml", "--name", "c", "--keys", "keys", "--yes", "--json").json
    assert last["in_force"] is True
    assert last["missing"] == []
    assert last["digest"] == ready.digest().hex()
    assert run("inspect", "agreement.toml", "--json").json["in_force"] is True
    assert "In force." in run("inspect", "agreement.toml").out


def test_a_person_is_shown_the_summary_and_asked(
    run: Run, ready: Agreement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    questions: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        questions.append(question)
        return next(answers)

    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    declined = run("sign", "agreement.toml", "--name", "a", "--keys", "keys")
    assert declined.code == ExitCode.FAILED
    assert "not signed" in declined.err
    assert "Who sees what" in declined.out
    assert not (tmp_path / "signatures").exists()
    assert run("sign", "agreement.toml", "--name", "a", "--keys", "keys").code == ExitCode.OK
    assert questions == ["Sign this as a?"] * 2
    assert ready.party_index("a") == 0


def test_a_changed_agreement_voids_the_signatures(
    run: Run, ready: Agreement, tmp_path: Path
) -> None:
    run("sign", "agreement.toml", "--name", "a", "--keys", "keys", "--yes")
    file = tmp_path / "agreement.toml"
    rounds = ready.tasks[0].rounds
    file.write_text(file.read_text().replace(f"rounds = {rounds}", f"rounds = {rounds + 1}"))
    assert run("inspect", file, "--json").json["signatures"][0]["state"] == "wrong"
    # Comments and spacing are not part of what was signed.
    file.write_text(
        "# a note\n" + file.read_text().replace(f"rounds = {rounds + 1}", f"rounds={rounds}")
    )
    assert run("inspect", file, "--json").json["signatures"][0]["state"] == "valid"


def test_a_wrong_passphrase_signs_nothing(
    run: Run, ready: Agreement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECUREFED_PASSPHRASE", "incorrect horse")
    done = run("sign", "agreement.toml", "--name", "a", "--keys", "keys", "--yes", "--json")
    assert done.code == done.json["exit_code"] == ExitCode.KEYS
    assert "horse" not in done.out + done.err
    assert not (tmp_path / "signatures").exists()
    assert ready.federation == "heart-study"


# Errors and exit codes


def test_every_expected_error_has_an_exit_code_of_its_kind() -> None:
    samples: list[tuple[SecureFedError, ExitCode]] = [
        (AgreementError("k", "p", "r"), ExitCode.AGREEMENT),
        (KeyFileError("x"), ExitCode.KEYS),
        (InputError("x"), ExitCode.INPUT),
        (WireError("alpha", "submit", "x"), ExitCode.PEER),
        (PolicyError("x"), ExitCode.POLICY),
        (TransportError("x"), ExitCode.TRANSPORT),
        (BelowThresholdError("submit", have=1, need=2), ExitCode.NO_RESULT),
        (NoResultError("x"), ExitCode.NO_RESULT),
        (JournalError("x"), ExitCode.STATE),
        (MisuseError("x"), ExitCode.USAGE),
        (SecureFedError("x"), ExitCode.FAILED),
    ]
    for error, code in samples:
        assert exit_code(error) is code
    assert len({int(code) for code in ExitCode}) == len(ExitCode)


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate",),
        ("validate", "missing.toml"),
        ("inspect", "missing.toml", "--mbit", "0"),
        ("frobnicate",),
        ("init", "--no-such-option"),
        ("sign", "missing.toml"),
    ],
)
def test_a_wrong_command_line_is_one_json_object_and_exit_code_2(
    run: Run, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments, "--json")
    assert done.code == done.json["exit_code"] == ExitCode.USAGE
    assert done.json["error"] == "UsageError"
    assert done.json["message"]
    plain = run(*arguments)
    assert plain.code == ExitCode.USAGE
    assert plain.err
    assert "Traceback" not in plain.err


@pytest.mark.parametrize("command", ["init", "keygen", "validate", "inspect", "sign", "schema"])
def test_every_command_explains_itself_and_speaks_json(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.code == ExitCode.OK
    assert "--json" in done.out


def test_an_error_is_one_line_for_people_and_one_object_for_machines(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text(
        plain_toml(changed(plain_agreement(), "aggregation.threshold", 1))
    )
    text = run("validate", "a.toml")
    assert text.out == ""
    assert text.err.count("\n") == 1
    assert text.err.startswith("error: aggregation.threshold: is 1, so 1 colluders could open")
    machine = run("validate", "a.toml", "--json")
    assert machine.err == ""
    assert machine.json["key"] == "aggregation.threshold"
    assert machine.json["remedy"] == "set it from 2 to 4"


def test_a_file_that_is_not_text_is_an_agreement_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    assert run("validate", "a.toml").code == ExitCode.AGREEMENT


def test_the_version_names_the_protocol_too(run: Run) -> None:
    assert re.fullmatch(r"securefed \d+\.\d+\.\d+ \(protocol \d+\)\n", run("--version").out)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_respected_on_a_terminal(tmp_path: Path, no_color: bool) -> None:
    import pty  # noqa: PLC0415 - not on every platform

    (tmp_path / "a.toml").write_text("x")
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {
        "TERM": "xterm-256color"
    }
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "securefed", "validate", "a.toml"],
            cwd=tmp_path,
            env=environment | ({"NO_COLOR": "1"} if no_color else {}),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            timeout=60,
            check=False,
        )
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == ExitCode.AGREEMENT
    assert "error: file: is not TOML" in shown
    assert ("\x1b[3" in shown) is not no_color
