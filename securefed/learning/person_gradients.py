"""Per-person updates of any torch module, for many people at once by ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from securefed.learning.training import loss_of

Weights = dict[str, torch.Tensor]
PersonUpdates = Callable[[Weights, torch.Tensor, torch.Tensor], torch.Tensor]
"""From trainable weights, features (people, ...) and labels (people,) to vectors (people, size)."""


def person_updates(
    module: nn.Module, *, local_steps: int, local_learning_rate: float
) -> PersonUpdates:
    """Return a function that lets every person train alone, all at once.

    Args:
        module: maps (rows, features) to (rows, outputs), without drawing anything. One person is a
            batch of one: nothing passes from one person to another, whatever the module does
            within a batch.
        local_steps: gradient steps on the person's row, K.
        local_learning_rate: of these steps.

    Returns:
        The way the trainable weights went over ``local_learning_rate``, as one vector a person, in
        the order of ``named_parameters``; for K = 1 the negative gradient.
    """

    def loss(weights: Weights, row: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        logits = functional_call(module, weights, (row.unsqueeze(0),))
        return loss_of(logits, label.unsqueeze(0))

    slope = grad(loss)

    def one(weights: Weights, row: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        current, way = weights, {name: torch.zeros_like(value) for name, value in weights.items()}
        for _ in range(local_steps):
            gradient = slope(current, row, label)
            way = {name: way[name] - gradient[name] for name in weights}
            current = {name: weights[name] + local_learning_rate * way[name] for name in weights}
        return torch.cat([way[name].reshape(-1) for name in weights])

    updates: PersonUpdates = vmap(one, in_dims=(None, 0, 0), randomness="error")
    return updates
