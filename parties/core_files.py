"""What a crash leaves on the disk."""

from __future__ import annotations

import resource


def forbid_core_file() -> None:
    """Let this process write no image of its memory should it crash: it would hold secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
