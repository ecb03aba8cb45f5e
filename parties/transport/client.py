"""The party's end: one outbound stream to the coordinator, opened again for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import grpc
from grpc import aio

from parties.transport.events import (
    ClientEvent,
    Connected,
    Disconnected,
    EventQueue,
    Message,
    Refused,
    SessionLost,
)
from parties.transport.frames import NO_EPOCH, SESSION_BYTES, Code, Hello, encode
from parties.transport.greeting import Dismissed, TurnedAway, is_final, read_hello
from parties.transport.limits import PATH, Limits
from parties.transport.session import Session
from parties.transport.streams import ClientStream
from parties.transport.tls import PinnedPeer, TlsIdentity, require_valid
from parties.transport.tls13 import require_tls13
from protocols.errors import MisuseError, PeerError, TransportError, WireError

_log: Final = logging.getLogger("securefed.transport")
_SYSTEM_RANDOM: Final = random.SystemRandom()


class Client:
    """Keeps a session with the coordinator across lost connections.

    It gives up, with one :class:`Refused` event, only where trying again cannot help: another
    agreement or protocol version, a certificate out of date, a coordinator that breaks the rules.
    """

    def __init__(
        self,
        *,
        address: str,
        server: PinnedPeer,
        tls: TlsIdentity,
        agreement_digest: bytes,
        max_message_bytes: int,
        spool: Path,
        limits: Limits | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        jitter: Callable[[], float] = _SYSTEM_RANDOM.random,
    ) -> None:
        """Prepare a client; nothing happens before :meth:`start`.

        Args:
            address: the coordinator's ``host:port``.
            server: its pinned certificate.
            tls: our own certificate and key.
            agreement_digest: SHA-256 of the agreement, 32 bytes.
            max_message_bytes: the largest message, from the agreement.
            spool: directory for messages over 4 MiB.
            limits: bounds and deadlines.
            randomness: for the session id.
            jitter: uniform numbers in [0, 1), so that parties do not reconnect all at once.
        """
        self._address, self._server, self._tls = address, server, tls
        self._agreement, self._limits, self._jitter = agreement_digest, limits or Limits(), jitter
        self._session = Session(
            server.name,
            randomness(SESSION_BYTES),
            NO_EPOCH,
            max_message_bytes=max_message_bytes,
            limits=self._limits,
            spool=spool,
        )
        self._events: EventQueue[ClientEvent] = EventQueue()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""

    @property
    def connected(self) -> bool:
        """Whether the stream is up."""
        return self._session.link is not None

    async def start(self) -> None:
        """Begin to connect, and go on until :meth:`stop`.

        Raises:
            MisuseError: started before.
            SignatureError: our certificate or the coordinator's is not valid now.
            TransportError: TLS 1.2 cannot be turned off in this process.
        """
        if self._task is not None:
            raise MisuseError("a transport client is started once")
        self._check_certificates()
        await require_tls13()
        self._task = asyncio.create_task(self._supervise())
        self._task.add_done_callback(self._supervised)

    async def next_event(self, seconds: float | None = None) -> ClientEvent:
        """Take the next event, waiting at most so many seconds.

        Raises:
            TimeoutError: nothing happened.
            TransportError: the client has stopped and everything was taken.
        """
        return await self._events.get(seconds)

    async def events(self) -> AsyncIterator[ClientEvent]:
        """Yield events until the client has stopped."""
        while True:
            try:
                event = await self._events.get(None)
            except TransportError:
                return
            yield event

    async def send(self, body: bytes | memoryview) -> None:
        """Queue one message; it is sent again after a reconnect until the coordinator takes it.

        Raises:
            MisuseError: an empty message.
            OversizedError: longer than the agreement allows.
            TransportError: the session ended, or nothing was taken until the deadline.
        """
        await self._session.send(body)

    async def stop(self, drain_seconds: float = 5.0) -> None:
        """Let the coordinator take what is queued for so long, say goodbye, and stop."""
        if self._session.link is not None:
            await self._session.drain(drain_seconds)
        self._stopping.set()
        if self._session.link is not None:
            self._session.link.close(Code.STOPPING, "the party stops")
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=2 * self._limits.goodbye_seconds)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._close("the client is stopped")

    async def _supervise(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            before = self._progress()
            try:
                self._check_certificates()
                await self._connect()
            except PeerError as error:
                _log.error("gave up: %s", error)
                self._events.put(Refused(self._server.name, error))
                self._close(str(error))
                return
            attempt = attempt + 1 if self._progress() == before else 0
            await self._pause(attempt)

    def _supervised(self, task: asyncio.Task[None]) -> None:
        # A bug must end the node's wait for events, not leave it waiting for a client that is dead.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the transport failed", exc_info=error)
            self._close(f"the transport failed: {error!r}")

    async def _connect(self) -> None:
        """One connection from dial to end. Raises PeerError where another would not help."""
        channel = aio.secure_channel(
            self._address,
            grpc.ssl_channel_credentials(
                self._server.certificate_pem, self._tls.private_key_pem, self._tls.certificate_pem
            ),
            options=self._limits.client_options(self._server.name),
        )
        try:
            call = channel.stream_stream(PATH)()
            try:
                stream = ClientStream(call)
                if (welcome := await self._greet(stream)) is not None:
                    await self._exchange(stream, welcome)
            finally:
                call.cancel()
        finally:
            await channel.close()

    async def _greet(self, stream: ClientStream) -> Hello | None:
        hello = self._session.hello(agreement=self._agreement, name=self._tls.name)
        raw = None
        try:
            async with asyncio.timeout(self._limits.hello_seconds):
                if await stream.write(encode(hello)):
                    raw = await stream.read()
        except TimeoutError:
            stream.ending = f"no answer within {self._limits.hello_seconds:g} s"
        if stream.status == "UNIMPLEMENTED":
            raise WireError(self._server.name, "hello", "speaks another version of SecureFed")
        if raw is None:
            self._report(stream.ending)
            return None
        try:
            return read_hello(raw, peer=self._server.name, agreement=self._agreement)
        except TurnedAway as refused:
            if is_final(refused.code) or not isinstance(refused, Dismissed):
                raise refused.error from refused
            self._report(str(refused))
            return None

    async def _exchange(self, stream: ClientStream, welcome: Hello) -> None:
        session, name = self._session, self._server.name
        resumed = welcome.epoch == session.epoch
        if not resumed:
            if session.epoch != NO_EPOCH:
                session.reset()
                self._events.put(SessionLost(name))
            session.epoch = welcome.epoch
        session.resume(welcome)
        link = session.attach(
            stream, lambda body, take: self._events.put(Message(name, body), take)
        )
        self._trouble = ""
        self._events.put(Connected(name, resumed=resumed))
        if self._stopping.is_set():
            link.close(Code.STOPPING, "the party stops")
        reason = "the stream was cancelled"
        try:
            reason = await link.run()
        except TransportError as error:
            reason = str(error)
            self._report(reason)
        except PeerError as error:
            reason = str(error)
            raise
        finally:
            session.detach()
            self._events.put(Disconnected(name, reason))
            link.finished.set()

    def _check_certificates(self) -> None:
        require_valid(self._tls.name, self._tls.certificate_pem)
        require_valid(self._server.name, self._server.certificate_pem)

    def _progress(self) -> tuple[int, int, int, int]:
        inbox, outbox = self._session.inbox, self._session.outbox
        return inbox.received, inbox.held, *outbox.position

    async def _pause(self, attempt: int) -> None:
        limits = self._limits
        longest = min(limits.backoff_most, limits.backoff_first * 2.0 ** min(attempt, 16))
        try:
            async with asyncio.timeout(longest * (0.5 + 0.5 * self._jitter())):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _report(self, trouble: str) -> None:
        level = logging.DEBUG if trouble == self._trouble else logging.WARNING
        self._trouble = trouble
        _log.log(level, "no stream to %s at %s: %s", self._server.name, self._address, trouble)

    def _close(self, reason: str) -> None:
        self._session.end(reason)
        self._events.close(reason)
