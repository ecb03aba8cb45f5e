"""What an installation may lack: one error that says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protocols.errors import MisuseError


@contextmanager
def paillier_extra() -> Iterator[None]:
    """Import within this what needs gmpy2 or phe.

    Raises:
        MisuseError: one of them is not installed; names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in {"gmpy2", "phe"}:
            raise
        raise MisuseError(
            f"{error.name} is not installed; run pip install 'securefed[paillier]'"
        ) from error


@contextmanager
def onnx_extra() -> Iterator[None]:
    """Import within this what needs onnx or onnxscript.

    Raises:
        MisuseError: one of them is not installed; names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in {"onnx", "onnxscript"}:
            raise
        raise MisuseError(
            f"{error.name} is not installed; run pip install 'securefed[onnx]'"
        ) from error
