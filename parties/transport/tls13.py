"""TLS 1.3 or nothing: proof at start-up that gRPC completes no TLS 1.2 handshake here."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import grpc
from grpc import aio

from parties.transport.tls import TlsIdentity, create_tls_identity
from protocols.errors import TransportError

_SECONDS: Final = 5.0
_PROBE: Final = "tls-probe"
_proved: Final[set[str]] = set()  # the setting is one per process, so is the proof


async def require_tls13() -> None:
    """Shake hands with a throw-away local server: TLS 1.2 must fail and TLS 1.3 must work.

    Raises:
        TransportError: TLS 1.2 is on, because ``grpc`` was loaded before SecureFed could turn it
            off, or because this release of it ignores the setting.
    """
    if _proved:
        return
    identity = create_tls_identity(_PROBE)
    server = aio.server()
    pair = (identity.private_key_pem, identity.certificate_pem)
    try:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        await server.start()
        old = await _shakes_hands(identity, port, ssl.TLSVersion.TLSv1_2)
        new = await _shakes_hands(identity, port, ssl.TLSVersion.TLSv1_3)
    except RuntimeError as error:
        raise TransportError("gRPC cannot open a TLS port on 127.0.0.1") from error
    finally:
        await server.stop(None)
    if old:
        raise TransportError(
            "gRPC accepts TLS 1.2 in this process: import securefed before anything imports grpc, "
            "or set GRPC_SSL_CIPHER_SUITES=PSK in the environment"
        )
    if not new:
        raise TransportError("gRPC does not answer a TLS 1.3 handshake on 127.0.0.1")
    _proved.add(grpc.__version__)


async def _shakes_hands(identity: TlsIdentity, port: int, version: ssl.TLSVersion) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=identity.certificate_pem.decode())
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=_PROBE
            )
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
