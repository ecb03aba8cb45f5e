"""The tasks of the demonstration on its data: local-only, federated through the ring, pooled."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping

from learning_tables.report import Table, Told
from securefed.data import breast_cancer_companies
from securefed.learning import build_task, suggest
from securefed.learning.demo import NEURAL_NETWORK, RISK_SCORE, DemoTask
from securefed.learning.evaluation import Score, compare
from securefed.learning.reference import fit, fixed_point_sum

FIGURES = {"AUC": 4, "accuracy": 4, "log loss": 4}


def section(told: Told) -> str:
    """Return the table over all seeds."""
    table = Table(f"Breast cancer, 5 companies, {told.seeds} splits", FIGURES)
    for demo in (RISK_SCORE, NEURAL_NETWORK):
        for seed in range(told.seeds):
            table.add(rows(demo, seed))
    return str(table)


def rows(demo: DemoTask, seed: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield the scores on one split."""
    split = breast_cancer_companies(seed=seed)
    parties, task = len(split.parts), build_task(demo.kind, demo.parameters)
    ring = suggest(demo.kind, demo.parameters, parties)
    add = fixed_point_sum(ring, parties=parties, random=secrets.token_bytes)
    federated = fit(task, split.parts, rounds=demo.rounds, seed=seed, add=add)
    found = compare(
        demo.kind, demo.parameters, split.parts, split.test,
        rounds=demo.rounds, federated=federated.state, seed=seed,
    )  # fmt: skip
    for name in ("local", "federated", "pooled"):
        score: Score = getattr(found, name)
        figures = {"accuracy": score.accuracy, "log loss": score.log_loss}
        if score.auc is not None:
            figures["AUC"] = score.auc
        title = "local-only (mean)" if name == "local" else name
        yield f"{demo.name} (`{demo.kind}`): {title}", figures
