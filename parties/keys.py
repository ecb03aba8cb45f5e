"""A node's keys at rest: one directory per name, private keys in encrypted PEM files of mode 0600.

``DIR/NAME/identity.pem`` is the Ed25519 identity, ``DIR/NAME/tls.pem`` the TLS key and
``DIR/NAME/NAME.pem`` the public certificate, which goes to the other side as it is.

PKCS #8 encryption derives its key with 2048 rounds of PBKDF2, too few for a passphrase that a
person can remember. So the passphrase first goes through scrypt (RFC 7914), whose salt and cost
stand in a line before the PEM; the PEM itself is standard PKCS #8 under the derived passphrase.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from parties.transport.tls import TlsIdentity, create_tls_identity, subject_names
from protocols.errors import KeyFileError
from protocols.identity import MIN_PASSPHRASE_BYTES, NAME_PATTERN, Identity

IDENTITY_FILE: Final = "identity.pem"
TLS_KEY_FILE: Final = "tls.pem"
ENVIRONMENT_VARIABLE: Final = "SECUREFED_PASSPHRASE"
MAX_KEY_FILE_BYTES: Final = 64 * 1024
MAX_PASSPHRASE_BYTES: Final = 1024

LOG2_COST: Final = 17
"""scrypt with N = 2^17, r = 8, p = 1: 128 MiB and about half a second per guess."""
_MIN_LOG2_COST: Final = 14
_MAX_LOG2_COST: Final = 20
_BLOCK: Final = 8
_SALT_BYTES: Final = 16
_FILE: Final = re.compile(
    rb"SecureFed-KDF: scrypt log2_n=(\d\d) r=8 p=1 salt=([0-9a-f]{32})\r?\n(-----BEGIN .+)",
    re.DOTALL,
)


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
        passphrase: 8 to 1024 bytes.
        log2_cost: binary logarithm of scrypt's N, 14..20.

    Raises:
        KeyFileError: unusable name or passphrase, keys of that name exist, or the disk refuses.
    """
    _check_name(name)
    _check_passphrase(passphrase)
    identity = Identity(name, secrets.token_bytes(32))
    ring = KeyRing(identity, create_tls_identity(name))
    salt = secrets.token_bytes(_SALT_BYTES)
    derived = _stretch(passphrase, salt, log2_cost)
    head = f"SecureFed-KDF: scrypt log2_n={log2_cost} r=8 p=1 salt={salt.hex()}\n".encode()
    files = {
        IDENTITY_FILE: head + identity.to_pem(derived),
        TLS_KEY_FILE: head + _encrypt(ring.tls.private_key_pem, derived),
        f"{name}.pem": ring.tls.certificate_pem,
    }
    final = directory / name
    if final.exists():
        raise _exists(final)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _publish(directory, name, files)
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
    derived: dict[bytes, bytes] = {}
    pems: list[bytes] = []
    for file in (IDENTITY_FILE, TLS_KEY_FILE):
        match = _FILE.fullmatch(_read(home / file, private=True))
        if match is None:
            raise KeyFileError(f"{home / file} was not written by securefed keygen, or is damaged")
        log2_cost, salt, pem = int(match[1]), bytes.fromhex(match[2].decode()), match[3]
        if match[2] not in derived:
            derived[match[2]] = _stretch(passphrase, salt, log2_cost)
        pems.append(pem)
        pems.append(derived[match[2]])
    identity = Identity.from_pem(name, pems[0], pems[1])
    certificate = _read(certificate_path(directory, name), private=False)
    tls = _open_tls(name, pems[2], pems[3], certificate, now or datetime.now(UTC))
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
        passphrase = _read(file, private=True).removesuffix(b"\n").removesuffix(b"\r")
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


def _stretch(passphrase: bytes, salt: bytes, log2_cost: int) -> bytes:
    if not _MIN_LOG2_COST <= log2_cost <= _MAX_LOG2_COST:
        raise KeyFileError(f"scrypt cost 2^{log2_cost} is outside 2^14 to 2^20; make new keys")
    cost = 1 << log2_cost
    key = hashlib.scrypt(
        passphrase, salt=salt, n=cost, r=_BLOCK, p=1, maxmem=2 * 128 * _BLOCK * cost, dklen=32
    )
    return key.hex().encode()


def _encrypt(pem: bytes, passphrase: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def _publish(directory: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write and flush every file in a hidden directory, then rename it: all or nothing."""
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory))
    try:
        for file, content in files.items():
            mode = 0o644 if file == f"{name}.pem" else 0o600
            handle = os.open(draft / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        _flush_directory(draft)
        draft.rename(directory / name)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _flush_directory(directory)


def _flush_directory(directory: Path) -> None:
    if sys.platform == "win32":  # directories cannot be opened there
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            open_to_others = private and os.name == "posix" and status.st_mode & 0o077
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path} is not a file")
            if open_to_others:
                raise KeyFileError(f"{path} can be read by others; run chmod 600 {path}")
            content = stream.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(f"{path} is too long for a key file")
    return content


def _open_tls(
    name: str, pem: bytes, passphrase: bytes, certificate_pem: bytes, now: datetime
) -> TlsIdentity:
    problem = f"the TLS key of {name}"
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{problem} does not open: damaged, or wrong passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{problem} is not an elliptic-curve key")
    if key.public_key() != certificate.public_key():
        raise KeyFileError(f"{problem} does not belong to the certificate beside it")
    if subject_names(certificate) != (name, name):
        raise KeyFileError(f"the certificate of {name} carries another name")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise KeyFileError(
            f"the certificate of {name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d}; check the clock, or make new keys"
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
