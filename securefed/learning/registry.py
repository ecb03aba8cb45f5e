"""Tasks by kind: from an agreement's parameters to a checked task and the ring it needs."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from pydantic import BaseModel, ValidationError

from protocols.errors import AgreementError, MisuseError
from securefed.data.schema import Schema, split_schema
from securefed.learning.boosting_task import BoostingParameters, BoostingTask
from securefed.learning.glm import LogisticParameters, LogisticRegression
from securefed.learning.language.ngram_task import ExactNgramParameters, NgramTask
from securefed.learning.language.person_ngrams import PersonNgramParameters, PersonNgrams
from securefed.learning.linear_task import LinearParameters, LinearTask
from securefed.learning.moments_task import MomentsParameters, MomentsTask
from securefed.learning.person import (
    AnyTask,
    PersonPrivacy,
    PrivateSuggestion,
    is_private,
    require_plain,
    require_private,
    suggest_ring,
)
from securefed.learning.private_glm import PrivateGlm, PrivateGlmParameters
from securefed.learning.private_logistic import (
    PrivateLogisticParameters,
    PrivateLogisticRegression,
)
from securefed.learning.private_torch_parameters import (
    PrivateTorchParameters,
    build_private_torch_task,
)
from securefed.learning.quantile_task import QuantilesParameters, QuantilesTask
from securefed.learning.recommend.als_task import AlsParameters, AlternatingLeastSquares, build_als
from securefed.learning.recommend.bpr_task import BprParameters, PairwiseRanking, build_bpr
from securefed.learning.recommend.gram import GramParameters, ItemGram, build_gram
from securefed.learning.recommend.private_als_task import (
    PersonAls,
    PersonAlsParameters,
    build_person_als,
)
from securefed.learning.recommend.private_gram import (
    PersonItemsParameters,
    build_person_counts,
    build_person_gram,
)
from securefed.learning.recommend.support import (
    InteractionParameters,
    ItemSupport,
    build_support,
)
from securefed.learning.sum_task import SumParameters, SumTask, build_sum_task
from securefed.learning.task import Numbers
from securefed.learning.torch_parameters import TorchParameters, build_torch_task

_MAX_GRID_BITS: Final = 52
"""Float64 holds integers exactly up to 2^53; the encoder refuses more than 2^52 grid units."""


@dataclass(frozen=True, slots=True)
class _Kind:
    parameters: type[BaseModel]
    build: Callable[[Any], AnyTask]


_KINDS: Final[dict[str, _Kind]] = {
    LogisticRegression.kind: _Kind(LogisticParameters, LogisticRegression),
    "torch": _Kind(TorchParameters, build_torch_task),
    PrivateLogisticRegression.kind: _Kind(PrivateLogisticParameters, PrivateLogisticRegression),
    PrivateGlm.kind: _Kind(PrivateGlmParameters, PrivateGlm),
    "dp-torch": _Kind(PrivateTorchParameters, build_private_torch_task),
    SumTask.kind: _Kind(SumParameters, build_sum_task),
    BoostingTask.kind: _Kind(BoostingParameters, BoostingTask),
    LinearTask.kind: _Kind(LinearParameters, LinearTask),
    MomentsTask.kind: _Kind(MomentsParameters, MomentsTask),
    QuantilesTask.kind: _Kind(QuantilesParameters, QuantilesTask),
    NgramTask.kind: _Kind(ExactNgramParameters, NgramTask),
    PersonNgrams.kind: _Kind(PersonNgramParameters, PersonNgrams),
    ItemSupport.kind: _Kind(InteractionParameters, build_support),
    ItemGram.kind: _Kind(GramParameters, build_gram),
    AlternatingLeastSquares.kind: _Kind(AlsParameters, build_als),
    PairwiseRanking.kind: _Kind(BprParameters, build_bpr),
    "dp-item-counts": _Kind(PersonItemsParameters, build_person_counts),
    "dp-ease": _Kind(PersonItemsParameters, build_person_gram),
    PersonAls.kind: _Kind(PersonAlsParameters, build_person_als),
}


class AgreedTask(Protocol):
    """What :func:`check_task` reads of a task in the agreement."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def bound(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Agreement keys that suit a task: everything about the ring but the parameters."""

    dimension: int
    bound: float
    scale: float
    modulus_bits: int
    rounding: Literal["nearest", "stochastic"]


def register_task(kind: str, parameters: type[BaseModel], build: Callable[[Any], AnyTask]) -> None:
    """Make a task of your own known under ``kind``; every party must do the same.

    Args:
        kind: name in the agreement.
        parameters: pydantic model of its parameters; unknown keys should be forbidden.
        build: from the validated parameters to the task.

    Raises:
        MisuseError: the kind is taken.
    """
    if kind in _KINDS:
        raise MisuseError(f"the task kind {kind!r} is registered already; choose another name")
    _KINDS[kind] = _Kind(parameters, build)


