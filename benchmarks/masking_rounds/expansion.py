"""Cost of one mask against the bare keystream of AES-256-CTR, on one thread and on every core."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter, thread_time
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from parties.parallel import add_masks_parallel
from protocols.prg import CHUNK_BYTES, add_masks

MASKS = 64
"""As many as fill every thread's turn twice on two cores."""


def keystream(size: int, chunk: int) -> Callable[[], None]:
    """Return a function that makes ``size`` bytes of keystream, ``chunk`` at a time."""
    zeros, into = memoryview(bytes(chunk)), memoryview(bytearray(chunk))

    def run() -> None:
        cipher = Cipher(algorithms.AES256(secrets.token_bytes(32)), modes.CTR(bytes(16)))
        expand = cipher.encryptor().update_into
        for low in range(0, size, chunk):
            length = min(chunk, size - low)
            expand(zeros[:length], into)

    return run


def one_thread(count: int, repeats: int) -> dict[str, Any]:
    """Compare bare keystreams with masks on one thread, in turns, by CPU time.

    CPU time leaves out what other processes take of a core, but not what they take of its caches.
    In its turn a variant runs twice and the second run counts.

    Args:
        count: ``uint32`` words in the vector.
        repeats: turns.

    Returns:
        Nanoseconds per word and mask, medians and best; ratios of the medians to the faster
        keystream.
    """
    seeds = [(secrets.token_bytes(32), index % 2 == 0) for index in range(MASKS)]
    target = np.zeros(count, np.uint32)
    size = target.nbytes
    variants: dict[str, tuple[Callable[[], None], int]] = {
        "keystream into a vector": (keystream(size, size), 1),
        "keystream into a reused chunk": (keystream(size, CHUNK_BYTES), 1),
        "one mask": (lambda: add_masks(target, seeds[:1]), 1),
        "two masks": (lambda: add_masks(target, seeds[:2]), 2),
        "16 masks": (lambda: add_masks(target, seeds[:16]), 16),
        f"{MASKS} masks": (lambda: add_masks(target, seeds), MASKS),
    }
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, (run, masks) in variants.items():
            run()
            start = thread_time()
            run()
            taken[name].append((thread_time() - start) / masks / count * 1e9)
    base = min(median(taken[name]) for name in variants if name.startswith("keystream"))
    best = min(min(taken[name]) for name in variants if name.startswith("keystream"))
    return {
        name: {
            "ns_per_word_median": median(values),
            "ns_per_word_best": min(values),
            "ratio_median": median(values) / base,
            "ratio_best": min(values) / best,
        }
        for name, values in taken.items()
    }


def every_core(count: int, repeats: int, workers: int) -> dict[str, float]:
    """Compare ``workers`` threads with one, in turns, by wall-clock time.

    The bare keystream shows what the cores that are free at that moment can give at most.

    Returns:
        Best and median speed-up of masks and of bare keystreams over one thread.
    """
    seeds = [(secrets.token_bytes(32), index % 2 == 0) for index in range(MASKS)]
    target = np.zeros(count, np.uint32)
    streams = [keystream(target.nbytes, CHUNK_BYTES) for _ in range(workers)]

    def bare(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            each = MASKS // threads
            done = [pool.submit(_repeat, run, each) for run in streams[:threads]]
            for future in done:
                future.result()

    seconds: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, run, threads in (
            ("masks", lambda t: add_masks_parallel(target, seeds, t), 1),
            ("masks", lambda t: add_masks_parallel(target, seeds, t), workers),
            ("keystream", bare, 1),
            ("keystream", bare, workers),
        ):
            start = perf_counter()
            run(threads)
            kind = f"{name} {'one' if threads == 1 else 'all'}"
            seconds.setdefault(kind, []).append(perf_counter() - start)
    return {
        f"{name} {how}": pick(seconds[f"{name} one"]) / pick(seconds[f"{name} all"])
        for name in ("masks", "keystream")
        for how, pick in (("best", min), ("median", median))
    } | {"workers": workers}


def _repeat(run: Callable[[], None], times: int) -> None:
    for _ in range(times):
        run()
