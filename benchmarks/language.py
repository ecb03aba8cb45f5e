"""Next word and next character on Shakespeare by role: local-only, federated, pooled; privacy.

Run: python benchmarks/language.py --data DIR [--seeds 5] [--part NAME ...] [--svg FILE]. DIR holds
tinyshakespeare/input.txt. Roles are dealt to ten companies at random, anew for each seed; the last
tenth of each role's speeches is held out. Parts: ngram, private, gru. The gru takes some minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protocols.errors import NoResultError
from securefed import Federation
from securefed.data import Data
from securefed.data.table import concatenate
from securefed.learning import (
    DpNgram,
    FederatedNgram,
    PersonPrivacy,
    build_task,
    ngram_data,
    require_plain,
)
from securefed.learning.evaluation import accuracy, predict_proba
from securefed.learning.language import Alphabet, character_windows
from securefed.learning.language.person_ngrams import person_norm

COMPANIES = 10
DELTA = 1e-5
PRIVATE_CELLS = 2**16
EVERYTHING = {"vocabulary": 2000, "cells": 2**22, "table": 2**18, "min_support": 1,
              "per_person": 10**6}  # fmt: skip
"""What a company may keep of its own texts, and what nobody would publish of everybody's."""


@dataclass(frozen=True)
class Speech:
    """One speech of one role."""

    role: int
    number: int
    text: str
    held_out: bool


def read_speeches(path: Path) -> list[Speech]:
    """Read the speeches of the plays; the last tenth of each role's is held out."""
    blocks = [block.split(":\n", 1) for block in path.read_text(encoding="utf-8").split("\n\n")]
    by_role: dict[str, list[str]] = {}
    for block in blocks:
        if len(block) == 2:
            by_role.setdefault(block[0].strip(), []).append(block[1].strip())
    speeches: list[Speech] = []
    for role, texts in enumerate(by_role.values()):
        kept = max(1, int(len(texts) * 0.9)) if len(texts) > 1 else len(texts)
        for place, text in enumerate(texts):
            speeches.append(Speech(role, len(speeches), text, place >= kept))
    return speeches


def deal(speeches: Sequence[Speech], seed: int) -> list[list[Speech]]:
    """Deal the roles to the companies, each with all its speeches."""
    roles = max(one.role for one in speeches) + 1
    owner = np.random.default_rng(seed).integers(COMPANIES, size=roles)
    return [[one for one in speeches if owner[one.role] == k] for k in range(COMPANIES)]


def rows(speeches: Sequence[Speech], *, held_out: bool, order: int, cells: int) -> Data:
    """Return rows of words, a role being a person."""
    chosen = [one for one in speeches if one.held_out == held_out]
    return ngram_data(
        [one.role for one in chosen], [one.text for one in chosen], order=order, cells=cells
    )


def hits(model: FederatedNgram | DpNgram, test: Data) -> tuple[float, float]:
    """Return how often the next word is the first, and among the first three."""
    found = model.predict_top(test.features, 3) == test.labels[:, np.newaxis]
    return float(found[:, 0].mean()), float(found.any(axis=1).mean())


def show(name: str, *columns: Sequence[tuple[float, float]]) -> None:
    """Print one row: mean and deviation of top-1 and top-3, in percent."""
    cells = []
    for column in columns:
        for values in zip(*column, strict=True):
            spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{100 * np.mean(values):.1f}{spread}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def exact(speeches: Sequence[Speech], seeds: int) -> None:
    """Compare n-gram models without noise, with one run over real nodes."""
    print("| words, 10 companies | top-1 % | top-3 % |\n| --- | --- | --- |", flush=True)
    wide = {held: rows(speeches, held_out=held, order=3, cells=2**22) for held in (False, True)}
    own: list[tuple[float, float]] = []
    worst: list[tuple[float, float]] = []
    for seed in range(seeds):
        parts = deal(speeches, seed)
        scores, sizes = [], []
        for part in parts:
            model = FederatedNgram(**EVERYTHING)
            model.fit_plain([rows(part, held_out=False, order=3, cells=2**22)])
            test = rows(part, held_out=True, order=3, cells=2**22)
            scores.append(hits(model, test))
            sizes.append(len(test))
        own.append(tuple(np.average(scores, axis=0, weights=sizes)))
        worst.append(tuple(np.min(scores, axis=0)))
    show("local-only, all companies, own held-out speeches", own)
    show("local-only, the worst company", worst)
    test = rows(speeches, held_out=True, order=3, cells=2**20)
    whole = rows(speeches, held_out=False, order=3, cells=2**20)
    for support, most in ((3, 10**6), (5, 10**6), (5, 2), (3, 1)):
        settings = {"min_support": support, "per_person": most}
        parts = [rows(one, held_out=False, order=3, cells=2**20) for one in deal(speeches, 0)]
        pooled = FederatedNgram(**settings).fit_plain([whole])
        summed = FederatedNgram(**settings).fit_plain(parts)
        same = (summed.predict_top(test.features) == pooled.predict_top(test.features)).all()
        what = "no limit a role" if most > 1000 else f"{most} a role"
        equal = "federated = pooled" if same else "federated (NOT pooled)"
        show(f"{equal}, min_support {support}, {what}", [hits(summed, test)])
        print(f"<!-- n-grams {summed.ngrams_} -->")
    everything = FederatedNgram(**EVERYTHING).fit_plain([wide[False]])
    show(
        "pooled, min_support 1, 2000 words, triples as far as 2^22 cells go",
        [hits(everything, wide[True])],
    )
    nodes(parts, test)


