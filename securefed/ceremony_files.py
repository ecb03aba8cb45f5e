"""The files of a key ceremony, other than those that hold a secret.

A message is one signed envelope, and a dealing is a key record that nobody has countersigned yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from protocols.errors import AgreementError, KeyFileError
from protocols.identity import Envelope, Name
from protocols.paillier.key_record import MAX_RECORD_BYTES, KeyRecord
from protocols.wire import decode
from securefed.deployment import read_bytes

DEALING: Final = "dealing"
MAX_FILE_BYTES: Final = 4096
"""Of a session, a signed key, a sealed share and a countersignature."""

_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class SessionFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the dealer sends to the trustees first. It needs no signature.

    Whoever puts another session into it gets keys that the dealer refuses, and no old dealing opens
    with a key that is fresh.

    Attributes:
        agreement: digest of the agreement, 64 hexadecimal digits.
        dealer: who began the session.
        session: 64 hexadecimal digits that no other session has.
    """

    agreement: _Digest
    dealer: Name
    session: _Digest

    def to_json(self) -> bytes:
        """Return the text of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_session(path: Path, digest: bytes) -> bytes:
    """Return the session of a file, 32 bytes.

    Args:
        path: the file.
        digest: of the agreement that it has to be for.

    Raises:
        AgreementError: no such file, or one for another agreement.
        KeyFileError: it cannot be read.
    """
    try:
        found = msgspec.json.decode(read_bytes(path, MAX_FILE_BYTES), type=SessionFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AgreementError(
            path.name, "is no session of a ceremony", "ask the dealer for the file again"
        ) from error
    if found.agreement != digest.hex():
        raise AgreementError(
            path.name,
            f"belongs to another agreement ({found.agreement[:16]}…, this one is "
            f"{digest.hex()[:16]}…)",
            f"ask {found.dealer} which agreement the ceremony is for",
        )
    return bytes.fromhex(found.session)


def read_envelope(path: Path, step: str) -> Envelope:
    """Read one signed message; nothing of it is checked.

    Raises:
        WireError: no such file; names it.
        KeyFileError: it cannot be read.
    """
    data = read_bytes(path, MAX_FILE_BYTES)
    return decode(Envelope, data, party=path.name, step=step, max_bytes=MAX_FILE_BYTES)


def read_record(path: Path) -> tuple[bytes, KeyRecord]:
    """Read a dealing or a key record, as bytes and parsed; nothing of it is checked.

    Raises:
        WireError: no such file; names it.
        KeyFileError: it cannot be read.
    """
    data = read_bytes(path, MAX_RECORD_BYTES)
    return data, KeyRecord.from_bytes(data, party=path.name)


def refuse_existing(path: Path) -> None:
    """Refuse to begin what would end by replacing a file.

    Raises:
        KeyFileError: the file exists.
    """
    if path.exists():
        raise KeyFileError(f"{path} already exists and is not replaced; name another")
