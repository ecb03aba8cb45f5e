"""Local-only, federated and pooled on the demonstration data, mean over seeds.

Run: python benchmarks/learning.py [seeds]. The federated sums go through the agreed ring.
"""

from __future__ import annotations

import secrets
import sys
import time

from securefed.data import breast_cancer_companies
from securefed.learning import build_task, suggest
from securefed.learning.demo import NEURAL_NETWORK, RISK_SCORE, DemoTask
from securefed.learning.evaluation import Comparison, compare, mean_score
from securefed.learning.reference import fit, fixed_point_sum
from securefed.learning.torch_parameters import limit_threads


def one_split(demo: DemoTask, seed: int) -> tuple[Comparison, float]:
    """Return the comparison on one split, and the seconds that the federated fit took."""
    split = breast_cancer_companies(seed=seed)
    parties = len(split.parts)
    task = build_task(demo.kind, demo.parameters)
    limit_threads(1)
    ring = suggest(demo.kind, demo.parameters, parties)
    add = fixed_point_sum(ring, parties=parties, random=secrets.token_bytes)
    start = time.perf_counter()
    federated = fit(task, split.parts, rounds=demo.rounds, seed=seed, add=add)
    seconds = time.perf_counter() - start
    table = compare(
        demo.kind,
        demo.parameters,
        split.parts,
        split.test,
        rounds=demo.rounds,
        federated=federated.state,
        seed=seed,
    )
    return table, seconds


def main() -> None:
    """Print one table per demonstration task."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for demo in (RISK_SCORE, NEURAL_NETWORK):
        results = [one_split(demo, seed) for seed in range(seeds)]
        tables = [table for table, _ in results]
        mean = Comparison(
            mean_score("local-only (mean)", [table.local for table in tables]),
            mean_score("federated", [table.federated for table in tables]),
            mean_score("pooled", [table.pooled for table in tables]),
        )
        slowest = max(seconds for _, seconds in results)
        print(f"{demo.name} ({demo.kind}), {seeds} splits, slowest fit {slowest:.2f} s\n{mean}\n")


if __name__ == "__main__":
    main()
