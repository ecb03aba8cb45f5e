"""``securefed audit`` and ``securefed ledger``: what they verify, write, print and refuse."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.agreements import identity_of
from support.commands import WORDS, Run, commands
from support.ledgers import LedgerWriter, genuine, small_agreement, small_federation, whole_run

from parties.keys import KeyRing, create_keys
from parties.store import Journal
from protocols.agreement import Agreement, bring_into_force, sign_agreement
from protocols.errors import InputError, LedgerError, MisuseError
from protocols.ledger.bundle import bundle_parts
from protocols.ledger.records import CheckpointLeaf, decode_leaf
from securefed.agreement_text import agreement_to_toml
from securefed.audit.auditor import Auditor
from securefed.audit.signing import check_report
from securefed.audit.sources import leaves_of
from securefed.cli.exit_codes import ExitCode

AGREED = ("--agreement", "agreement.toml")


def put(path: str, leaves: Any) -> Path:
    Path(path).write_bytes(b"".join(bundle_parts(leaves)))
    return Path(path)


def forked() -> tuple[list[bytes], list[bytes]]:
    """Two ledgers by one coordinator that part in the second round, both fully witnessed."""
    one, other = (LedgerWriter(small_federation()).begin().play() for _ in range(2))
    return one.play(silent=(2,)).leaves, other.play(silent=(1,)).leaves


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run ``securefed`` in this process, in a directory with a genuine bundle and its agreement."""
    call = commands(monkeypatch, capsys, tmp_path)
    put("run.ledger", genuine())
    Path("agreement.toml").write_text(agreement_to_toml(small_agreement()))
    return call


@pytest.fixture
def state(run: Run) -> Path:
    with Journal(Path("state"), owner=b"a node") as journal:
        journal.ledger.append(genuine())
    return Path("state")


# audit


def test_a_genuine_ledger_is_verified_with_exit_code_0(run: Run) -> None:
    done = run("audit", "run.ledger", *AGREED)
    assert done.code == ExitCode.OK, done.err
    first, *rest = done.out.splitlines()
    assert first.startswith("VERIFIED: ")
    words = " ".join(rest)
    for title in ("What was protected", "From whom", "How strongly", "What is left"):
        assert title in words
    assert "epsilon 1.167" in words
    assert "WARNING: round-aborted (round 3)" in words
    assert "all public keys come from the file itself" not in words
    assert "Traceback" not in done.err


def test_without_an_agreement_the_verdict_says_where_the_keys_come_from(run: Run) -> None:
    done = run("audit", "run.ledger")
    assert done.code == ExitCode.OK
    assert "all public keys come from the file itself" in " ".join(done.out.split())
    assert run("audit", "run.ledger", "--json").json["verdict"]["anchor"] == "none"


def test_a_ledger_that_was_not_closed_has_an_exit_code_of_its_own(run: Run) -> None:
    put("short.ledger", genuine()[:-2])
    done = run("audit", "short.ledger", *AGREED)
    assert done.code == ExitCode.INCOMPLETE == 12
    assert done.out.startswith("INCOMPLETE: ")


@pytest.mark.parametrize("omitted", [5, 10, 14, 15])
def test_a_ledger_with_a_leaf_left_out_fails_and_says_where(run: Run, omitted: int) -> None:
    put("bad.ledger", (*genuine()[:omitted], *genuine()[omitted + 1 :]))
    done = run("audit", "bad.ledger", *AGREED)
    assert done.code == ExitCode.LEDGER == 11
    assert done.out.startswith("FAILED: ")
    assert re.search(r"first fault: [a-z-]+ at leaf \d+", done.out)
    assert "not established" in done.out


def test_another_agreement_than_the_one_that_was_meant_fails(run: Run) -> None:
    Path("other.toml").write_text(agreement_to_toml(small_agreement(noise=False)))
    done = run("audit", "run.ledger", "--agreement", "other.toml", "--json")
    assert done.code == ExitCode.LEDGER
    assert done.json["verdict"]["failure"]["name"] == "another-agreement"
    digest = small_agreement().digest().hex()
    good = run("audit", "run.ledger", "--agreement-digest", digest, "--json")
    assert good.code == ExitCode.OK
    assert good.json["verdict"]["anchor"] == "digest"
    assert run("audit", "run.ledger", "--agreement-digest", "ab").code == ExitCode.USAGE
    assert run("audit", "run.ledger", *AGREED, "--agreement-digest", "ab" * 32).code == (
        ExitCode.USAGE
    )


