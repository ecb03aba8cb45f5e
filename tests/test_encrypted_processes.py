"""Encrypted sums over real processes, real TLS 1.3 on loopback, real SIGKILL."""

from __future__ import annotations

import json
import signal
from functools import lru_cache
from pathlib import Path

import pytest
from support.commands import commands
from support.nodes import GLM, toy_data
from support.processes import CANARY, HUB, Marked, Running, Site
from support.trustees import fixed_primes

from parties.ledger_store import read_ledger
from parties.paillier_keys import share_path, write_share
from parties.store import Journal
from protocols.agreement import bring_into_force
from protocols.errors import JournalError
from securefed import Auditor
from securefed.audit.sources import write_bundle
from securefed.ciphers import NodeKeys, deal_here
from securefed.cli.exit_codes import ExitCode
from securefed.demo.audit import KEPT
from securefed.deployment import KEY_RECORD, SIGNATURES, Deployment, read_signatures
from securefed.federation import Federation
from securefed.learning.state import state_to_bytes
from securefed.nodes import owner_of

MAKER = "notary"
HOLDER = {"mode": "layered", "key_holder": MAKER}
QUORUM = {"mode": "paillier", "dealer": MAKER}


class EncryptedSite(Site):
    """A site with a Paillier key of fixed primes, as a ceremony would leave it."""

    def __init__(self, home: Path, sums: dict[str, str]) -> None:
        self.sums = sums
        super().__init__(home)
        self.signed = bring_into_force(self.agreement, read_signatures(home / SIGNATURES))
        self.keys = self.deal()
        self.record = home / KEY_RECORD
        self.record.write_bytes(self.keys[HUB].record)
        for name, own in self.keys.items():
            self.keep_share(name, own)

    def plan(self, deadline_seconds: float) -> Federation:
        return planned(self.names, deadline_seconds, key_bits=2048, **self.sums)

    def deal(self) -> dict[str, NodeKeys]:
        """Another dealing of the same agreement, in force as well."""
        identities = {name: ring.identity for name, ring in self.rings.items()}
        return deal_here(self.signed, identities, make_primes=fixed_primes)

    def keep_share(self, name: str, own: NodeKeys, words: str = CANARY) -> Path:
        path = share_path(self.home / "keys", name, own.record)
        if own.share is not None:
            path.unlink(missing_ok=True)
            write_share(path, own.share, own.record, words.encode(), log2_cost=14)
        return path

    @property
    def nodes(self) -> list[str]:
        return [HUB, *self.names, *([MAKER] if self.sums is HOLDER else [])]

    def check_masked_model(self) -> None:
        """Everybody holds the very model that masked sums come to."""
        assert {self.model(name) for name in [HUB, *self.names]} == {masked_model()}

    def opened_rounds(self, name: str) -> list[int]:
        """Rounds in which a trustee that does not run has opened something, from its disk."""
        deployment = Deployment.load(self.home / "agreement.toml")
        with Journal(self.home / "state" / name, owner=owner_of(deployment, name)) as journal:
            return [one for one in range(1, 16) if promised(journal, one)]


def promised(journal: Journal, round_: int) -> bool:
    """Whether another request in this round would be refused."""
    try:
        with journal.transaction():
            journal.promise(round_, "open-product", bytes(32))
    except JournalError:
        return True
    return False


def planned(names: list[str], deadline_seconds: float, **sums: object) -> Federation:
    lead = Federation(
        "encrypted",
        names,
        privacy=None,
        colluders=0,
        max_dropouts=0,
        deadline_seconds=deadline_seconds,
        **sums,
    )
    return lead.add_task("risk", GLM["kind"], rounds=GLM["rounds"], **GLM["parameters"])


def opened(run: Running, *lives: str) -> list[list[int]]:
    """Rounds that a trustee told of opening, for each of its lives."""
    return [[one["round"] for one in run.told(name, "decrypted")] for name in lives]


@lru_cache(1)
def masked_model() -> bytes:
    data = toy_data(3)
    return state_to_bytes(planned(list(data), 20.0).simulate(data).models["risk"])


@pytest.mark.parametrize("sums", [HOLDER, QUORUM], ids=["layered", "paillier"])
def test_processes_with_ciphertexts_come_to_the_very_model_of_masking(tmp_path, sums):
    site = EncryptedSite(tmp_path, sums)
    with Running(site) as run:
        for name in site.nodes:
            run.start(name)
        report = run.until(HUB, "report")
        assert [run.code(name) for name in site.nodes] == [0] * len(site.nodes)
        assert report["aborted"] == 0
        site.check_masked_model()
        bundle = tmp_path / "bundle"
        write_bundle(bundle, read_ledger(tmp_path / "state" / HUB))
        assert Auditor(tmp_path / "agreement.toml").audit(bundle).verdict == "verified"
        openers = [MAKER] if sums is HOLDER else site.names
        lives = opened(run, *openers)
    for name, rounds in zip(openers, lives, strict=True):
        assert rounds == list(range(1, report["rounds"] + 1)) == site.opened_rounds(name)


