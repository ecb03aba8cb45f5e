"""The one version number that all three packages share."""

from typing import Final

__version__: Final = "0.1.0"

PROTOCOL_VERSION: Final = 1
"""Version of every byte that is signed or sent. Another number is refused, never guessed at."""
