"""Ed25519 identities and signed envelopes.

An envelope carries raw payload bytes and a signature over a preamble that binds them to one
agreement, round, step and sender. The payload is verified before it is parsed and is never
re-serialised (RFC 8032 for Ed25519).
"""

from __future__ import annotations

import re
import struct
from typing import Annotated, Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.edwards import is_safe_point
from protocols.errors import KeyFileError, MisuseError, SignatureError
from protocols.version import PROTOCOL_VERSION

PUBLIC_KEY_BYTES: Final = 32
PRIVATE_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
DIGEST_BYTES: Final = 32
MAX_NAME_LENGTH: Final = 64
NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"
MIN_PASSPHRASE_BYTES: Final = 8
MAX_PASSPHRASE_BYTES: Final = 1023
"""What OpenSSL takes for one PEM file."""
NO_ROUND: Final = 0
"""Round number of messages that belong to no round, such as a signature on the agreement."""

_ENVELOPE_DOMAIN: Final = b"securefed envelope v1"
_DOMAIN: Final = _ENVELOPE_DOMAIN + b"\x00"
_DOMAIN_PATTERN: Final = re.compile(rb"[ -~]{1,64}")
_PREAMBLE: Final = struct.Struct(">HQB")
MAX_ROUND: Final = 2**63 - 1
STEP_PATTERN: Final = r"^[a-z-]{1,32}\Z"

