"""UCI Adult (Census Income), its training rows dealt over ten companies.

Source: Becker and Kohavi 1996, https://archive.ics.uci.edu/dataset/2. Categories are those that
``adult.names`` lists, not those that occur; the column ``fnlwgt``, a weight of the survey, is left
out.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Final

from securefed.data import Data, dirichlet_split
from utility_sets.problem import Column, Problem, one_hot

COMPANIES: Final = 10
ALPHA: Final = 0.5
_ORDER: Final = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country",
)  # fmt: skip
_NUMBERS: Final = {
    "age": Column("age", 40, 15),
    "education-num": Column("education-num", 10, 3),
    "capital-gain": Column("log-capital-gain", 0, 3),
    "capital-loss": Column("log-capital-loss", 0, 3),
    "hours-per-week": Column("hours-per-week", 40, 12),
}
"""Common knowledge about adults at work; most have no capital gain or loss, in dollars, logged."""


def load(folder: Path) -> tuple[Data, Data, tuple[Column, ...]]:
    """Return training rows, test rows and columns; label 1 is an income above 50,000 dollars."""
    categories = _categories(folder / "adult.names")
    columns: list[Column] = []
    for name in _ORDER:
        if name in categories:
            columns += one_hot(name, categories[name])
        elif name in _NUMBERS:
            columns.append(_NUMBERS[name])
    train, test = (_rows(folder / f"adult.{part}", categories) for part in ("data", "test"))
    return train, test, tuple(columns)


def split(loaded: tuple[Data, Data, tuple[Column, ...]], seed: int) -> Problem:
    """Deal the training rows over companies with skewed labels; the test rows are the set's own."""
    train, test, columns = loaded
    parts = dirichlet_split(train, companies=COMPANIES, alpha=ALPHA, min_per_class=25, seed=seed)
    return Problem(parts, test, columns)


def _categories(path: Path) -> dict[str, list[str]]:
    found = {}
    for line in path.read_text(encoding="ascii").splitlines():
        match = re.fullmatch(r"([a-z-]+): (.*)\.", line.strip())
        if match and match.group(2) != "continuous":
            found[match.group(1)] = [each.strip() for each in match.group(2).split(",")]
    return found


def _rows(path: Path, categories: dict[str, list[str]]) -> Data:
    features, labels = [], []
    with path.open(encoding="ascii") as lines:
        for row in csv.reader(lines, skipinitialspace=True):
            if len(row) != len(_ORDER) + 1:
                continue
            values: list[float] = []
            for name, text in zip(_ORDER, row, strict=False):
                if name in categories:
                    values += [float(text == each) for each in categories[name]]
                elif name.startswith("capital"):
                    values.append(math.log1p(float(text)))
                elif name in _NUMBERS:
                    values.append(float(text))
            features.append(values)
            labels.append(float(row[-1].startswith(">50K")))
    return Data(features, labels)  # type: ignore[arg-type]  # lists become arrays there
