from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support.agreements import COORDINATOR, identity_of, in_force, plain_agreement
from support.ledgers import (
    LedgerWriter,
    genuine,
    leaf,
    small_agreement,
    small_federation,
    whole_run,
)
from support.masked_round import stranger

from parties.auditor.signatures import BATCH_CHECKS, PooledChecks
from protocols.agreement import agreement_from
from protocols.agreement.noise import composed_epsilon, composed_releases
from protocols.errors import LedgerError
from protocols.intent import Commit
from protocols.ledger import spending
from protocols.ledger.audit import audit
from protocols.ledger.checkpoint import Checkpoint, Note, parse_note, sign_checkpoint
from protocols.ledger.facts import AuditResult
from protocols.ledger.findings import FAILURES, FINDINGS, WARNINGS
from protocols.ledger.records import CheckpointLeaf
from protocols.masking.messages import Submission
from protocols.privacy.accounting import guarantee
from protocols.privacy.noise_meter import judge_ratio
from protocols.rounds import RoundResult
from protocols.wire import encode

ROOT = Path(__file__).parent.parent
DIGEST = small_federation().digest


def names(result: AuditResult) -> list[str]:
    return [one.name for one in result.warnings]


def head(leaves: tuple[bytes, ...] | list[bytes], which: int) -> Note:
    """The checkpoint leaf at a position, as a party keeps it."""
    read = leaf(leaves[which])
    assert isinstance(read, CheckpointLeaf)
    return parse_note(read.note, party="")


def checkpoints(leaves: tuple[bytes, ...] | list[bytes]) -> list[int]:
    return [n for n, one in enumerate(leaves) if isinstance(leaf(one), CheckpointLeaf)]


# What is found where all is well


def test_an_honest_run_is_verified_and_what_was_unusual_is_said():
    result = audit(genuine(), agreement_digest=DIGEST)
    assert (result.verdict, result.failure) == ("verified", None)
    assert names(result) == ["round-aborted", "late-commit"]
    aborted, late = result.warnings
    assert (aborted.round, late.round, late.party) == (3, 3, "party-4")
    assert result.anchored
    assert result.closed
    assert result.leaves == len(genuine())
    assert len(result.rounds) == 5
    assert len(result.checkpoints) == 8
    assert result.signatures == 5 + 8 * 6 + (len(genuine()) - 9)
    assert result.alarms == ()


def test_what_the_rounds_cost_is_computed_from_the_record_alone():
    result = audit(genuine(), agreement_digest=DIGEST)
    agreement = small_agreement()
    delta = agreement.privacy.delta
    everything, without_one = {"mean": 3, "spread": 2}, {"mean": 3, "spread": 1}
    assert result.total == guarantee(composed_releases(agreement, everything), delta)
    assert result.total.epsilon_rdp == pytest.approx(result.rounds[-1].epsilon_after, rel=1e-9)
    assert result.worst_case == composed_epsilon(agreement, everything, sharers=1)
    assert [one.invited for one in result.spending] == [4, 5, 5, 5, 5]
    assert [one.committed for one in result.spending] == [4, 5, 4, 5, 5]
    assert result.spending[0].guarantee == guarantee(
        composed_releases(agreement, without_one), delta
    )
    assert {one.guarantee for one in result.spending[1:]} == {result.total}
    assert result.spending[0].worst_case < result.spending[1].worst_case == result.worst_case


def test_without_noise_no_epsilon_is_stated():
    result = audit(genuine(noise=False))
    assert result.verdict == "verified"
    assert (result.total, result.worst_case) == (None, None)
    assert {(one.guarantee, one.worst_case) for one in result.spending} == {(None, None)}


def test_without_an_agreement_from_outside_the_report_says_so():
    result = audit(genuine())
    assert result.verdict == "verified"
    assert not result.anchored
    assert names(result)[0] == "not-anchored"


def test_a_run_that_goes_on_is_incomplete_and_its_round_in_progress_is_charged():
    position = next(one.leaf for one in audit(genuine()).rounds if one.round == 4)
    result = audit(genuine()[: position + 1], agreement_digest=DIGEST)
    assert (result.verdict, result.closed) == ("incomplete", False)
    assert names(result)[:2] == ["not-closed", "tail-unwitnessed"]
    assert "round 4 is in progress" in result.warnings[0].reason
    assert result.warnings[1].leaf == position
    assert [one.invited for one in result.spending] == [3, 4, 4, 4, 4]
    assert result.total == guarantee(
        composed_releases(small_agreement(), {"mean": 3, "spread": 1}),
        small_agreement().privacy.delta,
    )