# msgspec searches with Python's `re`, whose `$` also matches before a last line end.
Name = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN.replace("$", r"\Z")
    ),
]
Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One signed message: raw payload bytes and what they are bound to.

    Attributes:
        version: protocol version, see :data:`protocols.version.PROTOCOL_VERSION`.
        agreement: digest of the agreement, 32 bytes.
        round: round number, from 1; :data:`NO_ROUND` outside any round.
        step: name of the step, such as ``"advertise"``.
        sender: name of the signer in the agreement.
        payload: raw bytes, exactly what was signed.
        signature: Ed25519, 64 bytes.
    """

    version: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    agreement: Digest
    round: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROUND)]
    step: Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern=STEP_PATTERN)]
    sender: Name
    payload: bytes
    signature: Annotated[
        bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)
    ]

    def __repr__(self) -> str:
        return (
            f"Envelope(step={self.step!r}, round={self.round}, sender={self.sender!r}, "
            f"{len(self.payload)} bytes)"
        )


def signed_bytes(envelope: Envelope) -> bytes:
    """Return the bytes that the signature of an envelope of this protocol version covers."""
    return _signed_bytes(
        envelope.agreement, envelope.round, envelope.step, envelope.sender, envelope.payload
    )


def _signed_bytes(agreement: bytes, round_: int, step: str, sender: str, payload: bytes) -> bytes:
    # Every variable field is length-prefixed, so that no two field tuples share one byte string.
    name, verb = sender.encode(), step.encode()
    return b"".join(
        (
            _DOMAIN,
            _PREAMBLE.pack(PROTOCOL_VERSION, round_, len(agreement)),
            agreement,
            struct.pack(">BB", len(verb), len(name)),
            verb,
            name,
            struct.pack(">Q", len(payload)),
            payload,
        )
    )


def _check_domain(domain: bytes) -> None:
    # A zero byte would move the border between domain and message; the envelope's own domain would
    # let a detached signature pass for an envelope.
    if not _DOMAIN_PATTERN.fullmatch(domain) or domain == _ENVELOPE_DOMAIN:
        raise MisuseError("a domain is 1 to 64 printable ASCII bytes other than the envelope's own")


class VerifyKey:
    """A peer's Ed25519 public key under the name that the agreement gives it."""

    __slots__ = ("_key", "name", "raw")

    def __init__(self, name: str, raw: bytes) -> None:
        """Args: name in the agreement; raw public key, 32 bytes.

        Raises:
            SignatureError: ``raw`` is not an Ed25519 public key, or one of the few for which
                anybody can make signatures.
        """
        self.name, self.raw = name, bytes(raw)
        if len(self.raw) != PUBLIC_KEY_BYTES or not is_safe_point(self.raw):
            raise SignatureError(name, "identity", "not an Ed25519 public key")
        try:
            self._key = Ed25519PublicKey.from_public_bytes(self.raw)
        except ValueError as error:
            raise SignatureError(name, "identity", "not an Ed25519 public key") from error

    def __repr__(self) -> str:
        return f"VerifyKey({self.name!r}, {self.raw.hex()[:16]}…)"

    def verify_bytes(self, domain: bytes, message: bytes, signature: bytes) -> None:
        """Check a detached signature over ``domain || 0x00 || message``.

        Raises:
            SignatureError: it does not verify.
            MisuseError: ``domain`` is not one that :meth:`Identity.sign_bytes` takes.
        """
        _check_domain(domain)
        if not self.accepts(domain + b"\x00" + message, signature):
            raise SignatureError(self.name, domain.decode(), "the signature is not valid")

    def verify(self, envelope: Envelope) -> None:
        """Check that this key signed ``envelope`` as it stands.

        Raises:
            SignatureError: another name, another protocol version, or a wrong signature.
        """
        if envelope.sender != self.name:
            raise SignatureError(self.name, envelope.step, f"signed as {envelope.sender!r}")
        if envelope.version != PROTOCOL_VERSION:
            raise SignatureError(
                self.name,
                envelope.step,
                f"protocol version {envelope.version}, this node speaks {PROTOCOL_VERSION}",
            )
        if not self.accepts(signed_bytes(envelope), envelope.signature):
            raise SignatureError(self.name, envelope.step, "the signature is not valid")

    def accepts(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key signed exactly these bytes, whatever they are.

        For bytes that :func:`signed_bytes` or a signed note gave; a caller who makes up a message
        of its own uses :meth:`verify_bytes`, which keeps domains apart.
        """
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Identity:
    """A private Ed25519 identity. Its ``repr`` shows the public half only."""

    __slots__ = ("_key", "name", "public")

    def __init__(self, name: str, private_key: bytes) -> None:
        """Args: name in the agreement; private key, 32 random bytes.

        Raises:
            MisuseError: the private key has another length.
        """
        if len(private_key) != PRIVATE_KEY_BYTES:
            raise MisuseError(f"an Ed25519 private key has {PRIVATE_KEY_BYTES} bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        raw = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self.name, self.public = name, VerifyKey(name, raw)

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, public {self.public.raw.hex()[:16]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Identity is never serialised; use to_pem with a passphrase")

    def sign_bytes(self, domain: bytes, message: bytes) -> bytes:
        """Sign ``domain || 0x00 || message``.

        Raises:
            MisuseError: ``domain`` is not 1 to 64 printable ASCII bytes, or it is the envelope's.
        """
        _check_domain(domain)
        return self._key.sign(domain + b"\x00" + message)

    def sign_text(self, text: bytes) -> bytes:
        """Sign the text of a note, raw, as other tools expect it (C2SP signed notes).

        A text holds no zero byte, and whatever else this key signs begins with a domain and one, so
        that a note is never taken for an envelope or a detached signature.

        Raises:
            MisuseError: ``text`` is empty or holds a zero byte.
        """
        if not text or b"\x00" in text:
            raise MisuseError("a note is text without any zero byte")
        return self._key.sign(text)

    def seal(self, *, agreement: bytes, round_: int, step: str, payload: bytes) -> Envelope:
        """Sign raw payload bytes for one step of one round.

        Raises:
            MisuseError: a digest, round or step that no receiver would accept.
        """
        if (
            len(agreement) != DIGEST_BYTES
            or not NO_ROUND <= round_ <= MAX_ROUND
            or not re.match(STEP_PATTERN, step)
        ):
            raise MisuseError(f"no envelope can carry round {round_} and step {step!r}")
        signed = _signed_bytes(agreement, round_, step, self.name, payload)
        return Envelope(
            PROTOCOL_VERSION, agreement, round_, step, self.name, payload, self._key.sign(signed)
        )

    def to_pem(self, passphrase: bytes) -> bytes:
        """Return the private key as PKCS #8 PEM, encrypted under ``passphrase``.

        Raises:
            KeyFileError: the passphrase has fewer than 8 or more than 1023 bytes.
        """
        if not MIN_PASSPHRASE_BYTES <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
            raise KeyFileError(
                f"the passphrase has {len(passphrase)} bytes; choose one of "
                f"{MIN_PASSPHRASE_BYTES} to {MAX_PASSPHRASE_BYTES}"
            )
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )

    @classmethod
    def from_pem(cls, name: str, pem: bytes, passphrase: bytes) -> Identity:
        """Open an encrypted PEM.

        Raises:
            KeyFileError: not encrypted, not Ed25519, damaged, or another passphrase.
        """
        if b"ENCRYPTED" not in pem:
            raise KeyFileError(
                f"the key of {name} is not encrypted; make one with securefed keygen"
            )
        try:
            key = serialization.load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(
                f"the key of {name} does not open: damaged file or wrong passphrase"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"the key of {name} is not an Ed25519 key")
        raw = key.private_bytes(
            serialization.Encoding.Raw,
            serialization.PrivateFormat.Raw,
            serialization.NoEncryption(),
        )
        return cls(name, raw)
