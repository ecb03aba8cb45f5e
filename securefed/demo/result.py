"""What the demonstration showed, checked against what it must show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from protocols.errors import InputError, NoResultError
from securefed.data.partition import Split
from securefed.demo.audit import StageAudit
from securefed.demo.masked import same_as_masked
from securefed.demo.stages import COMPANIES, VICTIM, Stage
from securefed.demo.workspace import COORDINATOR, Workspace
from securefed.learning.demo import RISK_SCORE, DemoTask
from securefed.learning.evaluation import Comparison, Score, mean_score, score
from securefed.learning.glm import coefficients
from securefed.learning.person import require_plain
from securefed.learning.reference import fit, fit_pooled
from securefed.learning.registry import build_task
from securefed.learning.state import State, state_from_bytes
from securefed.learning.torch_parameters import limit_threads
from securefed.sum_mode import SumMode

MAX_DIFFERENCE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class StageResult:
    """One federation that ran.

    Attributes:
        stage: which.
        models: final state of each task.
        report: the coordinator's last words.
        survivors: companies that lived to the end.
        audited: what an auditor finds in its ledger.
    """

    stage: Stage
    models: Mapping[str, State] = field(repr=False)
    report: Mapping[str, Any]
    survivors: tuple[str, ...]
    audited: StageAudit


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demonstration showed.

    Attributes:
        stages: what ran.
        comparisons: local-only, federated and pooled quality of each task, by name.
        glm_max_abs_diff_vs_pooled: largest difference of a federated coefficient from the pooled.
        same_as_masked: whether exact sums that are encrypted come to the very model of masked ones;
            ``None`` where nothing is.
        seconds: from the first process started to the last one ended.
    """

    stages: tuple[StageResult, ...]
    comparisons: Mapping[str, Comparison] = field(repr=False)
    glm_max_abs_diff_vs_pooled: float
    same_as_masked: bool | None
    seconds: float

    @property
    def sums(self) -> SumMode:
        """How sums were formed; the same in every stage."""
        return self.stages[0].stage.sums

    @property
    def rounds(self) -> int:
        """Rounds with a sum."""
        return sum(int(one.report["rounds"]) for one in self.stages)

    @property
    def dropouts_survived(self) -> int:
        """Companies that began a round, fell out, and the round had its sum anyway."""
        return sum(int(one.report["dropouts_survived"]) for one in self.stages)

    @property
    def bytes_up(self) -> dict[str, int]:
        """Bytes that each company sent."""
        return {
            name: sum(int(one.report["bytes_up"].get(name, 0)) for one in self.stages)
            for name in COMPANIES
        }

    @property
    def ledger_verified(self) -> bool:
        """Whether every ledger is flawless and closed."""
        return all(one.audited.audit.verdict == "verified" for one in self.stages)

    def keep_audit(self, directory: Path) -> Path:
        """Copy the last federation's bundle and report; return where the report lies then."""
        return self.stages[-1].audited.keep(directory)

    @property
    def privacy(self) -> Mapping[str, Any] | None:
        """What the stage with noise cost every person; ``None`` without one."""
        facts = ("epsilon", "epsilon_worst_case", "delta", "noise_meter", "noise_alarms")
        for one in self.stages:
            if one.stage.goal is not None:
                return {key: one.report[key] for key in facts}
        return None

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON object that ``securefed demo --json`` prints."""
        main = self.comparisons[self.stages[-1].stage.tasks[-1].name]
        return {
            "aggregation": self.sums.mode,
            "same_as_masked": self.same_as_masked,
            "parties": len(COMPANIES),
            "rounds": self.rounds,
            "dropouts_survived": self.dropouts_survived,
            "auc_local_mean": main.local.auc,
            "auc_federated": main.federated.auc,
            "auc_pooled": main.pooled.auc,
            "glm_max_abs_diff_vs_pooled": self.glm_max_abs_diff_vs_pooled,
            "bytes_up_per_party": max(self.bytes_up.values()),
            "bytes_up": self.bytes_up,
            **(self.privacy or {}),
            "ledger_verified": self.ledger_verified,
            "seconds": round(self.seconds, 2),
            "tasks": {name: one.to_plain() for name, one in self.comparisons.items()},
        }


def read_models(workspace: Workspace, stage: Stage) -> tuple[dict[str, State], tuple[str, ...]]:
    """Read the final models and check that every company that lived holds the same bytes.

    Raises:
        InputError: a company holds another model than the coordinator.
    """
    survivors = tuple(name for name in COMPANIES if not (stage.loses_a_party and name == VICTIM))
    models: dict[str, State] = {}
    for task in stage.tasks:
        file = f"{task.name}.safetensors"
        model = (workspace.models(COORDINATOR) / file).read_bytes()
        for name in survivors:
            if (workspace.models(name) / file).read_bytes() != model:
                raise InputError(f"{name} holds another {task.name} model than the coordinator")
        models[task.name] = state_from_bytes(model)
    return models, survivors


def conclude(stages: tuple[StageResult, ...], split: Split, seconds: float) -> DemoResult:
    """Compare with models of one company alone and with pooled rows, and check the promises.

    Raises:
        NoResultError: a result is not what it must be.
    """
    models = {name: state for one in stages for name, state in one.models.items()}
    pooled = fit_pooled(
        RISK_SCORE.kind, RISK_SCORE.parameters, split.parts, rounds=RISK_SCORE.rounds
    )
    difference = float(
        np.abs(coefficients(models[RISK_SCORE.name]) - coefficients(pooled.state)).max()
    )
    baselines: dict[str, tuple[Score, Score]] = {}
    comparisons: dict[str, Comparison] = {}
    for task in (task for one in stages for task in one.stage.tasks):
        alone = task.baseline or task
        if alone.name not in baselines:
            baselines[alone.name] = _baselines(alone, split)
        local, together = baselines[alone.name]
        learner = build_task(task.kind, task.parameters, name=task.name)
        federated = score("federated", learner, models[task.name], split.test)
        comparisons[task.name] = Comparison(local, federated, together)
    same = same_as_masked([one.stage for one in stages], models, split)
    result = DemoResult(stages, comparisons, difference, same, seconds)
    _check(result)
    return result


def _baselines(task: DemoTask, split: Split) -> tuple[Score, Score]:
    learner = require_plain(build_task(task.kind, task.parameters, name=task.name))
    # On models this small a second thread costs more than it brings.
    limit_threads(1)
    own = [
        score("own rows only", learner, fit(learner, [part], rounds=task.rounds).state, split.test)
        for part in split.parts
    ]
    pooled = fit_pooled(task.kind, task.parameters, split.parts, rounds=task.rounds)
    return mean_score("own rows only", own), score("pooled", learner, pooled.state, split.test)


def _check(result: DemoResult) -> None:
    if not result.glm_max_abs_diff_vs_pooled < MAX_DIFFERENCE:
        raise NoResultError(
            f"a federated coefficient is {result.glm_max_abs_diff_vs_pooled:g} away from the "
            "pooled one"
        )
    if result.same_as_masked is False:
        raise NoResultError(
            f"{RISK_SCORE.name} from {result.sums.mode} sums is not the model of masked sums"
        )
    if result.dropouts_survived < 1:
        raise NoResultError(f"{VICTIM} was killed, but no round survived its loss")
    for one in result.stages:
        goal = one.stage.goal
        if goal is not None and not one.report["epsilon"] <= goal.epsilon:
            raise NoResultError(
                f"epsilon {one.report['epsilon']:.3f} was spent, {goal.epsilon:g} were promised"
            )
