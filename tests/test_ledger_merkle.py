"""The ledger's tree: the RFC's hashes, and proofs that hold for nothing but what is the case."""

from __future__ import annotations

import hashlib
import json

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors.generate_merkle import FOLDER, LEAVES, merkle_vectors, render

from protocols.errors import LedgerError, MisuseError
from protocols.ledger.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

TEXT = (FOLDER / "merkle.json").read_text(encoding="utf-8")
VECTORS = json.loads(TEXT)

# Published with the reference implementation of Certificate Transparency for these eight inputs.
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
ABCD = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
CD = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
E = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
GH = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
EF = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
B = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
EFGH = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
INCLUSION = {
    (0, 1): (),
    (0, 8): (B, CD, EFGH),
    (5, 8): (E, GH, ABCD),
    (2, 3): (ROOTS[2],),
    (1, 5): (ROOTS[1], CD, E),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (B, CD, EFGH),
    (6, 8): (EF, GH, ABCD),
    (2, 5): (CD, E),
}

HASHES = [leaf_hash(str(number).encode()) for number in range(70)]
TREE = Tree(HASHES)
SMALL = range(1, 18)


# The definitions of RFC 6962 sections 2.1, 2.1.1 and 2.1.2, word for word.


def split(count: int) -> int:
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> tuple[bytes, ...]:
    if len(leaves) == 1:
        return ()
    k = split(len(leaves))
    if m < k:
        return (*path(m, leaves[:k]), mth(leaves[k:]))
    return (*path(m - k, leaves[k:]), mth(leaves[:k]))


def subproof(m: int, leaves: list[bytes], whole: bool) -> tuple[bytes, ...]:
    if m == len(leaves):
        return () if whole else (mth(leaves),)
    k = split(len(leaves))
    if m <= k:
        return (*subproof(m, leaves[:k], whole), mth(leaves[k:]))
    return (*subproof(m - k, leaves[k:], False), mth(leaves[:k]))


def refuse_inclusion(index, leaf, size, root, proof, match=None):
    with pytest.raises(LedgerError, match=match) as caught:
        verify_inclusion(index, leaf, size, root, proof)
    assert caught.value.finding == "inclusion-proof-invalid"


def refuse_consistency(old, old_root, new, new_root, proof, match=None):
    with pytest.raises(LedgerError, match=match) as caught:
        verify_consistency(old, old_root, new, new_root, proof)
    assert caught.value.finding == "consistency-proof-invalid"


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def forgeries(proof: tuple[bytes, ...]):
    """Proofs that differ from a true one: altered, shortened, lengthened, in another order."""
    extra = leaf_hash(b"extra")
    for place, node in enumerate(proof):
        yield (*proof[:place], flipped(node), *proof[place + 1 :])
        yield (*proof[:place], node[:-1], *proof[place + 1 :])
        yield (*proof[:place], node + b"\0", *proof[place + 1 :])
        yield (*proof[:place], *proof[place + 1 :])
        yield (*proof[:place], extra, *proof[place:])
        yield (*proof[:place], node, *proof[place:])
    for place in range(len(proof) - 1):
        yield (*proof[:place], proof[place + 1], proof[place], *proof[place + 2 :])
    yield (*proof, extra)
    yield (*proof, EMPTY_ROOT)
    yield (*proof, *[extra] * 100)
    if proof:
        yield ()


# Hashes, roots and proofs


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size):
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    frontier = Frontier()
    frontier.extend(hashes)
    assert frontier.root().hex() == Tree(hashes).root().hex() == ROOTS[size]
    assert EMPTY_ROOT.hex() == ROOTS[0]


def test_proofs_are_those_of_certificate_transparency():
    tree = Tree(map(leaf_hash, LEAVES))
    for (index, size), proof in INCLUSION.items():
        assert tuple(node.hex() for node in tree.inclusion_proof(index, size)) == proof
    for (old, new), proof in CONSISTENCY.items():
        assert tuple(node.hex() for node in tree.consistency_proof(old, new)) == proof


def test_the_committed_vectors_are_what_this_code_makes():
    assert render(merkle_vectors()) == TEXT


def test_the_committed_proofs_verify():
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
    roots = [bytes.fromhex(root) for root in VECTORS["roots"]]
    for case in VECTORS["inclusion"]:
        index, size, proof = case["index"], case["size"], map(bytes.fromhex, case["proof"])
        verify_inclusion(index, leaves[index], size, roots[size], tuple(proof))
    for case in VECTORS["consistency"]:
        old, new, proof = case["old"], case["new"], map(bytes.fromhex, case["proof"])
        verify_consistency(old, roots[old], new, roots[new], tuple(proof))


