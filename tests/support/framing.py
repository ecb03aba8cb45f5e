"""Openings and results of rounds with everything in them that a test does not care about."""

from __future__ import annotations

from protocols.rounds import RoundOpen, RoundResult

ROOT = bytes(32)


def opening(task: str, place: int, model: bytes, n: int = 3, **changes: object) -> RoundOpen:
    """An opening of a round without noise to which n parties are invited."""
    facts = {
        "tree_size": 2,
        "tree_root": ROOT,
        "invited": tuple(range(n)),
        "terms": None,
        "outputs": ("sum",),
        "epsilon_before": None,
        "epsilon_after": None,
        **changes,
    }
    return RoundOpen(task, place, model, **facts)


def result(model: bytes, survivors: int, *, done: bool, noise: float | None = None) -> RoundResult:
    """A result with so many survivors and nobody lost."""
    return RoundResult(model, ROOT, tuple(range(survivors)), (), noise, done)
