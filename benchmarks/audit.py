"""Measure the auditor on a long ledger: 1,000 rounds of 100 parties unless told otherwise.

Run ``python benchmarks/audit.py [--rounds N] [--parties N] [--processes N] [--bundle FILE]``.

The ledger is made by another process, with real signatures and digests but without masked vectors,
and read back from a file leaf by leaf. Peak memory is that of the auditing process, without those
that check signatures for it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from audit_ledgers.run import LongRun
from masking_rounds.report import installed

from parties.auditor.signatures import PooledChecks
from protocols.ledger.audit import audit
from protocols.ledger.bundle import bundle_parts, read_leaves
from protocols.ledger.merkle import Frontier, leaf_hash
from protocols.ledger.verify import LedgerVerifier, unchecked


def write(path: Path, rounds: int, parties: int) -> None:
    """Make a ledger and write it as a bundle."""
    with path.open("wb") as file:
        for part in bundle_parts(LongRun(rounds, parties).leaves()):
            file.write(part)


def leaves_of(path: Path) -> Iterator[bytes]:
    """Read the leaves of a bundle."""
    with path.open("rb") as file:
        yield from read_leaves(file.read)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that some work took, and what it returned."""
    begun = perf_counter()
    found = work()
    return perf_counter() - begun, found


def measure_audit(path: Path, processes: int | None) -> None:
    """Print how long the whole audit takes, and how much memory."""
    with PooledChecks(processes) as pool:
        seconds, result = timed(lambda: audit(leaves_of(path), check=pool, settle=pool.settle))
    if result.verdict != "verified":
        sys.exit(f"the ledger was not verified: {result.failure}")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{result.leaves:,} leaves, {path.stat().st_size / 1e6:.0f} MB, ", end="")
    print(f"{result.signatures:,} signatures, {len(result.rounds):,} rounds")
    print(f"audit with every signature     {seconds:8.1f} s")
    print(f"peak memory                    {own:8.0f} MB")


def measure_parts(path: Path) -> None:
    """Print what it takes to read the file, and to check all rules but the signatures."""
    verifier = LedgerVerifier(check=unchecked)

    def rules() -> int:
        for leaf in leaves_of(path):
            verifier.take(leaf)
        return verifier.size

    reading, _ = timed(lambda: sum(1 for _ in leaves_of(path)))
    seconds, leaves = timed(rules)
    print(f"reading the file               {1e6 * reading / leaves:8.2f} µs a leaf")
    print(f"all rules, without signatures  {1e6 * (seconds - reading) / leaves:8.2f} µs a leaf")


def measure_tree(path: Path) -> None:
    """Print what the tree takes by itself, beside pymerkle where that is installed."""
    sample = [leaf for leaf, _ in zip(leaves_of(path), range(100_000), strict=False)]
    frontier = Frontier()

    def ours() -> bytes:
        for leaf in sample:
            frontier.append(leaf_hash(leaf))
        return frontier.root()

    seconds, root = timed(ours)
    print(f"tree, frontier                 {1e9 * seconds / len(sample):8.0f} ns a leaf")
    if installed("pymerkle") is None:
        return
    from pymerkle import InmemoryTree  # noqa: PLC0415 - not everywhere installed

    other = InmemoryTree(algorithm="sha256")

    def theirs() -> bytes:
        for leaf in sample:
            other.append_entry(leaf)
        return bytes(other.get_root() if hasattr(other, "get_root") else other.get_state())

    seconds, same = timed(theirs)
    if same != root:
        sys.exit("pymerkle computes another root")
    print(
        f"tree, pymerkle {installed('pymerkle'):<15} {1e9 * seconds / len(sample):8.0f} ns a leaf"
    )


def main() -> None:
    """Make a ledger and measure its audit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--parties", type=int, default=100)
    parser.add_argument("--processes", type=int, help="that check signatures; one a core")
    parser.add_argument("--bundle", type=Path, help="read it, or write it where it does not exist")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.bundle or Path(folder) / "run.ledger"
        if not path.exists():
            maker = get_context("spawn").Process(
                target=write, args=(path, chosen.rounds, chosen.parties)
            )
            seconds, _ = timed(lambda: (maker.start(), maker.join()))
            if maker.exitcode:
                sys.exit("the ledger could not be made")
            print(f"made in {seconds:.0f} s")
        measure_audit(path, chosen.processes)
        measure_parts(path)
        measure_tree(path)


if __name__ == "__main__":
    main()