def test_a_leaf_is_never_a_node():
    left, right = HASHES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


def test_every_root_and_proof_of_every_small_size_is_the_rfcs_and_holds():
    for size in range(40):
        leaves = HASHES[:size]
        root = TREE.root(size)
        assert root == mth(leaves)
        for index in range(size):
            proof = TREE.inclusion_proof(index, size)
            assert proof == path(index, leaves)
            verify_inclusion(index, leaves[index], size, root, proof)
        for old in range(size + 1):
            proof = TREE.consistency_proof(old, size)
            assert proof == (subproof(old, leaves, True) if old else ())
            verify_consistency(old, TREE.root(old), size, root, proof)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=200), st.data())
def test_another_implementation_comes_to_the_same_roots_and_paths(entries, data):
    size = data.draw(st.integers(1, len(entries)))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries:
        other.append_entry(entry)
    tree = Tree(map(leaf_hash, entries))
    assert tree.root() == other.get_root()
    assert tree.root(size) == other.get_root(size)
    base, *proof = other.prove_inclusion(index + 1, size).path
    assert base == leaf_hash(entries[index])
    assert tree.inclusion_proof(index, size) == tuple(proof)
    # Its consistency proofs go down to a leaf where the RFC's stop; they still prove our roots.
    pymerkle.verify_consistency(tree.root(old), tree.root(size), other.prove_consistency(old, size))
    verify_consistency(
        old, other.get_root(old), size, other.get_root(size), tree.consistency_proof(old, size)
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_a_frontier_put_away_and_taken_up_again_goes_on_as_if_nothing_had_happened(first, more):
    hashes = [leaf_hash(bytes([number % 256, number // 256])) for number in range(first + more)]
    frontier = Frontier()
    frontier.extend(hashes[:first])
    again = Frontier(frontier.size, frontier.peaks)
    again.extend(hashes[first:])
    assert again.size == first + more
    assert again.root() == Tree(hashes).root()
    assert frontier.root() == Tree(hashes[:first]).root()
    assert len(again.peaks) == again.size.bit_count()


def test_a_tree_of_2_to_the_62_leaves_is_no_harder_to_check():
    levels = [leaf_hash(b"same")]
    for _ in range(62):
        levels.append(node_hash(levels[-1], levels[-1]))
    frontier = Frontier(2**62, levels[62:])
    assert frontier.root() == levels[62]
    for index in (0, 1, 2**61, 2**62 - 1):
        verify_inclusion(index, levels[0], 2**62, levels[62], levels[:62])
    verify_consistency(2**61, levels[61], 2**62, levels[62], levels[61:62])
    refuse_inclusion(0, levels[0], 2**62, levels[62], levels[:61], "too short")
    refuse_inclusion(0, levels[0], 2**62, levels[62], levels, "too long")
    levels.append(node_hash(levels[-1], levels[-1]))
    refuse_inclusion(0, levels[0], 2**63, levels[63], levels[:63], "cannot have")


# Proofs that must not hold


@pytest.mark.parametrize("size", SMALL)
def test_a_forged_inclusion_proof_is_refused(size):
    root = TREE.root(size)
    for index in range(size):
        leaf, proof = HASHES[index], TREE.inclusion_proof(index, size)
        for forged in forgeries(proof):
            refuse_inclusion(index, leaf, size, root, forged)
        refuse_inclusion(index, flipped(leaf), size, root, proof)
        refuse_inclusion(index, leaf, size, flipped(root), proof)
        refuse_inclusion(index, leaf[:-1], size, root, proof)
        refuse_inclusion(index, leaf, size, root[:-1], proof)
        for other in range(-1, size + 2):
            if other != index:
                refuse_inclusion(other, leaf, size, root, proof)


@pytest.mark.parametrize("new", SMALL)
def test_a_forged_consistency_proof_is_refused(new):
    new_root = TREE.root(new)
    for old in range(new + 1):
        old_root, proof = TREE.root(old), TREE.consistency_proof(old, new)
        for forged in forgeries(proof):
            refuse_consistency(old, old_root, new, new_root, forged)
        refuse_consistency(old, flipped(old_root), new, new_root, proof)
        refuse_consistency(old, old_root[:-1], new, new_root, proof)
        refuse_consistency(old, old_root, new, new_root[:-1], proof)
        if old:
            refuse_consistency(old, old_root, new, flipped(new_root), proof)
        if old < new:
            refuse_consistency(new, new_root, old, old_root, proof, "cannot begin with")


@pytest.mark.parametrize("new", SMALL)
def test_no_proof_of_a_rewritten_log_makes_it_consistent_with_the_old_one(new):
    for altered in range(new):
        rewritten = Tree([*HASHES[:altered], leaf_hash(b"rewritten"), *HASHES[altered + 1 : new]])
        proofs = {rewritten.consistency_proof(old, new) for old in range(new + 1)}
        proofs |= {TREE.consistency_proof(old, new) for old in range(new + 1)}
        for old in range(altered + 1, new + 1):
            for proof in proofs:
                refuse_consistency(old, TREE.root(old), new, rewritten.root(), proof)


def test_a_log_that_was_rolled_back_is_refused():
    refuse_consistency(9, TREE.root(9), 8, TREE.root(8), (), "cannot begin with")
    refuse_consistency(9, TREE.root(9), 0, EMPTY_ROOT, (), "cannot begin with")


def test_two_heads_of_one_size_must_be_one():
    verify_consistency(9, TREE.root(9), 9, TREE.root(9), ())
    refuse_consistency(9, TREE.root(9), 9, TREE.root(8), (), "two different trees")
    refuse_consistency(9, TREE.root(9), 9, TREE.root(9), (HASHES[0],), "too long")


def test_every_log_is_consistent_with_the_empty_one_and_only_without_a_proof():
    verify_consistency(0, EMPTY_ROOT, 9, TREE.root(9), ())
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
    refuse_consistency(0, EMPTY_ROOT, 9, TREE.root(9), (TREE.root(9),), "too long")
    refuse_consistency(0, HASHES[0], 9, TREE.root(9), (), "without leaves")
    refuse_consistency(0, HASHES[0], 0, HASHES[0], (), "without leaves")
    refuse_consistency(0, EMPTY_ROOT, 0, HASHES[0], (), "without leaves")


@pytest.mark.parametrize("size", [-1, 0, MAX_SIZE + 1, 10**40])
def test_absurd_sizes_are_refused(size):
    refuse_inclusion(0, HASHES[0], size, TREE.root(1), ())
    refuse_inclusion(size - 1, HASHES[0], size, TREE.root(1), ())
    if size:
        refuse_consistency(size, HASHES[0], size, HASHES[0], ())
        refuse_consistency(0, EMPTY_ROOT, size, HASHES[0], ())


def test_an_absurdly_long_proof_is_refused():
    proof = (HASHES[0],) * 100_000
    refuse_inclusion(0, HASHES[0], 8, TREE.root(8), proof, "too long")
    refuse_consistency(3, TREE.root(3), 8, TREE.root(8), proof, "too long")


# Our own mistakes


def test_what_is_no_hash_is_never_appended():
    for tree in (Frontier(), Tree()):
        with pytest.raises(MisuseError, match="leaf_hash"):
            tree.append(b"a leaf, and not its hash")
        assert tree.size == 0
        assert tree.root() == EMPTY_ROOT


@pytest.mark.parametrize(
    ("size", "peaks"),
    [
        (1, []),
        (0, HASHES[:1]),
        (3, HASHES[:1]),
        (1, [b"short"]),
        (-1, HASHES[:1]),
        (2**63, HASHES[:1]),
    ],
)
def test_peaks_of_another_tree_make_no_frontier(size, peaks):
    with pytest.raises(MisuseError, match="no frontier"):
        Frontier(size, peaks)


def test_a_tree_has_no_proof_of_what_it_does_not_hold():
    tree = Tree(HASHES[:5])
    for wrong in (
        lambda: tree.root(6),
        lambda: tree.root(-1),
        lambda: tree.inclusion_proof(5, 5),
        lambda: tree.inclusion_proof(-1, 5),
        lambda: tree.inclusion_proof(0, 6),
        lambda: tree.inclusion_proof(0, 0),
        lambda: tree.consistency_proof(4, 6),
        lambda: tree.consistency_proof(4, 3),
        lambda: tree.consistency_proof(-1, 3),
    ):
        with pytest.raises(MisuseError):
            wrong()


def test_trees_say_how_large_they_are():
    assert repr(Tree(HASHES[:5])) == "Tree(5 leaves)"
    assert repr(Frontier(1, HASHES[:1])).startswith("Frontier(1 leaves, root ")
