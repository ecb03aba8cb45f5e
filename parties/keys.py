"""A node's keys at rest: one directory per name, private keys in encrypted PEM files of mode 0600.

``DIR/NAME/identity.pem`` is the Ed25519 identity, ``DIR/NAME/tls.pem`` the TLS key and
``DIR/NAME/NAME.pem`` the public certificate, which goes to the other side as it is.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from parties.key_files import (
    LOG2_COST,
    SALT_BYTES,
    SealedKey,
    publish,
    read_file,
    read_sealed,
    stretch,
)
from parties.transport.tls import TlsIdentity, create_tls_identity, subject_names
from protocols.errors import KeyFileError
from protocols.identity import (
    MAX_PASSPHRASE_BYTES,
    MIN_PASSPHRASE_BYTES,
    NAME_PATTERN,
    Identity,
)

IDENTITY_FILE: Final = "identity.pem"
TLS_KEY_FILE: Final = "tls.pem"
ENVIRONMENT_VARIABLE: Final = "SECUREFED_PASSPHRASE"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What one node proves itself with. Its ``repr`` shows public halves only.

    Attributes:
        identity: Ed25519, signs envelopes and the agreement.
        tls: certificate and key of the connection.
    """

    identity: Identity
    tls: TlsIdentity

    @property
    def name(self) -> str:
        """Name in the agreement."""
        return self.identity.name


def certificate_path(directory: Path, name: str) -> Path:
    """Return where the public certificate of ``name`` lies below a key directory."""
    return directory / name / f"{name}.pem"


def create_keys(
    directory: Path, name: str, passphrase: bytes, *, log2_cost: int = LOG2_COST
) -> KeyRing:
    """Make and store fresh keys for ``name``; all files appear at once or none does.

    Args:
        directory: where ``name`` becomes a subdirectory of mode 0700; made if it does not exist.
        name: name in the agreement.
        passphrase: 8 to 1023 bytes.
        log2_cost: binary logarithm of scrypt's N, 14..20.

    Raises:
        KeyFileError: unusable name or passphrase, keys of that name exist, or the disk refuses.
    """
    _check_name(name)
    _check_passphrase(passphrase)
    identity = Identity(name, secrets.token_bytes(32))
    ring = KeyRing(identity, create_tls_identity(name))
    salt = secrets.token_bytes(SALT_BYTES)
    derived = stretch(passphrase, salt, log2_cost)
    pem = _encrypt(ring.tls.private_key_pem, derived)
    sealed = SealedKey(log2_cost, salt, identity.public.raw.hex(), identity.to_pem(derived))
    sealed_tls = SealedKey(log2_cost, salt, ring.tls.fingerprint, pem)
    files = {
        IDENTITY_FILE: sealed.to_bytes(),
        TLS_KEY_FILE: sealed_tls.to_bytes(),
        f"{name}.pem": ring.tls.certificate_pem,
    }
    final = directory / name
    if final.exists():
        raise _exists(final)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        publish(directory, name, files)
    except OSError as error:
        # Renaming onto a directory that holds files fails: keys are never overwritten.
        if final.exists():
            raise _exists(final) from error
        raise KeyFileError(f"keys cannot be written to {final}: {error.strerror}") from error
    return ring


def load_keys(
    directory: Path, name: str, passphrase: bytes, *, now: datetime | None = None
) -> KeyRing:
    """Open the keys that :func:`create_keys` stored.

    Args:
        directory: the same as for :func:`create_keys`.
        name: name in the agreement.
        passphrase: the same as for :func:`create_keys`.
        now: when the certificate must be valid; the current time by default.

    Raises:
        KeyFileError: a file is missing, readable by others, damaged or of another name, the
            passphrase is wrong, or the certificate has expired.
    """
    _check_name(name)
    _check_passphrase(passphrase)
    home = directory / name
    sealed, sealed_tls = read_sealed(home / IDENTITY_FILE), read_sealed(home / TLS_KEY_FILE)
    derived = stretch(passphrase, sealed.salt, sealed.log2_cost)
    identity = Identity.from_pem(name, sealed.pem, derived)
    if identity.public.raw.hex() != sealed.public:
        raise KeyFileError(f"{home / IDENTITY_FILE} is damaged; restore it from a backup")
    if (sealed.salt, sealed.log2_cost) != (sealed_tls.salt, sealed_tls.log2_cost):
        raise KeyFileError(f"{home} holds files of two sets of keys; restore one from a backup")
    certificate = read_file(certificate_path(directory, name), private=False)
    tls = _open_tls(name, sealed_tls.pem, derived, certificate, now or datetime.now(UTC))
    if tls.fingerprint != sealed_tls.public:
        raise KeyFileError(f"{home} holds files of two sets of keys; restore one from a backup")
    return KeyRing(identity, tls)


def read_passphrase(
    *,
    file: Path | None,
    environ: Mapping[str, str],
    prompt: Callable[[], str] | None,
) -> bytes:
    """Return the passphrase from a file, else ``SECUREFED_PASSPHRASE``, else by asking.

    Args:
        file: readable by its owner only; one line end at its end is not part of the passphrase.
        environ: usually ``os.environ``.
        prompt: asks a person; ``None`` where nobody can be asked.

    Raises:
        KeyFileError: no source, an unreadable file, or a passphrase of unusable length.
    """
    if file is not None:
        passphrase = read_file(file, private=True).removesuffix(b"\n").removesuffix(b"\r")
    elif environ.get(ENVIRONMENT_VARIABLE):
        passphrase = os.fsencode(environ[ENVIRONMENT_VARIABLE])
    elif prompt is not None:
        passphrase = prompt().encode()
    else:
        raise KeyFileError(
            f"no passphrase: give --passphrase-file, set {ENVIRONMENT_VARIABLE}, or use a terminal"
        )
    _check_passphrase(passphrase)
    return passphrase


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise KeyFileError(f"{name!r} is no party name: use a-z, 0-9 and inner hyphens, at most 64")


def _check_passphrase(passphrase: bytes) -> None:
    if not MIN_PASSPHRASE_BYTES <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise KeyFileError(
            f"the passphrase has {len(passphrase)} bytes; use {MIN_PASSPHRASE_BYTES} to "
            f"{MAX_PASSPHRASE_BYTES}"
        )


def _exists(path: Path) -> KeyFileError:
    return KeyFileError(f"{path} already exists; keys are never overwritten, use another directory")


def _encrypt(pem: bytes, passphrase: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def _open_tls(
    name: str, pem: bytes, passphrase: bytes, certificate_pem: bytes, now: datetime
) -> TlsIdentity:
    problem = f"the TLS key of {name}"
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        # Damage inside shows only when a field is read, so every field is read here.
        public, names = certificate.public_key(), subject_names(certificate)
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{problem} does not open: damaged, or wrong passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{problem} is not an elliptic-curve key")
    if key.public_key() != public:
        raise KeyFileError(f"{problem} does not belong to the certificate beside it")
    if names != (name, name):
        raise KeyFileError(f"the certificate of {name} carries another name")
    if not first <= now <= last:
        raise KeyFileError(
            f"the certificate of {name} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}; check "
            "the clock, or make new keys"
        )
    return TlsIdentity(
        name=name,
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )
