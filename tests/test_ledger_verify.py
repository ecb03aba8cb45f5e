from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from support.ledgers import LedgerWriter, genuine, leaf, small_federation, whole_run

from protocols.errors import LedgerError
from protocols.ledger.checkpoint import SignatureCheck
from protocols.ledger.merkle import Tree, leaf_hash
from protocols.ledger.records import MessageLeaf
from protocols.ledger.verify import LedgerVerifier, unchecked
from protocols.masking.messages import Submission


def verified(leaves: tuple[bytes, ...] | list[bytes]) -> LedgerVerifier:
    verifier = LedgerVerifier()
    for one in leaves:
        verifier.take(one)
    return verifier


def snapshot(verifier: LedgerVerifier) -> tuple[object, ...]:
    people = range(5)
    return (
        verifier.size,
        verifier.root(),
        tuple(verifier.rounds),
        tuple(verifier.checkpoints),
        verifier.open_round,
        verifier.at_checkpoint,
        verifier.closed,
        verifier.charged,
        tuple(verifier.late_commits),
        [verifier.commits_of(n) for n in people] if verifier.signed else [],
        [verifier.invitations_of(n) for n in people] if verifier.signed else [],
    )


@pytest.mark.parametrize("noise", [True, False])
def test_what_honest_roles_did_is_verified_and_told_as_it_was(noise):
    verifier = verified(genuine(noise=noise))
    one, two, three, four, five = verifier.rounds
    assert [each.outcome for each in verifier.rounds] == ["completed"] * 2 + ["aborted"] + [
        "completed"
    ] * 2
    assert two.dropouts == (2,)
    assert two.survivors == two.committed == two.confirmations == (0, 1, 3, 4)
    assert three.committed == (0, 1, 2, 3)
    assert three.late == (4,)
    assert (three.step, three.model_after, three.aggregate) == ("confirm", None, None)
    assert four.invited == (1, 2, 3, 4)
    assert five.task_done
    assert (two.model_before, three.model_before) == (one.model_after, two.model_after)
    assert verifier.charged == {"mean": 3, "spread": 2}
    assert verifier.closed
    assert verifier.invitations_of(0) == {"mean": 3, "spread": 1}
    assert verifier.commits_of(4) == {"mean": 3, "spread": 2}
    assert verifier.commits_of(2) == {"mean": 2, "spread": 2}
    assert len(verifier.checkpoints) == 8
    assert verifier.root() == Tree(map(leaf_hash, genuine(noise=noise))).root()
    if noise:
        assert one.epsilon_before == 0
        assert [each.epsilon_after for each in verifier.rounds][:-1] == [
            each.epsilon_before for each in verifier.rounds
        ][1:]
        assert [each.terms.clip_norm for each in verifier.rounds] == [2.0, 1.75, 1.5, 2.0, 2.0]
    else:
        assert {each.epsilon_after for each in verifier.rounds} == {None}
        assert {each.terms for each in verifier.rounds} == {None}


def test_the_commits_of_the_round_in_progress_are_known_as_they_come():
    verifier = LedgerVerifier()
    for position, data in enumerate(genuine()):
        verifier.take(data)
        read = leaf(data)
        if isinstance(read, MessageLeaf) and read.envelope.step == "submit":
            number = int(read.envelope.sender.removeprefix("party-"))
            digest = hashlib.sha256(read.envelope.payload).digest()
            assert verifier.has_commit(number, read.envelope.round, digest), position
            assert not verifier.has_commit(number, read.envelope.round, bytes(32))
            assert not verifier.has_commit((number + 1) % 5, read.envelope.round, digest)
            assert not verifier.has_commit(number, read.envelope.round + 1, digest)
    assert verifier.open_round == 0
    assert not verifier.has_commit(2, 2, digest)
    assert not verifier.has_commit(0, 0, digest)


def test_a_commit_counts_as_soon_as_it_is_on_record():
    writer = LedgerWriter(small_federation(noise=False)).begin().play(settle=False)
    verifier = verified(writer.leaves[:5])
    assert verifier.open_round == 1
    assert verifier.commits_of(0) == {"mean": 1}
    assert verifier.commits_of(4) == {}
    assert verifier.charged == verifier.invitations_of(4) == {"mean": 1}


def test_a_refused_leaf_changes_nothing_and_another_may_follow():
    leaves = genuine(noise=False)
    verifier = LedgerVerifier()
    for position, good in enumerate(leaves):
        before = snapshot(verifier)
        for bad in {leaves[0], leaves[1], leaves[2], b"", b"\xc0", good[:-1], good + b"\xc0"}:
            if bad == good:
                continue
            with pytest.raises(LedgerError) as caught:
                verifier.take(bad)
            assert caught.value.leaf == position
            assert snapshot(verifier) == before
        verifier.take(good)
    assert verifier.closed


def test_a_forged_leaf_is_refused_before_it_changes_anything():
    leaves = genuine(noise=False)
    verifier = LedgerVerifier()
    for good in leaves:
        read = leaf(good)
        if isinstance(read, MessageLeaf):
            before = snapshot(verifier)
            forged = bytearray(good)
            forged[-1] ^= 1  # the last byte is one of the signature
            with pytest.raises(LedgerError) as caught:
                verifier.take(bytes(forged))
            assert caught.value.finding == "signature-invalid"
            assert caught.value.party == ""
            assert snapshot(verifier) == before
        verifier.take(good)


def test_every_signature_is_told_exactly_once():
    told: list[SignatureCheck] = []
    verifier = LedgerVerifier(check=lambda check, _: told.append(check))
    for data in genuine(noise=False):
        verifier.take(data)
    messages = [one for one in map(leaf, genuine(noise=False)) if isinstance(one, MessageLeaf)]
    assert len(told) == len(messages) + len(verifier.checkpoints) * 6
    assert all(check.holds() for check in told)


def test_a_node_that_read_its_own_log_back_checks_what_comes_after():
    leaves = genuine(noise=False)
    verifier = LedgerVerifier(check=unchecked)
    for data in leaves[:10]:
        verifier.take(data)
    verifier.check_from_now_on()
    with pytest.raises(LedgerError, match="signature-invalid"):
        verifier.take(leaves[10][:-1] + bytes([leaves[10][-1] ^ 1]))
    verifier.take(leaves[10])


def test_a_late_commit_that_names_another_roster_is_kept_as_evidence():
    honest = whole_run(small_federation(noise=False))

    def elsewhere(message: Submission) -> Submission:
        return Submission(
            bytes(32), message.sharers, message.model, message.vector, message.count,
            message.statement,
        )  # fmt: skip

    writer = LedgerWriter(small_federation(noise=False), lies={("submit", 1, 4): elsewhere})
    writer.begin().play(unheard=(4,), settle=False).checkpoint().late(1, 4).checkpoint()
    assert [one.elsewhere for one in verified(writer.leaves).late_commits] == [True]
    assert [one.elsewhere for one in verified(honest.leaves).late_commits] == [False]


def test_a_long_run_is_remembered_in_little_memory():
    writer = LedgerWriter(small_federation(noise=False)).begin()
    verifier = verified(writer.leaves)
    for _ in range(2):
        writer.play()
    for data in writer.leaves[verifier.size :]:
        verifier.take(data)
    first, second = verifier.rounds
    assert first.invited is second.invited
    assert first.committed is second.committed
    assert first.confirmations is second.confirmations
    tracemalloc.start()
    again = verified(writer.leaves)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again.size == verifier.size
    assert kept < sum(map(len, writer.leaves)) * 4
