"""Train every model of one line of the table, on one split, and score it on the test rows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from securefed.learning import PersonPrivacy, build_task, require_plain, suggest
from securefed.learning.evaluation import auc, predict_proba, score
from securefed.learning.private_fit import fit_private
from securefed.learning.reference import fit, fit_pooled, fixed_point_sum
from utility_sets.problem import Problem

DELTA: Final = 1e-5
OWN: Final = "own rows"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a model without noise, and its private counterpart.

    Attributes:
        name: for people.
        plain: kind without noise.
        plain_parameters: of it.
        plain_rounds: most rounds of it.
        private: kind under differential privacy.
        private_parameters: of it.
        rounds: noised sums of one run.
        clip_norm: largest norm of a person's vector.
        sampling_rate: probability that a person takes part in a round.
    """

    name: str
    plain: str
    plain_parameters: Mapping[str, Any]
    plain_rounds: int
    private: str
    private_parameters: Mapping[str, Any]
    rounds: int
    clip_norm: float
    sampling_rate: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The noise behind one column, and what it guarantees.

    Attributes:
        noise_multiplier: z.
        epsilon: with the agreed number of honest parties, by privacy loss distributions.
        epsilon_rdp: the same by Renyi divergences.
        worst_case: epsilon where all other parties collude; None where no bound holds.
    """

    noise_multiplier: float
    epsilon: float
    epsilon_rdp: float
    worst_case: float | None


def without_noise(line: Line, problem: Problem, seed: int) -> dict[str, float]:
    """Return the AUC of local-only (mean over the companies), federated and pooled models.

    Where test rows have an owner, ``OWN`` is the AUC of scores that each row gets from its owner.
    """
    parties, size = len(problem.parts), max(len(part) for part in problem.parts)
    parameters = {"features": len(problem.columns), "max_rows": size} | dict(line.plain_parameters)
    task = require_plain(build_task(line.plain, parameters))
    ring = suggest(line.plain, parameters, parties)
    add = fixed_point_sum(ring, parties=parties, random=secrets.token_bytes)
    federated = fit(task, problem.parts, rounds=line.plain_rounds, seed=seed, add=add)
    local = [fit(task, [part], rounds=line.plain_rounds, seed=seed).state for part in problem.parts]
    pooled = fit_pooled(line.plain, parameters, problem.parts, rounds=line.plain_rounds, seed=seed)
    found = {
        "local-only": float(np.mean([_area(task, state, problem) for state in local])),
        "federated": _area(task, federated.state, problem),
        "pooled": _area(task, pooled.state, problem),
    }
    if problem.owners is not None:
        every = [predict_proba(task, state, problem.test.features)[:, 1] for state in local]
        own = np.stack(every)[problem.owners, np.arange(len(problem.test))]
        found[OWN] = auc(problem.test.labels, own)
    return found


def with_noise(
    line: Line, problem: Problem, privacy: PersonPrivacy, seed: int
) -> tuple[float, Cost]:
    """Return the AUC of one private run, and what it cost."""
    task = build_task(line.private, problem.public_units() | dict(line.private_parameters))
    run = fit_private(task, problem.parts, privacy, rounds=line.rounds, seed=seed)
    if any(reading.verdict != "as promised" for reading in run.readings):
        raise SystemExit(f"{line.name}: the noise meter says that noise is not as promised")
    worst = None if run.worst_case is None else run.worst_case.epsilon_pld
    cost = Cost(privacy.noise_multiplier, run.epsilon, run.guarantee.epsilon_rdp, worst)
    return _area(task, run.fit.state, problem), cost


def noise_for(line: Line, problem: Problem, target: float, honest: int) -> PersonPrivacy:
    """Return the least noise with which all rounds of a line stay within an epsilon."""
    task = build_task(line.private, problem.public_units() | dict(line.private_parameters))
    agreed = PersonPrivacy(line.clip_norm, 1.0, line.sampling_rate, honest, DELTA)
    return agreed.at_epsilon(target, dimension=task.layout().size, rounds=line.rounds)


def _area(task: Any, state: Any, problem: Problem) -> float:
    area = score(task.kind, task, state, problem.test).auc
    if area is None:
        raise SystemExit("the benchmark compares areas under the curve of two classes")
    return area