def nodes(parts: Sequence[Data], test: Data) -> None:
    """Run the default model over real nodes and compare it with the pooled one."""
    lead = Federation("plays", [f"house-{k}" for k in range(COMPANIES)], privacy=None)
    start = time.perf_counter()
    model = FederatedNgram(max_rows=2**16).fit(lead, dict(zip(lead.parties, parts, strict=True)))
    took = time.perf_counter() - start
    alone = FederatedNgram().fit_plain(parts)
    windows = test.features[:, :-1].astype(np.int64)[:2000]
    equal = bool((model.model_.scores(windows) == alone.model_.scores(windows)).all())
    sent = max(model.bytes_up_.values()) / 1e6
    print(f"\nover nodes: {model.n_rounds_} rounds, {sent:.1f} MB a party, {took:.0f} s; "
          f"equal in every bit: {equal}")  # fmt: skip


def private(speeches: Sequence[Speech], seeds: int) -> None:
    """Count under noise: a role is a person, or every speech is another person's."""
    print("| people | epsilon | words, pairs published | top-1 % | top-3 % |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    test = rows(speeches, held_out=True, order=2, cells=PRIVATE_CELLS)
    training = [one for one in speeches if not one.held_out]
    for unit, people in (("roles", 299), ("speeches", len(training))):
        parts = []
        for part in deal(training, 0):
            who = [one.role if unit == "roles" else one.number for one in part]
            texts = [one.text for one in part]
            parts.append(ngram_data(who, texts, order=2, cells=PRIVATE_CELLS))
        most = 10
        for epsilon in (8.0, 3.0, 1.0):
            given = PersonPrivacy(person_norm(most), 1.0, 1.0, COMPANIES - 2, DELTA)
            noise = given.at_epsilon(epsilon, dimension=PRIVATE_CELLS, rounds=2)
            found, sizes = [], []
            for seed in range(seeds if unit == "roles" else 1):
                model = DpNgram(people=people, most=most, tokens=2000 if unit == "roles" else 200)
                try:
                    model.fit_noised(parts, noise, seed=seed)
                except NoResultError:
                    continue
                found.append(hits(model, test))
                sizes.append(tuple(model.ngrams_.values()))
            if found:
                words, pairs = np.mean(sizes, axis=0)
                show(f"{people} {unit} | {epsilon:g} | {words:.0f}, {pairs:.0f}", found)


LENGTH, ROUNDS, STEPS = 64, 18, 5
COMMON = {"model": "gru", "features": LENGTH, "hidden": [32, 128], "standardize": False,
          "optimizer": "adam", "learning_rate": 3e-3, "clip_norm": 100.0}  # fmt: skip
SERVER_ADAM = {"server": "adam", "server_learning_rate": 0.01, "server_epsilon": 1e-3}

Curve = list[tuple[int, float]]


def gru(speeches: Sequence[Speech], seed: int, svg: Path | None) -> None:
    """Train a GRU on characters with the same number of minibatches each way."""
    alphabet = Alphabet()
    told = [
        "\n".join(one.text for one in part if not one.held_out) for part in deal(speeches, seed)
    ]
    held = "\n".join(one.text for one in speeches if one.held_out)
    parts = [character_windows(text, alphabet, length=LENGTH) for text in told]
    test = character_windows(held, alphabet, length=LENGTH, stride=97)
    common = {**COMMON, "classes": alphabet.classes, "max_rows": sum(map(len, parts)), "seed": seed}
    curves = {
        "pooled": curve({**common, "local_steps": STEPS * COMPANIES}, [concatenate(parts)], test),
        "FedAdam": curve({**common, "local_steps": STEPS, **SERVER_ADAM}, parts, test),
        "FedAvg": curve({**common, "local_steps": STEPS}, parts, test),
    }
    alone = [curve({**common, "local_steps": STEPS}, [part], test) for part in parts]
    curves["local-only"] = [
        (points[0][0] * COMPANIES, float(np.mean([value for _, value in points])))
        for points in zip(*alone, strict=True)
    ]
    lowest = min(points[-1][1] for points in alone)
    print("| characters | " + " | ".join(f"{at} minibatches" for at, _ in curves["pooled"]) + " |")
    print("| --- |" + " --- |" * len(curves["pooled"]))
    for name, points in curves.items():
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for _, value in points) + " |")
    print(f"\nthe worst company alone, at the end: {lowest:.3f}", flush=True)
    if svg is not None:
        svg.write_text(drawing(curves), encoding="utf-8")


