"""Regenerate the vectors of the ledger's tree: ``python tests/vectors/generate_merkle.py``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from protocols.identity import Identity
from protocols.ledger.bundle import bundle_parts
from protocols.ledger.checkpoint import (
    Checkpoint,
    Note,
    cosign,
    origin_of,
    parse_signature,
    sign_checkpoint,
)
from protocols.ledger.merkle import Tree, leaf_hash

FOLDER = Path(__file__).parent

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
"""The inputs of the reference tests of Certificate Transparency."""
SIZES = (1, 2, 3, 4, 5, 6, 7, 8)


def tree_vectors() -> dict[str, Any]:
    """Every root and every proof among trees of at most eight leaves."""
    tree = Tree(map(leaf_hash, LEAVES))
    return {
        "leaves": [leaf.hex() for leaf in LEAVES],
        "roots": [tree.root(size).hex() for size in (0, *SIZES)],
        "inclusion": [
            {"index": index, "size": size, "proof": hexed(tree.inclusion_proof(index, size))}
            for size in SIZES
            for index in range(size)
        ],
        "consistency": [
            {"old": old, "new": new, "proof": hexed(tree.consistency_proof(old, new))}
            for new in SIZES
            for old in range(new + 1)
        ],
    }


def note_vectors() -> dict[str, Any]:
    """One checkpoint with the coordinator's signature and those of two witnesses."""
    keys = {
        name: hashlib.sha256(name.encode()).digest() for name in ("coordinator", "alpha", "beta")
    }
    who = {name: Identity(name, key) for name, key in keys.items()}
    digest = hashlib.sha256(b"agreement").digest()
    tree = Tree(map(leaf_hash, LEAVES))
    checkpoint = Checkpoint(origin_of("example", digest), tree.size, tree.root())
    times = {"alpha": 1_700_000_000, "beta": 1_700_000_001}
    lines = [sign_checkpoint(checkpoint, who["coordinator"])]
    lines += [cosign(checkpoint, who[name], time) for name, time in times.items()]
    note = Note(checkpoint, tuple(parse_signature(line, party="") for line in lines))
    return {
        "agreement": digest.hex(),
        "federation": "example",
        "private_keys": {name: key.hex() for name, key in keys.items()},
        "size": tree.size,
        "times": times,
        "note": note.to_bytes().decode(),
    }


def merkle_vectors() -> dict[str, Any]:
    """The tree, a note on it, and the bundle of its leaves."""
    return {
        **tree_vectors(),
        "note": note_vectors(),
        "bundle": b"".join(bundle_parts(LEAVES)).hex(),
    }


def hexed(proof: tuple[bytes, ...]) -> list[str]:
    """Hashes as they stand in the file."""
    return [node.hex() for node in proof]


def render(vectors: object) -> str:
    """One byte string per value: sorted keys, one space of indentation, a final newline."""
    return json.dumps(vectors, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file anew."""
    (FOLDER / "merkle.json").write_text(render(merkle_vectors()), encoding="utf-8")


if __name__ == "__main__":
    main()
