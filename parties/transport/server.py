"""The coordinator's end: one stream per party, whoever the party is proved by its certificate."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
from grpc import aio

from parties.transport.events import (
    Connected,
    Disconnected,
    EventQueue,
    Message,
    Refused,
    ServerEvent,
)
from parties.transport.frames import SESSION_BYTES, Code, Hello, encode, goodbye
from parties.transport.greeting import TurnedAway, proven_name, read_hello
from parties.transport.limits import PATH, Limits
from parties.transport.link import Link
from parties.transport.session import Session
from parties.transport.streams import ServerStream, generic_handler
from parties.transport.tls import PinnedPeer, TlsIdentity, require_valid
from parties.transport.tls13 import require_tls13
from protocols.errors import (
    DuplicateError,
    MisuseError,
    PeerError,
    SecureFedError,
    SignatureError,
    TransportError,
    UnexpectedMessageError,
)

MAX_ARRIVING: Final = 2
"""Streams of one party that may be at their hello at one time."""

_log: Final = logging.getLogger("securefed.transport")


class _Peer:
    """What the server keeps of one party."""

    __slots__ = ("arriving", "name", "session", "turn")

    def __init__(self, name: str) -> None:
        self.name = name
        self.session: Session | None = None
        self.turn = asyncio.Lock()
        self.arriving = 0


class Server:
    """Listens for the parties of one agreement and exchanges whole messages with each.

    A second connection under one identity: the newest wins if it comes from the same process
    (same session), which is what a party does after its network failed without a word. Another
    process is refused while the first is alive; a dead one is noticed by keep-alive within
    ``keepalive_seconds + keepalive_timeout_seconds``, so a restarted party gets in after that.
    """

    def __init__(
        self,
        *,
        address: str,
        tls: TlsIdentity,
        peers: Mapping[str, PinnedPeer],
        agreement_digest: bytes,
        max_message_bytes: int,
        spool: Path,
        limits: Limits | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Prepare a server; nothing happens before :meth:`start`.

        Args:
            address: ``host:port`` to listen on; port 0 takes a free one.
            tls: our own certificate and key.
            peers: the parties' pinned certificates by name.
            agreement_digest: SHA-256 of the agreement, 32 bytes.
            max_message_bytes: the largest message, from the agreement.
            spool: directory for messages over 4 MiB.
            limits: bounds and deadlines.
            randomness: for the sessions' epochs.
        """
        self._address, self._tls, self._pins = address, tls, dict(peers)
        self._agreement, self._max_message_bytes = agreement_digest, max_message_bytes
        self._spool, self._limits, self._randomness = spool, limits or Limits(), randomness
        self._peers = {name: _Peer(name) for name in peers}
        self._events: EventQueue[ServerEvent] = EventQueue()
        self._server: Any = None
        self._stopping = False

    @property
    def connected(self) -> frozenset[str]:
        """Names of the parties whose stream is up."""
        return frozenset(
            name for name, peer in self._peers.items() if peer.session and peer.session.link
        )

    async def start(self) -> int:
        """Listen, and return the port.

        Raises:
            SignatureError: our own certificate is not valid now.
            TransportError: the address is taken or wrong, or TLS 1.2 cannot be turned off.
        """
        require_valid(self._tls.name, self._tls.certificate_pem)
        for name, pin in self._pins.items():
            try:
                require_valid(name, pin.certificate_pem)
            except SignatureError as error:
                _log.warning("this party cannot connect: %s", error)
        await require_tls13()
        self._server = aio.server(
            options=self._limits.server_options(),
            maximum_concurrent_rpcs=4 * len(self._pins) + 8,
        )
        self._server.add_generic_rpc_handlers((generic_handler(PATH, self._serve),))
        credentials = grpc.ssl_server_credentials(
            [(self._tls.private_key_pem, self._tls.certificate_pem)],
            root_certificates=b"".join(pin.certificate_pem for pin in self._pins.values()),
            require_client_auth=True,
        )
        try:
            port = int(self._server.add_secure_port(self._address, credentials))
        except RuntimeError as error:
            raise TransportError(
                f"cannot listen on {self._address}: taken by another process, or not an address of "
                "this machine"
            ) from error
        await self._server.start()
        return port

    async def next_event(self, seconds: float | None = None) -> ServerEvent:
        """Take the next event, waiting at most so many seconds.

        Raises:
            TimeoutError: nothing happened.
            TransportError: the server is stopped and everything was taken.
        """
        return await self._events.get(seconds)

    async def events(self) -> AsyncIterator[ServerEvent]:
        """Yield events until the server is stopped."""
        while True:
            try:
                event = await self._events.get(None)
            except TransportError:
                return
            yield event

    async def send(self, peer: str, body: bytes | memoryview) -> None:
        """Queue one message for a party; it is sent again after a reconnect until it is taken.

        Raises:
            MisuseError: no such party, or an empty message.
            OversizedError: longer than the agreement allows.
            TransportError: the party has no session, lost it, or took nothing until the deadline.
        """
        if peer not in self._peers:
            raise MisuseError(f"{peer!r} is not a party of this agreement")
        session = self._peers[peer].session
        if session is None:
            raise TransportError(f"{peer} is not connected")
        await session.send(body)

    async def stop(self, drain_seconds: float = 5.0) -> None:
        """Let the parties take what is queued for so long, say goodbye, and stop listening."""
        self._stopping = True
        sessions = [peer.session for peer in self._peers.values() if peer.session is not None]
        await asyncio.gather(*(session.drain(drain_seconds) for session in sessions))
        links = [session.link for session in sessions if session.link is not None]
        for link in links:
            link.close(Code.STOPPING, "the coordinator stops")
        ends = [asyncio.create_task(link.finished.wait()) for link in links]
        if ends:
            _, late = await asyncio.wait(ends, timeout=2 * self._limits.goodbye_seconds)
            for task in late:
                task.cancel()
        if self._server is not None:
            await self._server.stop(self._limits.goodbye_seconds)
        for session in sessions:
            session.end("the coordinator stops")
        self._events.close("the server is stopped")

    async def _serve(self, _requests: Any, context: Any) -> None:
        stream = ServerStream(context)
        try:
            peer = self._peers[proven_name(context.auth_context(), self._pins)]
        except SignatureError as error:
            await self._turn_away("unknown", stream, TurnedAway(Code.IDENTITY, error))
            return
        if self._stopping or peer.arriving >= MAX_ARRIVING or self._events.crowded(peer.name):
            await self._say(stream, Code.BUSY, "too many connections of this party at one time")
            return
        peer.arriving += 1
        try:
            arrived = await self._arrive(peer, stream)
        except TurnedAway as refused:
            await self._turn_away(peer.name, stream, refused)
            return
        finally:
            peer.arriving -= 1
        if arrived is not None:
            await self._exchange(peer, *arrived)

    async def _arrive(self, peer: _Peer, stream: ServerStream) -> tuple[Session, Link] | None:
        try:
            async with asyncio.timeout(self._limits.hello_seconds):
                raw = await stream.read()
        except TimeoutError:
            silent = UnexpectedMessageError(peer.name, "hello", "connected and said nothing")
            raise TurnedAway(Code.BROKEN_RULE, silent) from None
        if raw is None:
            _log.debug("%s left before its hello", peer.name)  # networks do that
            return None
        hello = read_hello(raw, peer=peer.name, agreement=self._agreement)
        try:
            async with asyncio.timeout(self._limits.hello_seconds), peer.turn:
                return await self._admit(peer, stream, hello)
        except PeerError as error:
            raise TurnedAway(Code.BROKEN_RULE, error) from error
        except TimeoutError:
            stuck = UnexpectedMessageError(peer.name, "hello", "its last connection does not end")
            raise TurnedAway(Code.BUSY, stuck) from None

    async def _admit(self, peer: _Peer, stream: ServerStream, hello: Hello) -> tuple[Session, Link]:
        session = peer.session
        same = session is not None and session.identifier == hello.session
        if session is not None and session.link is not None:
            if not same:
                reason = "another process with this identity is connected; stop one of the two"
                raise TurnedAway(Code.BUSY, DuplicateError(peer.name, "hello", reason))
            session.link.abort("a newer connection of the same process took its place")
            await session.link.finished.wait()
            session = peer.session  # gone if its last word was that the process stops
            same = session is not None
        if session is None or not same:
            if session is not None:
                session.end("the party was restarted")
            session = peer.session = Session(
                peer.name,
                hello.session,
                self._randomness(SESSION_BYTES),
                max_message_bytes=self._max_message_bytes,
                limits=self._limits,
                spool=self._spool,
            )
        session.resume(hello)
        self._events.put(Connected(peer.name, resumed=same))
        _log.info("%s connected", peer.name)
        welcome = session.hello(agreement=self._agreement, name=self._tls.name)

        def deliver(body: memoryview, take: Callable[[], None]) -> None:
            self._events.put(Message(peer.name, body), take)

        return session, session.attach(stream, deliver, welcome)

    async def _exchange(self, peer: _Peer, session: Session, link: Link) -> None:
        reason = "the stream was cancelled"
        try:
            reason = await link.run()
        except (PeerError, TransportError) as error:
            reason = str(error)
            self._refuse(peer.name, error)
        finally:
            session.detach()
            if link.heard is not None and link.heard.code == Code.STOPPING:
                session.end("the party stopped")
                peer.session = None
            self._events.put(Disconnected(peer.name, reason))
            _log.info("%s disconnected: %s", peer.name, reason)
            link.finished.set()

    def _refuse(self, name: str, error: SecureFedError) -> None:
        _log.warning("refused: %s", error)
        if not self._events.crowded(name):
            self._events.put(Refused(name, error))

    async def _turn_away(self, name: str, stream: ServerStream, refused: TurnedAway) -> None:
        self._refuse(name, refused.error)
        await self._say(stream, refused.code, str(refused.error))

    async def _say(self, stream: ServerStream, code: Code, reason: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.goodbye_seconds):
                await stream.write(encode(goodbye(code, reason)))
