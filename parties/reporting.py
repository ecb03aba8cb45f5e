"""What a node tells the people who run it: named events of names, sizes, digests and metrics.

Never a value from anyone's data, a share, a seed or a batch size.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Self

Scalar = str | int | float | bool | None
Detail = Scalar | list[str] | dict[str, float]

LOGGER: Final = logging.getLogger("securefed")
WINDOW_SECONDS: Final = 60.0
MOST_PER_WINDOW: Final = 30
"""Events of one kind from one peer in a minute; the rest are counted and not shown."""
MOST_WAITING: Final = 10_000
_CAUSED_BY_PEERS: Final = frozenset(
    {"connected", "disconnected", "refused", "ignored", "left-round"}
)


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


class CalmReport:
    """Passes events on so that no peer can fill a log or send commands to a terminal."""

    def __init__(self, report: Report, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: who is told; seconds of a clock that never goes back."""
        self._report, self._clock = report, clock
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, event: Event) -> None:
        """Tell one event, its texts made printable, unless its peer causes too many of them."""
        if event.name not in _CAUSED_BY_PEERS or self._allows(event):
            clean = {key: _printable(value) for key, value in event.detail.items()}
            self._report(replace(event, detail=clean))

    def _allows(self, event: Event) -> bool:
        key = (event.name, str(event.detail.get("peer", "")))
        now = self._clock()
        began, count = self._windows.get(key, (now, 0))
        if now - began >= WINDOW_SECONDS:
            if count > MOST_PER_WINDOW:
                hidden = count - MOST_PER_WINDOW
                detail: dict[str, Detail] = {"kind": key[0], "peer": key[1], "events": hidden}
                self._report(Event("not-shown", event.round, detail))
            began, count = now, 0
        self._windows[key] = (began, count + 1)
        return count < MOST_PER_WINDOW


def _printable(value: Detail) -> Detail:
    if isinstance(value, str):
        return re.sub(r"[^ -~…]", "?", value)
    if isinstance(value, list):
        return [re.sub(r"[^ -~…]", "?", text) for text in value]
    return value


class BackgroundReport:
    """Tells events in a thread: a screen, pipe or disk that blocks or fails holds up no round.

    A context manager; leaving it waits a little until all is told.
    """

    def __init__(self, report: Report) -> None:
        """Args: who is told, from another thread, in order."""
        self._report = report
        self._waiting: queue.Queue[Event | None] = queue.Queue(MOST_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._tell, name="securefed-report", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Queue an event; it is dropped if thousands wait already."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._lost += 1

    def close(self, seconds: float = 5.0) -> None:
        """Tell what waits, for so long at most."""
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _tell(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._report(event)
                if self._lost:
                    lost, self._lost = self._lost, 0
                    self._report(Event("not-shown", event.round, {"events": lost}))
            except Exception as error:  # noqa: BLE001 - whoever listens must not end the protocol
                LOGGER.warning("an event could not be shown: %s", type(error).__name__)
