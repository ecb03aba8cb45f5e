"""What went wrong at the parties of a simulated run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from parties.reporting import Event
from protocols.errors import NoResultError


class Complaints:
    """The first thing that went wrong at each party, to explain a run without a result."""

    def __init__(self) -> None:
        """Nobody has complained yet."""
        self._first: dict[str, str] = {}

    def listener(self, party: str) -> Callable[[Event], None]:
        """Return a report for one party."""

        def listen(event: Event) -> None:
            if event.name in {"refused", "training-failed"}:
                self._first.setdefault(party, f"{party}: {event.detail.get('reason', '')}")

        return listen

    @property
    def told(self) -> tuple[str, ...]:
        """What was said, one line a party."""
        return tuple(self._first.values())

    def explain(self, error: NoResultError, ended: Iterable[Any]) -> NoResultError:
        """Return the error with what the parties said, or else with what they ended with."""
        found = list(self.told)
        found += [str(one) for one in ended if isinstance(one, Exception)]
        return NoResultError(f"{error} ({'; '.join(found[:3])})") if found else error
