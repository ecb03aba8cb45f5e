"""The ``gru`` model: an embedding of characters, one GRU layer, and an output layer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from protocols.errors import AgreementError, InputError
from securefed.learning.torch_parameters import TorchParameters


class CharacterGru(nn.Module):
    """Reads rows of whole numbers and tells the next one.

    Its training loss is the mean over all places of a row, each telling the one after it, and the
    last one the label: as many lessons from a row as it has columns.
    """

    def __init__(self, classes: int, embedding: int, width: int) -> None:
        """Build layers of these sizes."""
        super().__init__()
        self.classes = classes
        self.embedding = nn.Embedding(classes, embedding)
        self.recurrent = nn.GRU(embedding, width, batch_first=True)
        self.output = nn.Linear(width, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits of the character after each row, shape (rows, classes)."""
        logits: torch.Tensor = self.output(self._outputs(self._codes(features))[:, -1])
        return logits

    def training_loss(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy over all places.

        Args:
            features: codes, shape (rows, places).
            labels: the code after each row, shape (rows,).
        """
        codes = self._codes(features)
        targets = torch.cat([codes[:, 1:], labels[:, None]], dim=1)
        logits = self.output(self._outputs(codes))
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _outputs(self, codes: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.recurrent(self.embedding(codes))[0]
        return outputs

    def _codes(self, features: torch.Tensor) -> torch.Tensor:
        codes = features.long()
        if bool(((codes != features) | (codes < 0) | (codes >= self.classes)).any()):
            raise InputError(
                f"features holds values that are no character number from 0 to {self.classes - 1}; "
                "build the rows with character_windows and the agreed alphabet"
            )
        return codes


def character_gru(parameters: TorchParameters) -> nn.Module:
    """Build the model; ``hidden`` is (width of the embedding, width of the GRU).

    Raises:
        AgreementError: other sizes, two classes, or features that would be standardised.
    """
    if len(parameters.hidden) != 2:
        raise AgreementError(
            "hidden",
            "a gru takes two sizes",
            "give the widths of the embedding and of the GRU, such as [32, 128]",
        )
    if parameters.standardize:
        raise AgreementError(
            "standardize",
            "a gru reads whole numbers, which scaling destroys",
            "set standardize = false; tasks of kind 'dp-torch' always scale and take no gru",
        )
    if parameters.classes < 3:
        raise AgreementError("classes", "a gru tells 3 classes or more", "use a larger alphabet")
    return CharacterGru(parameters.classes, *parameters.hidden)
