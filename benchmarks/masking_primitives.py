"""Time the masking primitives: ``python benchmarks/masking_primitives.py [--check] [--json FILE]``.

Variants that are compared take turns, so that a slow spell of the machine falls on all of them. In
its turn each runs twice and the second run counts, with the caches as it left them; medians over
the turns are reported. All run on one thread and are timed by its CPU clock, which does not count
what other processes take; ``benchmarks/masking.py`` measures several threads. Secrets come from
``secrets``, as in production. The limits are ours: one of several masks costs at most 1.25 times
its bare keystream (a single mask also pays for moving the vector from memory and back); sharing a
secret among 100 holders and recovering it from 51 take at most 4.4 ms and 7.8 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import thread_time

import cryptography
import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.encoding import FixedPoint, pack, unpack_add, word_bits_for
from protocols.graph import plan_graph
from protocols.prg import CHUNK_BYTES, add_masks, expand
from protocols.secret_sharing import combine, lagrange_at_zero, split

Row = tuple[str, float, float | None]
"""What, seconds (or a ratio), and the most it may be."""


def take_turns(repeats: int, **variants: Callable[[], object]) -> dict[str, float]:
    """Return the median seconds of each variant."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            run()
            start = thread_time()
            run()
            seconds[name].append(thread_time() - start)
    return {name: median(times) for name, times in seconds.items()}


def masks(dimension: int, repeats: int) -> list[Row]:
    """Time one mask and many, against bare keystreams."""
    seeds = [(secrets.token_bytes(32), index % 2 == 0) for index in range(16)]
    target = np.zeros(dimension, np.uint32)
    size = target.nbytes
    zeros, stream = memoryview(bytes(size)), memoryview(bytearray(size))

    def keystream(step: int) -> None:
        cipher = Cipher(algorithms.AES256(seeds[0][0]), modes.CTR(bytes(16))).encryptor()
        for low in range(0, size, step):
            piece = zeros[low : low + step]
            cipher.update_into(piece, stream[: len(piece)])

    took = take_turns(
        repeats,
        whole=lambda: keystream(size),
        chunked=lambda: keystream(CHUNK_BYTES),
        one=lambda: add_masks(target, seeds[:1]),
        many=lambda: add_masks(target, seeds),
    )
    many = took["many"] / len(seeds)
    return [
        ("keystream into a vector", took["whole"], None),
        ("keystream into a reused chunk", took["chunked"], None),
        ("one mask, expanded and added", took["one"], None),
        ("a mask of 16, expanded and added", many, None),
        ("ratio: one mask / keystream into a vector", took["one"] / took["whole"], None),
        ("ratio: one mask / keystream into a chunk", took["one"] / took["chunked"], None),
        ("ratio: a mask of 16 / keystream into a chunk", many / took["chunked"], 1.25),
    ]


def packing(dimension: int, repeats: int) -> list[Row]:
    """Time packing and folding in at several widths."""
    rows: list[Row] = []
    for bits in (5, 16, 20, 31, 32, 47, 63):
        words = expand(secrets.token_bytes(32), dimension, word_bits_for(bits))
        wire = memoryview(pack(words, bits))
        took = take_turns(
            repeats,
            pack=lambda words=words, bits=bits: pack(words, bits),
            fold=lambda words=words, bits=bits, wire=wire: unpack_add(words, wire, bits),
        )
        rows += [(f"pack {bits} bits", took["pack"], None)]
        rows += [(f"unpack and add {bits} bits", took["fold"], None)]
    return rows


def encoding(dimension: int, repeats: int) -> list[Row]:
    """Time both roundings and decoding."""
    codec = FixedPoint(32, 2.0**20, 1.0, 100)
    values = np.linspace(-1.0, 1.0, dimension)
    words = codec.encode(values, rounding="nearest", random=secrets.token_bytes)
    took = take_turns(
        repeats,
        nearest=lambda: codec.encode(values, rounding="nearest", random=secrets.token_bytes),
        stochastic=lambda: codec.encode(values, rounding="stochastic", random=secrets.token_bytes),
        decode=lambda: codec.decode(words),
    )
    return [
        ("encode, nearest", took["nearest"], None),
        ("encode, stochastic", took["stochastic"], None),
        ("decode", took["decode"], None),
    ]


def sharing(repeats: int) -> list[Row]:
    """Time 51 of 100 for one secret, and for a hundred secrets of the same holders."""
    points, threshold = list(range(1, 101)), 51
    secret = [secrets.token_bytes(32)]
    shares = split(secret, threshold=threshold, points=points, random=secrets.token_bytes)
    helped = [row[:threshold] for row in shares]

    def combine_afresh() -> None:
        lagrange_at_zero.cache_clear()
        if combine(helped, points[:threshold]) != secret:
            raise SystemExit("the shares did not recover the secret")

    took = take_turns(
        repeats,
        split=lambda: split(secret, threshold=threshold, points=points, random=secrets.token_bytes),
        first=combine_afresh,
        hundred=lambda: combine(helped * 100, points[:threshold]),
    )
    return [
        ("share a secret, 51 of 100", took["split"], 4.4e-3),
        ("combine a secret, 51 of 100", took["first"], 7.8e-3),
        ("combine one of 100 secrets of the same holders", took["hundred"] / 100, None),
    ]


def graph() -> list[Row]:
    """Time the choice of a graph once, since it is kept."""
    start = thread_time()
    plan = plan_graph(1000, colluders=100, max_dropouts=100)
    name = f"plan for 1000 parties (degree {plan.degree}, threshold {plan.threshold})"
    return [(name, thread_time() - start, None)]


def main() -> None:
    """Print the table; exit with status 1 if ``--check`` finds a limit exceeded."""
    parser = argparse.ArgumentParser(description="Time the masking primitives.")
    parser.add_argument("--dimension", type=int, default=1_000_000, help="words in the vector")
    parser.add_argument("--repeats", type=int, default=31, help="repeats behind each median")
    parser.add_argument("--check", action="store_true", help="fail if a limit is exceeded")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    rows = masks(options.dimension, options.repeats)
    rows += packing(options.dimension, max(3, options.repeats // 4))
    rows += encoding(options.dimension, max(3, options.repeats // 4))
    rows += sharing(options.repeats) + graph()
    machine = {
        "dimension": options.dimension,
        "repeats": options.repeats,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cryptography": cryptography.__version__,
    }
    print(" ".join(f"{name}={value}" for name, value in machine.items()))
    for name, value, limit in rows:
        shown = f"{value:9.3f}   " if name.startswith("ratio") else f"{value * 1e3:9.3f} ms"
        verdict = "" if limit is None else "ok" if value <= limit else "OVER ITS LIMIT"
        print(f"{name:58}{shown} {verdict}")
    if options.json:
        results = [{"name": name, "value": value, "limit": limit} for name, value, limit in rows]
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    if options.check and any(limit is not None and value > limit for _, value, limit in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