def test_an_end_that_nobody_witnessed_is_incomplete():
    result = audit(genuine()[:-1], agreement_digest=DIGEST)
    assert (result.verdict, result.closed) == ("incomplete", True)
    assert names(result)[0] == "tail-unwitnessed"


def test_a_ledger_before_its_first_round_costs_nothing():
    result = audit(genuine()[:2], agreement_digest=DIGEST)
    assert result.verdict == "incomplete"
    assert result.total.epsilon_pld == result.total.epsilon_rdp == result.worst_case == 0


# Anchors


def test_another_agreement_than_the_one_that_was_meant_fails():
    result = audit(genuine(), agreement_digest=small_federation(noise=False).digest)
    assert result.verdict == "failed"
    assert (result.failure.name, result.failure.leaf) == ("another-agreement", 0)
    assert result.signed is None
    assert result.spending == ()


@pytest.mark.parametrize("leaves", [(), (b"",), (b"\xc1",), genuine(noise=False)[1:]])
def test_what_has_no_agreement_fails(leaves):
    result = audit(leaves)
    assert result.verdict == "failed"
    assert result.failure.name in {"agreement-missing", "leaf-unreadable"}
    assert result.signed is None


def test_every_head_that_a_party_kept_is_compared():
    leaves = genuine(noise=False)
    kept = [head(leaves, place) for place in checkpoints(leaves)]
    result = audit(leaves, heads=kept)
    assert (result.verdict, result.heads_checked) == ("verified", len(kept))


def test_a_head_beyond_the_log_shows_that_it_was_rolled_back():
    leaves = genuine(noise=False)
    places = checkpoints(leaves)
    result = audit(
        leaves[: places[2] + 1], heads=[head(leaves, places[1]), head(leaves, places[4])]
    )
    assert result.verdict == "failed"
    assert (result.failure.name, result.failure.party) == ("rolled-back", COORDINATOR)
    assert result.heads_checked == 1


def test_a_head_with_another_root_shows_a_split_view():
    leaves = genuine(noise=False)
    other = LedgerWriter(small_federation(noise=False)).begin().play(silent=(1,))
    place = checkpoints(other.leaves)[1]
    result = audit(leaves, heads=[head(other.leaves, place)])
    assert result.verdict == "failed"
    assert (result.failure.name, result.failure.party) == ("split-view", COORDINATOR)


def test_a_head_that_the_coordinator_did_not_sign_proves_nothing():
    leaves = genuine(noise=False)
    real = head(leaves, 1)
    forged = Checkpoint(real.checkpoint.origin, 99, bytes(32))
    line = sign_checkpoint(forged, stranger(COORDINATOR))
    unsigned = parse_note(forged.body() + b"\n" + line, party="")
    elsewhere = replace(real, checkpoint=replace(real.checkpoint, origin="securefed.ledger/x/00"))
    swapped = replace(real, checkpoint=replace(real.checkpoint, size=1, root=bytes(32)))
    for bad in (unsigned, elsewhere, swapped, Note(real.checkpoint, ())):
        result = audit(leaves, heads=[bad])
        assert (result.verdict, result.failure.name) == ("failed", "head-invalid")


# What an auditor has to look at


def changed(name: str, **fields: object):
    return lambda message: msgspec.structs.replace(message, **fields)


@pytest.mark.parametrize(("ratio", "name"), [(0.5, "noise-too-little"), (1.5, "noise-too-much")])
def test_a_noise_meter_outside_its_bounds_raises_an_alarm(ratio, name):
    writer = LedgerWriter(
        small_federation(), lies={("result", 2): changed("result", noise_meter=ratio)}
    )
    result = audit(writer.begin().play().play().leaves, agreement_digest=DIGEST)
    assert result.alarms == (2,)
    warning = next(one for one in result.warnings if one.name == name)
    assert (warning.round, warning.leaf) == (2, result.rounds[1].leaf)


