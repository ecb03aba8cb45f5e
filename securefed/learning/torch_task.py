"""Federated training of a torch module: FedAvg, FedProx, FedAdam, FedYogi over one weighted sum."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocols.errors import MisuseError, NoResultError
from securefed.data.table import Data, require_classes, require_columns, require_rows
from securefed.learning.early_stopping import iterate, judge, split_rows, watched
from securefed.learning.heads import Head, find_head
from securefed.learning.layout import Arrays, Layout
from securefed.learning.models import build_model
from securefed.learning.moments import (
    MIN_SCALE,
    Scaling,
    contribute_moments,
    finish_moments,
    moments_shape,
)
from securefed.learning.state import State, require_like
from securefed.learning.strategies import (
    AdaptiveMoments,
    AdaptiveRates,
    clip_l2,
    federated_adam,
    federated_average,
    federated_yogi,
    l2_norm,
)
from securefed.learning.task import Contribution, Numbers, Step, scalar
from securefed.learning.torch_parameters import TorchParameters
from securefed.learning.training import mean_loss, probabilities, train

_MOMENTS, _TRAINING = 0.0, 1.0
_LARGEST_LOSS: Final = 16.0


@dataclass(frozen=True, slots=True)
class TorchTask:
    """The ``torch`` task.

    A party sends its clipped update times its weight, and the weight: its rows over ``max_rows``.
    Neither is ever visible alone; the coordinator divides one sum by the other.
    """

    parameters: TorchParameters
    kind: ClassVar[str] = "torch"
    _initial: nn.Module = field(init=False, repr=False, compare=False)
    _head: Head = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_initial", build_model(self.parameters))
        head = find_head(self._initial, self.parameters.head, self.parameters.features)
        object.__setattr__(self, "_head", head)

    def initial_state(self) -> State:
        """Return the seeded initial weights, and the memory of the server's optimiser."""
        state = {
            name: array
            for name, array in _weights(self._initial).items()
            if name not in self._head_names()
        }
        if self.parameters.standardize:
            state["phase"] = np.array(_MOMENTS)
            state["mean"] = np.zeros(self.parameters.features)
            state["scale"] = np.ones(self.parameters.features)
        if self.parameters.server != "average":
            start = self.parameters.server_epsilon**2
            for name, shape in self._trainable().items():
                state[f"server.first.{name}"] = np.zeros(shape, dtype=np.float32)
                state[f"server.second.{name}"] = np.full(shape, start, dtype=np.float32)
        return watched(state, self._trainable()) if self.parameters.validation_share else state

    def layout(self) -> Layout:
        """Weighted update of every trainable array, weight and loss; moments if asked for.

        With early stopping, also the loss on held-out rows and its weight.
        """
        shapes = {f"update.{name}": shape for name, shape in self._trainable().items()}
        shapes |= {"weight": (), "loss": ()}
        if self.parameters.validation_share:
            shapes |= {"validation_weight": (), "validation_loss": ()}
        if self.parameters.standardize:
            shapes["moments"] = moments_shape(self.parameters)
        return Layout.of(shapes)

    def numbers(self) -> Numbers:
        """No coordinate exceeds the clip norm; rounding is unbiased."""
        return Numbers(
            bound=max(1.0, self.parameters.clip_norm),
            modulus_bits=32,
            rounding="stochastic",
            min_scale=MIN_SCALE if self.parameters.standardize else 1.0,
        )

    def contribute(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Contribution:
        """Train locally and return the weighted, clipped update."""
        del round_in_task  # the phase lies in the state
        require_like(state, self.initial_state())
        require_columns(data.features, self.parameters.features)
        require_rows(data, self.parameters.max_rows)
        require_classes(data, self.parameters.classes)
        state, sums = iterate(state), self.layout().zeros()
        data, held = split_rows(data, self.parameters.validation_share, self.parameters.seed)
        if self.parameters.standardize and scalar(state, "phase") == _MOMENTS:
            sums["moments"] = contribute_moments(data, self.parameters)
            return sums
        features = self._tensor(state, data.features)
        labels = torch.from_numpy(data.labels.astype(np.int64))
        module = self._at_home(state, features, labels)
        loss = mean_loss(module, features, labels)
        if held is not None:
            sums |= self._validation(state, module, held)
        train(module, features, labels, self.parameters, rng)
        weight = len(data) / self.parameters.max_rows
        trainable = self._trainable()
        update = {
            f"update.{name}": value.detach().numpy().astype(np.float64) - state[f"model.{name}"]
            for name, value in module.named_parameters()
            if name in trainable
        }
        for name, clipped in clip_l2(update, self.parameters.clip_norm).items():
            sums[name] = weight * clipped
        sums["weight"] = np.array(weight)
        sums["loss"] = _weighted(loss, weight)
        return sums

    def combine(self, state: State, total: Arrays, round_in_task: int) -> Step:
        """Average the updates and let the server's optimiser move the model."""
        del round_in_task
        if self.parameters.standardize and scalar(state, "phase") == _MOMENTS:
            scaling, rows = finish_moments(total["moments"], self.parameters)
            scaled: State = {"phase": np.array(_TRAINING), "mean": scaling.mean}
            return Step(state | scaled | {"scale": scaling.scale}, False, {"rows": float(rows)})
        weight = scalar(total, "weight")
        if weight <= 0:
            raise NoResultError("no party brought weight; check the data of the parties")
        average = {name: total[f"update.{name}"] / weight for name in self._trainable()}
        metrics = {
            "rows": float(round(weight * self.parameters.max_rows)),
            "loss": scalar(total, "loss") / weight * _LARGEST_LOSS,
            "update_norm": l2_norm(average),
        }
        moved = self._moved(iterate(state), average)
        if not self.parameters.validation_share:
            return Step(state | moved, False, metrics)
        held = scalar(total, "validation_weight")
        if held <= 0:
            raise NoResultError(
                "no party has rows enough to hold one out; raise validation_share, or leave it out"
            )
        metrics["validation_loss"] = scalar(total, "validation_loss") / held * _LARGEST_LOSS
        following, done = judge(
            state,
            moved,
            metrics["validation_loss"],
            patience=self.parameters.patience,
            min_improvement=self.parameters.min_improvement,
        )
        return Step(following, done, metrics)

    @property
    def personal(self) -> bool:
        """Whether each company has a head of its own."""
        return bool(self._head.arrays)

    def fit_head(self, state: State, data: Data) -> State:
        """Return the state with the head that these rows give, which no state of a run has.

        Raises:
            InputError: the rows do not suit the task.
            MisuseError: the head is shared.
            WireError: the state is none of this task.
        """
        if not self.personal:
            raise MisuseError(
                "the head of this model is shared: use the state as it is, or agree on head = "
                '"bias" or "layer"'
            )
        names = self._head_names()
        body = {name: array for name, array in state.items() if name not in names}
        require_like(body, self.initial_state())
        require_columns(data.features, self.parameters.features)
        require_classes(data, self.parameters.classes)
        labels = torch.from_numpy(data.labels.astype(np.int64))
        fitted = _weights(self._at_home(body, self._tensor(body, data.features), labels))
        return body | {name: fitted[name] for name in names}

    def predict_proba(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return class probabilities, shape (rows, classes).

        Raises:
            MisuseError: as :meth:`module`.
        """
        require_columns(features, self.parameters.features)
        return probabilities(self.module(state), self._tensor(state, features))

    def _validation(self, state: State, module: nn.Module, held: Data) -> Arrays:
        """Loss on held-out rows; its weight is their number over the most that a party has."""
        weight = len(held) / (self.parameters.validation_share * self.parameters.max_rows)
        labels = torch.from_numpy(held.labels.astype(np.int64))
        loss = mean_loss(module, self._tensor(state, held.features), labels)
        return {
            "validation_weight": np.array(weight),
            "validation_loss": _weighted(loss, weight),
        }

    def _moved(self, state: State, average: Arrays) -> State:
        model = {name: state[f"model.{name}"] for name in average}
        rate = self.parameters.server_learning_rate
        if self.parameters.server == "average":
            return _named("model", federated_average(model, average, rate))
        moments = AdaptiveMoments(
            {name: state[f"server.first.{name}"].astype(np.float64) for name in average},
            {name: state[f"server.second.{name}"].astype(np.float64) for name in average},
        )
        rates = AdaptiveRates(
            rate,
            self.parameters.server_beta1,
            self.parameters.server_beta2,
            self.parameters.server_epsilon,
        )
        step = federated_yogi if self.parameters.server == "yogi" else federated_adam
        moved, moments = step(model, average, moments, rates)
        return (
            _named("model", moved)
            | _named("server.first", moments.first)
            | _named("server.second", moments.second)
        )

    def _trainable(self) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(weight.shape)
            for name, weight in self._initial.named_parameters()
            if weight.requires_grad and name not in self._head.arrays
        }

    def _head_names(self) -> tuple[str, ...]:
        return tuple(f"model.{name}" for name in self._head.arrays)

    def _at_home(self, body: State, features: torch.Tensor, labels: torch.Tensor) -> nn.Module:
        """Return the module with a body and, unless it is shared, the head of these rows."""
        if not self.personal:
            return self.module(body)
        first = _weights(self._initial)
        module = self.module(body | {name: first[name] for name in self._head_names()})
        self._head.fit(module, features, labels, ridge=self.parameters.head_ridge)
        return module

    def module(self, state: State) -> nn.Module:
        """Return a copy of the module with the weights of a state.

        Raises:
            MisuseError: each company has a head of its own, and the state has none.
        """
        if not state.keys() >= set(self._head_names()):
            raise MisuseError(
                "this model is a body without a head, which each company fits to its own rows: "
                "call personalise(task, state, rows) first, or score(..., own=rows)"
            )
        module = copy.deepcopy(self._initial)
        with torch.no_grad():
            for name, weight in module.named_parameters():
                weight.copy_(torch.from_numpy(state[f"model.{name}"].copy()))
        return module

    def _tensor(self, state: State, features: NDArray[np.float64]) -> torch.Tensor:
        if self.parameters.standardize:
            scaling = Scaling(state["mean"], state["scale"])
            features = scaling.apply(features, self.parameters.feature_clip)
        return torch.from_numpy(features.astype(np.float32))


def _weights(module: nn.Module) -> State:
    return {
        f"model.{name}": weight.detach().numpy().copy()
        for name, weight in module.named_parameters()
    }


def _weighted(loss: float, weight: float) -> NDArray[np.float64]:
    return np.array(weight * min(loss, _LARGEST_LOSS) / _LARGEST_LOSS)


def _named(prefix: str, arrays: Arrays) -> State:
    return {f"{prefix}.{name}": array.astype(np.float32) for name, array in arrays.items()}