def curve(parameters: dict[str, object], parts: Sequence[Data], test: Data) -> Curve:
    """Train in rounds; return minibatches of all companies and accuracy on held-out text."""
    task = require_plain(build_task("torch", parameters))
    generators = [
        np.random.default_rng([int(str(parameters["seed"])), k]) for k in range(len(parts))
    ]
    state, layout, points = task.initial_state(), task.layout(), []
    for number in range(1, ROUNDS + 1):
        total = np.zeros(layout.size)
        for data, rng in zip(parts, generators, strict=True):
            total += layout.flatten(task.contribute(state, data, number, rng))
        state = task.combine(state, layout.unflatten(total), number).state
        if number % 3 == 0:
            made = number * int(str(parameters["local_steps"])) * len(parts)
            points.append((made, accuracy(test.labels, predict_proba(task, state, test.features))))
            print(f"<!-- {len(parts)} parts, {points[-1]} -->", flush=True)
    return points


def drawing(curves: dict[str, Curve]) -> str:
    """Return the learning curves as SVG."""
    wide, high, left, top, right, low = 640, 360, 56, 16, 110, 44
    most = max(at for points in curves.values() for at, _ in points)
    colours = {"pooled": "#1b7f4d", "FedAdam": "#3a5bc7", "FedAvg": "#c2611f", "local-only": "#777"}

    def place(at: float, value: float) -> tuple[float, float]:
        x = left + (wide - left - right) * at / most
        return x, high - low - (high - low - top) * (value - 0.1) / 0.45

    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" '
        f'viewBox="0 0 {wide} {high}" role="img">'
    )
    lines = [
        head,
        "<title>Next-character accuracy against minibatches of all companies together</title>",
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
    ]
    for tick in (0.1, 0.2, 0.3, 0.4, 0.5):
        x, y = place(0, tick)
        lines.append(f'<path d="M{x:.0f} {y:.1f}H{wide - right}" stroke="#ddd"/>')
        lines.append(f'<text x="{x - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    for at in range(0, most + 1, 150):
        x, y = place(at, 0.1)
        lines.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{at}</text>')
    lines.append(f'<text x="{left}" y="{high - 8}">minibatches of all companies together</text>')
    free = float(high)
    for name, points in sorted(curves.items(), key=lambda one: one[1][-1][1]):
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
        x, y = place(*points[-1])
        y = free = min(y, free - 14)  # names that would lie on each other
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>'
            f'<text x="{x + 6:.0f}" y="{y + 4:.1f}" fill="{colours[name]}">{name}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Print the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", action="append", default=[])
    parser.add_argument("--svg", type=Path, default=None)
    told = parser.parse_args()
    speeches = read_speeches(told.data / "tinyshakespeare" / "input.txt")
    for name in told.part or ["ngram", "private", "gru"]:
        start = time.perf_counter()
        print(f"\n## {name}\n", flush=True)
        if name == "ngram":
            exact(speeches, told.seeds)
        elif name == "private":
            private(speeches, told.seeds)
        else:
            gru(speeches, 0, told.svg)
        print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
