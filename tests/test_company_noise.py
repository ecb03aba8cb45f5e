"""Noise that hides whole companies."""

from __future__ import annotations

import numpy as np
import pytest
from support.private import PARTIES, company_federation

from protocols.agreement.noise import noise_plan
from securefed.runtime import LearningStrategy


def test_the_clip_norm_of_companies_adapts_as_well():
    moves = {"quantile": 0.5, "rate": 0.5, "lowest": 0.01, "highest": 64.0}
    _, _, agreement = company_federation(adaptive=moves)
    task, strategy = agreement.tasks[0], LearningStrategy(agreement)
    plan = noise_plan(agreement, task)
    model, total = strategy.initial_model(task), np.full(task.dimension, 50.0)
    # All of them are within the clip norm, so it is too large.
    step = strategy.combine(task, model, total, 1, indicator=float(PARTIES * plan.clip.indicator))
    assert step.metrics["clip_norm"] == pytest.approx(np.exp(-0.25))
    assert strategy.clip_norm(task, step.model) == step.metrics["clip_norm"]
