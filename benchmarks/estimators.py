"""Estimators on real tables: local-only, federated and pooled, mean and deviation over seeds.

Run: python benchmarks/estimators.py --data DIR [--seeds 5] [--only heart|adult]. DIR holds the
folders heart_disease and adult of the UCI repository. Federated models run over real nodes.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securefed import Data, Federation
from securefed.data import dirichlet_split
from securefed.data.table import concatenate
from securefed.learning import (
    FederatedGradientBoosting,
    FederatedLogisticRegression,
    FederatedOneHot,
    FederatedPipeline,
)
from securefed.learning.evaluation import auc
from securefed.learning.torch_parameters import limit_threads

HOSPITALS: Final = ("cleveland", "hungarian", "switzerland", "va")
HEART_COLUMNS: Final = (0, 1, 3, 4, 5, 7, 8, 9)
HEART_CATEGORIES: Final = ((2, (2, 3, 4)), (6, (1, 2)))
ADULT_NUMBERS: Final = (0, 4, 10, 11, 12)
ADULT_CATEGORIES: Final = (1, 3, 5, 6, 7, 8, 9, 13)

Array = NDArray[np.float64]
Row = tuple[float, float]
"""Accuracy and AUC."""


def heart_disease(folder: Path) -> list[Data]:
    """Return the complete rows of the four hospitals, 13 columns as FLamby makes them."""
    parts = []
    for name in HOSPITALS:
        with (folder / f"processed.{name}.data").open(encoding="utf-8") as lines:
            cells = [[*row[:10], row[13]] for row in csv.reader(lines) if len(row) == 14]
        table = np.array([row for row in cells if "?" not in row], dtype=float)
        columns = [table[:, HEART_COLUMNS]]
        columns += [(table[:, [at]] == np.array(kinds)) for at, kinds in HEART_CATEGORIES]
        parts.append(Data(np.concatenate(columns, axis=1), table[:, -1] > 0))
    return parts


def split_each(parts: Sequence[Data], seed: int) -> tuple[list[Data], list[Data]]:
    """Hold out a third of each part's rows."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for part in parts:
        order = rng.permutation(len(part))
        cut = round(len(part) * 0.66)
        train.append(part.take(order[:cut]))
        test.append(part.take(order[cut:]))
    return train, test


def adult(folder: Path) -> tuple[Data, Data]:
    """Return training and test rows: five numbers, and eight columns of codes."""
    tables = []
    for name in ("adult.data", "adult.test"):
        with (folder / name).open(encoding="utf-8") as lines:
            rows = csv.reader(lines, skipinitialspace=True)
            tables.append([row for row in rows if len(row) == 15])
    codes = [
        {word: code for code, word in enumerate(sorted({row[at] for row in tables[0]}))}
        for at in ADULT_CATEGORIES
    ]

    def table(rows: list[list[str]]) -> Data:
        numbers = np.array([[float(row[at]) for at in ADULT_NUMBERS] for row in rows])
        numbers[:, 2:4] = np.log1p(numbers[:, 2:4])
        words = [
            [known.get(row[at], 0) for at, known in zip(ADULT_CATEGORIES, codes, strict=True)]
            for row in rows
        ]
        labels = np.array([row[14].startswith(">50K") for row in rows])
        return Data(np.c_[numbers, np.array(words, dtype=float)], labels)

    return table(tables[0]), table(tables[1])


def quality(labels: Array, scores: Array) -> Row:
    """Return accuracy and AUC of log odds."""
    return float(np.mean((scores > 0) == (labels == 1))), auc(labels, scores)


def heart_rows(folder: Path, seed: int) -> Iterator[tuple[str, Row]]:
    """Yield a row for each model on one split of the hospitals."""
    train, test = split_each(heart_disease(folder), seed)
    federation = Federation("hearts", HOSPITALS, privacy=None)
    data = dict(zip(HOSPITALS, train, strict=True))
    labels = concatenate(test).labels

    def all_parts(scores: Callable[[int, Array], Array]) -> Row:
        found = [scores(number, part.features) for number, part in enumerate(test)]
        return quality(labels, np.concatenate(found))

    own = [one_company(part) for part in train]
    yield "local-only, each hospital its own", all_parts(lambda k, x: own[k](x))
    model = FederatedLogisticRegression().fit(federation, data)
    yield "federated", all_parts(lambda _, x: model.decision_function(x))
    pooled = FederatedLogisticRegression().fit_plain([concatenate(train)])
    yield "pooled", all_parts(lambda _, x: pooled.decision_function(x))
    levels = FederatedLogisticRegression(intercepts="per-party").fit(federation, data)
    yield (
        "federated, an intercept for each hospital",
        all_parts(lambda k, x: levels.decision_function(x, party=k)),
    )


