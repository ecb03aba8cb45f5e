"""Nanoseconds for one value of integer noise: ours, a rounded float normal, and OpenDP.

``python benchmarks/noise.py``. The rounded normal (``np.rint(rng.normal(0, sigma, n))``, PCG64) is
what many frameworks add: fast and unsafe, for its randomness can be predicted and its float tails
tell values apart (Mironov 2012). OpenDP samples the same distribution exactly, as we do; it is
timed where it is installed.

Ours and the normal take turns, so that a busy machine slows both. The best of the runs counts.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from protocols.privacy.mechanisms import DiscreteGaussian

SIGMAS = (1.0, 100.0, 1000.0, 3664.0, 14654.0, 58617.0, 1e6, 1e9)
OPENDP_VALUES = 20_000


def best(runs: int, values: int, *draws: Callable[[], object]) -> list[float]:
    """Return the best time of each, in nanoseconds for one value, taking turns."""
    found = [float("inf")] * len(draws)
    for _ in range(runs):
        for index, draw in enumerate(draws):
            start = time.perf_counter()
            draw()
            found[index] = min(found[index], (time.perf_counter() - start) / values * 1e9)
    return found


def opendp_draw(sigma: float) -> Callable[[], object] | None:
    """Return a call that draws OPENDP_VALUES values, or None where OpenDP is not installed."""
    if importlib.util.find_spec("opendp") is None:
        return None
    dp: Any = importlib.import_module("opendp.prelude")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="i64")
    mechanism = dp.m.make_gaussian(*space, scale=sigma)
    zeros = [0] * OPENDP_VALUES
    return lambda: mechanism(zeros)


def measure(sigma: float, values: int, runs: int) -> dict[str, float | None]:
    """Time one width."""
    noise, rng = DiscreteGaussian.of_deviation(sigma), np.random.default_rng()
    start = time.perf_counter()
    noise.sample(1, secrets.token_bytes)
    tables = time.perf_counter() - start
    ours, normal = best(
        runs,
        values,
        lambda: noise.sample(values, secrets.token_bytes),
        lambda: np.rint(rng.normal(0, sigma, values)),
    )
    theirs = opendp_draw(sigma)
    opendp = None if theirs is None else best(3, OPENDP_VALUES, theirs)[0]
    return {
        "sigma": sigma,
        "ours_ns": ours,
        "normal_ns": normal,
        "ours_over_normal": ours / normal,
        "opendp_ns": opendp,
        "opendp_over_ours": None if opendp is None else opendp / ours,
        "table_seconds": tables,
    }


def main() -> None:
    """Print a line for each width, or one JSON list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = [measure(sigma, options.values, options.runs) for sigma in SIGMAS]
    if options.json:
        print(json.dumps(found))
        return
    print("     sigma   ours ns  normal ns  ours/normal  OpenDP ns  OpenDP/ours  tables s")
    for row in found:
        opendp, factor = row["opendp_ns"], row["opendp_over_ours"]
        print(
            f"{row['sigma']:10.0f}  {row['ours_ns']:8.2f}  {row['normal_ns']:9.2f}"
            f"  {row['ours_over_normal']:11.2f}"
            + ("          -            -" if opendp is None else f"  {opendp:9.0f}  {factor:11.0f}")
            + f"  {row['table_seconds']:8.3f}"
        )


if __name__ == "__main__":
    main()
