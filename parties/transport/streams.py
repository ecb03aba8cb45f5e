"""gRPC calls as streams of frames: bytes in, bytes out, and a sentence when they end."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
from grpc import aio

_BROKEN: Final = (aio.AioRpcError, aio.InternalError, aio.UsageError, asyncio.InvalidStateError)
"""What a call raises once its connection is gone: which one depends on the moment."""


class ServerStream:
    """The server's end of one call."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.ending = "the connection closed"

    async def read(self) -> bytes | None:
        """Return the next frame, or None at the end."""
        try:
            raw = await self._context.read()
        except _BROKEN:
            return None
        return None if raw is aio.EOF else bytes(raw)

    async def write(self, raw: bytes) -> bool:
        """Send one frame; False when the connection is gone."""
        try:
            await self._context.write(raw)
        except _BROKEN:
            return False
        return True

    async def finish(self) -> None:
        """Nothing to do: a server's stream ends when its handler returns."""


class ClientStream:
    """The client's end of one call.

    Attributes:
        ending: what gRPC says about the end.
        status: name of the gRPC status, once the call has ended with an error.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self.ending = "the connection closed"
        self.status = ""

    async def read(self) -> bytes | None:
        """Return the next frame, or None at the end."""
        try:
            raw = await self._call.read()
        except _BROKEN as error:
            self._record(error)
            return None
        return None if raw is aio.EOF else bytes(raw)

    async def write(self, raw: bytes) -> bool:
        """Send one frame; False when the connection is gone."""
        try:
            await self._call.write(raw)
        except _BROKEN as error:
            self._record(error)
            return False
        return True

    async def finish(self) -> None:
        """Half-close the call, so that the server sees a clean end."""
        try:
            await self._call.done_writing()
        except _BROKEN as error:
            self._record(error)

    def _record(self, error: BaseException) -> None:
        if isinstance(error, aio.AioRpcError):
            self.status = error.code().name
            self.ending = error.details() or error.code().name


def generic_handler(path: str, handler: Any) -> grpc.GenericRpcHandler:
    """Return a handler of one bidirectional method that passes raw bytes."""
    service, method = path.strip("/").split("/")
    return grpc.method_handlers_generic_handler(
        service, {method: grpc.stream_stream_rpc_method_handler(handler)}
    )