def test_a_head_that_somebody_kept_betrays_a_ledger_that_was_rolled_back(run: Run) -> None:
    Path("kept.note").write_text(run("ledger", "head", "run.ledger").out)
    assert run("audit", "run.ledger", *AGREED, "--head", "kept.note").code == ExitCode.OK
    put("short.ledger", genuine()[:-6])
    done = run("audit", "short.ledger", *AGREED, "--head", "kept.note", "--json")
    assert done.code == ExitCode.LEDGER
    assert done.json["verdict"]["failure"]["name"] == "rolled-back"
    Path("no.note").write_text("nothing")
    refused = run("audit", "run.ledger", "--head", "no.note")
    assert refused.code == ExitCode.INPUT
    assert "securefed ledger head prints one" in refused.err


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"<html>no ledger</html>",
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[: len(data) // 2],
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
    ],
)
def test_a_damaged_file_fails_the_audit_and_never_the_program(run: Run, damage: Any) -> None:
    Path("bad.ledger").write_bytes(damage(Path("run.ledger").read_bytes()))
    done = run("audit", "bad.ledger", *AGREED, "--json", "--html", "bad.html")
    assert done.code == ExitCode.LEDGER
    assert done.json["verdict"]["verdict"] == "failed"
    assert "FAILED" in Path("bad.html").read_text()


def test_json_is_one_line_with_everything_and_out_holds_the_same(run: Run) -> None:
    done = run("audit", "run.ledger", *AGREED, "--json", "--out", "report.json")
    kept = json.loads(Path("report.json").read_text())
    assert {**kept, "made": None} == {**done.json, "made": None}
    assert kept["bundle"]["bytes"] == Path("run.ledger").stat().st_size
    assert len(kept["rounds"]) == 5


def test_quiet_prints_one_word(run: Run) -> None:
    assert run("audit", "run.ledger", *AGREED, "--quiet").out == "VERIFIED\n"


def test_a_missing_bundle_and_half_of_the_options_for_signing_are_refused(run: Run) -> None:
    assert run("audit", "missing.ledger").code == ExitCode.INPUT
    assert run("audit", "run.ledger", "--keys", "keys").code == ExitCode.USAGE
    assert run("audit", "run.ledger", "--keys", "keys", "--name", "eve").code == ExitCode.USAGE


def federation_of(rings: dict[str, KeyRing]) -> tuple[Agreement, LedgerWriter]:
    """The small federation, with an auditor whose key is on disk."""
    plain = small_agreement().to_plain()
    plain["auditors"] = [
        {"name": name, "public_key": ring.identity.public.raw.hex()} for name, ring in rings.items()
    ]
    agreement = Agreement.model_validate_json(json.dumps(plain))
    signatures = [sign_agreement(agreement, identity_of(one.name)) for one in agreement.parties]
    return agreement, whole_run(bring_into_force(agreement, signatures))


def test_an_auditor_signs_a_report_that_anybody_can_check(run: Run) -> None:
    ring = create_keys(Path("keys"), "eve", WORDS.encode(), log2_cost=14)
    agreement, writer = federation_of({"eve": ring})
    Path("agreement.toml").write_text(agreement_to_toml(agreement))
    put("run.ledger", writer.leaves)
    signing = ("--out", "report.json", "--keys", "keys", "--name", "eve")
    assert run("audit", "run.ledger", *AGREED, *signing).code == ExitCode.OK
    assert check_report(Path("report.json").read_bytes(), agreement).name == "eve"
    shown = run("ledger", "check-report", "report.json", *AGREED)
    assert shown.code == ExitCode.OK
    assert "signed by eve, auditor of the agreement" in shown.out
    assert "VERIFIED" in shown.out
    as_json = run("ledger", "check-report", "report.json", *AGREED, "--json").json
    assert (as_json["name"], as_json["role"], as_json["verdict"]) == ("eve", "auditor", "verified")
    assert as_json["bundle"] == hashlib.sha256(Path("run.ledger").read_bytes()).hexdigest()
    text = Path("report.json").read_text()
    Path("report.json").write_text(text.replace('"verdict":"verified"', '"verdict":"verifiee"'))
    refused = run("ledger", "check-report", "report.json", *AGREED, "--json")
    assert refused.code == ExitCode.LEDGER
    assert refused.json["finding"] == "report-unsigned"


# The Python interface


