"""Quality on a held-out set, and federated beside local-only and pooled on the same split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import Data, checked, require_classes
from securefed.learning.person import AnyTask, require_plain
from securefed.learning.reference import fit, fit_pooled
from securefed.learning.registry import build_task
from securefed.learning.state import State
from securefed.learning.task import Classifier, Personal

_SMALLEST_PROBABILITY: Final = 1e-15


def predict_proba(
    task: AnyTask, state: State, features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return class probabilities of a state, shape (rows, classes), without running the task.

    Raises:
        MisuseError: the task predicts no classes, or its state lacks a head: see
            :func:`personalise`.
        InputError: the features are not a finite table.
    """
    if not isinstance(task, Classifier):
        raise MisuseError(f"tasks of kind {task.kind!r} do not predict classes")
    return task.predict_proba(state, checked("features", features, ndim=2))


def personalise(task: AnyTask, state: State, rows: Data) -> State:
    """Return a shared state completed by the head that a company's own rows give.

    It is made from these alone, in the same way whether the company took part or not, and predicts
    and scores like any other state. It stays at the company, as its rows do.

    Args:
        task: one with ``head = "bias"`` or ``"layer"``.
        state: of a run, or personalised before, whose head is then replaced.
        rows: of the company.

    Raises:
        MisuseError: the task has no heads.
        InputError: the rows do not suit the task.
    """
    if not isinstance(task, Personal):
        raise MisuseError(f"tasks of kind {task.kind!r} have no head for each company")
    return task.fit_head(state, rows)


def auc(labels: NDArray[Any], scores: NDArray[np.float64]) -> float:
    """Area under the ROC curve: P(score of a 1 > score of a 0), ties counting half.

    Args:
        labels: shape (rows,), 0 or 1, both present.
        scores: shape (rows,), higher for 1.

    Raises:
        InputError: another shape, or only one class.

    Source: Hanley and McNeil 1982; as the Mann-Whitney statistic with midranks.
    """
    ones = checked("labels", labels, ndim=1) == 1
    values = checked("scores", scores, ndim=1)
    positives, negatives = int(ones.sum()), int((~ones).sum())
    if len(ones) != len(values) or not positives or not negatives:
        raise InputError("labels and scores need one length, and labels both classes")
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[ones].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def accuracy(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> float:
    """Share of rows whose most probable class is the label; probabilities (rows, classes)."""
    return float(np.mean(np.argmax(probabilities, axis=1) == labels))


def log_loss(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> float:
    """Mean of -log p(label), in nats; probabilities, shape (rows, classes), are kept off 0."""
    chosen = probabilities[np.arange(len(labels)), np.asarray(labels).astype(np.int64)]
    return float(-np.log(np.clip(chosen, _SMALLEST_PROBABILITY, 1.0)).mean())


@dataclass(frozen=True, slots=True)
class Score:
    """Quality of one model on one test set; ``auc`` is None beyond two classes."""

    name: str
    accuracy: float
    log_loss: float
    auc: float | None


def score(name: str, task: AnyTask, state: State, test: Data) -> Score:
    """Score a state on held-out rows.

    Raises:
        InputError: the labels do not suit the task.
    """
    probabilities = predict_proba(task, state, test.features)
    require_classes(test, probabilities.shape[1])
    binary = probabilities.shape[1] == 2
    return Score(
        name,
        accuracy(test.labels, probabilities),
        log_loss(test.labels, probabilities),
        auc(test.labels, probabilities[:, 1]) if binary else None,
    )


def mean_score(name: str, scores: Sequence[Score]) -> Score:
    """Return the mean of several scores, such as of every company's own model."""
    areas = [each.auc for each in scores if each.auc is not None]
    return Score(
        name,
        float(np.mean([each.accuracy for each in scores])),
        float(np.mean([each.log_loss for each in scores])),
        float(np.mean(areas)) if len(areas) == len(scores) else None,
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Local-only, federated and pooled on one test set.

    Attributes:
        local: mean over the companies' own models.
        federated: the federation's model.
        pooled: the model of all rows in one place.
    """

    local: Score
    federated: Score
    pooled: Score

    def to_plain(self) -> dict[str, dict[str, Any]]:
        """Return the rows as plain dicts, for JSON."""
        return {
            "local": asdict(self.local),
            "federated": asdict(self.federated),
            "pooled": asdict(self.pooled),
        }

    def __str__(self) -> str:
        lines = [f"{'':<18}{'AUC':>8}{'accuracy':>10}{'log loss':>10}"]
        for row in (self.local, self.federated, self.pooled):
            area = "-" if row.auc is None else f"{row.auc:.4f}"
            lines.append(f"{row.name:<18}{area:>8}{row.accuracy:>10.4f}{row.log_loss:>10.4f}")
        return "\n".join(lines)


def compare(
    kind: str,
    parameters: Mapping[str, Any],
    parts: Sequence[Data],
    test: Data,
    *,
    rounds: int,
    federated: State | None = None,
    seed: int = 0,
) -> Comparison:
    """Train local-only and pooled models, and a federated one unless its state is given.

    All run the same rounds of the same task; a local model is the task with a single party.

    Raises:
        AgreementError: the kind or a parameter is wrong, or its sums need noise.
        InputError: the data cannot be used.
        MisuseError: each company has a head, so that one test set for all compares nothing.
        NoResultError: a company holds one class only and can train no model of its own.
    """
    task = require_plain(build_task(kind, parameters))
    if isinstance(task, Personal) and task.personal:
        raise MisuseError(
            "each company has a head of its own here: score personalise(task, state, rows) on test "
            "rows of the same company"
        )
    own = [fit(task, [part], rounds=rounds, seed=seed).state for part in parts]
    local = [score("local", task, state, test) for state in own]
    joint = fit(task, parts, rounds=rounds, seed=seed).state if federated is None else federated
    pooled = fit_pooled(kind, parameters, parts, rounds=rounds, seed=seed)
    return Comparison(
        mean_score("local-only (mean)", local),
        score("federated", task, joint, test),
        score("pooled", task, pooled.state, test),
    )
