"""What a measurement is worth: the machine, its load, and the spread of the repeats."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any, Final, Self

import cryptography
import numpy as np
from cryptography.hazmat.backends.openssl import backend

STATISTICS: Final = Path("/proc/stat")
QUIET_SECONDS: Final = 1.0
QUIET_SHARE: Final = 0.85


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeats of one measurement."""

    median: float
    best: float
    worst: float
    repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Args: at least one value; less is better."""
        return cls(median(values), min(values), max(values), len(values))

    def json(self) -> dict[str, float]:
        return asdict(self)

    def show(self, unit: str = "s", factor: float = 1.0) -> str:
        """Return the median, and from where to where the repeats lie."""
        low, middle, high = (factor * value for value in (self.best, self.median, self.worst))
        return f"{middle:9.3f} {unit}  ({low:.3f} to {high:.3f}, {self.repeats} repeats)"


def installed(package: str) -> str | None:
    """Return the version of a package, or nothing where it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def wait_for_quiet(seconds: float) -> bool:
    """Wait until the other processes leave the cores alone, at most ``seconds``; Linux only.

    Returns:
        Whether the machine was quiet in the end.
    """
    deadline = monotonic() + seconds
    while seconds and STATISTICS.exists():
        before = _ticks()
        sleep(QUIET_SECONDS)
        idle, total = (new - old for new, old in zip(_ticks(), before, strict=True))
        if idle >= QUIET_SHARE * total:
            return True
        if monotonic() > deadline:
            break
    return False


def _ticks() -> tuple[int, int]:
    """Idle and all clock ticks of all cores since the start of the system."""
    fields = STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    ticks = [int(field) for field in fields]
    return ticks[3] + ticks[4], sum(ticks)


def machine() -> dict[str, Any]:
    """Return what the figures depend on; nothing that names the machine."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cryptography": cryptography.__version__,
        "openssl": backend.openssl_version_text(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }
