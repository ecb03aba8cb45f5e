"""Adult over ten companies with skewed labels: logistic regression and boosted trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from utility_sets import adult
from utility_sets.problem import Problem

from learning_tables.heart import quality
from learning_tables.report import Table, Told
from securefed import Data, Federation
from securefed.data.table import concatenate
from securefed.learning import (
    FederatedGradientBoosting,
    FederatedLogisticRegression,
    IncompleteData,
)

Model = FederatedLogisticRegression | FederatedGradientBoosting
NAMES = tuple(f"company-{number}" for number in range(adult.COMPANIES))
FIGURES = {"accuracy": 3, "AUC": 4, "worst company, AUC": 4, "rounds": 1, "MB a party": 2}


def section(told: Told) -> str:
    """Return the table over all seeds."""
    loaded = adult.load(told.data / "adult")
    table = Table(f"Adult, {adult.COMPANIES} companies, {told.seeds} splits", FIGURES)
    for seed in range(told.seeds):
        table.add(rows(adult.split(loaded, seed), trees=trees(told)))
    return str(table)


def trees(told: Told) -> int:
    """Return how many trees are grown."""
    return 3 if told.quick else 100


def rows(problem: Problem, *, trees: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield the figures of each model on one split; federated ones run over real nodes."""
    lead = Federation("adults", NAMES, privacy=None)
    for name, make, prepare in models(trees):
        parts = [prepare(part, problem) for part in problem.parts]
        test = prepare(problem.test, problem)
        alone = [quality_on(make().fit_plain([part]), test) for part in parts]
        worst = min(each["AUC"] for each in alone)
        mean = {key: float(np.mean([each[key] for each in alone])) for key in alone[0]}
        yield f"{name}: local-only, mean of the companies", mean | {"worst company, AUC": worst}
        model = make().fit(lead, dict(zip(NAMES, parts, strict=True)))
        sent = {"rounds": model.n_rounds_, "MB a party": max(model.bytes_up_.values()) / 1e6}
        yield f"{name}: federated", quality_on(model, test) | sent
        whole = prepare(concatenate(problem.parts), problem)
        pooled = make().set_params(max_rows=2**16).fit_plain([whole])
        yield f"{name}: pooled", quality_on(pooled, test)


def models(
    trees: int,
) -> tuple[tuple[str, Callable[[], Model], Callable[[Data, Problem], Data]], ...]:
    """Return name, estimator and preparation of the rows of each model."""
    return (
        (
            "logistic regression",
            lambda: FederatedLogisticRegression(max_rows=2**15),
            lambda data, _: data,
        ),
        (
            f"boosting, {trees} trees",
            lambda: FederatedGradientBoosting(trees=trees, gradient_bits=12, max_rows=2**15),
            coded,
        ),
    )


def quality_on(model: Model, test: Data) -> dict[str, float]:
    """Return accuracy and AUC of a model."""
    return quality(test.labels, model.decision_function(test.features))


def coded(data: Data, problem: Problem) -> Data:
    """Turn the indicators of each category back into one column of codes; unknown is a gap."""
    groups: dict[str, list[int]] = {}
    for place, column in enumerate(problem.columns):
        groups.setdefault(column.name.partition("=")[0], []).append(place)
    columns = []
    for places in groups.values():
        block: NDArray[np.float64] = data.features[:, places]
        if len(places) > 1:
            known = block.any(axis=1)
            columns.append(np.where(known, np.argmax(block, axis=1), np.nan))
        else:
            columns.append(block[:, 0])
    return IncompleteData(np.stack(columns, axis=1), data.labels)
