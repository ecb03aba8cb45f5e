"""UCI Heart Disease at the four hospitals that collected it.

Source: Janosi, Steinbrunn, Pfisterer and Detrano 1988, https://archive.ics.uci.edu/dataset/45.
Columns and rows as in FLamby (du Terrail et al. 2022): ca, thal and slope are mostly missing and
left out, then rows with a missing value.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securefed.data import Data
from utility_sets.problem import Column, Problem, one_hot

HOSPITALS: Final = ("cleveland", "hungarian", "switzerland", "va")
_KEPT: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13)
_CATEGORIES: Final = {2: ("1", "2", "3", "4"), 6: ("0", "1", "2")}

COLUMNS: Final = (
    Column("age", 55, 10),
    Column("sex"),
    *one_hot("chest-pain", _CATEGORIES[2]),
    Column("resting-blood-pressure", 130, 20),
    Column("cholesterol", 220, 50),
    Column("fasting-blood-sugar"),
    *one_hot("resting-ecg", _CATEGORIES[6]),
    Column("maximum-heart-rate", 140, 25),
    Column("exercise-angina"),
    Column("st-depression", 1, 1),
)
"""Centres and units are what a physician would say without a look at the data."""


def load(folder: Path) -> list[Data]:
    """Return the rows of each hospital; label 1 is any degree of the disease."""
    return [_hospital(folder / f"processed.{name}.data") for name in HOSPITALS]


def split(hospitals: list[Data], seed: int, train_share: float = 0.66) -> Problem:
    """Hold out rows of every hospital at random, of both classes alike."""
    rng = np.random.default_rng(seed)
    kept, held = [], []
    for data in hospitals:
        chosen = np.zeros(len(data), dtype=bool)
        for label in (0, 1):
            rows = rng.permutation(np.flatnonzero(data.labels == label))
            chosen[rows[: round(train_share * len(rows))]] = True
        kept.append(data.take(np.flatnonzero(chosen)))
        held.append(data.take(np.flatnonzero(~chosen)))
    test = Data(
        np.concatenate([data.features for data in held]),
        np.concatenate([data.labels for data in held]),
    )
    owners = np.repeat(np.arange(len(held)), [len(data) for data in held])
    return Problem(tuple(kept), test, COLUMNS, owners)


def _hospital(path: Path) -> Data:
    with path.open(encoding="ascii") as lines:
        rows = [row for row in csv.reader(lines) if len(row) == 14]
    usable = [row for row in rows if all(row[place] != "?" for place in _KEPT)]
    features = np.array([_features(row) for row in usable])
    labels: NDArray[np.float64] = np.array([float(row[13]) > 0 for row in usable], dtype=float)
    return Data(features, labels)


def _features(row: list[str]) -> list[float]:
    values: list[float] = []
    for place in _KEPT[:-1]:
        if place in _CATEGORIES:
            values += [float(float(row[place]) == float(each)) for each in _CATEGORIES[place]]
        else:
            values.append(float(row[place]))
    return values
