"""Nodes: what runs at each company. Transport, storage and time live here.

Internal to SecureFed: import ``securefed`` instead.
"""

from protocols.version import __version__ as __version__
