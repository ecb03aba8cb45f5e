"""Measure Paillier sums beside phe and HEU: ``python benchmarks/paillier.py [--bits 2048 3072]``.

Everything is for a vector of a million values of 16 bits in lanes of 24 bits, for 256 summands.
Samples are measured and extrapolated, except packing, encryption from a pool, addition, tables and
the proofs of a vector, which are whole. The schemes take turns, so that a slow spell falls on all
of them; the table has medians of CPU seconds of all threads, as if one worker did it. Work on two
workers is measured in passing seconds, in turns with the same work on one: what other processes
take is in it. HEU (``pip install sf-heu``) is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from statistics import median

from masking_rounds.report import installed, wait_for_quiet
from paillier_peers.ours import Ours, TwoWorkers
from paillier_peers.peers import heu, packed_phe, plain_phe
from paillier_peers.scheme import Scheme
from paillier_peers.trustees import show_trustees

COLUMNS = ("encrypt", "online", "add", "decrypt")


def load() -> str:
    """Return the load averages of one and five minutes."""
    return " and ".join(f"{one:.1f}" for one in os.getloadavg()[:2])


def show_schemes(bits: int, schemes: list[Scheme]) -> None:
    """Print one row a scheme."""
    print(f"\n| {bits} bits | setup, s | encrypt, s | from a pool, s | add, s | decrypt, s | MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for scheme in schemes:
        cells = [
            f"{median(scheme.seconds[name]):,.3g}" if name in scheme.seconds else ""
            for name in COLUMNS
        ]
        size = scheme.ciphertexts * scheme.ciphertext_bytes / 1e6
        print(f"| {scheme.name} | {scheme.setup:.2g} | {' | '.join(cells)} | {size:.2f} |")


def show_ratios(schemes: list[Scheme]) -> None:
    """Print how others compare with ours, turn by turn."""
    *others, ours = schemes
    for other in others:
        for name in sorted(other.seconds):
            ratios = [a / b for a, b in zip(other.seconds[name], ours.seconds[name], strict=True)]
            low, high = min(ratios), max(ratios)
            print(
                f"{other.name}, {name}: {median(ratios):,.2f} times ours "
                f"({low:,.2f} to {high:,.2f})"
            )


def show_workers(ours: Ours, repeats: int, quiet: Callable[[], None]) -> None:
    """Print what a second worker gives."""
    two = TwoWorkers(ours)
    try:
        turns = []
        for _ in range(repeats):
            quiet()
            turns.append(two.turn())
    finally:
        two.close()
    print("\n| work | one worker, s | two workers, s | times faster, best |")
    print("| --- | --- | --- | --- |")
    for name in turns[0]:
        ones, twos = zip(*(turn[name] for turn in turns), strict=True)
        gains = [one / two_ for one, two_ in zip(ones, twos, strict=True)]
        print(
            f"| {name} | {median(ones):.3g} | {median(twos):.3g} | "
            f"{median(gains):.2f}, {max(gains):.2f} |"
        )


def measure(bits: int, repeats: int, quiet: Callable[[], None]) -> None:
    """Measure everything at one size."""
    ours = Ours(bits)
    found = [plain_phe(bits), packed_phe(bits), heu(bits), ours.scheme()]
    schemes = [scheme for scheme in found if scheme is not None]
    for _ in range(repeats):
        quiet()
        for scheme in schemes:
            scheme.take_turn()
    show_schemes(bits, schemes)
    print(f"window {ours.base.window}; load {load()}")
    show_ratios(schemes)
    show_workers(ours, repeats, quiet)
    quiet()
    show_trustees(bits, ours.sample)
    print()
    for name, seconds in (*ours.once(), *ours.proofs()):
        print(f"{name}: {1000 * seconds:,.1f} ms")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[2048, 3072])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quiet", type=float, default=5.0, help="seconds to wait for idle cores")
    chosen = parser.parse_args()
    packages = ("gmpy2", "phe", "sf-heu")
    versions = ", ".join(f"{name} {installed(name) or 'absent'}" for name in packages)
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores, load {load()}")
    for bits in chosen.bits:
        measure(bits, chosen.repeats, lambda: void(wait_for_quiet(chosen.quiet)))
    return 0


def void(_: object) -> None:
    """Drop a value."""


if __name__ == "__main__":
    sys.exit(main())
