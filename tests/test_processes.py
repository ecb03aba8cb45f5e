"""Real processes, real TLS 1.3 on loopback, real SIGKILL."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import resource
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from support.nodes import toy_data
from support.processes import CANARY, HUB, Marked, Running, Site

from parties.transport.client import Client
from parties.transport.events import Connected, Refused
from parties.transport.limits import Limits
from parties.transport.tls import PinnedPeer, TlsIdentity, create_tls_identity
from securefed import Auditor
from securefed.cli.exit_codes import ExitCode
from securefed.data.table import Data
from securefed.demo.audit import KEPT


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def knock(site: Site, tls: TlsIdentity, directory: Path) -> str:
    """Try to get in with a certificate; return what came of it."""
    server = site.rings[HUB].tls
    client = Client(
        address=site.address,
        server=PinnedPeer(HUB, server.certificate_pem, server.fingerprint),
        tls=tls,
        agreement_digest=site.agreement.digest(),
        max_message_bytes=1 << 20,
        spool=directory,
        limits=Limits(hello_seconds=2.0),
    )
    await client.start()
    try:
        async with asyncio.timeout(1.0):
            async for event in client.events():
                if isinstance(event, Connected):
                    return "connected"
                if isinstance(event, Refused):
                    return str(event.error)
    except TimeoutError:
        return "no stream"
    finally:
        await client.stop(0.0)
    return "stopped"


def test_three_processes_compute_the_pooled_model_and_let_nobody_else_in(site, tmp_path):
    with Running(site) as run:
        run.start(HUB)
        run.start("party-0")
        first = run.start("party-1")
        run.until(HUB, "connected", 2)
        for spool in ("a", "b"):
            (tmp_path / spool).mkdir()
        stranger = create_tls_identity("party-2")
        assert asyncio.run(knock(site, stranger, tmp_path / "a")) == "no stream"
        # A certificate of one company with the name of another.
        masked = dataclasses.replace(site.rings["party-1"].tls, name="party-2")
        refusal = asyncio.run(knock(site, masked, tmp_path / "b"))
        assert "its certificate is that of 'party-1'" in refusal
        run.until(HUB, "refused", where=lambda event: "'party-2'" in event["reason"])
        # A second process with the keys and another state, as of a cloned machine.
        clone = run.start("party-1", "--state", str(tmp_path / "clone"))
        run.until(HUB, "refused", where=lambda event: "another process" in event["reason"])
        # And one with the same state.
        double = run.start("party-1")
        assert run.code(double) == ExitCode.STATE
        run.start("party-2")
        report = run.until(HUB, "report")
        assert [run.code(name) for name in (HUB, "party-0", first, "party-2")] == [0, 0, 0, 0]
        assert report["aborted"] == 0
        run.send(clone, signal.SIGTERM)
        assert run.code(clone) == ExitCode.INTERRUPTED
        site.check_model()
        check_nothing_leaked(site, run)


def check_nothing_leaked(site: Site, run: Running) -> None:
    """Look for keys, passphrase and rows in every file and in every line that was printed."""
    secrets = [CANARY.encode()]
    for ring in site.rings.values():
        raw = ring.identity._key.private_bytes_raw()
        der = serialization.load_pem_private_key(ring.tls.private_key_pem, None).private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        body = b"".join(ring.tls.private_key_pem.splitlines()[1:-1])
        secrets += [raw, raw.hex().encode(), base64.b64encode(raw), der, body[:64], body[-64:]]
    rows = [row.tobytes() for data in site.data.values() for row in data.features]
    values = [repr(float(x)) for data in site.data.values() for x in data.features.ravel()]
    printed = "\n".join(repr(line) + repr(dict(line.event)) for line in run.lines)
    files = [file for file in site.home.rglob("*") if file.is_file()]
    assert len(files) > 20
    for file in files:
        content = file.read_bytes()
        assert not any(secret in content for secret in secrets), file
        if file.parent.name != "data":
            assert not any(row in content for row in rows), file
        if file.suffix in {".log", ".toml", ".sig"}:
            assert not any(value in content.decode() for value in values), file
        mode = file.stat().st_mode & 0o077
        private = {"keys", "state"} & set(file.relative_to(site.home).parts)
        assert not (mode and private and not file.name.endswith((".pem", ".pub"))), file
    assert not any(secret.decode("latin1") in printed for secret in secrets)
    assert not any(value in printed for value in values)


def test_a_coordinator_killed_in_the_middle_goes_on_and_one_that_is_stopped_tells_its_parties(site):
    with Running(site) as run:
        keep = ("--keep-every", "1")
        run.start(HUB, *keep)
        for name in site.names:
            run.start(name)
        run.until(HUB, "round-completed", 2)
        run.nodes.kill(HUB)
        assert run.code(HUB) == -signal.SIGKILL
        second = run.start(HUB, *keep)
        done = run.until(second, "round-completed")
        assert done["round"] >= 3
        run.send(second, signal.SIGTERM)
        assert run.code(second) == ExitCode.INTERRUPTED
        heard = run.until(
            "party-0", "disconnected", where=lambda event: "said goodbye" in event["reason"]
        )
        assert "the coordinator stops" in heard["reason"]
        third = run.start(HUB, *keep)
        report = run.until(third, "report")
        assert report["rounds"] + report["aborted"] <= 15
        assert [run.code(name) for name in (third, *site.names)] == [0, 0, 0, 0]
        rounds = [event["round"] for event in run.told("party-1", "round-opened")]
        assert rounds == sorted(set(rounds))
        site.check_model()
    models = site.home / "models" / HUB
    rounds = json.loads((models / "risk.history.json").read_text())["rounds"]
    assert {path.name for path in models.iterdir()} == {
        "risk.safetensors",
        "risk.history.json",
        "risk.curve.svg",
        *(f"risk.round-{number}.safetensors" for number in rounds),
    }
    last = models / f"risk.round-{rounds[-1]}.safetensors"
    assert last.read_bytes() == site.model(HUB)


def test_a_killed_party_rejoins_and_one_with_a_full_disk_stops_before_it_speaks(site):
    with Running(site) as run:
        for name in [HUB, *site.names]:
            run.start(name)
        run.until("party-1", "training", 2)
        run.nodes.kill("party-1")
        # No round begins without it, for the agreement allows nobody to be missing.
        again = run.start("party-1")
        opened = run.until(again, "round-opened")
        # Its disk is full from now on: the files of its journal may not grow any more.
        limit = max(file.stat().st_size for file in (site.home / "state" / "party-2").iterdir())
        resource.prlimit(run.pid("party-2"), resource.RLIMIT_FSIZE, (limit, limit))
        assert run.code("party-2") == ExitCode.STATE
        error = run.told("party-2", "")[-1]
        assert error["error"] == "JournalError"
        assert "nothing was sent" in error["message"]
        freed = run.start("party-2")
        run.until(HUB, "report")
        assert [run.code(name) for name in (HUB, "party-0", again, freed)] == [0, 0, 0, 0]
        known = [event["round"] for event in run.told("party-1", "round-opened")]
        assert opened["round"] > known[-1]
        site.check_model()


def test_a_run_without_a_single_sum_ends_with_a_reason_and_no_success(tmp_path):
    wrong = {name: Data(data.features[:, :2], data.labels) for name, data in toy_data(3).items()}
    site = Site(tmp_path, data=wrong)
    with Running(site) as run:
        for name in [HUB, *site.names]:
            run.start(name)
        codes = [run.code(name) for name in [HUB, *site.names]]
        assert codes == [ExitCode.NO_RESULT] * 4
        assert run.told(HUB, "run-ended")[0]["outcome"] == "failed"
        assert "3 rounds in a row were aborted" in run.told(HUB, "")[-1]["message"]
        assert not list((tmp_path / "models").rglob("*"))


def test_a_coordinator_whose_parties_never_come_stops_after_its_patience(site):
    with Running(site) as run:
        run.start(HUB, "--patience", "1")
        assert run.code(HUB) == ExitCode.NO_RESULT
        error = run.told(HUB, "")[-1]
        assert error["error"] == "BelowThresholdError"
        assert "connect: 0 parties answered" in error["message"]
        # A party that is interrupted while it looks for its coordinator ends at once as well.
        run.start("party-0")
        while not (site.home / "state" / "party-0" / "journal.sqlite-wal").exists():
            assert run.nodes.next_line(0.05) is None  # it has nobody to tell of
        run.send("party-0", signal.SIGINT)
        assert run.code("party-0") == ExitCode.INTERRUPTED


def test_the_demonstration_shows_what_it_promises_and_leaves_nothing_behind(tmp_path):
    with Marked("demo", tmp_path, "demo", "--json") as demo:
        code, out, errors = demo.end()
        assert code == 0, errors
        assert demo.alive() == []
    shown = json.loads(out)
    assert shown["parties"] == 5
    assert shown["rounds"] >= 20
    assert shown["dropouts_survived"] >= 1
    assert 0.5 < shown["auc_local_mean"] < shown["auc_federated"] <= 1
    assert shown["auc_pooled"] > 0.97
    assert shown["glm_max_abs_diff_vs_pooled"] < 1e-6
    assert shown["bytes_up_per_party"] == max(shown["bytes_up"].values()) > 10_000
    assert 0 < shown["seconds"] < 120
    assert shown["ledger_verified"] is True
    report = Path(shown["audit_report"])
    # What an auditor needs is kept, and nothing else.
    assert list(tmp_path.glob("securefed*")) == [report.parent]
    assert {one.name for one in report.parent.iterdir()} == set(KEPT)
    found = Auditor(report.parent / "agreement.toml").audit(report.parent / "bundle")
    assert found.verdict == "verified"
    assert found.result.total.epsilon_pld == pytest.approx(shown["epsilon"])


def test_a_demonstration_that_is_stopped_leaves_nothing_behind(tmp_path):
    with Marked("stop", tmp_path, "demo") as demo:
        demo.until("in the sum")
        assert len(demo.alive()) == 7
        demo.process.send_signal(signal.SIGTERM)
        code, _, errors = demo.end()
        assert code == ExitCode.INTERRUPTED, errors
        assert demo.alive() == []
    assert list(tmp_path.glob("securefed*")) == []


def test_a_demonstration_whose_child_fails_says_so_and_leaves_nothing_behind(tmp_path):
    with Marked("fail", tmp_path, "demo") as demo:
        demo.until("in the sum")
        [child] = demo.alive("state/north")
        os.kill(child, signal.SIGKILL)
        code, _, errors = demo.end()
        assert code == ExitCode.NO_RESULT
        assert "north ended with exit code -9" in errors
        assert demo.alive() == []
    assert list(tmp_path.glob("securefed*")) == []