def one_company(part: Data) -> Callable[[Array], Array]:
    """Return a company's own scores; one with a single class can only guess that class."""
    if len(np.unique(part.labels)) == 1:
        guess = 10.0 if part.labels[0] else -10.0
        return lambda features: np.full(len(features), guess)
    return FederatedLogisticRegression().fit_plain([part]).decision_function


def adult_rows(folder: Path, seed: int) -> Iterator[tuple[str, Row]]:
    """Yield a row for each model on one split over ten companies."""
    train, test = adult(folder)
    parts = dirichlet_split(train, companies=10, alpha=0.5, min_per_class=5, seed=seed)
    federation = Federation("adults", [f"company-{k}" for k in range(10)], privacy=None)
    data = dict(zip(federation.parties, parts, strict=True))

    def regression() -> FederatedPipeline:
        encode = FederatedOneHot(range(5, 13), codes=64, min_support=1)
        return FederatedPipeline([("encode", encode), ("fit", FederatedLogisticRegression())])

    def boosting() -> FederatedGradientBoosting:
        return FederatedGradientBoosting(gradient_bits=12, max_rows=2**15)

    def log_odds(model: FederatedPipeline) -> Array:
        likely = model.predict_proba(test.features)
        return np.asarray(likely[:, 1] - 0.5)

    def boosted(model: FederatedGradientBoosting) -> Row:
        return quality(test.labels, model.decision_function(test.features))

    each = [quality(test.labels, log_odds(regression().fit_plain([part]))) for part in parts]
    yield "logistic regression: local-only, mean", mean_row(each)
    yield (
        "logistic regression: federated",
        quality(test.labels, log_odds(regression().fit(federation, data))),
    )
    yield (
        "logistic regression: pooled",
        quality(test.labels, log_odds(regression().fit_plain([train]))),
    )
    yield (
        "boosting: local-only, mean",
        mean_row([boosted(boosting().fit_plain([p])) for p in parts]),
    )
    started = time.perf_counter()
    model = boosting().fit(federation, data)
    seconds, sent = time.perf_counter() - started, max(model.bytes_up_.values()) / 1e6
    print(f"(boosting: {model.n_rounds_} rounds, {sent:.1f} MB up a party, {seconds:.0f} s)")
    yield "boosting: federated", boosted(model)
    pooled = boosting().set_params(max_rows=2**16).fit_plain([train])
    yield "boosting: pooled", boosted(pooled)


def mean_row(rows: Sequence[Row]) -> Row:
    """Return the mean of several rows."""
    found = np.mean(np.array(rows), axis=0)
    return float(found[0]), float(found[1])


def report(title: str, tables: Mapping[str, Sequence[Row]]) -> None:
    """Print a Markdown table of means and deviations."""
    print(f"\n| {title} | accuracy | AUC |\n| --- | --- | --- |")
    for name, rows in tables.items():
        (accuracy, area), (wide, far) = np.mean(rows, axis=0), np.std(rows, axis=0)
        print(f"| {name} | {accuracy:.4f} ± {wide:.4f} | {area:.4f} ± {far:.4f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=("heart", "adult"))
    told = parser.parse_args()
    if told.data is None:
        print("estimators: give --data DIR, with the folders heart_disease and adult in it")
        return
    limit_threads(1)
    sources = {
        "heart": ("heart disease, 4 hospitals", "heart_disease", heart_rows),
        "adult": ("Adult, 10 companies", "adult", adult_rows),
    }
    for name, (title, folder, rows) in sources.items():
        if told.only not in (None, name):
            continue
        tables: dict[str, list[Row]] = {}
        for seed in range(told.seeds):
            for row, score in rows(told.data / folder, seed):
                tables.setdefault(row, []).append(score)
        report(title, tables)


if __name__ == "__main__":
    main()
