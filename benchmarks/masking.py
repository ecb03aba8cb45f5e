"""Measure a whole masking round: masks, parties, the coordinator, and Flower where it is installed.

Run ``python benchmarks/masking.py [--quick] [--json FILE]``; ``--only`` picks a part.

1. One mask of 10^6 words against the bare AES-256-CTR keystream.
2. Whole rounds through :class:`MaskingParty` and :class:`MaskingCoordinator`. Up to 100 parties all
   mask with each other; 1000 draw their neighbours as ``plan_graph`` says. The agreement tolerates
   5 % colluders (``--colluders``) and 30 % dropouts. Who drops out falls silent after dealing its
   shares. Seconds of the coordinator are spent in its role alone: every signature checked, every
   vector hashed and folded, every secret recovered, every mask removed, on all cores; network and
   disk are left out. Seconds of a party are those of some parties that do all their work, on one
   thread, without training. The sum is compared bit for bit with the plain one, and a difference
   ends the run.
3. Beside Flower's functions for the same work.

All vectors are of 32-bit words. Medians of the repeats are shown, with the best and the worst.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from masking_rounds.crowd import CORES, Crowd
from masking_rounds.expansion import every_core, one_thread
from masking_rounds.federation import COLLUDERS, Federation, federation
from masking_rounds.flower import beside_flower
from masking_rounds.replay import STEPS, Server, plain_sum
from masking_rounds.report import Spread, machine, wait_for_quiet

from parties.parallel import add_masks_parallel
from protocols.prg import Words

DROPOUTS = (0.0, 0.1, 0.3)
FULL = (
    (10, 100_000, 9, 2),
    (10, 1_000_000, 5, 2),
    (100, 100_000, 5, 3),
    (100, 1_000_000, 3, 3),
    (1000, 100_000, 3, 3),
    (1000, 1_000_000, 1, 3),
)
"""Parties, values, repeats of the coordinator, parties measured for each share of dropouts."""
QUICK = ((10, 100_000, 3, 2), (10, 1_000_000, 3, 2), (100, 100_000, 3, 3))
PUBLISHED_SECONDS = 413.0
"""Server, 1000 parties, 10^5 values, 30 % dropouts, one thread: Bonawitz et al. 2017."""

Results = dict[str, Any]


def add(target: Words, masks: Iterable[tuple[bytes, bool]]) -> None:
    """Add masks on every core."""
    add_masks_parallel(target, masks, CORES)


def rounds(
    parties: int, count: int, repeats: int, each: int, *, colluders: float, patience: float
) -> list[Results]:
    """Measure rounds of one federation, for each share of dropouts.

    Args:
        parties: n.
        count: values in the summed vector.
        repeats: rounds of the coordinator behind each figure.
        each: parties that are measured for each share of dropouts.
        colluders: share of the parties that may work with the coordinator.
        patience: seconds to wait, before each repeat, for other processes to leave the cores alone.
    """
    made = federation(parties, count, colluders)
    measured = [range(index * each, (index + 1) * each) for index in range(len(DROPOUTS))]
    results = []
    with Crowd(made, range(len(DROPOUTS) * each)) as crowd:
        for share, watched in zip(DROPOUTS, measured, strict=True):
            alive = frozenset(range(parties - int(share * parties)))
            expected = plain_sum(crowd, alive)
            runs, cpu, quiet = [], [], []
            for _ in range(repeats):
                quiet.append(wait_for_quiet(patience))
                server = Server(crowd, add)
                result = server.run(alive, watched)
                if not np.array_equal(result.total, expected) or len(result.survivors) != len(
                    alive
                ):
                    raise SystemExit("the round's sum is not the plain sum")
                runs.append(dict(server.seconds))
                cpu.append(server.cpu_seconds)
            results.append(_result(made, share, runs, cpu) | {"quiet": quiet})
            show_round(results[-1])
        party = _party(crowd)
    print(
        f"  a party: {1e3 * party['party_seconds']:.1f} ms, of one core "
        f"{1e3 * party['party_cpu_seconds']:.1f} ms; by step, ms: "
        + show_steps({step: Spread(**row) for step, row in party["party_steps"].items()})
    )
    return [result | party for result in results]


def _party(crowd: Crowd) -> Results:
    steps = {step: Spread.of(values) for step, values in crowd.seconds.items()}
    cpu = [Spread.of(values).median for values in crowd.cpu_seconds.values()]
    return {
        "party_seconds": sum(spread.median for spread in steps.values()),
        "party_cpu_seconds": sum(cpu),
        "party_steps": {step: spread.json() for step, spread in steps.items()},
    }


def _result(
    made: Federation, share: float, runs: list[dict[str, float]], cpu: list[float]
) -> Results:
    context = made.context
    total = Spread.of([sum(run.values()) for run in runs])
    return {
        "parties": len(context.parties),
        "values": context.count,
        "dropouts": share,
        "colluders": made.colluders,
        "neighbours": context.degree,
        "threshold": context.threshold,
        "server_seconds": total.json(),
        "server_cpu_seconds": Spread.of(cpu).json(),
        "server_steps": {step: Spread.of([run[step] for run in runs]).json() for step in STEPS},
    }


def show_round(result: Results) -> None:
    """Print the coordinator's seconds."""
    graph = f"{result['neighbours']} drawn" if result["neighbours"] else "all others as"
    print(
        f"{result['parties']} parties ({result['colluders']} colluders, {graph} neighbours, "
        f"threshold {result['threshold']}), "
        f"{result['values']} values, {result['dropouts']:.0%} dropouts, "
        f"load {os.getloadavg()[0]:.1f}, cores free before {sum(result['quiet'])} repeats"
    )
    print(f"  coordinator: {Spread(**result['server_seconds']).show()}")
    print(f"  of all cores:{Spread(**result['server_cpu_seconds']).show()}")
    steps = {step: Spread(**values) for step, values in result["server_steps"].items()}
    print("  by step, ms: " + show_steps(steps), flush=True)


