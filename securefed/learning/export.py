"""Final models for use elsewhere: safetensors or ONNX, each with a model card beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from parties.coordinator.progress import RoundRecord
from protocols.agreement import Agreement
from protocols.errors import MisuseError
from securefed.audit.auditor import Auditor
from securefed.clip_state import unpack_state
from securefed.data.table import Data
from securefed.extras import onnx_extra
from securefed.learning.evaluation import personalise
from securefed.learning.model_card import ModelCard, agreed_task, model_card
from securefed.learning.registry import task_schema
from securefed.learning.state import require_like, state_to_bytes
from securefed.learning.task import Personal
from securefed.runtime import build_agreed
from securefed.signing import write_public, write_text

if TYPE_CHECKING:
    from securefed.simulation import SimulationResult

_SAFETENSORS: Final = ".safetensors"
_ONNX: Final = ".onnx"
_BODY = (
    "The file holds a body without a head. It predicts nothing until a company has fitted one to "
    "its own rows: export it again with them."
)
_OWN = (
    "The head in the file was fitted to one company's own rows, hidden by no sum and no noise: it "
    "tells about them, and the file stays with that company."
)


def export_model(
    model: bytes,
    agreement: Agreement,
    task: str,
    to: Path,
    *,
    records: Sequence[RoundRecord] | None = None,
    own: Data | None = None,
) -> ModelCard:
    """Write a final model with its card: ``<to>``, ``<to>.card.md`` and ``<to>.card.json``.

    Args:
        model: safetensors bytes, as a node writes them.
        agreement: under which it was trained.
        task: name of the task.
        to: ends in ``.safetensors``, which copies the bytes, or ``.onnx``.
        records: every round of the run, for the epsilon that it spent; without them the card says
            what the agreement lets it spend at most.
        own: rows of the company whose head goes into the file, where each has its own.

    Raises:
        InputError: own rows that do not suit the task.
        MisuseError: no such task or format, no ONNX form of its kind, an extra is missing, or a
            head is missing or one too many.
        WireError: the bytes are no state of this task.
        KeyFileError: the disk refuses.
    """
    card, agreed = model_card(agreement, task, records), agreed_task(agreement, task)
    learner = build_agreed(agreement, agreed)
    state, _ = unpack_state(agreed, model)
    require_like(state, learner.initial_state())
    if own is not None:
        schema = task_schema(agreed.kind, agreed.parameters)
        if schema is not None:
            schema.check(own)
        state = personalise(learner, state, own)
    if to.suffix == _SAFETENSORS:
        data = model if own is None else state_to_bytes(state)
    elif to.suffix == _ONNX:
        with onnx_extra():
            from securefed.learning.onnx_graph import onnx_graph  # noqa: PLC0415 - an extra

            data = onnx_graph(learner, state)
    else:
        raise MisuseError(f"{to.name} names no format; end it in {_SAFETENSORS} or {_ONNX}")
    if isinstance(learner, Personal) and learner.personal:
        card = replace(card, caveats=(*card.caveats, _BODY if own is None else _OWN))
    card = replace(
        card,
        model_sha256=hashlib.sha256(model).hexdigest(),
        file=to.name,
        file_sha256=hashlib.sha256(data).hexdigest(),
    )
    write_public(to, data)
    write_text(to.with_name(f"{to.name}.card.md"), card.to_markdown())
    plain = json.dumps(card.to_plain(), indent=2, sort_keys=True, allow_nan=False)
    write_text(to.with_name(f"{to.name}.card.json"), f"{plain}\n")
    return card


def export_result(
    result: SimulationResult, task: str, to: Path, *, own: Data | None = None
) -> ModelCard:
    """Write a model of a simulated run with its card; raises as :func:`export_model`."""
    agreed_task(result.agreement, task)
    model = state_to_bytes(result.models[task])
    return export_model(model, result.agreement, task, to, records=result.records, own=own)


def rounds_of_ledger(
    ledger: Path, agreement: Agreement, task: str, model: bytes
) -> list[RoundRecord]:
    """Return the rounds in an exported ledger, once it is verified and ends in this model.

    Raises:
        MisuseError: the ledger does not verify, is not complete, or the task ended in another
            model.
        SecureFedError: the file cannot be read.
    """
    audit = Auditor(agreement).audit(ledger)
    if audit.verdict != "verified":
        raise MisuseError(
            f"the ledger is {audit.verdict}; see securefed audit {ledger.name}, and give the whole "
            "ledger of a finished run"
        )
    rounds = audit.result.rounds
    finals = [one.model_after for one in rounds if one.task == task and one.model_after is not None]
    if not finals or finals[-1] != hashlib.sha256(model).digest():
        raise MisuseError(f"the ledger's task {task} ended in another model than this one")
    return [
        RoundRecord(
            round=one.round, task=one.task, round_in_task=one.round_in_task, outcome=one.outcome
        )
        for one in rounds
    ]
