"""Party data files (``.npz``, never pickled) and the demonstration data set."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.table import Data, require_classes, require_columns

_ARRAYS: Final = ("features", "labels")


def load_party_data(path: Path, *, features: int | None = None, classes: int | None = 2) -> Data:
    """Read one party's rows from an ``.npz`` file with the arrays ``features`` and ``labels``.

    Args:
        path: file as written by :func:`save_party_data` or ``numpy.savez``.
        features: number of columns that the agreement says, when known.
        classes: number of classes of the labels; None takes any finite labels.

    Raises:
        InputError: no such file, a missing or extra array, pickled objects, a wrong shape or
            dtype, NaN, Inf, or labels outside the classes; names the array and the remedy.
    """
    try:
        # The handle is ours: numpy leaves the file open when it finds no zip archive in it.
        with path.open("rb") as handle:
            arrays = _read(path, np.load(handle, allow_pickle=False))
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror or 'not an npz'}") from error
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path.name} is no .npz file of plain arrays; write it with "
            "numpy.savez(path, features=..., labels=...)"
        ) from error
    data = Data(arrays["features"], arrays["labels"])
    if features is not None:
        require_columns(data.features, features)
    if classes is not None:
        require_classes(data, classes)
    return data


def _read(path: Path, archive: Any) -> dict[str, NDArray[Any]]:
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(
            f"{path.name} holds a single array; write features and labels with numpy.savez"
        )
    if sorted(archive.files) != sorted(_ARRAYS):
        raise InputError(
            f"{path.name} holds the arrays {sorted(archive.files)}; it must hold exactly "
            "features and labels"
        )
    arrays = {}
    for name in _ARRAYS:
        try:
            arrays[name] = archive[name]
        except ValueError as error:
            raise InputError(
                f"{name} in {path.name} holds Python objects; convert it to float64 or integers"
            ) from error
    return arrays


def save_party_data(path: Path, data: Data) -> None:
    """Write rows as an ``.npz`` file that :func:`load_party_data` reads."""
    np.savez_compressed(path, features=data.features, labels=data.labels)


def load_breast_cancer() -> Data:
    """Return scikit-learn's breast cancer data: 569 rows, 30 features, label 1 = benign.

    Raises:
        MisuseError: scikit-learn is not installed; names the extra.
    """
    try:
        from sklearn.datasets import load_breast_cancer as load  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MisuseError(
            'the demonstration data needs scikit-learn; run pip install "securefed[demo]"'
        ) from error
    features, labels = load(return_X_y=True)
    return Data(features, labels)
