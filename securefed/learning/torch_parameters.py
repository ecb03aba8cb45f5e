"""Agreement parameters of the ``torch`` task; importable without torch."""

from __future__ import annotations

import sys
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocols.errors import AgreementError, MisuseError
from securefed.learning.moments import TableParameters
from securefed.learning.task import Task

HeadChoice = Literal["shared", "bias", "layer"]
EARLY_STOPPING: Final = ("validation_share", "patience", "min_improvement")
"""Parameters that need a loss on held-out rows."""
HEADS: Final = ("head", "head_ridge")
"""Parameters of heads that stay at each company."""


class TorchParameters(TableParameters):
    """Agreement parameters of ``torch``.

    Attributes:
        model: a name from the model registry: ``"mlp"``, ``"logistic"`` or a registered one.
        classes: number of classes of the labels 0, 1, ...
        hidden: sizes of the hidden layers, for models that have any.
        seed: seed of the initial weights.
        local_steps: minibatch steps per round and party, K.
        batch_size: rows per step; a party with fewer rows uses all of them.
        optimizer: at the party; its memory starts afresh in every round.
        learning_rate: of the party's optimizer.
        momentum: of local SGD.
        weight_decay: L2 penalty of the party's optimizer.
        proximal: mu of FedProx (Li et al. 2020, equation 2); 0 is FedAvg.
        clip_norm: largest L2 norm of a party's update.
        server: ``"average"`` (FedAvg), ``"adam"`` (FedAdam) or ``"yogi"`` (FedYogi).
        server_learning_rate: step along the averaged update; 1 replaces by the average.
        server_beta1: decay of the first moment of FedAdam and FedYogi.
        server_beta2: decay of their second moment.
        server_epsilon: their adaptivity, tau.
        validation_share: of each party's rows that are held out, to stop early; 0 for none.
        patience: rounds without improvement of the validation loss after which the task ends.
        min_improvement: a validation loss is better if it is lower by more than this.
        head: ``"shared"``, or what each company keeps to itself: ``"layer"``, the last layer, or
            ``"bias"``, its bias alone.
        head_ridge: penalty ridge/2 * |head - initial head|^2 beside the summed loss of a company.
    """

    model: Annotated[str, Field(min_length=1, max_length=64)] = "mlp"
    classes: Annotated[int, Field(ge=2, le=10_000)] = 2
    hidden: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=65_536)], ...],
        Field(strict=False, max_length=16),
    ] = (16,)
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    local_steps: Annotated[int, Field(ge=1, le=100_000)] = 20
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    proximal: Annotated[float, Field(ge=0, le=1000)] = 0.0
    clip_norm: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    server: Literal["average", "adam", "yogi"] = "average"
    server_learning_rate: Annotated[float, Field(gt=0, le=100)] = 1.0
    server_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    server_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    server_epsilon: Annotated[float, Field(gt=0, le=10)] = 1e-3
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    patience: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    min_improvement: Annotated[float, Field(ge=0, le=16)] = 0.0
    head: HeadChoice = "shared"
    head_ridge: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0

    @model_validator(mode="after")
    def _something_to_watch(self) -> Self:
        # A draft spells every default out: only another value asks for something.
        fields = type(self).model_fields
        idle = [name for name in EARLY_STOPPING[1:] if getattr(self, name) != fields[name].default]
        if idle and not self.validation_share:
            raise AgreementError(
                idle[0], "there is no validation loss to watch", "set validation_share, such as 0.1"
            )
        return self


def build_torch_task(parameters: TorchParameters) -> Task:
    """Build the task.

    Raises:
        MisuseError: torch is not installed; names the extra.
        AgreementError: unknown model, or one that cannot be federated.
    """
    try:
        from securefed.learning.torch_task import TorchTask  # noqa: PLC0415 - torch is an extra
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MisuseError(
            'tasks of kind "torch" need PyTorch; run pip install "securefed[torch]"'
        ) from error
    return TorchTask(parameters)


def limit_threads(count: int) -> None:
    """Let torch use ``count`` threads in this process, if it is loaded at all."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)
