"""What masks change: one split of every model over real nodes, and the same through plain sums."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from recommend import federation, measured, read_films, split
from utility_sets import adult, heart

from learning_tables import adult as adult_table
from learning_tables import films as films_table
from learning_tables.heart import figures as heart_figures
from learning_tables.report import Told, grid
from securefed import Federation
from securefed.learning import FederatedLogisticRegression
from securefed.learning.evaluation import auc

_HEADS = (
    "one split", "figure", "plain sums", "real nodes", "largest difference of a score", "rounds",
    "MB a party", "s",
)  # fmt: skip
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """The same fit by both ways.

    Attributes:
        name: of the model.
        figure: what is measured.
        plain, masked: the figure through plain sums and over real nodes.
        gap: largest difference of a score of a test row.
        rounds: over real nodes.
        sent: bytes that the busiest party sent.
        seconds: of the fit over real nodes, all parties in one process.
    """

    name: str
    figure: str
    plain: float
    masked: float
    gap: float
    rounds: int
    sent: int
    seconds: float


def section(told: Told) -> str:
    """Return the table, having checked that no figure changes in four decimals.

    Raises:
        SystemExit: one does.
    """
    pairs = [*hearts(told), *adults(told), *films(told)]
    lines = [grid(*_HEADS), grid(*["---"] * len(_HEADS))]
    for pair in pairs:
        if round(pair.plain, _DIGITS) != round(pair.masked, _DIGITS):
            raise SystemExit(f"{pair.name}: masks changed {pair.plain} to {pair.masked}")
        lines.append(
            grid(
                pair.name, pair.figure, f"{pair.plain:.{_DIGITS}f}", f"{pair.masked:.{_DIGITS}f}",
                f"{pair.gap:.1e}" if pair.gap else "0 (bit for bit)", str(pair.rounds),
                f"{pair.sent / 1e6:.3g}", f"{pair.seconds:.0f}",
            )
        )  # fmt: skip
    return "\n".join(lines)


def hearts(told: Told) -> Iterator[Pair]:
    """Yield the two regressions of the hospitals."""
    problem = heart.split(heart.load(told.data / "heart_disease"), 0)
    lead = Federation("hearts", heart.HOSPITALS, privacy=None)
    data = dict(zip(heart.HOSPITALS, problem.parts, strict=True))
    for name, intercepts in (("common", "common"), ("own", "per-party")):
        plain = FederatedLogisticRegression(intercepts=intercepts).fit_plain(list(problem.parts))
        started = time.perf_counter()
        masked = FederatedLogisticRegression(intercepts=intercepts).fit(lead, data)
        seconds = time.perf_counter() - started

        def scores(model: FederatedLogisticRegression, own: bool = name == "own") -> np.ndarray:
            places = problem.owners if own else np.zeros(len(problem.test), dtype=int)
            odds = [
                model.decision_function(problem.test.features, party=k if own else None)
                for k in range(4 if own else 1)
            ]
            return np.stack(odds)[places, np.arange(len(problem.test))]

        def area(model: FederatedLogisticRegression, own: bool = name == "own") -> float:
            return heart_figures(
                problem,
                lambda k, x: model.decision_function(x, party=k if own else None),
            )["AUC"]

        gap = float(np.abs(scores(plain) - scores(masked)).max())
        yield Pair(
            f"Heart, logistic regression, {name} intercept", "AUC", area(plain), area(masked), gap,
            masked.n_rounds_, max(masked.bytes_up_.values()), seconds,
        )  # fmt: skip


def adults(told: Told) -> Iterator[Pair]:
    """Yield regression and trees of the census."""
    problem = adult.split(adult.load(told.data / "adult"), 0)
    lead = Federation("adults", adult_table.NAMES, privacy=None)
    for name, make, prepare in adult_table.models(adult_table.trees(told)):
        parts = [prepare(part, problem) for part in problem.parts]
        test = prepare(problem.test, problem)
        plain = make().fit_plain(parts)
        started = time.perf_counter()
        masked = make().fit(lead, dict(zip(adult_table.NAMES, parts, strict=True)))
        seconds = time.perf_counter() - started
        odds = [model.decision_function(test.features) for model in (plain, masked)]
        yield Pair(
            f"Adult, {name}", "AUC", *[auc(test.labels, each) for each in odds],
            float(np.abs(odds[0] - odds[1]).max()),
            masked.n_rounds_, max(masked.bytes_up_.values()), seconds,
        )  # fmt: skip


def films(told: Told) -> Iterator[Pair]:
    """Yield the recommenders."""
    read = read_films(told.data / "ml-latest-small")
    parts = split(read.holdout, 0)
    for name, make in films_table.recommenders(read, quick=told.quick).items():
        plain = make().fit_plain([part.train for part in parts])
        started = time.perf_counter()
        masked = make().fit(*federation(parts))
        seconds = time.perf_counter() - started
        scores = [model.scores(read.holdout.train) for model in (plain, masked)]
        known = np.isfinite(scores[0])
        figures = [measured(read, model.scores).ndcg for model in (plain, masked)]
        yield Pair(
            f"MovieLens, {name}", "NDCG@10", *figures,
            float(np.abs(scores[0][known] - scores[1][known]).max()),
            masked.n_rounds_, max(masked.bytes_up_.values()), seconds,
        )  # fmt: skip
