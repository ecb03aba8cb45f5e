"""Tasks: what a party computes, and what becomes of the sum."""

from securefed.learning.layout import Arrays, Layout
from securefed.learning.person import (
    AnyTask,
    PersonPrivacy,
    PersonTask,
    PrivateSuggestion,
    is_private,
    require_plain,
    require_private,
)
from securefed.learning.registry import (
    Suggestion,
    build_task,
    check_task,
    register_task,
    suggest,
    suggest_private,
)
from securefed.learning.state import State, state_digest, state_from_bytes, state_to_bytes
from securefed.learning.task import Classifier, Contribution, Numbers, Step, Task

__all__ = [
    "AnyTask",
    "Arrays",
    "Classifier",
    "Contribution",
    "Layout",
    "Numbers",
    "PersonPrivacy",
    "PersonTask",
    "PrivateSuggestion",
    "State",
    "Step",
    "Suggestion",
    "Task",
    "build_task",
    "check_task",
    "is_private",
    "register_task",
    "require_plain",
    "require_private",
    "state_digest",
    "state_from_bytes",
    "state_to_bytes",
    "suggest",
    "suggest_private",
]
