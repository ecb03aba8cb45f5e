"""Logistic regression under differential privacy, by the lines of the utility benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from utility import ADULT, HEART, TARGETS, run, sources
from utility_sets.report import column

from learning_tables.report import Table, Told

KIND = "dp-glm"


def section(told: Told) -> str:
    """Return AUC without noise and at each epsilon, and what the noise takes."""
    heads = ["federated", *map(column, TARGETS)]
    losses = [f"loss, {column(target)}" for target in TARGETS]
    table = Table(f"`{KIND}`, AUC, {told.seeds} splits", dict.fromkeys([*heads, *losses], 4))
    problems = {chosen.name: split for chosen, split in sources(str(told.data)).values()}
    for chosen in (HEART, ADULT):
        lines = tuple(line for line in chosen.lines if line.private == KIND)
        once = replace(
            chosen,
            lines=lines,
            splits=told.seeds,
            noise_seeds=1 if told.quick else chosen.noise_seeds,
        )
        for result in run(once, problems[chosen.name]):
            base = np.array(result.runs["federated"])
            for place in range(len(base)):
                found = {name: result.runs[name][place] for name in heads}
                found |= {
                    loss: base[place] - found[name]
                    for loss, name in zip(losses, heads[1:], strict=True)
                }
                table.add([(chosen.name, found)])
    return str(table)
