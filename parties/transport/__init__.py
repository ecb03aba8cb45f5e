"""Authenticated streams between a party and the coordinator.

gRPC reads its settings once, when its core is loaded, so they are set here: the package runs before
any of its modules imports ``grpc``.
"""

import os
from typing import Final

TLS12_SUITES: Final = "PSK"
"""The only TLS 1.2 suites left on: they need a pre-shared key, and no node has one.

gRPC for Python has no switch for the lowest TLS version. With these suites BoringSSL can complete
no TLS 1.2 handshake in either role, and its TLS 1.3 suites are always on.
:func:`parties.transport.tls13.require_tls13` proves it before the first connection.
"""

os.environ["GRPC_SSL_CIPHER_SUITES"] = TLS12_SUITES
# Its own remarks would break into our terminal output; GRPC_VERBOSITY=INFO shows, for instance, why
# a handshake was refused.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
