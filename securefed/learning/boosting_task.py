"""The ``gbdt`` task: gradient boosted trees whose every split follows from exact sums.

First rounds search where the bins of every column end. Then one round for each level of each tree
sums, per node, feature and bin, the derivatives of the loss. These are
rounded to whole numbers at each row: their sums do not depend on how rows lie at the parties, and
the trees are those of the pooled rows to the last bit.
Source: Ke et al. 2017 (LightGBM) for histograms; Shi et al. 2022 for quantised gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from protocols.errors import NoResultError, WireError
from securefed.data.table import Data, require_columns, require_rows
from securefed.learning.boosting_bins import GROWING, Binning
from securefed.learning.boosting_margins import Margins
from securefed.learning.boosting_trees import SplitRules, best_splits, follow
from securefed.learning.exact_sum import WORD_BITS, ExactSum, Summand
from securefed.learning.glm_family import Family, family
from securefed.learning.layout import Arrays, Layout
from securefed.learning.quantile_search import QuantileSearch, edges
from securefed.learning.state import State, require_like
from securefed.learning.task import Contribution, Numbers, Step, scalar

KEY_BITS: Final = 32
"""Sign, exponent and 20 bits of the fraction: edges are known to a millionth of themselves."""
_LABEL_BITS: Final = 32
_MAX_LOSS: Final = 64.0


class BoostingParameters(BaseModel):
    """Agreement parameters of ``gbdt``.

    Attributes:
        features: number of feature columns; values may be missing.
        objective: ``logistic`` for labels 0 and 1, ``squared`` for any.
        trees, depth: how many trees, and levels of splits in each.
        bins: most bins of the values of a column; one more holds missing values.
        learning_rate: by which leaves are multiplied.
        l2, min_child_weight, min_gain: of splits and leaves; weights are sums of p (1 - p), or of
            rows for ``squared``.
        gradient_bits: a row's derivatives are rounded to 2^-gradient_bits of their largest value.
        min_support: no bin's edge is nearer to either end of a column than this many rows.
        max_rows: most rows of a party.
        max_parties: most parties; fewer make shorter messages.
        label_bound: largest absolute label of ``squared``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    features: Annotated[int, Field(ge=1, le=10_000)]
    objective: Literal["logistic", "squared"] = "logistic"
    trees: Annotated[int, Field(ge=1, le=5000)] = 100
    depth: Annotated[int, Field(ge=1, le=10)] = 4
    bins: Annotated[int, Field(ge=2, le=255)] = 63
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    l2: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    min_child_weight: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    min_gain: Annotated[float, Field(ge=0, le=1e9)] = 1e-6
    gradient_bits: Annotated[int, Field(ge=8, le=32)] = 16
    min_support: Annotated[int, Field(ge=1, le=10**6)] = 5
    max_rows: Annotated[int, Field(ge=1, le=2**30)] = 2**20
    max_parties: Annotated[int, Field(ge=1, le=1000)] = 1000
    label_bound: Annotated[float, Field(gt=0, le=1e12)] = 1e6

    @property
    def cells(self) -> int:
        """Bins of a column, the one of missing values included."""
        return self.bins + 1

    def family(self) -> Family:
        """Return the loss as a family of labels."""
        name: Literal["binomial", "gaussian"]
        name = "binomial" if self.objective == "logistic" else "gaussian"
        return family(name, self.label_bound)


