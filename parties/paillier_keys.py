"""A trustee's share of the Paillier key at rest. Needs the extra ``paillier``.

A share is stored when its trustee has countersigned the dealing. It opens beside the record of that
dealing alone, after the whole record was checked: when every trustee has countersigned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from parties.sealed_files import Purpose, read_secret, write_secret
from protocols.agreement import Agreement
from protocols.errors import KeyFileError
from protocols.paillier.integers import mpz
from protocols.paillier.key_record import KeyRecord, ceremony_context, read_key_record
from protocols.paillier.threshold_key import MAX_KEY_BYTES, KeyShare, ThresholdKey

_KIND: Final = "share of the Paillier key"
_RECORD: Final = "the key record"


def share_path(directory: Path, name: str, record: bytes) -> Path:
    """Return where the share of ``name`` lies below a key directory; each dealing has its own.

    Raises:
        WireError: ``record`` is no record.
    """
    digest = KeyRecord.from_bytes(record, party=_RECORD).dealing_digest()
    return directory / name / f"paillier-{digest.hex()[:16]}.share"


def write_share(
    path: Path,
    share: KeyShare,
    record: bytes,
    passphrase: bytes,
    *,
    log2_cost: int | None = None,
) -> None:
    """Store a share, encrypted and of mode 0600.

    Args:
        path: a new file.
        share: checked by its trustee.
        record: bytes of the key record; countersignatures may still be missing.
        passphrase: of the trustee's keys.
        log2_cost: of scrypt, if not that of key files.

    Raises:
        KeyFileError: the file exists, or the disk refuses.
        WireError: ``record`` is no record.
    """
    parsed = KeyRecord.from_bytes(record, party=_RECORD)
    name = parsed.dealing().keys[share.index - 1].sender
    secret = int(share.value).to_bytes(MAX_KEY_BYTES, "big")
    write_secret(path, secret, _purpose(parsed, name), passphrase, log2_cost=log2_cost)


def read_share(
    path: Path,
    name: str,
    record: bytes,
    agreement: Agreement,
    digest: bytes,
    passphrase: bytes,
) -> tuple[ThresholdKey, KeyShare]:
    """Check a record and open the share that belongs to it.

    Args:
        path: what :func:`write_share` wrote.
        name: the trustee.
        record: bytes of the key record, hostile.
        agreement: a validated one.
        digest: its digest, 32 bytes.
        passphrase: of the trustee's keys.

    Raises:
        PeerError: the record is not in force: see
            :func:`protocols.paillier.key_record.read_key_record`.
        UnknownPartyError: ``name`` is no trustee.
        KeyFileError: missing, readable by others, damaged, of another trustee, agreement or
            dealing, or another passphrase.
    """
    key = read_key_record(record, agreement, digest, party=_RECORD)
    if not path.exists():
        raise KeyFileError(
            f"{path} is not there: the share of {name} is made when it confirms its dealing, and "
            "nowhere else; restore it from a backup, or hold another ceremony"
        )
    parsed = KeyRecord.from_bytes(record, party=_RECORD)
    index = ceremony_context(agreement, digest, parsed.session).index(name, "deal")
    secret = read_secret(path, _purpose(parsed, name), passphrase)
    return key, KeyShare(index, mpz(int.from_bytes(secret, "big")))


def _purpose(record: KeyRecord, name: str) -> Purpose:
    return Purpose(_KIND, name, record.transcript.dealing.agreement, record.dealing_digest())
