"""Several estimators one after the other, each with an agreement and a run of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.errors import MisuseError
from securefed.data.schema import Schema
from securefed.data.table import Data
from securefed.federation import Federation
from securefed.learning.estimator import FederatedEstimator, TaskPlan
from securefed.learning.preprocessing import FederatedTransformer

Step = tuple[str, FederatedEstimator]


@runtime_checkable
class Predicting(Protocol):
    """An estimator that predicts."""

    def predict(self, features: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return one prediction a row."""
        ...

    def score(self, features: ArrayLike, labels: ArrayLike, **options: Any) -> float:
        """Return the quality on rows with known labels."""
        ...


@runtime_checkable
class PredictingClasses(Protocol):
    """An estimator that predicts class probabilities."""

    def predict_proba(self, features: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return class probabilities, shape (rows, classes)."""
        ...


class FederatedPipeline(FederatedEstimator):
    """Transformers and a last estimator; every party applies what was fitted to its own rows.

    Each step runs under its own agreement, as its parameters may depend on what came before. For a
    deployed run, add each step to a federation of its own, in order.

    Attributes:
        n_rounds_: rounds of all steps together.
    """

    default_name = "pipeline"

    def __init__(self, steps: Sequence[Step]) -> None:
        """Name the steps, in order: ``[("scale", FederatedStandardizer()), ...]``."""
        self.steps = steps

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the steps; with ``deep`` also ``step`` and ``step__parameter``."""
        found: dict[str, Any] = {"steps": self.steps}
        if deep:
            for name, step in self.steps:
                found[name] = step
                found |= {f"{name}__{key}": each for key, each in step.get_params().items()}
        return found

    def set_params(self, **parameters: Any) -> Self:
        """Change ``steps`` or ``step__parameter``.

        Raises:
            MisuseError: no such step or parameter.
        """
        for name, value in parameters.items():
            head, _, rest = name.partition("__")
            if name == "steps":
                self.steps = value
            elif rest and head in dict(self.steps):
                self[head].set_params(**{rest: value})
            else:
                raise MisuseError(f"the pipeline has no parameter {name!r}")
        return self

    def __getitem__(self, name: str) -> FederatedEstimator:
        """Return a step by name."""
        return dict(self.steps)[name]

    def plan(self, features: int, parties: int) -> tuple[TaskPlan, ...]:
        """Refuse: a pipeline is no single agreement."""
        del features, parties
        raise MisuseError(
            "each step of a pipeline has an agreement of its own; call add_to and load of each step"
        )

    def fit(
        self,
        federation: Federation,
        data: Mapping[str, Data],
        *,
        schema: Schema | None = None,
        seed: int | None = None,
    ) -> Self:
        """Fit every step over real nodes in this process, as :meth:`FederatedEstimator.fit`.

        The schema is about the rows that the first step takes.
        """
        transformers = self._transformers()
        current = dict(data)
        for step in transformers:
            step.fit(federation, current, schema=schema, seed=seed)
            current = {name: step.transform_data(rows) for name, rows in current.items()}
            schema = None
        self.steps[-1][1].fit(federation, current, schema=schema, seed=seed)
        return self._gather()

    def fit_plain(self, parts: Sequence[Data], *, schema: Schema | None = None) -> Self:
        """Fit every step over plain sums, as :meth:`FederatedEstimator.fit_plain`."""
        current = list(parts)
        for step in self._transformers():
            step.fit_plain(current, schema=schema)
            current = [step.transform_data(rows) for rows in current]
            schema = None
        self.steps[-1][1].fit_plain(current, schema=schema)
        return self._gather()

    def transform(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the table as the last estimator takes it."""
        table = self._table(features)
        for step in self._transformers():
            table = step.transform(table)
        return table

    def predict(self, features: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return the last estimator's predictions; raises MisuseError where it has none."""
        last = self._last()
        if not isinstance(last, Predicting):
            raise MisuseError(f"{type(last).__name__} does not predict")
        return last.predict(self.transform(features), **options)

    def predict_proba(self, features: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return the last estimator's probabilities; raises MisuseError where it has none."""
        last = self._last()
        if not isinstance(last, PredictingClasses):
            raise MisuseError(f"{type(last).__name__} predicts no classes")
        return last.predict_proba(self.transform(features), **options)

    def score(self, features: ArrayLike, labels: ArrayLike, **options: Any) -> float:
        """Return the last estimator's score; raises MisuseError where it has none."""
        last = self._last()
        if not isinstance(last, Predicting):
            raise MisuseError(f"{type(last).__name__} does not predict")
        return last.score(self.transform(features), labels, **options)

    def _last(self) -> FederatedEstimator:
        self._require_fitted()
        return self.steps[-1][1]

    def _transformers(self) -> list[FederatedTransformer]:
        names = [name for name, _ in self.steps]
        if not names or len(set(names)) != len(names) or any("__" in name for name in names):
            raise MisuseError("a pipeline has steps with different names, without two underscores")
        found: list[FederatedTransformer] = []
        for name, step in self.steps[:-1]:
            if not isinstance(step, FederatedTransformer):
                raise MisuseError(f"step {name} is no transformer, as only the last may be")
            found.append(step)
        return found

    def _gather(self) -> Self:
        steps = [step for _, step in self.steps]
        self._reset(steps[0].n_features_in_)
        self.n_rounds_ = sum(step.n_rounds_ for step in steps)
        self.complaints_ = tuple(one for step in steps for one in step.complaints_)
        self.privacy_ = steps[-1].privacy_
        for step in steps:
            for party, size in step.bytes_up_.items():
                self.bytes_up_[party] = self.bytes_up_.get(party, 0) + size
        return self