def test_only_a_ratio_within_the_bounds_is_as_promised():
    assert judge_ratio(1.0) == "as promised"
    assert judge_ratio(0.0) == "too little"
    assert judge_ratio(1e300) == "too much"
    assert judge_ratio(math.nan) == "too much"
    assert judge_ratio(1.2, 16) == "as promised"
    assert judge_ratio(1.2, 65_536) == "too much"


def test_an_abort_after_a_quorum_confirmed_may_have_told_the_sum():
    told = {}
    for until in ("confirm", "unmask"):
        writer = LedgerWriter(small_federation(noise=False)).begin().play(until=until)
        told[until] = next(
            one.reason for one in audit(writer.leaves).warnings if one.name == "round-aborted"
        )
    assert told["confirm"] == "it ended at confirm: too few parties answered"
    assert told["unmask"].endswith("a quorum had confirmed it, so the coordinator may know the sum")


def test_parties_with_different_software_are_told():
    def older(message: Submission) -> Submission:
        commit = msgspec.msgpack.decode(message.statement, type=Commit)
        said = encode(msgspec.structs.replace(commit, software="securefed/0.0.9"))
        return msgspec.structs.replace(message, statement=said)

    writer = LedgerWriter(small_federation(noise=False), lies={("submit", 1, 4): older}).begin()
    result = audit(writer.play(until="confirm").leaves)
    warning = next(one for one in result.warnings if one.name == "software-differs")
    assert "securefed/0.0.9" in warning.reason


def test_a_witness_whose_clock_runs_backwards_is_named_once():
    writer = LedgerWriter(small_federation(noise=False)).begin()
    writer.now -= 100
    writer.checkpoint(witnesses=(0, 1, 2, 3))
    writer.checkpoint()
    result = audit(writer.leaves)
    told = [one for one in result.warnings if one.name == "witness-clock"]
    assert [one.party for one in told] == [f"party-{n}" for n in range(5)]
    assert [one.leaf for one in told] == [2, 2, 2, 2, 3]


def test_a_late_commit_that_names_another_roster_is_evidence():
    def elsewhere(message: Submission) -> Submission:
        return msgspec.structs.replace(message, roster=bytes(32))

    writer = LedgerWriter(small_federation(noise=False), lies={("submit", 1, 4): elsewhere}).begin()
    writer.play(unheard=(4,), settle=False).checkpoint().late(1, 4).checkpoint()
    warning = audit(writer.leaves).warnings[-1]
    assert (warning.name, warning.party, warning.leaf) == (
        "late-commit-elsewhere",
        "party-4",
        len(writer.leaves) - 2,
    )


def test_rounds_beyond_the_budget_fail(monkeypatch):
    def dear(releases: object, delta: float):
        return replace(guarantee(releases, delta), epsilon_pld=20.1)

    monkeypatch.setattr(spending, "guarantee", dear)
    result = audit(genuine(), agreement_digest=DIGEST)
    assert (result.verdict, result.failure.name) == ("failed", "budget-exceeded")
    assert len(result.rounds) == 5
    assert result.total.epsilon_pld == 20.1


# Failures


def test_only_what_a_checkpoint_before_the_failure_covers_is_reported():
    leaves = list(genuine())
    places = checkpoints(leaves)
    position = places[3] + 3
    leaves[position] = leaves[position][:-1] + bytes([leaves[position][-1] ^ 1])
    result = audit(leaves, agreement_digest=DIGEST)
    assert result.verdict == "failed"
    assert (result.failure.name, result.failure.leaf) == ("signature-invalid", position)
    assert [one.round for one in result.rounds] == [1, 2, 3]
    assert len(result.checkpoints) == 5
    assert (result.spending, result.total, result.closed) == ((), None, False)


def test_what_is_wrong_with_the_file_becomes_the_failure():
    def damaged() -> Iterator[bytes]:
        yield from genuine(noise=False)
        raise LedgerError("truncated", "the file ends in the middle")

    result = audit(damaged())
    assert (result.verdict, result.failure.name) == ("failed", "truncated")
    assert not result.closed


# Signatures in batches


def pooled(leaves: list[bytes] | tuple[bytes, ...], processes: int) -> AuditResult:
    with PooledChecks(processes) as pool:
        return audit(leaves, agreement_digest=DIGEST, check=pool, settle=pool.settle)


