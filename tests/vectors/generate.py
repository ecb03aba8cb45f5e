"""Regenerate the known-answer vectors: ``python tests/vectors/generate.py``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from protocols.encoding import FixedPoint, pack, word_bits_for
from protocols.prg import add_masks, expand, word_type
from protocols.secret_sharing import combine, split

FOLDER = Path(__file__).parent


def stream(label: str, count: int) -> bytes:
    """Arbitrary input bytes; every vector also states them in full."""
    return hashlib.shake_256(label.encode()).digest(count)


def prg_vectors() -> dict[str, Any]:
    """Expansion at several widths and offsets, and masks applied to a vector."""
    seed, other = stream("prg seed", 32), stream("prg other seed", 32)
    expansions = [
        {
            "seed": key.hex(),
            "word_bits": bits,
            "start": start,
            "words": expand(key, 9, bits, start).tolist(),
        }
        for key in (bytes(32), seed)
        for bits in (16, 32, 64)
        for start in (0, 5, 2**33 + 1)
    ]
    sums = []
    for bits in (16, 32, 64):
        vector = np.arange(7, dtype=word_type(bits))
        masks = [(seed, True), (other, False)]
        before = vector.tolist()
        add_masks(vector, masks, start=3)
        sums.append(
            {
                "word_bits": bits,
                "start": 3,
                "vector": before,
                "masks": [[key.hex(), "add" if added else "subtract"] for key, added in masks],
                "masked": vector.tolist(),
            }
        )
    return {"expand": expansions, "add_masks": sums}


def encoding_vectors() -> dict[str, Any]:
    """Values to words under both roundings, sums back to values, words to bytes."""
    seed = stream("rounding seed", 32)
    values = np.array([0.0, -0.0, 1.0, -1.0, 0.25, -0.25, 0.3, -0.3, 1e-9, -1e-9, 0.015625])
    encodings = []
    for bits, scale, parties in ((9, 32.0, 7), (20, 1000.0, 100), (48, 2.0**30, 1000)):
        codec = FixedPoint(bits, scale, 1.0, parties)
        nearest = codec.encode(values, rounding="nearest", random=lambda _: b"")
        stochastic = codec.encode(values, rounding="stochastic", random=lambda _: seed)
        total = nearest + stochastic
        encodings.append(
            {
                "modulus_bits": bits,
                "scale": scale.hex(),
                "bound": codec.bound.hex(),
                "parties": parties,
                "values": [value.hex() for value in values.tolist()],
                "nearest": nearest.tolist(),
                "rounding_seed": seed.hex(),
                "stochastic": stochastic.tolist(),
                "sum": total.tolist(),
                "decoded": [value.hex() for value in codec.decode(total).tolist()],
            }
        )
    packings = []
    for bits in (2, 3, 8, 11, 16, 20, 24, 32, 33, 57, 63, 64):
        words = expand(stream(f"packing {bits}", 32), 13, word_bits_for(bits))
        words &= words.dtype.type(2**bits - 1)
        packings.append({"bits": bits, "words": words.tolist(), "wire": pack(words, bits).hex()})
    return {"encode": encodings, "pack": packings}


def shamir_vectors() -> list[dict[str, Any]]:
    """Shares from stated coefficient bytes, and what subsets recover."""
    cases: list[dict[str, Any]] = []
    for name, secret, threshold, points in (
        ("one", stream("secret", 32), 1, [1, 2]),
        ("zero", bytes(32), 2, [1, 2, 3]),
        ("largest", b"\xff" * 32, 3, [1, 2, 3, 4, 5]),
        ("scattered", stream("other secret", 32), 4, [3, 65535, 1, 100, 1000]),
    ):
        drawn = stream(f"coefficients {name}", 49 * (threshold - 1))
        [shares] = split(
            [secret], threshold=threshold, points=points, random=lambda _, drawn=drawn: drawn
        )
        used = list(range(len(points)))[-threshold:]
        [recovered] = combine([[shares[i] for i in used]], [points[i] for i in used])
        cases.append(
            {
                "secret": secret.hex(),
                "threshold": threshold,
                "points": points,
                "coefficient_bytes": drawn.hex(),
                "shares": [share.hex() for share in shares],
                "used": used,
                "recovered": recovered.hex(),
            }
        )
    return cases


def render(vectors: object) -> str:
    """One byte string per value: sorted keys, one space of indentation, a final newline."""
    return json.dumps(vectors, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write every file anew."""
    for name, vectors in (
        ("prg", prg_vectors()),
        ("encoding", encoding_vectors()),
        ("shamir", shamir_vectors()),
    ):
        (FOLDER / f"{name}.json").write_text(render(vectors))


if __name__ == "__main__":
    main()
