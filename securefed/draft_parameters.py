"""The parameters that a draft spells out, with what each of them means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from securefed.learning.glm import LogisticParameters
from securefed.learning.private_glm import PrivateGlmParameters
from securefed.learning.private_logistic import PrivateLogisticParameters
from securefed.learning.private_torch_parameters import PrivateTorchParameters
from securefed.learning.torch_parameters import TorchParameters

PARAMETERS: Final[Mapping[str, type[BaseModel]]] = {
    "glm-logistic": LogisticParameters,
    "torch": TorchParameters,
    "dp-logistic": PrivateLogisticParameters,
    "dp-glm": PrivateGlmParameters,
    "dp-torch": PrivateTorchParameters,
}
"""Kinds whose every parameter a draft spells out; of other kinds it holds what was given."""


def spell_out(kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with every default written down, where the kind is built in.

    A parameter that is worked out unless given has no default to write down: TOML knows no null.
    """
    model = PARAMETERS.get(kind)
    if model is None:
        return dict(parameters)
    defaults = {
        key: list(field.default) if isinstance(field.default, tuple) else field.default
        for key, field in model.model_fields.items()
        if not field.is_required() and field.default is not None
    }
    # Unknown keys stay in, so that the task's own check names them.
    return {**{key: parameters[key] for key in parameters if key not in defaults}, **defaults} | {
        key: parameters[key] for key in parameters if key in defaults
    }


def parameter_meanings(kind: str) -> dict[str, str]:
    """Read the ``Attributes`` section of a parameters class and of the classes it builds on."""
    model = PARAMETERS.get(kind)
    meanings: dict[str, str] = {}
    fields: Mapping[str, FieldInfo] = model.model_fields if model else {}
    for owner in reversed(model.__mro__) if model else ():
        text = inspect.cleandoc(owner.__doc__ or "") if issubclass(owner, BaseModel) else ""
        section = text.partition("Attributes:\n")[2]
        for name, about in re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section, re.MULTILINE):
            if name in fields:
                meanings[name] = " ".join(about.replace("``", "").split())
    return meanings
