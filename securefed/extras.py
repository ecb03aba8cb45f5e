"""What an installation may lack: one error that says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from protocols.errors import MisuseError


def paillier_extra() -> AbstractContextManager[None]:
    """Import within this what needs gmpy2 or phe.

    Raises:
        MisuseError: one of them is not installed; names the extra.
    """
    return _extra("paillier", "gmpy2", "phe")


def onnx_extra() -> AbstractContextManager[None]:
    """Import within this what needs onnx or onnxscript.

    Raises:
        MisuseError: one of them is not installed; names the extra.
    """
    return _extra("onnx", "onnx", "onnxscript")


@contextmanager
def _extra(extra: str, *modules: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in modules:
            raise
        raise MisuseError(
            f"{error.name} is not installed; run pip install 'securefed[{extra}]'"
        ) from error
