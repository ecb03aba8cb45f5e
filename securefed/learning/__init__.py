"""Tasks: what a party computes, and what becomes of the sum."""

from securefed.learning.layout import Arrays, Layout
from securefed.learning.registry import (
    Suggestion,
    build_task,
    check_task,
    register_task,
    suggest,
)
from securefed.learning.state import State, state_digest, state_from_bytes, state_to_bytes
from securefed.learning.task import Classifier, Contribution, Numbers, Step, Task

__all__ = [
    "Arrays",
    "Classifier",
    "Contribution",
    "Layout",
    "Numbers",
    "State",
    "Step",
    "Suggestion",
    "Task",
    "build_task",
    "check_task",
    "register_task",
    "state_digest",
    "state_from_bytes",
    "state_to_bytes",
    "suggest",
]
