"""Heads that stay at each company: the last layer of a torch module, or its bias alone.

A head is kept nowhere. It follows from the agreed body and a company's rows, in every round and
after the last one, as the minimiser of

    mean loss of the rows + ridge / (2 rows) * |head - agreed initial head|^2.

What the body gives to the last layer stays the same meanwhile, so that the objective is convex.

Source: Singhal et al. 2021 (arXiv 2102.03448), algorithm 1, the minimiser in place of a few steps;
body and head as in Collins et al. 2021 (arXiv 2102.07078).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from protocols.errors import AgreementError, InputError
from securefed.learning.torch_parameters import HeadChoice
from securefed.learning.training import EVALUATION_ROWS, loss_of

_MOST_ITERATIONS: Final = 200
_GRADIENT_TOLERANCE: Final = 1e-7
_REMEDY: Final = 'set head = "shared", or end the module in an nn.Linear that gives the outputs'


@dataclass(frozen=True, slots=True)
class Head:
    """Which arrays of a module stay at each company.

    Attributes:
        layer: name of the last layer inside the module.
        arrays: names of the head's arrays inside the module; none where everything is shared.
    """

    layer: str = ""
    arrays: tuple[str, ...] = ()

    def fit(
        self, module: nn.Module, features: torch.Tensor, labels: torch.Tensor, *, ridge: float
    ) -> None:
        """Fit the head to rows, in place; the rest of the module stays. It draws nothing.

        Args:
            module: holds the initial head, which the ridge pulls towards.
            features: shape (rows, features), float32.
            labels: shape (rows,), int64.
            ridge: of the head's distance from its initial value, for the summed loss.

        Raises:
            InputError: the body gives values that are not finite.
        """
        layer = module.get_submodule(self.layer)
        inputs = _inputs(module, layer, features)
        alone = copy.deepcopy(layer).double()
        own = {f"{self.layer}.{name}".lstrip("."): each for name, each in alone.named_parameters()}
        weights = [own[name] for name in self.arrays]
        anchors = [weight.detach().clone() for weight in weights]
        optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
            weights,
            max_iter=_MOST_ITERATIONS,
            tolerance_grad=_GRADIENT_TOLERANCE,
            line_search_fn="strong_wolfe",
        )

        def objective() -> float:
            optimizer.zero_grad()
            far = torch.stack(
                [((weight - at) ** 2).sum() for weight, at in zip(weights, anchors, strict=True)]
            )
            loss = loss_of(alone(inputs), labels) + ridge / (2 * len(labels)) * far.sum()
            torch.autograd.backward(loss, inputs=weights)
            return float(loss.detach())

        optimizer.step(objective)
        if not all(bool(torch.isfinite(weight).all()) for weight in weights):
            raise InputError(
                "the head fitted to these rows is not finite, since the body is out of range; "
                "agree on a smaller learning_rate or standardize"
            )
        with torch.no_grad():
            for name, weight in module.named_parameters():
                if name in self.arrays:
                    weight.copy_(own[name])


def find_head(module: nn.Module, choice: HeadChoice, features: int) -> Head:
    """Return the agreed head of a module.

    Args:
        module: the agreed one.
        choice: ``"bias"`` or ``"layer"`` of the ``nn.Linear`` that is defined last, or ``"shared"``
            for none.
        features: columns of a row.

    Raises:
        AgreementError: key ``head``: that layer does not give the outputs, it lacks such arrays or
            shares them with another one, or nothing is left to share.
    """
    if choice == "shared":
        return Head()
    found = [name for name, each in module.named_modules() if isinstance(each, nn.Linear)]
    if not found or not _gives_outputs(module, module.get_submodule(found[-1]), features):
        raise AgreementError("head", "the module's last layer is not to be told", _REMEDY)
    layer = found[-1]
    every = list(module.named_parameters(remove_duplicate=False))
    own = {
        name: weight
        for name, weight in every
        if name.rpartition(".")[0] == layer
        and weight.requires_grad
        and (choice == "layer" or name.endswith("bias"))
    }
    if not own:
        raise AgreementError("head", f"the last layer has no trainable {choice}", _REMEDY)
    others = [weight for name, weight in every if name not in own]
    if any(weight is other for weight in own.values() for other in others):
        raise AgreementError("head", "another layer has the weights of the last one", _REMEDY)
    if not any(weight.requires_grad for weight in others):
        raise AgreementError(
            "head",
            "the module is a head without a body, which leaves nothing to share",
            'set head = "bias", or use a model with hidden layers',
        )
    return Head(layer, tuple(own))


def _gives_outputs(module: nn.Module, layer: nn.Module, features: int) -> bool:
    """Tell whether the module returns what this layer gives, and calls it once."""
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _layer, _given, output: seen.append(output))
    training = module.training
    try:
        with torch.no_grad():
            logits = module.eval()(torch.ones((2, features)))
    finally:
        handle.remove()
        module.train(training)
    return len(seen) == 1 and torch.equal(seen[0].reshape(2, -1), logits.reshape(2, -1))


def _inputs(module: nn.Module, layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return what the body gives to the last layer for every row, float64."""
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _layer, given: seen.append(given[0].double()))
    try:
        with torch.no_grad():
            module.eval()
            for chunk in torch.split(features, EVALUATION_ROWS):
                module(chunk)
    finally:
        handle.remove()
    return torch.cat(seen)
