"""The first frame in each direction: who may speak, and why somebody is turned away."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from parties.transport.frames import Code, Goodbye, Hello, decode
from parties.transport.tls import PinnedPeer, certificate_fingerprint
from protocols.errors import (
    AgreementMismatchError,
    PeerError,
    SignatureError,
    UnexpectedMessageError,
    WireError,
)
from protocols.version import PROTOCOL_VERSION

_STEP: Final = "hello"


class TurnedAway(Exception):
    """A greeting failed: ``error`` is for our side, ``code`` for the peer. Stays in this package.

    Attributes:
        code: what to put into the goodbye.
        error: names the peer and the reason.
    """

    def __init__(self, code: Code, error: PeerError) -> None:
        super().__init__(str(error))
        self.code, self.error = code, error


class Dismissed(TurnedAway):
    """The peer answered with a goodbye instead of a hello; ``code`` is the one it gave."""


def proven_name(facts: Mapping[str, Sequence[bytes]], pins: Mapping[str, PinnedPeer]) -> str:
    """Return the name under which the agreement pins the certificate that TLS has verified.

    Args:
        facts: what gRPC says about the handshake (``auth_context``).
        pins: the parties by name.

    Raises:
        SignatureError: not TLS 1.3, or a certificate that the agreement does not pin.
    """
    if list(facts.get("ssl_tls_version", ())) != [b"TLSv1.3"]:
        raise SignatureError("unknown", "handshake", "the connection is not TLS 1.3")
    shown = certificate_fingerprint("unknown", b"".join(facts.get("x509_pem_cert", ())))
    matches = [n for n, pin in pins.items() if hmac.compare_digest(pin.fingerprint, shown)]
    if len(matches) != 1:
        reason = f"certificate {shown[:16]}… is not pinned by the agreement"
        raise SignatureError("unknown", "handshake", reason)
    return matches[0]


def read_hello(raw: bytes, *, peer: str, agreement: bytes) -> Hello:
    """Read a peer's first frame and check that it belongs to this federation.

    Args:
        raw: the frame.
        peer: the name that the peer's certificate proves.
        agreement: digest of the agreement that we signed.

    Raises:
        TurnedAway: not a hello, or one of another protocol version, agreement or name.
        Dismissed: a goodbye.
    """
    try:
        frame = decode(peer, raw)
    except PeerError as error:
        raise TurnedAway(Code.BROKEN_RULE, error) from error
    if isinstance(frame, Goodbye):
        raise Dismissed(frame.code, refusal(peer, frame))
    if not isinstance(frame, Hello):
        reason = "the first frame is not a hello"
        raise TurnedAway(Code.BROKEN_RULE, UnexpectedMessageError(peer, _STEP, reason))
    if frame.version != PROTOCOL_VERSION:
        reason = f"speaks protocol version {frame.version}, this node speaks {PROTOCOL_VERSION}"
        raise TurnedAway(Code.VERSION, WireError(peer, _STEP, reason))
    if not hmac.compare_digest(frame.agreement, agreement):
        reason = (
            f"runs agreement {frame.agreement.hex()[:16]}…, this node signed "
            f"{agreement.hex()[:16]}…; compare the agreement files"
        )
        raise TurnedAway(Code.AGREEMENT, AgreementMismatchError(peer, _STEP, reason))
    if frame.name != peer:
        reason = f"says it is {frame.name!r}, its certificate is that of {peer!r}"
        raise TurnedAway(Code.IDENTITY, SignatureError(peer, _STEP, reason))
    return frame


def refusal(peer: str, farewell: Goodbye) -> PeerError:
    """Turn the goodbye that answered our hello into the error that names the cause."""
    reason = f"turned us away: {farewell.reason}"
    match farewell.code:
        case Code.AGREEMENT:
            return AgreementMismatchError(peer, _STEP, reason)
        case Code.VERSION:
            return WireError(peer, _STEP, reason)
        case Code.IDENTITY:
            return SignatureError(peer, _STEP, reason)
        case Code.BUSY | Code.BROKEN_RULE | Code.STOPPING | Code.FAILED:
            return UnexpectedMessageError(peer, _STEP, reason)


def is_final(code: Code) -> bool:
    """Whether trying again cannot help until a person changes something."""
    return code in {Code.AGREEMENT, Code.VERSION, Code.IDENTITY}
