"""Torch models by name, with initial weights that are the same bytes on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from torch import nn

from protocols.errors import AgreementError, MisuseError
from securefed.learning.language.gru import character_gru
from securefed.learning.torch_parameters import TorchParameters

ModelFactory = Callable[[TorchParameters], nn.Module]
"""From the agreed parameters to a module that maps (rows, features) to (rows, outputs).

``outputs`` is 1 for two classes (a logit) and the number of classes otherwise.
"""

_DRAW_BITS: Final = 24


def outputs(parameters: TorchParameters) -> int:
    """Number of values that a model gives per row."""
    return 1 if parameters.classes == 2 else parameters.classes


def _logistic(parameters: TorchParameters) -> nn.Module:
    return nn.Sequential(nn.Linear(parameters.features, outputs(parameters)))


def _mlp(parameters: TorchParameters) -> nn.Module:
    sizes = (parameters.features, *parameters.hidden)
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(sizes):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs(parameters)))


_BUILT_IN: Final[dict[str, ModelFactory]] = {
    "gru": character_gru,
    "logistic": _logistic,
    "mlp": _mlp,
}
_MODELS: Final[dict[str, ModelFactory]] = dict(_BUILT_IN)


def register_model(name: str, factory: ModelFactory) -> None:
    """Make a module of your own known as ``model = name``; every party must do the same.

    Its initial weights are whatever the factory draws after ``torch.manual_seed(seed)``: the same
    under one release of torch, which the parties of one federation should share.

    Raises:
        MisuseError: the name is taken.
    """
    if name in _MODELS:
        raise MisuseError(f"the model {name!r} is registered already; choose another name")
    _MODELS[name] = factory


def build_model(parameters: TorchParameters) -> nn.Module:
    """Build the agreed model with its initial weights, in float32 on the CPU.

    Raises:
        AgreementError: key ``model``: unknown, nothing to train, or buffers that averaging
            would corrupt.
    """
    factory = _MODELS.get(parameters.model)
    if factory is None:
        raise AgreementError(
            "model",
            f"no model {parameters.model!r}",
            f"choose one of {', '.join(sorted(_MODELS))} or call register_model first",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        module = factory(parameters).float()
    if parameters.model in _BUILT_IN:
        _initialise(module, parameters.seed)
    if any(buffer.is_floating_point() for buffer in module.buffers()):
        raise AgreementError(
            "model",
            "the module keeps running statistics in buffers, which are not part of an update",
            "replace BatchNorm by GroupNorm or LayerNorm",
        )
    if not any(weight.requires_grad for weight in module.parameters()):
        raise AgreementError("model", "the module has no trainable weight", "train some layer")
    return module


def _initialise(module: nn.Module, seed: int) -> None:
    """Draw weights from U(-b, b): b = 1/sqrt(fan in), 1/sqrt(width) of a GRU, 1 of an embedding.

    Integers from the generator and single IEEE operations leave no room for a processor or a
    release of torch to differ.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                _draw(layer, 1.0 / math.sqrt(layer.in_features), generator)
            elif isinstance(layer, nn.GRU):
                _draw(layer, 1.0 / math.sqrt(layer.hidden_size), generator)
            elif isinstance(layer, nn.Embedding):
                _draw(layer, 1.0, generator)


def _draw(layer: nn.Module, bound: float, generator: torch.Generator) -> None:
    for weight in layer.parameters(recurse=False):
        draws = torch.randint(2**_DRAW_BITS, weight.shape, generator=generator)
        units = (draws.numpy().astype(np.float64) + 0.5) / 2 ** (_DRAW_BITS - 1) - 1.0
        weight.copy_(torch.from_numpy((units * bound).astype(np.float32)))