def test_a_trustee_killed_in_the_middle_comes_back_and_nothing_is_opened_twice(tmp_path):
    site, victim = EncryptedSite(tmp_path, QUORUM), "party-1"
    with Running(site) as run:
        for name in site.nodes:
            run.start(name)
        run.until(victim, "submitted", 2)
        run.nodes.kill(victim)
        assert run.code(victim) == -signal.SIGKILL
        again = run.start(victim)
        report = run.until(HUB, "report")
        assert [run.code(name) for name in (HUB, "party-0", again, "party-2")] == [0] * 4
        assert report["rounds"] + report["aborted"] <= 15
        lives = opened(run, victim, again)
        assert max(lives[0]) < min(lives[1])
        site.check_model()
    assert {*lives[0], *lives[1]} <= set(site.opened_rounds(victim))


def test_a_key_holder_killed_in_the_middle_comes_back_and_nothing_is_opened_twice(tmp_path):
    site = EncryptedSite(tmp_path, HOLDER)
    with Running(site) as run:
        for name in site.nodes:
            run.start(name)
        run.until(MAKER, "round-opened", 2)
        run.nodes.kill(MAKER)
        assert run.code(MAKER) == -signal.SIGKILL
        again = run.start(MAKER)
        report = run.until(HUB, "report")
        assert [run.code(name) for name in (HUB, *site.names, again)] == [0] * 5
        assert 1 <= report["aborted"] <= 15 - report["rounds"]
        lives = opened(run, MAKER, again)
        assert max(lives[0]) < min(lives[1])
        site.check_masked_model()
    assert {*lives[0], *lives[1]} <= set(site.opened_rounds(MAKER))


def test_a_party_with_the_record_of_another_key_is_told_what_to_do(tmp_path):
    site = EncryptedSite(tmp_path, HOLDER)
    other = tmp_path / "other.key"
    other.write_bytes(site.deal()[HUB].record)
    with Running(site) as run:
        for name in (HUB, MAKER, "party-0", "party-1"):
            run.start(name)
        wrong = run.start("party-2", "--key-record", str(other))
        reason = run.until(wrong, "refused")["reason"]
        assert "the key on record is not the one that we were given" in reason
        assert "compare the file paillier.key with everybody's" in reason
        run.send(wrong, signal.SIGTERM)
        assert run.code(wrong) == ExitCode.INTERRUPTED
        right = run.start("party-2")
        run.until(HUB, "report")
        assert [run.code(name) for name in (HUB, MAKER, "party-0", "party-1", right)] == [0] * 5
        site.check_masked_model()


def test_a_trustee_without_the_share_of_its_record_or_with_another_passphrase_does_not_start(
    tmp_path,
):
    site = EncryptedSite(tmp_path, QUORUM)
    other = site.deal()["party-0"]
    (tmp_path / "other.key").write_bytes(other.record)
    share = site.keep_share("party-1", site.keys["party-1"], "another passphrase")
    with Running(site) as run:
        missing = run.start("party-0", "--key-record", str(tmp_path / "other.key"))
        locked = run.start("party-1")
        assert [run.code(missing), run.code(locked)] == [ExitCode.KEYS] * 2
        error = run.told(missing, "")[-1]
        assert error["error"] == "KeyFileError"
        assert "is not there" in error["message"]
        assert "restore it from a backup, or hold another ceremony" in error["message"]
        error = run.told(locked, "")[-1]
        assert f"{share} does not open: wrong passphrase" in error["message"]


def test_a_demonstration_with_a_key_holder_and_without_masks_is_refused(
    capsys, monkeypatch, tmp_path
):
    done = commands(monkeypatch, capsys, tmp_path)(
        "demo", "--aggregation", "paillier", "--key-holder"
    )
    assert done.code == ExitCode.USAGE
    assert "give --aggregation layered" in done.err


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("layered", ["--key-holder"]),
        pytest.param("layered", [], marks=pytest.mark.soak),
        pytest.param("paillier", [], marks=pytest.mark.soak),
        pytest.param("layered", ["--key-holder", "--without-privacy"], marks=pytest.mark.soak),
    ],
)
def test_the_demonstration_with_ciphertexts_shows_what_masking_shows(tmp_path, mode, more):
    with Marked(mode, tmp_path, "demo", "--json", "--aggregation", mode, *more) as demo:
        code, out, errors = demo.end()
        assert code == 0, errors
        assert demo.alive() == []
    shown = json.loads(out)
    assert (shown["aggregation"], shown["same_as_masked"]) == (mode, True)
    assert shown["dropouts_survived"] >= 1
    assert shown["glm_max_abs_diff_vs_pooled"] < 1e-6
    assert shown["ledger_verified"] is True
    kept = Path(shown["audit_report"]).parent
    assert {one.name for one in kept.iterdir()} == set(KEPT)
    assert Auditor(kept / "agreement.toml").audit(kept / "bundle").verdict == "verified"
