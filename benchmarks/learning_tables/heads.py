"""Heads that stay at each company, on generated data: where they help, and where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from learning_tables.report import Table, Told
from securefed.data import Data
from securefed.learning import build_task
from securefed.learning.evaluation import Score, mean_score, personalise, score
from securefed.learning.reference import fit
from securefed.learning.state import State
from securefed.learning.task import Task

FIGURES = {"accuracy": 4, "log loss": 4, "newcomer's log loss": 4}
SHIFTS: Final = (-3.0, -1.5, -0.5, 0.5, 1.5)
NEWCOMER: Final = 3.0
TRAINED, TESTED, ROUNDS = 40, 500, 40
WORLDS: Final = ("the threshold", "the sign", "nothing")
"""In what the companies' labels differ."""


def section(told: Told) -> str:
    """Return the table over all seeds."""
    title = f"Generated data, {len(SHIFTS)} companies and a newcomer, {told.seeds} seeds"
    table = Table(title, FIGURES)
    for world in WORLDS:
        for seed in range(told.seeds):
            table.add(rows(world, seed, 3 if told.quick else ROUNDS))
    return str(table)


def company(world: str, shift: float, count: int, seed: int) -> Data:
    """Return rows of a company whose labels follow the common rule, shifted or turned."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 4))
    score = 1.5 * np.tanh(2 * features[:, 0]) + features[:, 1] * features[:, 2]
    if world == "the threshold":
        score = score + shift
    elif world == "the sign":
        score = score * np.sign(shift)
    return Data(features, (rng.random(count) < 1 / (1 + np.exp(-2 * score))).astype(np.float64))


def rows(world: str, seed: int, rounds: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield the scores of one seed, each company on test rows of its own."""
    shifts = (*SHIFTS, NEWCOMER)
    parts = [company(world, each, TRAINED, 100 * seed + at) for at, each in enumerate(shifts)]
    tests = [company(world, each, TESTED, 100 * seed + 50 + at) for at, each in enumerate(shifts)]
    shared = _task("shared", seed)
    alone = [fit(shared, [part], rounds=rounds, seed=seed).state for part in parts]
    yield _row(world, "local-only", shared, alone, tests)
    for head in ("shared", "bias", "layer"):
        task = _task(head, seed)
        state = fit(task, parts[:-1], rounds=rounds, seed=seed).state
        own = [state if head == "shared" else personalise(task, state, part) for part in parts]
        yield _row(world, f'head = "{head}"', task, own, tests)


def _task(head: str, seed: int) -> Task:
    given = {"features": 4, "learning_rate": 0.2, "seed": seed, "head": head}
    return build_task("torch", given)


def _row(
    world: str, name: str, task: Task, states: list[State], tests: list[Data]
) -> tuple[str, Mapping[str, float]]:
    found: list[Score] = [
        score(name, task, state, test) for state, test in zip(states, tests, strict=True)
    ]
    known, newcomer = mean_score(name, found[:-1]), found[-1]
    figures = {
        "accuracy": known.accuracy,
        "log loss": known.log_loss,
        "newcomer's log loss": newcomer.log_loss,
    }
    return f"companies differ in {world}: {name}", figures
