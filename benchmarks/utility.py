"""Local-only, federated, federated in private at three epsilons, and pooled, on real data.

Run: python benchmarks/utility.py --data DIR [--only heart] [--write docs/benchmarks.md]. DIR, or
the environment variable SECUREFED_DATA, holds ``heart_disease/processed.*.data`` and
``adult/adult.*`` of the UCI repository (https://archive.ics.uci.edu/dataset/45 and /dataset/2).
``--data synthetic`` runs the same lines on the tables that the settings were chosen on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from utility_sets import adult, heart, synthetic
from utility_sets.evaluate import Line, noise_for, with_noise, without_noise
from utility_sets.problem import Problem
from utility_sets.report import Result, column, section, write_section

from securefed.learning.torch_parameters import limit_threads

TARGETS: Final = (8.0, 3.0, 1.0)


@dataclass(frozen=True, slots=True)
class Set:
    """A data set with what is run on it.

    Attributes:
        name: for people.
        parties: n.
        colluders: c, assumed.
        dropouts: tolerated in a round.
        splits: number of splits, seeded from 0.
        noise_seeds: private runs on each split, seeded from 0.
        lines: models.
    """

    name: str
    parties: int
    colluders: int
    dropouts: int
    splits: int
    noise_seeds: int
    lines: tuple[Line, ...]


def network(hidden: int, local_steps: int, learning_rate: float) -> dict[str, Any]:
    """Return the parameters of a small network without noise."""
    return {
        "hidden": [hidden],
        "local_steps": local_steps,
        "batch_size": 32,
        "learning_rate": learning_rate,
        "feature_clip": 5.0,
    }


HEART: Final = Set(
    "Heart", 4, 1, 1, splits=10, noise_seeds=3,
    lines=(
        Line(
            "logistic, gradient steps", "glm-logistic", {}, 30,
            "dp-logistic", {"learning_rate": 0.2}, 60, clip_norm=1.0, sampling_rate=0.5,
        ),
        Line(
            "logistic, few rounds", "glm-logistic", {}, 30,
            "dp-glm", {"row_norm": 4.0}, 16, clip_norm=0.5, sampling_rate=1.0,
        ),
        Line(
            "network", "torch", network(8, 10, 0.1), 30,
            "dp-torch", {"hidden": [8], "learning_rate": 0.3}, 60, clip_norm=0.5, sampling_rate=0.5,
        ),
    ),
)  # fmt: skip

ADULT: Final = Set(
    "Adult", 10, 2, 2, splits=3, noise_seeds=2,
    lines=(
        Line(
            "logistic, gradient steps", "glm-logistic", {}, 30,
            "dp-logistic", {"learning_rate": 1.6}, 300, clip_norm=1.0, sampling_rate=0.1,
        ),
        Line(
            "logistic, few rounds", "glm-logistic", {}, 30,
            "dp-glm", {"row_norm": 4.0, "learning_rate": 2.0}, 20, clip_norm=0.5,
            sampling_rate=0.2,
        ),
        Line(
            "network", "torch", network(16, 40, 0.1), 30,
            "dp-torch", {"hidden": [16], "learning_rate": 0.5}, 200, clip_norm=1.0,
            sampling_rate=0.1,
        ),
    ),
)  # fmt: skip


def run(chosen: Set, problems: Callable[[int], Problem]) -> list[Result]:
    """Run all lines of a set on all its splits."""
    results = [
        Result(line, chosen.name, chosen.parties, chosen.colluders, chosen.dropouts)
        for line in chosen.lines
    ]
    for split in range(chosen.splits):
        problem = problems(split)
        for result in results:
            start = time.perf_counter()
            _run_split(result, problem, split, chosen.noise_seeds)
            latest = {name: round(areas[-1], 4) for name, areas in result.runs.items()}
            seconds = time.perf_counter() - start
            print(f"{chosen.name} split {split}, {result.line.name}: {latest}, {seconds:.0f} s")
            sys.stdout.flush()
    return results


def _run_split(result: Result, problem: Problem, split: int, noise_seeds: int) -> None:
    line = result.line
    for name, area in without_noise(line, problem, split).items():
        # Once for each private run, so that differences are taken on the same split.
        result.runs.setdefault(name, []).extend([area] * noise_seeds)
    for target in TARGETS:
        privacy = noise_for(line, problem, target, result.honest)
        for number in range(noise_seeds):
            area, cost = with_noise(line, problem, privacy, split * noise_seeds + number)
            result.runs.setdefault(column(target), []).append(area)
            result.costs[target] = cost


def sources(data: str) -> dict[str, tuple[Set, Callable[[int], Problem]]]:
    """Return the sets and how to split them."""
    if data == "synthetic":
        return {"heart": (HEART, synthetic.like_heart), "adult": (ADULT, synthetic.like_adult)}
    hospitals = heart.load(Path(data) / "heart_disease")
    census = adult.load(Path(data) / "adult")
    return {
        "heart": (HEART, lambda seed: heart.split(hospitals, seed)),
        "adult": (ADULT, lambda seed: adult.split(census, seed)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print, or write, its section."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SECUREFED_DATA", ""))
    parser.add_argument("--only", choices=("heart", "adult"))
    parser.add_argument("--write", type=Path)
    given = parser.parse_args(arguments)
    if not given.data:
        print("no data: give --data DIR or set SECUREFED_DATA; --data synthetic needs none")
        return
    limit_threads(1)
    results: list[Result] = []
    seeds = []
    for name, (chosen, problems) in sources(given.data).items():
        if given.only in (None, name):
            results += run(chosen, problems)
            seeds.append(
                f"{chosen.name}: splits 0 to {chosen.splits - 1}, {chosen.noise_seeds} noise "
                f"seed{'s' if chosen.noise_seeds > 1 else ''} each"
            )
    command = "python benchmarks/utility.py --data DIR"
    text = section(results, TARGETS, command, "; ".join(seeds))
    if given.write is None:
        print(text)
    else:
        write_section(given.write, text)


if __name__ == "__main__":
    main()