def show_steps(steps: dict[str, Spread]) -> str:
    """Return the medians in one line."""
    return "  ".join(f"{step} {1e3 * spread.median:.1f}" for step, spread in steps.items())


def masks(*, quick: bool) -> Results:
    """Measure masks on one thread and on every core."""
    count = 1_000_000
    single = one_thread(count, 9 if quick else 61)
    print(f"masks of {count} 32-bit words, one thread, CPU time; ratios to the faster keystream")
    for name, row in single.items():
        print(
            f"  {name:30} {row['ns_per_word_median']:.3f} ns a word (best "
            f"{row['ns_per_word_best']:.3f}), ratio {row['ratio_median']:.2f} "
            f"(best {row['ratio_best']:.2f})"
        )
    together = every_core(count, 5 if quick else 21, CORES)
    print(
        f"  {CORES} threads over one: masks {together['masks best']:.2f}x (median "
        f"{together['masks median']:.2f}x), bare keystream {together['keystream best']:.2f}x "
        f"(median {together['keystream median']:.2f}x)"
    )
    return {"one_thread": single, "threads": together}


def flower(*, quick: bool) -> Results | None:
    """Measure beside Flower, or say that it is absent."""
    compared = beside_flower(1_000_000, 3 if quick else 9)
    if compared is None:
        print("Flower is not installed here: that comparison is left out (pip install flwr)")
        return None
    for name, row in compared.items():
        print(
            f"  {name}: Flower {1e3 * row['flower_seconds']:.2f} ms, SecureFed "
            f"{1e3 * row['securefed_seconds']:.3f} ms, {row['times_as_fast']:.0f} times as fast"
        )
    return compared


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description="Measure whole masking rounds.")
    parser.add_argument(
        "--quick", action="store_true", help="less than a minute, up to 100 parties"
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--only", choices=("masks", "rounds", "flower"), help="measure one part")
    parser.add_argument("--parties", type=int, help="only rounds of that many parties")
    parser.add_argument("--values", type=int, help="only rounds of that many values")
    parser.add_argument("--colluders", type=float, default=COLLUDERS, help="share of the parties")
    parser.add_argument(
        "--patience", type=float, default=0.0, help="seconds to wait before a repeat for free cores"
    )
    options = parser.parse_args()
    begin = perf_counter()
    results: Results = {"machine": machine()}
    print(" ".join(f"{name}={value}" for name, value in results["machine"].items()))
    if options.only in (None, "masks"):
        results["masks"] = masks(quick=options.quick)
    if options.only in (None, "flower"):
        results["flower"] = flower(quick=options.quick)
    if options.only in (None, "rounds"):
        plan = QUICK if options.quick else FULL
        results["rounds"] = [
            result
            for size in plan
            if options.parties in (None, size[0]) and options.values in (None, size[1])
            for result in rounds(*size, colluders=options.colluders, patience=options.patience)
        ]
        compare_with_publication(results["rounds"])
    print(f"{perf_counter() - begin:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def compare_with_publication(results: list[Results]) -> None:
    """Print the ratio to the published server of the same size, another machine, semi-honest."""
    for result in results:
        if (result["parties"], result["values"], result["dropouts"]) == (1000, 100_000, 0.3):
            ratio = PUBLISHED_SECONDS / result["server_seconds"]["median"]
            print(f"Bonawitz et al. 2017 report {PUBLISHED_SECONDS:.0f} s: {ratio:.0f} times that")


if __name__ == "__main__":
    sys.exit(main())
