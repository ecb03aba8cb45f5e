"""Signatures beside an agreement: who has signed, and how a new one is stored."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from protocols.agreement import Agreement, AgreementSignature, check_signature
from protocols.errors import AgreementError, KeyFileError
from securefed.deployment import read_signatures


class SignatureState(StrEnum):
    """What is known of one party's signature."""

    VALID = "valid"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class SignatureStatus:
    """One party's signature on one agreement.

    Attributes:
        name: the party.
        state: whether it has signed this agreement.
        problem: why a signature that is there does not count; empty otherwise.
    """

    name: str
    state: SignatureState
    problem: str = ""


def signing_status(agreement: Agreement, directory: Path) -> tuple[SignatureStatus, ...]:
    """Return the state of every party's signature, in the order of the agreement.

    Args:
        agreement: a validated one.
        directory: holds ``<name>.sig`` files; need not exist.

    Raises:
        AgreementError: a file in it is no signature file.
        KeyFileError: a file cannot be read.
    """
    found = {one.name: one for one in read_signatures(directory)}
    return tuple(
        _status(agreement, party.name, found.get(party.name)) for party in agreement.parties
    )


def _status(
    agreement: Agreement, name: str, signature: AgreementSignature | None
) -> SignatureStatus:
    if signature is None:
        return SignatureStatus(name, SignatureState.MISSING)
    try:
        check_signature(agreement, signature)
    except AgreementError as error:
        return SignatureStatus(name, SignatureState.WRONG, error.problem)
    return SignatureStatus(name, SignatureState.VALID)


def write_signature(directory: Path, signature: AgreementSignature) -> Path:
    """Store a signature as ``<name>.sig``; one of an earlier agreement is replaced.

    Raises:
        KeyFileError: the disk refuses.
    """
    path = directory / f"{signature.name}.sig"
    write_text(path, signature.to_json().decode())
    return path


def write_text(path: Path, text: str) -> None:
    """Write a public text; raises as :func:`write_public`."""
    write_public(path, text.encode())


def write_public(path: Path, data: bytes) -> None:
    """Write a public file so that a reader finds the whole of it or the former one.

    Raises:
        KeyFileError: the disk refuses.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error
