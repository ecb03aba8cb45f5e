"""Every bound and deadline of the transport in one place, and the gRPC options made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from parties.transport.frames import MAX_CHUNK_BYTES, MAX_FRAME_BYTES, MIN_CHUNK_BYTES
from protocols.errors import MisuseError

Options = tuple[tuple[str, int | str], ...]

PATH: Final = "/securefed.v1/Exchange"
"""The one gRPC method: a stream of frames both ways. The number is the framing's version."""

_HARD_FRAME_BYTES: Final = 2 * MAX_FRAME_BYTES
# gRPC refuses beyond this by the length prefix alone, before it buffers; up to it we can name the
# sender ourselves.

WINDOW_BYTES: Final = 2 * 2**20
"""What a peer may send ahead of our reading. gRPC would raise it on a fast line as it sees fit, and
memory would grow with the number of peers; this fills 160 Mbit/s at a round trip of 100 ms."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines in seconds and sizes in bytes; the defaults suit companies over the internet.

    Attributes:
        chunk_bytes: payload of one frame, 64 KiB to 4 MiB. 1 MiB was the fastest measured.
        hello_seconds: for a connection, its handshake and the first frame.
        write_seconds: for the peer to make room for one more frame.
        send_seconds: for a queue that is full to take one more message.
        goodbye_seconds: for the last frame and the end of a stream.
        keepalive_seconds: silence after which the peer is asked for a sign of life, >= 1.
        keepalive_timeout_seconds: for that sign; then the connection counts as dead.
        backoff_first, backoff_most: waits before the first and the later attempts to reconnect.
    """

    chunk_bytes: int = 2**20
    hello_seconds: float = 10.0
    write_seconds: float = 60.0
    send_seconds: float = 60.0
    goodbye_seconds: float = 2.0
    keepalive_seconds: float = 4.0
    keepalive_timeout_seconds: float = 4.0
    backoff_first: float = 0.1
    backoff_most: float = 4.0

    def __post_init__(self) -> None:
        if not MIN_CHUNK_BYTES <= self.chunk_bytes <= MAX_CHUNK_BYTES:
            raise MisuseError(f"chunk_bytes must be {MIN_CHUNK_BYTES} to {MAX_CHUNK_BYTES}")
        if self.keepalive_seconds < 1:
            raise MisuseError("keepalive_seconds must be at least 1")

    def server_options(self) -> Options:
        """Return the options of a gRPC server."""
        return (
            *self._common(),
            # Two coordinators on one port would share its connections by chance.
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", 4),
            ("grpc.max_connection_idle_ms", _ms(3 * self.hello_seconds)),
            ("grpc.server_handshake_timeout_ms", _ms(self.hello_seconds)),
            # Half of what clients use: a delayed ping must not look like a flood of them.
            ("grpc.http2.min_ping_interval_without_data_ms", _ms(self.keepalive_seconds / 2)),
        )

    def client_options(self, server_name: str) -> Options:
        """Return the options of a gRPC channel to the server whose certificate has this name."""
        return (
            *self._common(),
            ("grpc.ssl_target_name_override", server_name),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        )

    def _common(self) -> Options:
        return (
            ("grpc.max_receive_message_length", _HARD_FRAME_BYTES),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
            ("grpc.keepalive_time_ms", _ms(self.keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", _ms(self.keepalive_timeout_seconds)),
            # Without this one the core gives the ping itself a minute.
            ("grpc.http2.ping_timeout_ms", _ms(self.keepalive_timeout_seconds)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            # No decompression: a kilobyte must not become a megabyte. Such frames fail to decode.
            ("grpc.per_message_decompression", 0),
            ("grpc.compression_enabled_algorithms_bitset", 1),
        )


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))
