"""What a node writes to ``--out``: models, and what the metrics of each task were."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from parties.coordinator.progress import Checkpoint, RoundRecord
from protocols.errors import JournalError
from securefed.learning.curves import histories

MODEL_SUFFIX: Final = ".safetensors"


def write_model(directory: Path, name: str, model: bytes) -> Path:
    """Write a model as ``<name>.safetensors``; raises as :func:`write_result`."""
    return write_result(directory, f"{name}{MODEL_SUFFIX}", model)


def write_checkpoints(directory: Path, kept: Iterable[tuple[Checkpoint, bytes]]) -> None:
    """Write each as ``<task>.round-<n>.safetensors``; raises as :func:`write_result`."""
    for checkpoint, model in kept:
        write_model(directory, f"{checkpoint.task}.round-{checkpoint.round_in_task}", model)


def write_histories(directory: Path, records: Iterable[RoundRecord]) -> None:
    """Write ``<task>.history.json`` for every task, and ``<task>.curve.svg`` if it has metrics.

    Raises:
        JournalError: one cannot be written.
    """
    for task, history in histories(records).items():
        write_result(directory, f"{task}.history.json", history.to_json().encode())
        if history.metrics:
            write_result(directory, f"{task}.curve.svg", history.svg().encode())


def write_result(directory: Path, name: str, data: bytes) -> Path:
    """Write a file so that a reader finds the whole of it or the former one.

    Raises:
        JournalError: it cannot be written.
    """
    final, draft = directory / name, directory / f".{name}.{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(final)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(
            f"{final} cannot be written ({error.strerror}); free space or choose another --out, "
            "then start again with the same state"
        ) from error
    return final
