"""SecureFed: one model from data that may not leave its owners.

Users import this package only; ``protocols`` and ``parties`` beside it are internal.
"""

from securefed._house import check_house

check_house()

from protocols.version import __version__ as __version__  # noqa: E402 - the guard must run first
