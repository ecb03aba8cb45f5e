"""From raw features to class probabilities in one torch module, to be traced."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from securefed.learning.state import State
from securefed.learning.torch_task import TorchTask


class Predictor(nn.Module):
    """Scaling, the agreed module and softmax: what the task's ``predict_proba`` computes."""

    def __init__(self, task: TorchTask, state: State) -> None:
        """Args: the task, and the state whose weights and scaling are meant."""
        super().__init__()
        self.inner = task.module(state)
        self.standardize = task.parameters.standardize
        self.clip = float(task.parameters.feature_clip)
        if self.standardize:
            for name in ("mean", "scale"):
                values = torch.from_numpy(state[name].astype(np.float64))
                self.register_buffer(name, values)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return probabilities, shape (rows, classes), float64."""
        if self.standardize:
            scaled = (features - self.get_buffer("mean")) / self.get_buffer("scale")
            features = torch.clamp(scaled, -self.clip, self.clip)
        logits: torch.Tensor = self.inner(features.float()).flatten(1).double()
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return torch.softmax(logits, dim=1)