def test_the_auditor_is_usable_from_python(run: Run, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    auditor = Auditor(Path("agreement.toml"))
    found = auditor.audit(Path("run.ledger"), progress=lambda *done: heard.append(done))
    assert found.verdict == "verified"
    assert heard[-1] == (Path("run.ledger").stat().st_size,) * 2
    assert found.to_plain()["verdict"]["anchored"]
    found.write_html(tmp_path / "report.html")
    found.write_json(tmp_path / "report.json")
    assert "VERIFIED" in (tmp_path / "report.html").read_text()
    with pytest.raises(MisuseError):
        Auditor(small_agreement(), agreement_digest=bytes(32))
    with pytest.raises(InputError):
        auditor.audit(Path("missing.ledger"))
    with pytest.raises(MisuseError, match="holds no agreement"):
        Auditor().audit(put("empty.ledger", ())).to_json(_ring("eve"))


def _ring(name: str) -> KeyRing:
    return create_keys(Path("more-keys"), name, WORDS.encode(), log2_cost=14)


# ledger export, import, show, head


def test_what_a_node_exports_is_what_it_holds(run: Run, state: Path) -> None:
    done = run("ledger", "export", state, "copy.ledger")
    assert done.code == ExitCode.OK
    assert Path("copy.ledger").read_bytes() == Path("run.ledger").read_bytes()
    assert run("ledger", "export", state, "copy.ledger").code == ExitCode.INPUT
    told = run("ledger", "export", state, "again.ledger", "--json").json
    assert told["leaves"] == len(genuine())
    assert (
        run("ledger", "compare", state, "again.ledger").out == f"the same {len(genuine())} leaves\n"
    )


def test_a_node_can_be_exported_while_it_runs(run: Run, state: Path) -> None:
    with Journal(state, owner=b"a node"):
        assert run("ledger", "export", state, "copy.ledger").code == ExitCode.OK
    assert list(leaves_of(Path("copy.ledger"))) == list(genuine())


def test_a_directory_that_is_no_state_is_refused(run: Run) -> None:
    Path("empty").mkdir()
    assert run("ledger", "export", "empty", "copy.ledger").code == ExitCode.STATE
    assert not Path("copy.ledger").exists()
    assert not list(Path().glob(".copy*"))


def test_show_lists_every_leaf_and_with_json_its_content(run: Run) -> None:
    lines = run("ledger", "show", "run.ledger").out.splitlines()
    shown = [line for line in lines if line[:7].strip()]
    assert len(shown) == len(genuine())
    assert "".join(lines[1:3]).count("masks") == 2
    assert "the agreement of test-federation" in shown[0]
    assert "mean, round 1 of the task; 5 invited" in shown[2]
    lines = [
        json.loads(line) for line in run("ledger", "show", "run.ledger", "--json").out.splitlines()
    ]
    assert [one["leaf"] for one in lines] == list(range(len(genuine())))
    steps = {one["step"] or one["kind"] for one in lines}
    assert steps == {
        "agreement",
        "checkpoint",
        "open",
        "submit",
        "confirm",
        "result",
        "abort",
        "end",
    }
    submit = next(one for one in lines if one["step"] == "submit")
    assert submit["content"]["statement"]["software"].startswith("securefed/")
    third = run("ledger", "show", "run.ledger", "--round", 3, "--json").out.splitlines()
    assert {json.loads(line)["round"] for line in third} == {3}


def test_show_says_of_hostile_leaves_that_they_cannot_be_read(run: Run) -> None:
    put("bad.ledger", (genuine()[0], b"\x1b[2J", b"", genuine()[2][:-1]))
    shown = run("ledger", "show", "bad.ledger")
    assert shown.code == ExitCode.OK
    assert shown.out.count("unreadable") == 3
    assert "\x1b" not in shown.out


def test_the_head_is_the_last_checkpoint(run: Run) -> None:
    last = decode_leaf(genuine()[-1], 0)
    assert isinstance(last, CheckpointLeaf)
    assert run("ledger", "head", "run.ledger").out.encode() == last.note
    put("new.ledger", genuine()[:1])
    assert run("ledger", "head", "new.ledger").code == ExitCode.LEDGER


def test_an_archive_takes_only_what_is_verified_and_only_grows(run: Run) -> None:
    put("short.ledger", genuine()[:-6])
    first = run("ledger", "import", "short.ledger", "archive", *AGREED, "--json").json
    assert (first["added"], first["verdict"]) == (len(genuine()) - 6, "incomplete")
    assert run("ledger", "import", "run.ledger", "archive", *AGREED, "--json").json["added"] == 6
    assert run("ledger", "compare", "archive", "run.ledger").code == ExitCode.OK
    back = run("ledger", "import", "short.ledger", "archive", *AGREED, "--json")
    assert (back.code, back.json["finding"]) == (ExitCode.LEDGER, "rolled-back")
    put("bad.ledger", (*genuine()[:10], *genuine()[11:]))
    bad = run("ledger", "import", "bad.ledger", "other", *AGREED, "--json")
    assert bad.code == ExitCode.LEDGER
    assert not Path("other").exists()
    # It is no node's state: a node there would have forgotten its promises.
    with (
        pytest.raises(Exception, match="another agreement or node"),
        Journal(Path("archive"), owner=b"a node"),
    ):
        pass


def test_an_archive_refuses_another_ledger_of_the_same_federation(run: Run) -> None:
    one, other = forked()
    put("one.ledger", one)
    put("other.ledger", other)
    assert run("ledger", "import", "one.ledger", "archive", *AGREED).code == ExitCode.OK
    done = run("ledger", "import", "other.ledger", "archive", *AGREED, "--json")
    assert (done.code, done.json["finding"]) == (ExitCode.LEDGER, "split-view")
    assert list(leaves_of(Path("archive"))) == one


# ledger compare and proofs


def test_compare_says_which_copy_goes_on(run: Run) -> None:
    put("short.ledger", genuine()[:-6])
    done = run("ledger", "compare", "short.ledger", "run.ledger")
    assert (done.code, done.out) == (0, "the second continues the first: 6 leaves more\n")
    done = run("ledger", "compare", "run.ledger", "short.ledger")
    assert (done.code, done.out) == (0, "the first continues the second: 6 leaves more\n")


def test_a_split_view_is_found_and_proved_to_anybody(run: Run) -> None:
    one, other = forked()
    put("one.ledger", one)
    put("other.ledger", other)
    told = run("ledger", "compare", "one.ledger", "other.ledger", "--proof", "proof.json", "--json")
    assert told.code == ExitCode.LEDGER
    assert told.json["leaf"] == 17
    assert told.json["split_view_proven"] is True
    assert told.json["signed_both_heads"][0] == "hub"
    text = run("ledger", "compare", "one.ledger", "other.ledger").out
    assert "they differ in leaf 17" in text
    assert "signed a head of each: hub, party-0" in text
    proven = run("ledger", "check-proof", "proof.json", *AGREED)
    assert proven.code == ExitCode.OK
    assert "hub signed one ledger" in proven.out
    data = Path("proof.json").read_text()
    Path("proof.json").write_text(data.replace('"position": 17', '"position": 16'))
    refused = run("ledger", "check-proof", "proof.json", *AGREED, "--json")
    assert (refused.code, refused.json["finding"]) == (ExitCode.LEDGER, "split-view-unproven")


def test_a_made_up_copy_accuses_nobody(run: Run) -> None:
    made_up = list(genuine()[:20])
    made_up[17] = made_up[18]
    put("made-up.ledger", made_up)
    done = run("ledger", "compare", "run.ledger", "made-up.ledger", "--proof", "p.json", "--json")
    assert done.code == ExitCode.LEDGER
    assert done.json["split_view_proven"] is False
    assert not Path("p.json").exists()
    put("junk.ledger", (b"junk", b"junk"))
    text = run("ledger", "compare", "run.ledger", "junk.ledger").out
    assert "nobody whose signature holds" in text


def test_an_error_as_json_carries_the_finding(run: Run) -> None:
    put("new.ledger", genuine()[:1])
    told = run("ledger", "compare", "new.ledger", "new.ledger", "--json").json
    assert told["relation"] == "same"
    Path("bad.ledger").write_bytes(b"x")
    told = run("ledger", "show", "bad.ledger", "--json").json
    assert told["error"] == LedgerError.__name__
    assert told["finding"] == "not-a-bundle"


def test_the_command_verifies_in_a_process_of_its_own(run: Run) -> None:
    command = [sys.executable, "-m", "securefed", "audit", "run.ledger", *AGREED, "--quiet"]
    if not (Path(__file__).parent.parent / "securefed" / "__main__.py").exists():
        command = [str(Path(sys.executable).with_name("securefed")), *command[3:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "VERIFIED\n", "")
