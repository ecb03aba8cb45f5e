"""Real TLS on 127.0.0.1 for tests: identities, nodes, a proxy that misbehaves, a raw client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from parties.transport.client import Client
from parties.transport.events import Connected, Message
from parties.transport.frames import (
    NO_EPOCH,
    SESSION_BYTES,
    Frame,
    Hello,
    decode,
    encode,
)
from parties.transport.limits import PATH, Limits
from parties.transport.server import Server
from parties.transport.tls import PinnedPeer, TlsIdentity, create_tls_identity
from protocols.version import PROTOCOL_VERSION

import grpc  # isort: skip - parties.transport turns TLS 1.2 off before it loads
from grpc import aio  # isort: skip

AGREEMENT = bytes(range(32))
MAX_MESSAGE_BYTES = 48 * 2**20
QUICK = Limits(
    hello_seconds=5,
    write_seconds=5,
    send_seconds=5,
    goodbye_seconds=1,
    keepalive_seconds=1,
    keepalive_timeout_seconds=1,
    backoff_first=0.02,
    backoff_most=0.2,
)
SECONDS = 15.0
E = TypeVar("E")


@cache
def identity(name: str) -> TlsIdentity:
    return create_tls_identity(name)


def pin(identity: TlsIdentity) -> PinnedPeer:
    return PinnedPeer(identity.name, identity.certificate_pem, identity.fingerprint)


@asynccontextmanager
async def server(
    spool: Path, *, peers: Mapping[str, TlsIdentity] | None = None, port: int = 0, **changes: Any
) -> AsyncIterator[tuple[Server, int]]:
    """A coordinator for bank-a and bank-b, or for ``peers``."""
    parties = peers or {name: identity(name) for name in ("bank-a", "bank-b")}
    arguments = {
        "address": f"127.0.0.1:{port}",
        "tls": identity("coordinator"),
        "peers": {name: pin(party) for name, party in parties.items()},
        "agreement_digest": AGREEMENT,
        "max_message_bytes": MAX_MESSAGE_BYTES,
        "spool": spool,
        "limits": QUICK,
        **changes,
    }
    node = Server(**arguments)
    bound = await node.start()
    try:
        yield node, bound
    finally:
        await node.stop(0)


@asynccontextmanager
async def client(
    spool: Path, port: int, *, name: str = "bank-a", started: bool = True, **changes: Any
) -> AsyncIterator[Client]:
    """A party's client; ``changes`` are arguments of Client."""
    arguments = {
        "address": f"127.0.0.1:{port}",
        "server": pin(identity("coordinator")),
        "tls": identity(name),
        "agreement_digest": AGREEMENT,
        "max_message_bytes": MAX_MESSAGE_BYTES,
        "spool": spool,
        "limits": QUICK,
        "jitter": random.Random(7).random,
        **changes,
    }
    node = Client(**arguments)
    if started:
        await node.start()
    try:
        yield node
    finally:
        await node.stop(0)


def loopback(test: Callable[..., Awaitable[None]]) -> Callable[[Path], None]:
    """Run an async test, with a deadline, and check that it leaves no task behind."""

    def run(tmp_path: Path) -> None:
        async def body() -> None:
            async with asyncio.timeout(60):
                await test(tmp_path)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if left:
                await asyncio.wait(left, timeout=2)
            left = {task for task in left if not task.done()}
            assert not left, left

        asyncio.run(body())

    run.__name__ = test.__name__
    return run


async def until(node: Any, kind: type[E], *, strict: bool = False) -> E:
    """Take events up to the first of a kind; ``strict``: it must be the very next."""
    async with asyncio.timeout(SECONDS):
        while not isinstance(event := await node.next_event(), kind):
            assert not strict, event
    return event


async def bodies(node: Any, count: int) -> list[bytes]:
    """Take the next messages."""
    return [bytes((await until(node, Message)).body) for _ in range(count)]


async def both_connected(coordinator: Server, party: Client) -> None:
    await until(coordinator, Connected)
    await until(party, Connected)


class RawClient:
    """A party that may say anything: the bare stream of frames, with a valid certificate."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def say(self, *frames: Frame | bytes) -> None:
        for frame in frames:
            await self.call.write(frame if isinstance(frame, bytes) else encode(frame))

    async def hear(self) -> Frame:
        async with asyncio.timeout(SECONDS):
            raw = await self.call.read()
        assert raw is not aio.EOF, "the stream ended"
        return decode("coordinator", raw)

    async def greet(self, name: str = "bank-a", session: bytes = bytes([7] * 16)) -> Hello:
        """Say a proper hello and return the server's."""
        await self.say(hello(name=name, session=session))
        welcome = await self.hear()
        assert isinstance(welcome, Hello), welcome
        return welcome


def hello(**changes: Any) -> Hello:
    """A hello of bank-a that is right in all but ``changes``."""
    fields: dict[str, Any] = {
        "version": PROTOCOL_VERSION,
        "agreement": AGREEMENT,
        "name": "bank-a",
        "session": bytes([7] * SESSION_BYTES),
        "epoch": NO_EPOCH,
        "received": 0,
        "held": 0,
        "taken": 0,
        **changes,
    }
    return Hello(**fields)


@asynccontextmanager
async def raw_client(
    port: int,
    *,
    name: str = "bank-a",
    credentials: grpc.ChannelCredentials | None = None,
    compression: grpc.Compression | None = None,
) -> AsyncIterator[RawClient]:
    """A stream that has said nothing yet."""
    own = identity(name)
    trusted = identity("coordinator").certificate_pem
    channel = aio.secure_channel(
        f"127.0.0.1:{port}",
        credentials
        or grpc.ssl_channel_credentials(trusted, own.private_key_pem, own.certificate_pem),
        options=(
            ("grpc.ssl_target_name_override", "coordinator"),
            ("grpc.use_local_subchannel_pool", 1),
        ),
        compression=compression,
    )
    call = channel.stream_stream(PATH)()
    try:
        yield RawClient(call)
    finally:
        call.cancel()
        await channel.close()


class Proxy:
    """Forwards TCP to ``upstream``; cuts, flips or swallows what goes there when told to.

    Attributes:
        upstream: port on 127.0.0.1, for the next connection.
        cut_after: bytes towards the server after which a connection is reset; None: never. Each
            value of the list serves one connection, in order.
        flip_at: offset of the one byte towards the server that is changed, on the next connection.
        mute: neither direction moves any more, and nobody is told.
        accepted: connections so far.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.cut_after: list[int] = []
        self.flip_at: int | None = None
        self.mute = asyncio.Event()
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def reset(self) -> None:
        """Cut every connection now."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        pair = {writer, up_writer}
        self._writers |= pair
        cut = self.cut_after.pop(0) if self.cut_after else None
        flip, self.flip_at = self.flip_at, None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, cut, flip))
                group.create_task(self._pump(up_reader, writer, None, None))
        except* OSError:
            pass  # a reset is what this proxy is for
        finally:
            for each in pair:
                each.transport.abort()
            self._writers -= pair
            self._tasks.discard(task)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cut: int | None,
        flip: int | None,
    ) -> None:
        passed = 0
        while data := await reader.read(65536):
            if self.mute.is_set():
                continue
            if flip is not None and passed <= flip < passed + len(data):
                at = flip - passed
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            passed += len(data)
            if cut is not None and passed >= cut:
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
