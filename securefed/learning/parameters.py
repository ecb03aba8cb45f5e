"""scikit-learn's conventions about parameters: reading, setting, showing and cloning them."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np

from protocols.errors import MisuseError


class Parameters:
    """Keeps what ``__init__`` takes in attributes of the same names, unchanged and unchecked."""

    @classmethod
    def _names(cls) -> list[str]:
        parameters = inspect.signature(cls.__init__).parameters.values()
        return sorted(each.name for each in parameters if each.name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; with ``deep`` those of nested estimators too."""
        found: dict[str, Any] = {}
        for name in self._names():
            value = found[name] = getattr(self, name)
            if deep and isinstance(value, Parameters):
                found |= {f"{name}__{key}": each for key, each in value.get_params().items()}
        return found

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters by name; ``step__name`` reaches into nested estimators.

        Raises:
            MisuseError: no such parameter.
        """
        known = self.get_params(deep=False)
        for name, value in parameters.items():
            head, _, rest = name.partition("__")
            nested = known.get(head)
            if rest and isinstance(nested, Parameters):
                nested.set_params(**{rest: value})
            elif name in known:
                setattr(self, name, value)
            else:
                raise MisuseError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}"
                )
        return self

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self).__init__).parameters
        told = [
            f"{name}={value!r}"
            for name, value in self.get_params(deep=False).items()
            if not _same(value, parameters[name].default)
        ]
        return f"{type(self).__name__}({', '.join(told)})"


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(np.all(value == default)))
