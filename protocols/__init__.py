"""What is said between the parties, and why it is private.

Pure: no I/O, no clock, no network, no global randomness. Time and random bytes are arguments.
Internal to SecureFed: import ``securefed`` instead.
"""

from protocols.version import __version__ as __version__
