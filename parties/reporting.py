"""What a node tells the people who run it: named events of names, sizes, digests and metrics.

Never a value from anyone's data, a share, a seed or a batch size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

Scalar = str | int | float | bool | None
Detail = Scalar | list[str] | dict[str, float]

LOGGER: Final = logging.getLogger("securefed")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at a node.

    Attributes:
        name: kind of event, such as ``round-completed``.
        round: number of the round, 0 outside any.
        detail: facts about it.
    """

    name: str
    round: int = 0
    detail: Mapping[str, Detail] = field(default_factory=dict)


Report = Callable[[Event], None]


def log_event(event: Event) -> None:
    """Report to the standard library's logger ``securefed``, refusals as warnings."""
    level = logging.WARNING if event.name in {"refused", "round-aborted"} else logging.INFO
    facts = " ".join(f"{key}={value}" for key, value in event.detail.items())
    LOGGER.log(level, "%s round=%d %s", event.name, event.round, facts)