def build_task(kind: str, parameters: Mapping[str, Any], *, name: str = "task") -> AnyTask:
    """Build a task from the agreement's parameters.

    Every kind that reads a table also takes the keys of a :class:`securefed.data.Schema`.

    :func:`securefed.learning.person.is_private` tells the two sorts apart.

    Raises:
        AgreementError: the kind is unknown or a parameter is unknown, missing or out of range;
            the key is ``tasks.<name>.parameters.<key>``.
        MisuseError: the kind needs an extra that is not installed; names it.
    """
    if kind not in _KINDS:
        raise AgreementError(
            f"tasks.{name}.kind", f"no task kind {kind!r}", _nearest(kind, sorted(_KINDS))
        )
    entry = _KINDS[kind]
    try:
        # What is agreed about columns is for the rows, and no business of the kind's.
        _, own = split_schema(parameters, entry.parameters.model_fields)
        return entry.build(entry.parameters.model_validate(own))
    except ValidationError as error:
        raise _parameter_error(error, name, entry.parameters) from error
    except AgreementError as error:
        key = f"tasks.{name}.parameters.{error.key}"
        raise AgreementError(key, error.problem, error.remedy) from error


def task_schema(kind: str, parameters: Mapping[str, Any]) -> Schema | None:
    """Return the columns that a task's parameters agree on; ``None`` where they name none.

    Raises:
        AgreementError: a malformed schema.
    """
    return split_schema(parameters, _KINDS[kind].parameters.model_fields)[0]


def suggest(kind: str, parameters: Mapping[str, Any], parties: int) -> Suggestion:
    """Return dimension and ring for a task: the finest power-of-two scale that cannot wrap.

    Args:
        kind: a registered kind.
        parameters: its parameters.
        parties: terms in the sum, at least 1.

    Raises:
        AgreementError: as :func:`build_task`, the ring cannot hold the task, or its sums are
            noised: see :func:`suggest_private`.
    """
    task = require_plain(build_task(kind, parameters))
    numbers = task.numbers()
    # parties * (bound * scale + 1) < 2^(modulus_bits - 1), one bit kept for rounding upwards.
    bits = min(numbers.modulus_bits - 2 - math.ceil(math.log2(parties)), _MAX_GRID_BITS - 1)
    scale = 2.0 ** (bits - math.ceil(math.log2(numbers.bound)))
    if scale < numbers.min_scale:
        raise AgreementError(
            "modulus_bits",
            f"{numbers.modulus_bits} bits hold only {scale:g} grid units per unit and the task "
            f"needs {numbers.min_scale:g}",
            "lower max_rows or the clip bounds, or raise the ridge",
        )
    return Suggestion(
        task.layout().size, numbers.bound, scale, numbers.modulus_bits, numbers.rounding
    )


def suggest_private(
    kind: str,
    parameters: Mapping[str, Any],
    privacy: PersonPrivacy,
    *,
    parties: int,
    people: int,
) -> PrivateSuggestion:
    """Return dimension, grid and ring for a task whose sums hide a person.

    Args:
        kind: a registered kind that gives one vector a person.
        parameters: its parameters.
        privacy: what is agreed about the sums.
        parties: in the agreement.
        people: of all parties together, at most.

    Raises:
        AgreementError: as :func:`build_task`, the kind gives one vector a company, or no ring of
            64 bits holds the sum.
        PrivacyParameterError: a parameter that the mechanism or its accounting do not cover.
    """
    task = require_private(build_task(kind, parameters))
    return suggest_ring(task.layout().size, privacy, parties=parties, people=people)


def check_task(agreed: AgreedTask) -> None:
    """Check kind, parameters, dimension, bound and scale of a task in an agreement.

    What a person adds is clipped: bound and scale are then checked with the agreed noise.

    Raises:
        AgreementError: names the key and says the right value.
    """
    task = build_task(agreed.kind, agreed.parameters, name=agreed.name)
    size = task.layout().size
    if agreed.dimension != size:
        raise AgreementError(
            f"tasks.{agreed.name}.dimension",
            f"{agreed.dimension} values, but these parameters give {size}",
            f"set dimension = {size}",
        )
    if is_private(task):
        return
    numbers = task.numbers()
    if agreed.bound < numbers.bound:
        raise AgreementError(
            f"tasks.{agreed.name}.bound",
            f"{agreed.bound:g} is below what one party may contribute",
            f"set bound = {numbers.bound!r}",
        )
    _check_scale(agreed, numbers)


def _check_scale(agreed: AgreedTask, numbers: Numbers) -> None:
    exact = numbers.min_scale > 1
    if agreed.scale < numbers.min_scale or (exact and math.frexp(agreed.scale)[0] != 0.5):
        raise AgreementError(
            f"tasks.{agreed.name}.scale",
            f"{agreed.scale:g} grid units per unit",
            f"set a power of two, at least {numbers.min_scale:g}"
            if exact
            else f"set at least {numbers.min_scale:g}",
        )


def _nearest(word: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of {', '.join(choices)}"


def _parameter_error(error: ValidationError, name: str, model: type[BaseModel]) -> AgreementError:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"]) or "parameters"
    if first["type"] == "extra_forbidden":
        problem, remedy = "no such parameter", _nearest(key, sorted(model.model_fields))
    elif first["type"] == "missing":
        problem, remedy = "the parameter is missing", "add it"
    else:
        problem, remedy = first["msg"][:1].lower() + first["msg"][1:], "correct the value"
    if len(problems) > 1:
        problem += f" (and {len(problems) - 1} more problems)"
    return AgreementError(f"tasks.{name}.parameters.{key}", problem, remedy)