@dataclass(frozen=True, slots=True)
class BoostingTask:
    """The ``gbdt`` task."""

    parameters: BoostingParameters
    # What was computed for a party's rows; recomputed when it does not fit the state.
    _margins: Margins = field(default_factory=Margins, repr=False, compare=False)
    kind: ClassVar[str] = "gbdt"

    def initial_state(self) -> State:
        """No edge is known and no tree is grown."""
        told = self.parameters
        return {
            **self.binning().start(told.features),
            "base": np.array(0.0),
            "tree": np.array(0.0),
            "level": np.array(0.0),
            "splits": np.full((told.trees, 2**told.depth - 1), -1.0, dtype=np.float32),
            "leaves": np.zeros((told.trees, 2**told.depth)),
            "gains": np.zeros(told.features),
        }

    def layout(self) -> Layout:
        """Histograms of the nodes of the last level, in words; probes use the same places."""
        return self._sums().layout()

    def numbers(self) -> Numbers:
        """Return the ring that holds the words."""
        return self._sums().numbers()

    def rounds(self) -> int:
        """Return how many rounds the task takes at most."""
        return self.binning().rounds() + self.parameters.trees * self.parameters.depth

    def binning(self) -> Binning:
        """Return how the edges of the bins are found."""
        told = self.parameters
        targets = told.bins - 1
        quantiles = tuple((1 + place) / told.bins for place in range(targets))
        probes = max(1, 2 * self._nodes() * told.cells // targets)
        search = QuantileSearch(quantiles, min(probes, 255), KEY_BITS, told.min_support)
        return Binning(search)

    def check(self, data: Data) -> None:
        """Refuse data that the agreement does not describe; raises InputError."""
        require_columns(data.features, self.parameters.features)
        require_rows(data, self.parameters.max_rows)
        self.parameters.family().check(data)

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Count probes, or sum derivatives per node, feature and bin."""
        del round_in_task, rng  # the phase lies in the state, and an exact sum draws nothing
        require_like(state, self.initial_state())
        self.check(data)
        sums = self._sums()
        values = sums.zeros()
        labels = data.labels / self.parameters.family().unit
        values["rows"] = np.array(float(len(data)))
        # A row's label is rounded, not their sum, which then depends on no split of the rows.
        values["labels"] = np.asarray(_round(labels, _LABEL_BITS).sum())
        if scalar(state, "phase") != GROWING:
            counts = self.binning().counts(state, data.features)
            values["present"] = (~np.isnan(data.features)).sum(axis=0).astype(np.float64)
            cells = np.zeros(2 * values["gradients"].size)
            cells[: counts.size] = counts
            halves = cells.reshape(2, *values["gradients"].shape)
            values["gradients"], values["hessians"] = halves[0], halves[1]
        else:
            self._histograms(state, data, labels, values)
        return sums.encode(values)

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Narrow the brackets of the edges, or split every node of a level."""
        del round_in_task
        sums = self._sums().decode(total)
        rows = float(sums["rows"])
        if rows < 1:
            raise NoResultError("no party counted a row; check the data of the parties")
        if scalar(state, "phase") != GROWING:
            return self._bin(state, sums, rows)
        told = self.parameters
        tree, level = int(scalar(state, "tree")), int(scalar(state, "level"))
        nodes = 2**level
        least = told.min_gain / told.family().unit ** 2
        rules = SplitRules(told.l2, told.min_child_weight, least)
        found = best_splits(sums["gradients"][:nodes], sums["hessians"][:nodes], rules)
        splits, leaves = state["splits"].copy(), state["leaves"].copy()
        splits[tree, nodes - 1 : 2 * nodes - 1] = found.codes
        features = np.maximum(found.codes, 0).astype(np.int64) // (2 * told.cells)
        gains = state["gains"] + np.bincount(features, found.gains, told.features)
        after: State = {"splits": splits, "gains": gains}
        last = level + 1 == told.depth
        if last:
            leaves[tree] = told.learning_rate * found.leaves
            after["leaves"] = leaves
        after["tree"] = np.array(float(tree + last))
        after["level"] = np.array(0.0 if last else float(level + 1))
        metrics = {"rows": rows, "gain": float(found.gains.sum())}
        if level == 0:
            metrics["loss"] = float(sums["loss"]) / rows
        return Step({**state, **after}, last and tree + 1 == told.trees, metrics)

    def margins(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return base and leaves added up for each row, shape (rows,).

        These are log odds, or labels in units of the label bound.
        """
        return Margins().of(state, features, int(scalar(state, "tree")), KEY_BITS)[1]

    def _histograms(
        self, state: State, data: Data, labels: NDArray[np.float64], values: Arrays
    ) -> None:
        told, fit = self.parameters, self.parameters.family()
        tree, level = self._place(state)
        codes, margins = self._margins.of(state, data.features, tree, KEY_BITS)
        predictor = np.clip(margins, fit.low, fit.high)
        mean = fit.mean(predictor)
        gradients = _round(mean - labels, self._gradient_bits())
        hessians = _round(fit.weight(mean), self._hessian_bits())
        splits = state["splits"][tree].astype(np.float64)
        node = follow(codes, splits, level, told.cells) * told.cells
        size = 2**level * told.cells
        for column in range(told.features):
            place = node + codes[:, column]
            for name, each in (("gradients", gradients), ("hessians", hessians)):
                sums = np.bincount(place, each, size).reshape(-1, told.cells)
                values[name][: len(sums), column] = sums
        if level == 0:
            loss = -fit.likelihood(labels, predictor, mean).sum()
            values["loss"] = np.asarray(min(float(loss), _MAX_LOSS * told.max_rows))

    def _bin(self, state: State, sums: Arrays, rows: float) -> Step:
        cells = np.concatenate([sums["gradients"].ravel(), sums["hessians"].ravel()])
        after, left = self.binning().advance(state, cells, sums["present"])
        base = self.parameters.family().start(float(sums["labels"]) / rows)
        changed: State = {**after, "base": np.array(base)}
        return Step({**state, **changed}, False, {"rows": rows, "open": float(left)})

    def _place(self, state: State) -> tuple[int, int]:
        told = self.parameters
        tree, level = scalar(state, "tree"), scalar(state, "level")
        splits = state["splits"]
        if (
            not (0 <= tree < told.trees and 0 <= level < told.depth)
            or tree % 1
            or level % 1
            or splits.min() < -1
            or splits.max() >= 2 * told.features * told.cells
        ):
            raise WireError("coordinator", "model", "a tree is out of range")
        return int(tree), int(level)

    def _nodes(self) -> int:
        return int(2 ** (self.parameters.depth - 1))

    def _gradient_bits(self) -> int:
        # Labels of any unit are divided by a bound that may lie far above them.
        extra = 0 if self.parameters.objective == "logistic" else 16
        return self.parameters.gradient_bits + extra

    def _hessian_bits(self) -> int:
        return self.parameters.gradient_bits if self.parameters.objective == "logistic" else 0

    def _sums(self) -> ExactSum:
        told, fit = self.parameters, self.parameters.family()
        rows, shape = float(told.max_rows), (self._nodes(), told.features, told.cells)
        gradients = rows * fit.max_residual
        # The histograms are long: their words, as short as they may be, decide on the ring.
        whole = math.log2(gradients) + self._gradient_bits()
        word = math.ceil(whole / math.ceil(whole / WORD_BITS))

        def summand(shape: tuple[int, ...], bound: float, bits: int) -> Summand:
            return Summand(shape, bound, 2.0**-bits, word)

        return ExactSum.of(
            {
                "rows": summand((), rows, 0),
                "labels": summand((), rows, _LABEL_BITS),
                "loss": summand((), rows * max(_MAX_LOSS, fit.max_likelihood), 20),
                "present": summand((told.features,), rows, 0),
                "gradients": summand(shape, gradients, self._gradient_bits()),
                "hessians": summand(shape, rows, self._hessian_bits()),
            },
            told.max_parties,
        )


def bin_edges(state: State) -> NDArray[np.float64]:
    """Return the edges of the bins of a fitted state, shape (features, bins - 1)."""
    return edges(state["high"].astype(np.float64), KEY_BITS)


def _round(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    unit = 2.0**bits
    return np.asarray(np.rint(values * unit) / unit, dtype=np.float64)
