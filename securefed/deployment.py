"""What a node loads before it runs: the agreement in force and everybody's pinned certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from parties.transport.tls import MAX_CERTIFICATE_BYTES, PinnedPeer
from protocols.agreement import (
    Agreement,
    AgreementSignature,
    SignedAgreement,
    bring_into_force,
    load_agreement,
)
from protocols.agreement.signatures import MAX_SIGNATURE_FILE_BYTES
from protocols.errors import AgreementError, KeyFileError

SIGNATURES: Final = "signatures"
CERTIFICATES: Final = "certificates"
KEY_RECORD: Final = "paillier.key"
MAX_RECORD_BYTES: Final = 2**20
MAX_AGREEMENT_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Deployment:
    """An agreement in force, and the certificates of those whom it names.

    Attributes:
        signed: the agreement with every party's valid signature.
        pins: certificate of the coordinator, of each party and of a key holder, by name.
        key_record: record of the key that vectors are encrypted under, unchecked; ``None`` where
            nothing is.
    """

    signed: SignedAgreement
    pins: dict[str, PinnedPeer] = field(repr=False)
    key_record: bytes | None = field(default=None, repr=False)

    @property
    def agreement(self) -> Agreement:
        """The agreement itself."""
        return self.signed.agreement

    @classmethod
    def load(
        cls,
        agreement: Path,
        *,
        signatures: Path | None = None,
        certificates: Path | None = None,
        key_record: Path | None = None,
    ) -> Deployment:
        """Read and verify everything from files.

        Args:
            agreement: the TOML file.
            signatures: directory of ``<name>.sig``; by default ``signatures`` beside the file.
            certificates: directory of ``<name>.pem``; by default ``certificates`` beside it.
            key_record: what a ceremony came to, where vectors are encrypted; by default
                ``paillier.key`` beside it.

        Raises:
            AgreementError: unsafe, or not signed by every party; names those that are missing.
            SignatureError: a certificate is not the pinned one.
            KeyFileError: a file cannot be read.
        """
        home = agreement.parent
        loaded = read_agreement(agreement)
        signed = bring_into_force(loaded, read_signatures(signatures or home / SIGNATURES))
        where = certificates or home / CERTIFICATES
        hub = loaded.coordinator
        pinned = [(hub.name, hub.tls_fingerprint)]
        # A key holder is a trustee and no party; other trustees are parties.
        members = {one.name: one for one in (*loaded.parties, *loaded.trustees)}
        pinned += [(name, one.tls_fingerprint) for name, one in members.items()]
        pins = {
            name: PinnedPeer(
                name, read_bytes(where / f"{name}.pem", MAX_CERTIFICATE_BYTES), fingerprint
            )
            for name, fingerprint in pinned
        }
        if loaded.paillier is None:
            return cls(signed, pins)
        return cls(signed, pins, read_bytes(key_record or home / KEY_RECORD, MAX_RECORD_BYTES))


def read_agreement(path: Path) -> Agreement:
    """Read an agreement from its TOML file.

    Raises:
        AgreementError: malformed; names the key and the mend.
        KeyFileError: the file cannot be read.
    """
    try:
        text = read_bytes(path, MAX_AGREEMENT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise AgreementError(str(path), "is not UTF-8 text", "save it as UTF-8") from error
    return load_agreement(text)


def read_signatures(directory: Path) -> list[AgreementSignature]:
    """Read every ``.sig`` file of a directory, in order of their names; not yet verified.

    Raises:
        AgreementError: a file is no signature file.
        KeyFileError: a file cannot be read.
    """
    return [
        AgreementSignature.from_json(read_bytes(path, MAX_SIGNATURE_FILE_BYTES), source=path.name)
        for path in sorted(directory.glob("*.sig"))
    ]


def read_bytes(path: Path, most: int) -> bytes:
    """Read a public file of at most ``most`` bytes.

    Raises:
        KeyFileError: it cannot be read, or is longer.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise KeyFileError(f"{path} is longer than {most} bytes; it is not the right file")
    return content