@pytest.mark.parametrize("processes", [1, 2])
def test_checking_in_batches_finds_the_same(processes):
    assert pooled(genuine(), processes) == audit(genuine(), agreement_digest=DIGEST)


@pytest.mark.parametrize("processes", [1, 2])
def test_of_several_wrong_signatures_the_first_in_the_log_is_named(processes):
    leaves = list(genuine())
    for position in (9, 20, 40):
        leaves[position] = leaves[position][:-1] + bytes([leaves[position][-1] ^ 1])
    leaves[50] = b"\xc1"
    result = pooled(leaves, processes)
    assert (result.failure.name, result.failure.leaf) == ("signature-invalid", 9)
    assert [one.round for one in result.rounds] == []
    assert result.total is None


def test_a_wrong_signature_outranks_what_is_wrong_later():
    leaves = [*genuine()[:30], b"\xc1"]
    leaves[29] = leaves[29][:-1] + bytes([leaves[29][-1] ^ 1])
    assert pooled(leaves, 2).failure.leaf == 29
    assert pooled([*genuine()[:30], b"\xc1"], 2).failure.leaf == 30


def test_signatures_are_checked_while_the_log_is_read():
    told = 0

    def counted() -> Iterator[bytes]:
        nonlocal told
        for one in genuine(noise=False):
            told += 1
            yield one[:-1] + bytes([one[-1] ^ 1]) if told == 5 else one

    with PooledChecks(1) as pool:
        checks = pool

        def check(one, refusal):
            for _ in range(BATCH_CHECKS):
                checks(one, refusal)

        result = audit(counted(), check=check, settle=pool.settle)
    assert result.failure.leaf == 4
    assert told == 5


def test_when_the_workers_die_the_signatures_are_checked_all_the_same():
    with PooledChecks(2) as pool:
        pool._workers().submit(_die).exception()
        result = audit(genuine(), agreement_digest=DIGEST, check=pool, settle=pool.settle)
    assert result.verdict == "verified"
    leaves = [*genuine()[:-1], genuine()[-1][:-2] + b"A\n"]
    with PooledChecks(2) as pool:
        pool._workers().submit(_die).exception()
        result = audit(leaves, agreement_digest=DIGEST, check=pool, settle=pool.settle)
    assert result.verdict == "failed"


def _die() -> None:
    import os  # noqa: PLC0415 - in the worker

    os._exit(1)


# Names


def test_every_name_of_a_finding_is_in_the_table_and_every_name_of_the_table_is_used():
    used = set()
    for folder in ("protocols/ledger", "parties"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "findings.py":
                continue
            text = path.read_text(encoding="utf-8")
            nodes = ast.walk(ast.parse(text))
            used |= {one.value for one in nodes if isinstance(one, ast.Constant)} & set(FINDINGS)
            raised = re.findall(r'(?:LedgerError|_refusal|Finding)\(\s*"([a-z-]+)"', text)
            assert set(raised) <= set(FINDINGS), path
    assert used == set(FINDINGS)
    assert not set(FAILURES) & set(WARNINGS)
    assert all(text.endswith(".") and "\n" not in text for text in FINDINGS.values())
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in FINDINGS)


def test_a_federation_with_other_parties_has_another_ledger():
    signed = in_force(agreement_from(plain_agreement(4, federation="other")))
    writer = LedgerWriter(signed).begin()
    assert audit(writer.leaves).verdict == "incomplete"
    assert identity_of(COORDINATOR).public.raw == writer.hub.public.raw
    mixed = [*genuine(noise=False)[:2], *writer.leaves[1:]]
    assert audit(mixed).failure.name == "checkpoint-another-log"


def test_a_whole_run_under_the_smallest_agreement_verifies():
    assert audit(whole_run(small_federation(noise=False)).leaves).verdict == "verified"


def test_a_result_is_what_the_coordinator_signed():
    told: list[RoundResult] = []
    lies = {("result", 1): lambda message: told.append(message) or message}
    result = audit(LedgerWriter(small_federation(noise=False), lies=lies).begin().play().leaves)
    assert result.rounds[0].aggregate == told[0].aggregate
    assert result.rounds[0].model_after == told[0].model
