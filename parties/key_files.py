"""Private files: written whole or not at all, read only if nobody else can, sealed by scrypt.

PKCS #8 encryption derives its key with 2048 rounds of PBKDF2, too few for a passphrase that a
person can remember, and its CBC mode has no checksum, so damage can turn one key into another. So
the passphrase first goes through scrypt (RFC 7914), and a line before the PEM holds salt, cost and
the public half; the PEM itself is standard PKCS #8 under the derived passphrase.
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocols.errors import KeyFileError

MAX_KEY_FILE_BYTES: Final = 64 * 1024
LOG2_COST: Final = 17
"""scrypt with N = 2^17, r = 8, p = 1: 128 MiB and about half a second per guess."""
SALT_BYTES: Final = 16
_MIN_LOG2_COST: Final = 14
_MAX_LOG2_COST: Final = 20
_BLOCK: Final = 8
_FILE: Final = re.compile(
    rb"SecureFed-Key: scrypt log2_n=(\d\d) r=8 p=1 salt=([0-9a-f]{32}) public=([0-9a-f]{64})\r?\n"
    rb"(-----BEGIN .+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class SealedKey:
    """What a private key file holds before anybody gives the passphrase.

    Attributes:
        log2_cost: binary logarithm of scrypt's N; checked by :func:`stretch`.
        salt: scrypt's salt, 16 bytes.
        public: public key or certificate fingerprint, 64 hexadecimal digits, to detect damage.
        pem: encrypted PKCS #8.
    """

    log2_cost: int
    salt: bytes
    public: str
    pem: bytes

    def to_bytes(self) -> bytes:
        """Return the text of the file."""
        head = f"SecureFed-Key: scrypt log2_n={self.log2_cost} r=8 p=1 salt={self.salt.hex()}"
        return f"{head} public={self.public}\n".encode() + self.pem


def read_sealed(path: Path) -> SealedKey:
    """Read a private key file, still sealed.

    Raises:
        KeyFileError: as :func:`read_file`, or not a file that ``securefed`` wrote.
    """
    match = _FILE.fullmatch(read_file(path, private=True))
    if match is None:
        raise KeyFileError(f"{path} is no key file of securefed, or is damaged; take a backup")
    return SealedKey(int(match[1]), bytes.fromhex(match[2].decode()), match[3].decode(), match[4])


def stretch(passphrase: bytes, salt: bytes, log2_cost: int) -> bytes:
    """Return the passphrase of the PEM: :func:`derive_key` in hexadecimal."""
    return derive_key(passphrase, salt, log2_cost).hex().encode()


def derive_key(passphrase: bytes, salt: bytes, log2_cost: int) -> bytes:
    """Return scrypt (RFC 7914) of a person's passphrase, 32 bytes.

    Args:
        passphrase: any bytes.
        salt: 16 bytes.
        log2_cost: binary logarithm of N, 14..20; memory is 1024 N bytes.

    Raises:
        KeyFileError: the cost is too low to protect or too high to compute.
    """
    if not _MIN_LOG2_COST <= log2_cost <= _MAX_LOG2_COST:
        raise KeyFileError(f"scrypt cost 2^{log2_cost} is outside 2^14 to 2^20; make new keys")
    cost = 1 << log2_cost
    return hashlib.scrypt(
        passphrase, salt=salt, n=cost, r=_BLOCK, p=1, maxmem=2 * 128 * _BLOCK * cost, dklen=32
    )


def publish(directory: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write and flush every file in a hidden directory, then rename it: all or nothing.

    Args:
        directory: exists.
        name: subdirectory that appears, of mode 0700.
        files: contents by file name; ``<name>.pem`` gets mode 0644, all others 0600.

    Raises:
        OSError: the disk refuses, or ``name`` exists and holds files, which stay as they are.
    """
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory))
    try:
        for file, content in files.items():
            _write(draft / file, content, 0o644 if file == f"{name}.pem" else 0o600)
        flush_directory(draft)
        draft.rename(directory / name)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    flush_directory(directory)


def write_new(path: Path, content: bytes, *, private: bool) -> None:
    """Write a file that does not exist yet, whole or not at all; its directory is made if needed.

    Args:
        path: the file.
        content: all of it.
        private: mode 0600, in a directory of mode 0700 if one has to be made.

    Raises:
        KeyFileError: it exists and stays as it is, or the disk refuses.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        try:
            _write(draft, content, 0o600 if private else 0o644)
            _place(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        flush_directory(path.parent)
    except FileExistsError as error:
        raise KeyFileError(f"{path} already exists and is not replaced; name another") from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error


def _place(draft: Path, path: Path) -> None:
    try:
        # Unlike a rename, a link never replaces what is there.
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # Memory sticks and some network disks know no links: take the name first, then rename.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        draft.replace(path)


def _write(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def flush_directory(directory: Path) -> None:
    """Make a rename inside ``directory`` survive a power cut, where the system can."""
    if sys.platform == "win32":  # directories cannot be opened there
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_file(path: Path, *, private: bool) -> bytes:
    """Read a small file.

    Args:
        path: the file, at most 64 KiB.
        private: refuse it when group or others have any access.

    Raises:
        KeyFileError: missing, unreadable, too long, not a file, or open to others.
    """
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path} is not a file")
            if private and os.name == "posix" and status.st_mode & 0o077:
                raise KeyFileError(f"{path} can be read by others; run chmod 600 {path}")
            content = stream.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(f"{path} is too long for a key file")
    return content
