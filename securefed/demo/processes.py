"""Node processes of a demonstration: started on loopback, watched, and always ended."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from protocols.errors import TransportError

_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Line:
    """One event that a node printed, or ``{"event": "exit", "code": N}`` as its last."""

    node: str
    event: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """Kind of event."""
        return str(self.event.get("event", ""))


class Nodes:
    """Child processes by name; leaving the context ends and reaps every one of them."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        """Args: directory for each node's stderr; variables added to the children's."""
        self._logs, self._environment = logs, {**os.environ, **environment}
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        self._lines: queue.Queue[Line] = queue.Queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(self, name: str, arguments: list[str]) -> None:
        """Start ``securefed ARGUMENTS`` as the node called ``name``."""
        with (self._logs / f"{name}.log").open("wb") as log, _interrupts_held_back():
            child = self._children[name] = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "securefed", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
                # A Ctrl-C is for the demonstration, which ends its children itself.
                start_new_session=True,
            )
        reader = threading.Thread(target=self._read, args=(name, child), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read(self, name: str, child: subprocess.Popen[str]) -> None:
        if child.stdout is not None:
            for text in child.stdout:
                with suppress(json.JSONDecodeError):
                    event = json.loads(text)
                    if isinstance(event, dict):
                        self._lines.put(Line(name, event))
        self._lines.put(Line(name, {"event": "exit", "code": child.wait()}))

    def next_line(self, timeout_seconds: float) -> Line | None:
        """Return the next event of any node, or ``None`` when the time is over."""
        try:
            return self._lines.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def kill(self, name: str) -> None:
        """Kill a node without warning, as a power failure would."""
        self._children[name].kill()

    def log(self, name: str) -> str:
        """Return the end of what a node wrote to stderr."""
        try:
            return (self._logs / f"{name}.log").read_text(errors="replace")[-2000:]
        except OSError as error:
            raise TransportError(f"the log of {name} cannot be read: {error.strerror}") from error

    def end(self) -> None:
        """Ask every child to end, insist after ten seconds or a second Ctrl-C, and reap it."""
        try:
            for child in self._children.values():
                child.terminate()
            end = time.monotonic() + _END_SECONDS
            for child in self._children.values():
                with suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, end - time.monotonic()))
        finally:
            with _interrupts_held_back():
                self._reap()

    def _reap(self) -> None:
        for child in self._children.values():
            child.kill()
            child.wait()
        for reader in self._readers:
            reader.join(_END_SECONDS)
        for child in self._children.values():
            if child.stdout is not None:
                child.stdout.close()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait: a child that was begun must be on the list of those to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if held:
        signal.raise_signal(held[0])
