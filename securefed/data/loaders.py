"""Party data files (``.npz``, never pickled, or ``.csv``) and the demonstration data set."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, MisuseError
from securefed.data.schema import Schema
from securefed.data.table import Data, require_classes, require_columns

_ARRAYS: Final = ("features", "labels")
_COLUMNS: Final = "columns"
_LABEL: Final = "label"


def load_party_data(
    path: Path,
    *,
    features: int | None = None,
    classes: int | None = 2,
    schema: Schema | None = None,
) -> Data:
    """Read one party's rows, from an ``.npz`` file or from a ``.csv`` file with a header.

    An ``.npz`` file holds the arrays ``features`` and ``labels``, and may hold ``columns``, the
    names of the feature columns. A ``.csv`` file names them in its first line; its column
    ``label`` holds the labels, and every other cell is a number.

    Args:
        path: file as written by :func:`save_party_data` or ``numpy.savez``, or a ``.csv`` file.
        features: number of columns that the agreement says, when known.
        classes: number of classes of the labels; None takes any finite labels.
        schema: agreed columns, when known.

    Raises:
        InputError: no such file, a missing or extra array, pickled objects, a wrong shape or
            dtype, a cell that is no number, NaN, Inf, labels outside the classes, or other columns
            than agreed; names the array or column and the remedy.
    """
    data = _load_csv(path) if path.suffix.lower() == ".csv" else _load_npz(path)
    if features is not None:
        require_columns(data.features, features)
    if schema is not None:
        schema.check(data)
    if classes is not None:
        require_classes(data, classes)
    return data


def _load_npz(path: Path) -> Data:
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
    names = arrays.get(_COLUMNS)
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise InputError(f"columns in {path.name} is no list of texts; give one name a column")
    columns = None if names is None else tuple(names.tolist())
    return Data(arrays["features"], arrays["labels"], columns)


def _load_csv(path: Path) -> Data:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = csv.reader(handle, strict=True)
            header = [name.strip() for name in next(lines, [])]
            if header.count(_LABEL) != 1:
                raise InputError(
                    f"{path.name} has {header.count(_LABEL)} columns named {_LABEL}; the first "
                    "line names the columns, and exactly one of them holds the labels"
                )
            cells = [_numbers(path, header, number, row) for number, row in _rows(lines)]
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} is no UTF-8 table of comma-separated values") from error
    place = header.index(_LABEL)
    table = np.array(cells, dtype=np.float64).reshape(len(cells), len(header))
    names = tuple(name for name in header if name != _LABEL)
    return Data(np.delete(table, place, axis=1), table[:, place], names)


def _rows(lines: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    yield from ((number, row) for number, row in enumerate(lines, start=2) if row)


def _numbers(path: Path, header: list[str], number: int, row: list[str]) -> list[float]:
    if len(row) != len(header):
        raise InputError(
            f"row {number} of {path.name} has {len(row)} cells and the header {len(header)}"
        )
    found = []
    for name, cell in zip(header, row, strict=True):
        try:
            found.append(float(cell))
        except ValueError:
            raise InputError(
                f"column {name!r} of {path.name} holds in row {number} what is no number; "
                "turn categories into codes, and fill or drop gaps"
            ) from None
    return found


def _read(path: Path, archive: Any) -> dict[str, NDArray[Any]]:
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(
            f"{path.name} holds a single array; write features and labels with numpy.savez"
        )
    if sorted({*archive.files} - {_COLUMNS}) != sorted(_ARRAYS):
        raise InputError(
            f"{path.name} holds the arrays {sorted(archive.files)}; it must hold exactly "
            "features and labels, and may hold columns"
        )
    arrays = {}
    for name in archive.files:
        try:
            arrays[name] = archive[name]
        except ValueError as error:
            raise InputError(
                f"{name} in {path.name} holds Python objects; convert it to float64 or integers"
            ) from error
    return arrays


def save_party_data(path: Path, data: Data) -> None:
    """Write rows, and the names of columns, as a file that :func:`load_party_data` reads."""
    if data.columns is None:
        np.savez_compressed(path, features=data.features, labels=data.labels)
    else:
        columns = np.array(data.columns)
        np.savez_compressed(path, features=data.features, labels=data.labels, columns=columns)


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
