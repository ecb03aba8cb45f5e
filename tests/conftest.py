from __future__ import annotations

import sys
from pathlib import Path

# Helpers that several test modules share live in tests/support.
sys.path.insert(0, str(Path(__file__).parent))
