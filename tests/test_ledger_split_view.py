from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agreements import COORDINATOR, in_force, plain_agreement
from support.ledgers import LedgerWriter, genuine, leaf, small_agreement, small_federation
from support.masked_round import stranger

from protocols.agreement import agreement_from
from protocols.errors import LedgerError
from protocols.ledger.checkpoint import Checkpoint, Note, origin_of, parse_note, sign_checkpoint
from protocols.ledger.merkle import Tree, leaf_hash
from protocols.ledger.records import CheckpointLeaf, encode_leaf
from protocols.ledger.split_view import MAX_PROOF_BYTES, SplitView, check, from_heads, prove

AGREEMENT = small_agreement(noise=False)
ORIGIN = origin_of(AGREEMENT.federation, AGREEMENT.digest())


def fork(*, rounds: int = 1) -> list[bytes]:
    """Another ledger of the same coordinator: party 1 is told that it dropped out."""
    writer = LedgerWriter(small_federation(noise=False)).begin().play(silent=(1,))
    for _ in range(rounds - 1):
        writer.play()
    return writer.leaves


def notes(leaves: list[bytes] | tuple[bytes, ...]):
    read = [leaf(one) for one in leaves]
    return [parse_note(one.note, party="") for one in read if isinstance(one, CheckpointLeaf)]


def refused(proof: bytes) -> str:
    with pytest.raises(LedgerError) as caught:
        check(proof, AGREEMENT)
    assert caught.value.finding == "split-view-unproven"
    return caught.value.reason


@pytest.mark.parametrize("rounds", [1, 3])
def test_two_copies_that_differ_prove_that_the_coordinator_signed_both(rounds):
    one, other = genuine(noise=False), fork(rounds=rounds)
    for pair in ((one, other), (other, one)):
        view = prove(*pair)
        finding = check(view.to_json(), AGREEMENT)
        assert (finding.name, finding.party) == ("split-view", COORDINATOR)
        assert one[finding.leaf] != other[finding.leaf]
        assert one[: finding.leaf] == tuple(other[: finding.leaf])


def test_a_proof_shows_no_leaf():
    text = prove(genuine(noise=False), fork()).to_json()
    assert len(text) < 8192
    assert b"submit" not in text


def test_two_heads_of_one_size_are_proof_enough():
    heads = [
        parse_note(head.body() + b"\n" + sign_checkpoint(head, LEDGER.hub), party="")
        for head in (Checkpoint(ORIGIN, 9, bytes([n]) * 32) for n in (1, 2))
    ]
    finding = check(from_heads(*heads).to_json(), AGREEMENT)
    assert (finding.name, finding.leaf) == ("split-view", None)
    assert from_heads(heads[0], heads[0]) is None
    assert from_heads(heads[0], notes(genuine(noise=False))[0]) is None


LEDGER = LedgerWriter(small_federation(noise=False)).begin()


def test_a_copy_that_only_goes_on_proves_nothing():
    leaves = genuine(noise=False)
    assert prove(leaves, leaves) is None
    assert prove(leaves[:20], leaves) is None
    assert prove(leaves, ()) is None


def test_a_difference_that_no_head_covers_proves_nothing():
    leaves = genuine(noise=False)
    assert prove(leaves, [*leaves[:5], b"\xc0"]) is None
    assert prove([*leaves[:-1], leaves[-1] + b" "], leaves) is None


def test_a_copy_that_its_owner_changed_accuses_nobody():
    leaves = genuine(noise=False)
    mine = [*leaves[:4], leaves[5], leaves[4], *leaves[6:]]
    assert prove(leaves, mine) is None


def test_a_copy_whose_owner_forged_heads_accuses_nobody():
    leaves = list(genuine(noise=False))[:4]
    tree = Tree(map(leaf_hash, leaves))
    head = Checkpoint(ORIGIN, 4, tree.root())
    line = sign_checkpoint(head, stranger(COORDINATOR))
    leaves.append(_checkpoint(head, line))
    leaves[3], kept = b"\xc0", leaves[3]
    assert kept != leaves[3]
    forged = Checkpoint(ORIGIN, 4, Tree(map(leaf_hash, leaves[:4])).root())
    leaves[4] = _checkpoint(forged, sign_checkpoint(forged, stranger(COORDINATOR)))
    view = prove(genuine(noise=False), leaves)
    assert "by a key that the agreement does not know" in refused(view.to_json())


def _checkpoint(head: Checkpoint, line: bytes) -> bytes:
    return encode_leaf(CheckpointLeaf(head.body() + b"\n" + line))


def test_heads_of_one_honest_log_never_prove_anything():
    leaves = genuine(noise=False)
    heads = notes(leaves)
    tree = Tree(map(leaf_hash, leaves))
    honest = prove(leaves, fork())
    for first, second in pairwise(heads):
        assert from_heads(first, second) is None
        place = first.checkpoint.size - 1
        branches = tuple(
            type(honest.branches[0])(
                leaf_hash(leaves[place]).hex(),
                tuple(node.hex() for node in tree.inclusion_proof(place, head.checkpoint.size)),
            )
            for head in (first, second)
        )
        texts = [Note(head.checkpoint, head.signatures[:1]).to_bytes() for head in (first, second)]
        view = SplitView(*texts, place, branches)
        assert "do not contradict" in refused(view.to_json())
        assert "do not contradict" in refused(SplitView(*texts).to_json())
        whole = SplitView(first.to_bytes(), second.to_bytes())
        assert "other signatures" in refused(whole.to_json())


def test_a_proof_against_another_federation_accuses_nobody():
    view = prove(genuine(noise=False), fork())
    other = agreement_from(plain_agreement(5, federation="other"))
    with pytest.raises(LedgerError, match="split-view-unproven"):
        check(view.to_json(), other)
    assert in_force(other).digest != AGREEMENT.digest()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position", None),
        ("position", 0),
        ("position", 10**9),
        ("position", -1),
        ("branches", []),
        ("format", "securefed split view v2"),
        ("first", "!"),
        ("first", ""),
        ("second", "AAAA"),
        ("more", 1),
    ],
)
def test_a_changed_proof_proves_nothing(field, value):
    plain = json.loads(prove(genuine(noise=False), fork()).to_json())
    plain[field] = value
    assert refused(json.dumps(plain, indent=2).encode() + b"\n")


@pytest.mark.parametrize("junk", [b"", b"{}", b"\xff", b"[" * 5000, b" " * (MAX_PROOF_BYTES + 1)])
def test_junk_proves_nothing(junk):
    assert refused(junk)


@settings(max_examples=200)
@given(st.data())
def test_no_single_changed_byte_leaves_a_proof_of_anything(data):
    proof = prove(genuine(noise=False), fork()).to_json()
    position = data.draw(st.integers(0, len(proof) - 1))
    flipped = proof[position] ^ (1 << data.draw(st.integers(0, 7)))
    assert refused(proof[:position] + bytes([flipped]) + proof[position + 1 :])
