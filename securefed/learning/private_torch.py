"""Federated training of a torch module that hides every person: one noised sum a round."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocols.errors import MisuseError
from securefed.data.table import Data, require_columns
from securefed.learning.layout import Arrays, Layout
from securefed.learning.models import build_model
from securefed.learning.person_gradients import PersonUpdates, Weights, person_updates
from securefed.learning.private_torch_parameters import PrivateTorchParameters
from securefed.learning.public_table import (
    awaits_moments,
    chunks,
    finish_person_moments,
    initial_scaling,
    moments_shapes,
    person_moments,
    scaled,
)
from securefed.learning.server_steps import Memory, noise_metrics, server_step
from securefed.learning.state import State, require_like
from securefed.learning.task import Step
from securefed.learning.training import probabilities


@dataclass(frozen=True, slots=True)
class PrivateTorchTask:
    """The ``dp-torch`` task.

    People compute their vectors at ``server.weights``; the arrays ``model.*`` are the average of
    these iterates, for use.
    """

    parameters: PrivateTorchParameters
    kind: ClassVar[str] = "dp-torch"
    _initial: nn.Module = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_initial", build_model(self.parameters.architecture()))

    def initial_state(self) -> State:
        """Return the seeded initial weights, and the memory of the server's optimiser."""
        weights = {
            f"update.{name}": weight.detach().numpy().astype(np.float64)
            for name, weight in self._trainable().items()
        }
        start = Memory.start(self._updates().flatten(weights))
        return initial_scaling(self.parameters) | self._state(start)

    def layout(self) -> Layout:
        """Update of every trainable array; moments if asked for."""
        return Layout.of(dict(self._updates().shapes) | moments_shapes(self.parameters))

    def per_person(
        self, state: State, data: Data, round_in_task: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield how each person alone would move the weights; zeros for a label of no class.

        Raises:
            MisuseError: the module draws random numbers, or does what vmap cannot.
        """
        del round_in_task, rng  # the phase lies in the state, and a module draws nothing
        require_like(state, self.initial_state())
        require_columns(data.features, self.parameters.features)
        moments, size = awaits_moments(self.parameters, state), self.layout().size
        module = self._module()
        weights = self._tensors(state["server.weights"].astype(np.float64))
        updates = person_updates(
            module,
            local_steps=self.parameters.local_steps,
            local_learning_rate=self.parameters.local_learning_rate,
        )
        for rows in chunks(len(data), size):
            features, labels = data.features[rows], data.labels[rows]
            vectors = np.zeros((len(features), size))
            if moments:
                vectors[:, self._updates().size :] = person_moments(self.parameters, features)
            else:
                usable = np.isin(labels, np.arange(self.parameters.classes))
                classes = torch.from_numpy(np.where(usable, labels, 0).astype(np.int64))
                found = self._all_at_once(updates, weights, self._table(state, features), classes)
                vectors[:, : found.shape[1]] = found * usable[:, np.newaxis]
            yield vectors

    def combine(
        self,
        state: State,
        total: Arrays,
        expected_people: float,
        clip_norm: float,
        noise_std: float,
        round_in_task: int,
    ) -> Step:
        """Let the server's optimiser take one step, or set the scaling."""
        del round_in_task
        if awaits_moments(self.parameters, state):
            scaling = finish_person_moments(
                self.parameters,
                total["moments"],
                expected_people=expected_people,
                clip_norm=clip_norm,
                noise_std=noise_std,
            )
            return Step(state | scaling, False, {})
        layout = self._updates()
        updates = {name: total[name] for name, _ in layout.shapes}
        mean, noise = layout.flatten(updates) / expected_people, noise_std / expected_people
        average = {f"update.{name}": state[f"model.{name}"] for name in self._trainable()}
        memory = Memory.read(state, layout.flatten(average))
        memory = server_step(memory, mean, noise, self.parameters)
        return Step(state | self._state(memory), False, noise_metrics(mean, noise))

    def predict_proba(self, state: State, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return class probabilities, shape (rows, classes)."""
        require_columns(features, self.parameters.features)
        module = self._module()
        with torch.no_grad():
            for name, weight in module.named_parameters():
                if weight.requires_grad:
                    weight.copy_(torch.from_numpy(state[f"model.{name}"].copy()))
        return probabilities(module, self._table(state, features))

    def _all_at_once(
        self, updates: PersonUpdates, weights: Weights, rows: torch.Tensor, labels: torch.Tensor
    ) -> NDArray[np.float32]:
        try:
            found: NDArray[np.float32] = updates(weights, rows, labels).detach().numpy()
        except RuntimeError as error:
            raise MisuseError(
                f"the model {self.parameters.model!r} does not run for many people at once: it "
                "draws random numbers, or does what torch.func.vmap cannot; use another module"
            ) from error
        return found

    def _state(self, memory: Memory) -> State:
        average = self._updates().unflatten(memory.average)
        state: State = {
            f"model.{name}": average[f"update.{name}"].astype(np.float32)
            for name in self._trainable()
        }
        return state | memory.arrays(self.parameters, short=True)

    def _trainable(self) -> dict[str, nn.Parameter]:
        return {
            name: weight
            for name, weight in self._initial.named_parameters()
            if weight.requires_grad
        }

    def _updates(self) -> Layout:
        shapes = {f"update.{name}": tuple(each.shape) for name, each in self._trainable().items()}
        return Layout.of(shapes)

    def _tensors(self, vector: NDArray[np.float64]) -> dict[str, torch.Tensor]:
        arrays = self._updates().unflatten(vector)
        return {
            name: torch.from_numpy(arrays[f"update.{name}"].astype(np.float32))
            for name in self._trainable()
        }

    def _module(self) -> nn.Module:
        module = copy.deepcopy(self._initial)
        # Dropout is off: draws that depend on who else was sampled would carry from one to another.
        module.eval()
        return module

    def _table(self, state: State, features: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(scaled(self.parameters, state, features).astype(np.float32))
