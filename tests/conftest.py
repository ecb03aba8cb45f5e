from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

# Helpers that several test modules share live in tests/support.
sys.path.insert(0, str(Path(__file__).parent))

# The same examples in every run, so that a failure is a change; SECUREFED_EXPLORE=1 looks for new.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if os.environ.get("SECUREFED_EXPLORE") else "repeatable")
