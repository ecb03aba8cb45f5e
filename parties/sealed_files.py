"""Other secrets at rest, under the passphrase of the keys and bound to what they are for.

The file looks like a key file of ``key_files.py``: its first line holds scrypt's salt and cost, and
a digest of the purpose. The rest is AES-256-GCM under scrypt's 32 bytes. Every file has a fresh
salt, hence a key of its own, which encrypts once; a nonce would have nothing to vary.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from parties import key_files
from parties.key_files import SALT_BYTES, SealedKey, derive_key, read_sealed, write_new
from protocols.errors import KeyFileError
from protocols.wire import encode

_LABEL: Final = b"securefed sealed file v1"
_ZERO_NONCE: Final = bytes(12)
_BEGIN, _END = b"-----BEGIN SECUREFED SECRET-----\n", b"-----END SECUREFED SECRET-----\n"
_ARMOUR: Final = re.compile(re.escape(_BEGIN) + rb"([A-Za-z0-9+/=\n]+)" + re.escape(_END))


class Purpose(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one secret is for. A file opens for the purpose that it was sealed for alone.

    Attributes:
        kind: what it is, in words.
        name: whose it is.
        agreement: digest of the agreement, 32 bytes.
        subject: what of the agreement it belongs to, 32 bytes.
    """

    kind: str
    name: str
    agreement: bytes
    subject: bytes

    def digest(self) -> bytes:
        """Return SHA-256 over all of it, 32 bytes."""
        return hashlib.sha256(_LABEL + encode(self)).digest()


def write_secret(
    path: Path, secret: bytes, purpose: Purpose, passphrase: bytes, *, log2_cost: int | None = None
) -> None:
    """Encrypt a secret into a new file of mode 0600.

    Args:
        path: a new file.
        secret: what to encrypt.
        purpose: what it is for.
        passphrase: to open it with.
        log2_cost: of scrypt, if not that of key files.

    Raises:
        KeyFileError: the file exists, or the disk refuses.
    """
    salt, digest = secrets.token_bytes(SALT_BYTES), purpose.digest()
    cost = key_files.LOG2_COST if log2_cost is None else log2_cost
    cipher = AESGCM(derive_key(passphrase, salt, cost))
    body = base64.encodebytes(cipher.encrypt(_ZERO_NONCE, secret, digest))
    sealed = SealedKey(cost, salt, digest.hex(), _BEGIN + body + _END)
    write_new(path, sealed.to_bytes(), private=True)


def read_secret(path: Path, purpose: Purpose, passphrase: bytes) -> bytes:
    """Decrypt a file of :func:`write_secret`.

    Raises:
        KeyFileError: missing, readable by others, damaged, for another purpose, or another
            passphrase.
    """
    sealed, digest = read_sealed(path), purpose.digest()
    if sealed.public != digest.hex():
        raise KeyFileError(
            f"{path} is not the {purpose.kind} of {purpose.name} in this ceremony and agreement; "
            "take the file that was made for it"
        )
    match = _ARMOUR.fullmatch(sealed.pem)
    try:
        body = base64.b64decode(match[1] if match else b"", validate=False)
        cipher = AESGCM(derive_key(passphrase, sealed.salt, sealed.log2_cost))
        return cipher.decrypt(_ZERO_NONCE, body, digest)
    except (InvalidTag, binascii.Error) as error:
        raise KeyFileError(
            f"{path} does not open: wrong passphrase, or damaged; try again with the passphrase "
            f"of the keys of {purpose.name}, or restore the file from a backup"
        ) from error
