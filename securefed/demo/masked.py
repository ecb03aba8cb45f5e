"""Whether a model from encrypted sums is that from masked ones, bit by bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from securefed.data.partition import Split
from securefed.demo.stages import COMPANIES, Stage
from securefed.learning.demo import RISK_SCORE
from securefed.learning.state import State, state_to_bytes
from securefed.sum_mode import SumMode


def same_as_masked(
    stages: Iterable[Stage], models: Mapping[str, State], split: Split
) -> bool | None:
    """Compute the exact task once more, from masked sums in this process, and compare.

    Args:
        stages: that ran; the exact task is in one of them, and nothing in it is random.
        models: what they came to, by task.
        split: the rows of each company.

    Returns:
        Whether the model is the same; ``None`` where nothing was encrypted.
    """
    data = dict(zip(COMPANIES, split.parts, strict=True))
    for stage in stages:
        if stage.sums.names and RISK_SCORE in stage.tasks:
            again = replace(stage, tasks=(RISK_SCORE,), sums=SumMode())
            masked = again.federation().simulate(data).models[RISK_SCORE.name]
            return state_to_bytes(masked) == state_to_bytes(models[RISK_SCORE.name])
    return None
