"""Local training of a torch module: K minibatch steps, deterministic given a generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from securefed.learning.torch_parameters import TorchParameters

EVALUATION_ROWS: Final = 4096


def minibatches(
    rows: int, batch_size: int, steps: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers of ``steps`` batches: whole shuffled passes, a short rest left out."""
    size = min(batch_size, rows)
    order, start = rng.permutation(rows), 0
    for _ in range(steps):
        if start + size > rows:
            order, start = rng.permutation(rows), 0
        yield order[start : start + size]
        start += size


@runtime_checkable
class OwnLoss(Protocol):
    """A module that is trained on another loss than that of its outputs."""

    def training_loss(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of some rows."""
        ...


def training_loss(module: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean loss of some rows that local training goes down."""
    if isinstance(module, OwnLoss):
        return module.training_loss(features, labels)
    return loss_of(module(features), labels)


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy; a single output per row is the logit of class 1."""
    flat = logits.reshape(len(labels), -1)
    if flat.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(flat[:, 0], labels.to(flat.dtype))
    return functional.cross_entropy(flat, labels)


def mean_loss(module: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean loss over all rows, without training."""
    module.eval()
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(labels), EVALUATION_ROWS):
            chunk = labels[start : start + EVALUATION_ROWS]
            logits = module(features[start : start + EVALUATION_ROWS])
            total += float(loss_of(logits, chunk)) * len(chunk)
    return total / len(labels)


def probabilities(module: nn.Module, features: torch.Tensor) -> NDArray[np.float64]:
    """Class probabilities, shape (rows, classes)."""
    module.eval()
    chunks: list[NDArray[np.float64]] = []
    with torch.no_grad():
        for start in range(0, len(features), EVALUATION_ROWS):
            piece = features[start : start + EVALUATION_ROWS]
            logits = module(piece).reshape(len(piece), -1).double()
            if logits.shape[1] == 1:
                logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
            chunks.append(torch.softmax(logits, dim=1).numpy())
    return np.concatenate(chunks)


def train(
    module: nn.Module,
    features: torch.Tensor,
    labels: torch.Tensor,
    parameters: TorchParameters,
    rng: np.random.Generator,
) -> None:
    """Train a module in place for ``local_steps`` steps.

    Args:
        module: holds the global weights, which FedProx pulls towards.
        features: shape (rows, features), float32.
        labels: shape (rows,), int64.
        parameters: optimizer, rates, batch size and mu.
        rng: draws the batches, and seeds what the module draws itself, such as dropout.

    Source: FedProx, Li et al. 2020 (arXiv 1812.06127), equation 2.
    """
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    anchors = [weight.detach().clone() for weight in weights]
    optimizer = _optimizer(weights, parameters)
    module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        for rows in minibatches(len(labels), parameters.batch_size, parameters.local_steps, rng):
            batch = torch.from_numpy(rows)
            optimizer.zero_grad()
            torch.autograd.backward(training_loss(module, features[batch], labels[batch]))
            if parameters.proximal > 0:
                for weight, anchor in zip(weights, anchors, strict=True):
                    if weight.grad is not None:
                        weight.grad.add_(weight.detach() - anchor, alpha=parameters.proximal)
            optimizer.step()


def _optimizer(weights: list[nn.Parameter], parameters: TorchParameters) -> torch.optim.Optimizer:
    if parameters.optimizer == "adam":
        return torch.optim.Adam(
            weights, lr=parameters.learning_rate, weight_decay=parameters.weight_decay
        )
    return torch.optim.SGD(
        weights,
        lr=parameters.learning_rate,
        momentum=parameters.momentum,
        weight_decay=parameters.weight_decay,
    )
