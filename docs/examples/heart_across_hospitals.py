"""Is the heart diseased? Four hospitals that see patients of unlike severity, and a fifth one.

Run: python docs/examples/heart_across_hospitals.py [--svg FILE]. Patients are generated, with the
columns of the well-known heart disease tables: the same risk factors count everywhere, but each
hospital has its own level, as a hospital to which difficult cases are sent has. Models are measured
on new patients of the four hospitals, and on those of a hospital that took no part.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from side_by_side import Comparison, main

from securefed import Federation
from securefed.data import Data
from securefed.data.table import concatenate
from securefed.learning import FederatedLogisticRegression
from securefed.learning.evaluation import auc

COLUMNS = ("age", "sex", "blood_pressure", "cholesterol", "heart_rate", "angina", "st_depression")
MIDDLE = (55, 0.7, 132, 246, 140, 0.4, 1)
UNIT = (9, 0.46, 17, 50, 23, 0.49, 1)
WEIGHTS = (0.55, 0.8, 0.5, 0.25, -0.7, 0.9, 0.7)
HOSPITALS = {
    "city": (170, -0.6),
    "county": (150, -0.2),
    "harbour": (40, 1.0),
    "university": (70, 0.4),
}
"""Patients, and how much more diseased they are than their risk factors say, as log odds."""
SPLITS = 8


def patients(rng: np.random.Generator, count: int, level: float) -> Data:
    """Generate patients of one hospital."""
    table = np.stack([
        rng.normal(55 + 3 * level, 9, count),
        rng.random(count) < 0.7,
        rng.normal(132, 17, count),
        rng.normal(246, 50, count),
        rng.normal(140 - 6 * level, 23, count),
        rng.random(count) < 0.4,
        rng.gamma(1, 1, count),
    ], axis=1)  # fmt: skip
    odds = (table - MIDDLE) / UNIT @ WEIGHTS + level
    return Data(table, rng.random(count) < 1 / (1 + np.exp(-odds)), COLUMNS)


def area(new: dict[str, Data], scores: Callable[[str, np.ndarray], np.ndarray]) -> float:
    """Return the AUC over all new patients, each scored with the name of its hospital."""
    found = [scores(name, rows.features) for name, rows in new.items()]
    return auc(np.concatenate([rows.labels for rows in new.values()]), np.concatenate(found))


def common_area(model: FederatedLogisticRegression, new: dict[str, Data]) -> float:
    """Return the AUC of one model, with each hospital's own intercept where it has such."""
    places = list(new)

    def scores(name: str, table: np.ndarray) -> np.ndarray:
        party = places.index(name) if len(model.party_intercepts_) else None
        return model.decision_function(table, party=party)

    return area(new, scores)


def outside(
    rows: dict[str, Data], new: Data, name: str, own: dict[str, FederatedLogisticRegression]
) -> tuple[float, ...]:
    """Leave one hospital out: what the others' own models and common ones are worth to it."""
    others = {other: part for other, part in rows.items() if other != name}
    lead = Federation("hearts", list(others), privacy=None)
    common = FederatedLogisticRegression().fit(lead, others)
    pooled = FederatedLogisticRegression().fit_plain([concatenate(list(others.values()))])
    models = [own[other] for other in others] + [common, pooled]
    areas = [auc(new.labels, one.decision_function(new.features)) for one in models]
    return float(np.mean(areas[:-2])), *areas[-2:]


def run() -> Comparison:
    """Compare over many splits: a single one can say anything with so few patients."""
    values = np.empty((SPLITS, 3, 3))
    for seed in range(SPLITS):
        rng = np.random.default_rng(seed)
        rows = {name: patients(rng, *told) for name, told in HOSPITALS.items()}
        new = {name: patients(rng, 400, level) for name, (_, level) in HOSPITALS.items()}
        own = {name: FederatedLogisticRegression().fit_plain([part]) for name, part in rows.items()}
        alone = area(new, lambda name, x, own=own: own[name].decision_function(x))
        lead = Federation("hearts", list(rows), privacy=None)
        for place, intercepts in enumerate(("common", "per-party")):
            model = FederatedLogisticRegression(intercepts=intercepts)
            values[seed, place, 0] = alone
            values[seed, place, 1] = common_area(model.fit(lead, rows), new)
            values[seed, place, 2] = common_area(model.fit_plain(list(rows.values())), new)
        left_out = list(rows)[seed % len(rows)]
        values[seed, 2] = outside(rows, new[left_out], left_out, own)
    rows_of_table = ("one model for all", "an intercept for each", "a hospital outside")
    return Comparison("AUC", ("local-only", "federated", "pooled"), rows_of_table, values)


NOTES = (
    "One model for all brings these hospitals nothing: their own models are as good, within the",
    "deviation. What helps are the intercepts, and that a hospital outside has a model at all.",
)

if __name__ == "__main__":
    main(__doc__, run, NOTES)
