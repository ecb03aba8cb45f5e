"""TLS identities: a self-signed certificate per node, pinned by its SHA-256 in the agreement.

No authority signs anything. Everybody's certificate is its own trust anchor (RFC 5280 section 6.1
with a path of length one), and the fingerprint that all parties signed decides which one is right.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocols.errors import MisuseError, SignatureError
from protocols.identity import NAME_PATTERN

VALID_DAYS: Final = 3650
"""Default validity: rotation is a change of the agreement, so expiry must not surprise a run."""
CLOCK_SKEW: Final = timedelta(days=1)
"""How far behind the issuer's clock a peer's may be when the certificate is new."""
MAX_CERTIFICATE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """One node's certificate and the private key that belongs to it.

    Attributes:
        name: name in the agreement; also the certificate's CN and only SAN.
        certificate_pem: public, exchanged as ``certificates/<name>.pem`` beside the agreement.
        private_key_pem: PKCS #8, unencrypted: memory only; ``parties.keys`` encrypts it at rest.
        fingerprint: SHA-256 of the DER certificate, 64 lowercase hexadecimal digits.
    """

    name: str
    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PinnedPeer:
    """A peer's certificate, checked against the fingerprint that the agreement pins.

    Attributes:
        name: name in the agreement; the certificate must carry it.
        certificate_pem: exactly one PEM certificate.
        fingerprint: SHA-256 of its DER, lowercase hexadecimal, from the agreement.

    Raises:
        SignatureError: not one certificate, of another name, or not the pinned one.
    """

    name: str
    certificate_pem: bytes
    fingerprint: str

    def __post_init__(self) -> None:
        certificate = _load_certificate(self.name, self.certificate_pem)
        found = certificate.fingerprint(hashes.SHA256()).hex()
        if not hmac.compare_digest(found.encode(), self.fingerprint.encode()):
            raise SignatureError(
                self.name,
                "certificate",
                f"the file holds {found[:16]}…, the agreement pins {self.fingerprint[:16]}…; "
                f"fetch certificates/{self.name}.pem again from its owner",
            )
        if subject_names(certificate) != (self.name, self.name):
            raise SignatureError(
                self.name, "certificate", "its CN and SAN are not the name in the agreement"
            )


def create_tls_identity(
    name: str, *, now: datetime | None = None, valid_days: float = VALID_DAYS
) -> TlsIdentity:
    """Make a fresh ECDSA P-256 key and a self-signed certificate for ``name``.

    The certificate is no authority: its key usage lets nothing that it signs verify (BoringSSL
    ignores ``CA:FALSE`` in a certificate that it was told to trust, but not the key usage).

    Args:
        name: name in the agreement, ``[a-z0-9-]``, at most 64 characters (RFC 5280 bounds a CN so).
        now: issuing time with time zone; the current time by default.
        valid_days: validity from ``now`` in days, > 0.

    Raises:
        MisuseError: the name is not one that an agreement can hold.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise MisuseError(f"{name!r} is no party name: use a-z, 0-9 and inner hyphens, at most 64")
    issued = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    roles = x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    signatures_only = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issued - CLOCK_SKEW)
        .not_valid_after(issued + timedelta(days=valid_days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signatures_only, critical=True)
        .add_extension(roles, critical=False)
        .sign(key, hashes.SHA256())
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


def certificate_fingerprint(name: str, certificate_pem: bytes) -> str:
    """Return the lowercase hexadecimal SHA-256 of the DER of the one certificate in the PEM.

    Raises:
        SignatureError: ``certificate_pem``, said to be of ``name``, is not exactly one certificate.
    """
    return _load_certificate(name, certificate_pem).fingerprint(hashes.SHA256()).hex()


def subject_names(certificate: x509.Certificate) -> tuple[str, str]:
    """Return the certificate's CN and its only DNS SAN; empty strings where they are not single."""
    common = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        return (common[0] if len(common) == 1 else "", "")
    names = extension.value.get_values_for_type(x509.DNSName)
    return (
        common[0] if len(common) == 1 else "",
        names[0] if len(names) == 1 and len(list(extension.value)) == 1 else "",
    )


def _load_certificate(name: str, certificate_pem: bytes) -> x509.Certificate:
    if len(certificate_pem) > MAX_CERTIFICATE_BYTES:
        raise SignatureError(name, "certificate", f"{len(certificate_pem)} bytes is too long")
    try:
        found = x509.load_pem_x509_certificates(certificate_pem)
    except ValueError as error:
        raise SignatureError(name, "certificate", "the file is not a PEM certificate") from error
    if len(found) != 1:
        raise SignatureError(
            name, "certificate", f"the file holds {len(found)} certificates, not one"
        )
    return found[0]


def require_valid(name: str, certificate_pem: bytes, *, now: datetime | None = None) -> None:
    """Check that a certificate has begun and has not expired.

    Raises:
        SignatureError: it has not, by this machine's clock.
    """
    certificate = _load_certificate(name, certificate_pem)
    moment = now or datetime.now(UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins <= moment <= ends:
        raise SignatureError(
            name,
            "certificate",
            f"it is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d} and this machine's clock shows "
            f"{moment:%Y-%m-%d}; set the clock right, or make new keys with securefed keygen and "
            "have the agreement signed again",
        )
