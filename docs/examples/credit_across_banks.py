"""Who will not pay back? Ten banks, one of them large, whose customers differ.

Run: python docs/examples/credit_across_banks.py [--svg FILE]. Customers are generated; every bank
sees another sort of them. Each bank's own model, the federated one and the pooled one are measured
on new customers of each bank.
"""

from __future__ import annotations

import numpy as np
from side_by_side import Comparison, main

from securefed import Federation
from securefed.data import Column, Data, Schema
from securefed.data.table import concatenate
from securefed.learning import FederatedLogisticRegression
from securefed.learning.evaluation import auc

BANKS = {
    "metropolitan": 12000, "valley": 900, "harbour": 600, "union": 400, "rural": 300, "crown": 250,
    "garden": 200, "island": 150, "miners": 120, "village": 80,
}  # fmt: skip
SPLITS = 5

# What the banks agree on before anything runs. A bank whose file has other columns, another unit
# or a mistyped value is told so at home, and takes no part.
AGREED = Schema((
    Column("income", low=0, high=2000),
    Column("age", low=18, high=110),
    Column("used_credit", low=0, high=1),
    Column("debt_to_income", low=0, high=20),
    Column("late_payments", "integer", 0, 100),
    Column("owns_home", "boolean"),
    Column("loan", low=0, high=5000),
    Column("years_employed", low=0, high=70),
))  # fmt: skip


def customers(rng: np.random.Generator, count: int, profile: np.ndarray) -> Data:
    """Generate customers of one bank; how they pay back follows the same law everywhere."""
    z = rng.normal(size=(count, 8)) * profile[1] + profile[0]
    table = np.stack([
        np.exp(3.6 + 0.45 * z[:, 0]).clip(0, 2000),
        (42 + 11 * z[:, 1]).clip(18, 110),
        1 / (1 + np.exp(-z[:, 2])),
        np.exp(-1 + 0.5 * z[:, 3]).clip(0, 20),
        np.floor(np.exp(0.8 * z[:, 4])).clip(0, 100),
        (z[:, 5] > 0).astype(float),
        np.exp(2.5 + 0.6 * z[:, 6]).clip(0, 5000),
        (8 + 5 * z[:, 7]).clip(0, 70),
    ], axis=1)  # fmt: skip
    weights = [-0.5, -0.25, 0.6, 0.55, 0.8, -0.3, 0.2, 0.15]
    fails = rng.random(count) < 1 / (1 + np.exp(2.2 - z @ weights))
    return Data(table, fails, AGREED.names)


def split(seed: int) -> tuple[dict[str, Data], dict[str, Data]]:
    """Return the rows of each bank, and new customers of each."""
    rng = np.random.default_rng(seed)
    profiles = {bank: np.stack([rng.normal(0, 0.7, 8), rng.uniform(0.6, 1.1, 8)]) for bank in BANKS}
    rows = {bank: customers(rng, count, profiles[bank]) for bank, count in BANKS.items()}
    return rows, {bank: customers(rng, 3000, profile) for bank, profile in profiles.items()}


def run() -> Comparison:
    """Compare on several generated markets."""
    found = np.empty((SPLITS, len(BANKS), 3))
    for seed in range(SPLITS):
        rows, new = split(seed)
        lead = Federation("credit", list(BANKS), privacy=None)
        federated = FederatedLogisticRegression().fit(lead, rows, schema=AGREED)
        pooled = FederatedLogisticRegression().fit_plain([concatenate(list(rows.values()))])
        for place, bank in enumerate(BANKS):
            own = FederatedLogisticRegression().fit_plain([rows[bank]])
            for column, model in enumerate((own, federated, pooled)):
                scores = model.decision_function(new[bank].features)
                found[seed, place, column] = auc(new[bank].labels, scores)
    return Comparison("AUC", ("local-only", "federated", "pooled"), tuple(BANKS), found)


NOTES = (
    "Federated and pooled are the same model. Banks with 400 customers or fewer gain, the smallest",
    "ones most. Those with 600 or more gain nothing: a common model is no better than their own.",
)

if __name__ == "__main__":
    main(__doc__, run, NOTES)
