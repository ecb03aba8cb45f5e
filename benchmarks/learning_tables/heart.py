"""Heart disease in four hospitals: own models, common ones, intercepts, scaling, strangers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from utility_sets import heart
from utility_sets.problem import Problem

from learning_tables.report import Table, Told
from securefed import Data, Federation
from securefed.data.table import concatenate
from securefed.learning import FederatedLogisticRegression, FederatedStandardizer
from securefed.learning.evaluation import auc

Array = NDArray[np.float64]
Scores = Callable[[int, Array], Array]
"""From a hospital's number and a table to log odds."""

FIGURES = {"accuracy": 3, "AUC": 4, "rounds": 1, "kB a party": 1}


def section(told: Told) -> str:
    """Return the table over all seeds."""
    hospitals = heart.load(told.data / "heart_disease")
    table = Table(f"Heart disease, 4 hospitals, {told.seeds} splits", FIGURES)
    for seed in range(told.seeds):
        table.add(rows(heart.split(hospitals, seed)))
    return str(table)


def rows(problem: Problem) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield the figures of each model on one split; federated ones run over real nodes."""
    parts = list(problem.parts)
    lead = Federation("hearts", heart.HOSPITALS, privacy=None)
    data = dict(zip(heart.HOSPITALS, parts, strict=True))
    own = [one_company(part) for part in parts]
    yield "local-only, each hospital its own", figures(problem, lambda k, x: own[k](x))
    common = FederatedLogisticRegression().fit(lead, data)
    score = common.decision_function
    yield "federated", figures(problem, lambda _, x: score(x)) | cost(common)
    pooled = FederatedLogisticRegression().fit_plain([concatenate(parts)]).decision_function
    yield "pooled", figures(problem, lambda _, x: pooled(x))
    levels = FederatedLogisticRegression(intercepts="per-party").fit(lead, data)
    yield (
        "federated, an intercept for each hospital",
        figures(problem, lambda k, x: levels.decision_function(x, party=k)) | cost(levels),
    )
    at_home = [FederatedStandardizer(min_support=1).fit_plain([part]) for part in parts]
    scaled = [each.transform_data(part) for each, part in zip(at_home, parts, strict=True)]
    lost = FederatedLogisticRegression().fit_plain(scaled).decision_function
    yield (
        "federated, columns scaled by each hospital's own rows",
        figures(problem, lambda k, x: lost(at_home[k].transform(x))),
    )
    without = [
        FederatedLogisticRegression().fit_plain([p for j, p in enumerate(parts) if j != k])
        for k in range(len(parts))
    ]
    yield (
        "federated without the hospital that is tested",
        figures(problem, lambda k, x: without[k].decision_function(x)),
    )
    yield (
        "the mean of the others' own models, for the hospital that is tested",
        figures(problem, lambda k, x: np.mean([s(x) for j, s in enumerate(own) if j != k], axis=0)),
    )


def figures(problem: Problem, scores: Scores) -> dict[str, float]:
    """Return accuracy and AUC over the test rows of all hospitals."""
    owners = problem.owners
    if owners is None:
        raise SystemExit("every test row of the hospitals has an owner")
    odds = np.empty(len(problem.test))
    for number in range(len(problem.parts)):
        mine = owners == number
        odds[mine] = scores(number, problem.test.features[mine])
    return quality(problem.test.labels, odds)


def quality(labels: Array, odds: Array) -> dict[str, float]:
    """Return accuracy and AUC of log odds."""
    return {"accuracy": float(np.mean((odds > 0) == (labels == 1))), "AUC": auc(labels, odds)}


def cost(model: FederatedLogisticRegression) -> dict[str, float]:
    """Return rounds and what the busiest party sent."""
    return {"rounds": model.n_rounds_, "kB a party": max(model.bytes_up_.values()) / 1e3}


def one_company(part: Data) -> Callable[[Array], Array]:
    """Return a company's own scores; one with a single class can only guess that class."""
    if len(np.unique(part.labels)) == 1:
        guess = 10.0 if part.labels[0] else -10.0
        return lambda features: np.full(len(features), guess)
    return FederatedLogisticRegression().fit_plain([part]).decision_function
