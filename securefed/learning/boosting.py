"""Gradient boosted trees over a federation: the pooled trees, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import checked
from securefed.learning.boosting_task import BoostingParameters, BoostingTask, bin_edges
from securefed.learning.estimator import FederatedEstimator, TaskPlan
from securefed.learning.evaluation import accuracy
from securefed.learning.linear_model import explained
from securefed.learning.registry import build_task
from securefed.learning.state import State, require_like


class FederatedGradientBoosting(FederatedEstimator):
    """Histogram gradient boosting for two classes or for regression.

    Features may be missing (NaN): at every split gaps go to the side that fits them best, and where
    training saw none, to the side with more rows. Splits lie on quantiles of all parties' rows.

    Attributes:
        feature_importances_: share of the gain of all splits, shape (features,).
        n_trees_: trees grown.
        bin_edges_: where columns may be split, shape (features, bins - 1).
        classes_: 0 and 1, with the logistic objective.
    """

    default_name = "boosting"
    feature_importances_: NDArray[np.float64]
    n_trees_: int
    bin_edges_: NDArray[np.float64]
    classes_: NDArray[np.int64]
    _task: BoostingTask
    _state: State

    def __init__(
        self,
        *,
        objective: Literal["logistic", "squared"] = "logistic",
        trees: int = 100,
        depth: int = 4,
        bins: int = 63,
        learning_rate: float = 0.1,
        l2: float = 1.0,
        min_child_weight: float = 1.0,
        min_gain: float = 1e-6,
        gradient_bits: int = 16,
        min_support: int = 5,
        max_rows: int = 2**20,
        label_bound: float = 1e6,
    ) -> None:
        """Describe a model.

        Args:
            objective: ``logistic`` for labels 0 and 1, ``squared`` for regression.
            trees: number of trees.
            depth: levels of splits in a tree; each takes one round.
            bins: most bins of a column, 2 to 255.
            learning_rate: by which leaves are multiplied.
            l2: regularisation of the leaves.
            min_child_weight: least weight of a side: rows, or sum of p (1 - p) when logistic.
            min_gain: a split improves the loss by more, twice over.
            gradient_bits: accuracy of a row's derivatives; fewer bits make shorter messages.
            min_support: fewest rows beyond an outermost bin edge; at least 1.
            max_rows: most rows of a party; fewer make shorter messages.
            label_bound: largest absolute label of ``squared``.
        """
        self.objective, self.trees, self.depth, self.bins = objective, trees, depth, bins
        self.learning_rate, self.l2 = learning_rate, l2
        self.min_child_weight, self.min_gain = min_child_weight, min_gain
        self.gradient_bits, self.min_support = gradient_bits, min_support
        self.max_rows, self.label_bound = max_rows, label_bound

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Return one task: rounds for the edges, and one for each level of each tree."""
        parameters: dict[str, Any] = {
            "features": features,
            "objective": self.objective,
            "trees": self.trees,
            "depth": self.depth,
            "bins": self.bins,
            "learning_rate": float(self.learning_rate),
            "l2": float(self.l2),
            "min_child_weight": float(self.min_child_weight),
            "min_gain": float(self.min_gain),
            "gradient_bits": self.gradient_bits,
            "min_support": self.min_support,
            "max_rows": self.max_rows,
            "max_parties": max(parties, 2),
            "label_bound": float(self.label_bound),
        }
        task = build_task(BoostingTask.kind, parameters, name=self.default_name)
        rounds = task.rounds() if isinstance(task, BoostingTask) else 0
        return (TaskPlan("", BoostingTask.kind, rounds, parameters),)

    def read(self, states: Mapping[str, State]) -> None:
        """Set the trees and the importances."""
        self._state = states[""]
        features = len(self._state["gains"])
        [plan] = self.plan(features, 2)
        self._task = BoostingTask(BoostingParameters.model_validate(plan.parameters))
        require_like(self._state, self._task.initial_state())
        self.n_features_in_ = features
        self.n_trees_ = int(self._state["tree"])
        self.bin_edges_ = bin_edges(self._state)
        gains = self._state["gains"].astype(np.float64)
        self.feature_importances_ = gains / gains.sum() if gains.sum() > 0 else gains
        if self.objective == "logistic":
            self.classes_ = np.array([0, 1])

    def decision_function(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return log odds of label 1, or expected labels, shape (rows,)."""
        table = self._table(features)
        return self._task.margins(self._state, table) * self._task.parameters.family().unit

    def predict_proba(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of classes 0 and 1, shape (rows, 2).

        Raises:
            MisuseError: a regression has no classes.
        """
        self._require_fitted()
        if self.objective != "logistic":
            raise MisuseError('a model with objective="squared" predicts no classes')
        odds = self.decision_function(features)
        both = [np.exp(-np.logaddexp(0, odds)), np.exp(-np.logaddexp(0, -odds))]
        return np.stack(both, axis=1)

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the more probable class of each row, or the expected label."""
        found = self.decision_function(features)
        return (found > 0).astype(np.float64) if self.objective == "logistic" else found

    def score(self, features: ArrayLike, labels: ArrayLike) -> float:
        """Return the share of rows whose class is predicted, or the coefficient of determination.

        Raises:
            InputError: not one label for each row.
        """
        predicted = self.predict(features)
        known = checked("labels", labels, ndim=1)
        if len(known) != len(predicted):
            raise InputError(f"features has {len(predicted)} rows and labels {len(known)}")
        if self.objective != "logistic":
            return explained(known, predicted)
        return accuracy(known, np.stack([1 - predicted, predicted], axis=1))
