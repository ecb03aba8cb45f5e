"""Agreement parameters of the ``dp-torch`` task; importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from protocols.errors import AgreementError, MisuseError
from securefed.learning.person import PersonTask
from securefed.learning.public_table import StandardizedTableParameters
from securefed.learning.server_steps import ServerParameters
from securefed.learning.torch_parameters import EARLY_STOPPING, HEADS, TorchParameters


class PrivateTorchParameters(StandardizedTableParameters, ServerParameters):
    """Agreement parameters of ``dp-torch``.

    Attributes:
        model: a name from the model registry: ``"mlp"``, ``"logistic"`` or a registered one.
        classes: number of classes of the labels 0, 1, ...
        hidden: sizes of the hidden layers, for models that have any.
        seed: seed of the initial weights.
        local_steps: gradient steps on a person's row, K; 1 gives the gradient itself.
        local_learning_rate: of these steps. A person's vector is the way the weights went, divided
            by this rate: about K gradients long.
    """

    model: Annotated[str, Field(min_length=1, max_length=64)] = "mlp"
    classes: Annotated[int, Field(ge=2, le=10_000)] = 2
    hidden: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=65_536)], ...],
        Field(strict=False, max_length=16),
    ] = (16,)
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    local_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    local_learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.1

    @model_validator(mode="before")
    @classmethod
    def _no_head(cls, given: Any) -> Any:
        for name in HEADS if isinstance(given, Mapping) else ():
            if name in given:
                raise AgreementError(
                    name,
                    "a person's vector says how one row moves weights that all share, and how it "
                    "would move them beside a company's own head is not defined",
                    "leave it out, or use a task of kind 'torch' in a federation without noise",
                )
        return given

    @model_validator(mode="before")
    @classmethod
    def _no_early_stopping(cls, given: Any) -> Any:
        for name in EARLY_STOPPING if isinstance(given, Mapping) else ():
            if name in given:
                raise AgreementError(
                    name,
                    "early stopping needs a validation loss in every round, a release about people "
                    "that is not noised and would have to be charged",
                    "leave it out, and choose the number of rounds beforehand",
                )
        return given

    def architecture(self) -> TorchParameters:
        """Return what the model registry needs to build the module."""
        return TorchParameters(
            features=self.features,
            model=self.model,
            classes=self.classes,
            hidden=self.hidden,
            seed=self.seed,
        )


def build_private_torch_task(parameters: PrivateTorchParameters) -> PersonTask:
    """Build the task.

    Raises:
        MisuseError: torch is not installed; names the extra.
        AgreementError: unknown model, or one that cannot be federated.
    """
    try:
        from securefed.learning.private_torch import (  # noqa: PLC0415 - torch is an extra
            PrivateTorchTask,
        )
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MisuseError(
            'tasks of kind "dp-torch" need PyTorch; run pip install "securefed[torch]"'
        ) from error
    return PrivateTorchTask(parameters)
