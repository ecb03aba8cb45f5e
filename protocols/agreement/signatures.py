"""Signatures on the agreement, and the proof that every party has signed the same one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from protocols.agreement.model import Agreement
from protocols.agreement.validate import validate
from protocols.errors import AgreementError, SignatureError
from protocols.identity import Identity, Name

SIGNATURE_DOMAIN: Final = b"securefed agreement signature v1"
MAX_SIGNATURE_FILE_BYTES: Final = 4096

_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Signature = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]


class AgreementSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One party's signature on one agreement; the content of a ``<name>.sig`` file.

    Attributes:
        agreement: digest of the agreement, 64 lowercase hexadecimal digits.
        name: the party that signed.
        signature: Ed25519 over digest and name, 128 lowercase hexadecimal digits.
    """

    agreement: _Digest
    name: Name
    signature: _Signature

    def to_json(self) -> bytes:
        """Return the text of a ``.sig`` file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_json(cls, data: bytes, *, source: str = "signature") -> AgreementSignature:
        """Parse a ``.sig`` file; ``source`` names it in errors.

        Raises:
            AgreementError: not one such file. The signature itself is not checked here.
        """
        if len(data) > MAX_SIGNATURE_FILE_BYTES:
            raise AgreementError(source, "is too long for a signature", "ask for the .sig file")
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise AgreementError(
                source, "is not a signature file", "ask its party to run `securefed sign` again"
            ) from error


def sign_agreement(agreement: Agreement, identity: Identity) -> AgreementSignature:
    """Sign a valid agreement as one of its parties.

    Raises:
        AgreementError: the agreement is unsafe, does not name this party, or names it with
            another public key.
    """
    validate(agreement)
    index = agreement.party_index(identity.name)
    if agreement.parties[index].public_key != identity.public.raw.hex():
        raise AgreementError(
            f"parties[{index}].public_key",
            f"is not the public key of the identity that {identity.name} signs with",
            f"put {identity.public.raw.hex()} there, or sign with the key that is named",
        )
    digest = agreement.digest()
    signature = identity.sign_bytes(SIGNATURE_DOMAIN, _signed(digest, identity.name))
    return AgreementSignature(digest.hex(), identity.name, signature.hex())


def check_signature(agreement: Agreement, signature: AgreementSignature) -> None:
    """Check one signature.

    Raises:
        AgreementError: by somebody who is no party, on another agreement, or not valid.
    """
    agreement.party_index(signature.name)
    _check_one(agreement, agreement.digest(), signature)


def _check_one(agreement: Agreement, digest: bytes, signature: AgreementSignature) -> None:
    name = signature.name
    if signature.agreement != digest.hex():
        raise AgreementError(
            "signatures",
            f"{name} signed another agreement ({signature.agreement[:16]}…, this one is "
            f"{digest.hex()[:16]}…)",
            f"compare the two files, then ask {name} to sign this one",
        )
    try:
        agreement.verify_key(name).verify_bytes(
            SIGNATURE_DOMAIN, _signed(digest, name), bytes.fromhex(signature.signature)
        )
    except SignatureError as error:
        raise AgreementError(
            "signatures",
            f"the signature of {name} is not valid",
            f"ask {name} to sign again with the key that the agreement names",
        ) from error


@dataclass(frozen=True, slots=True)
class SignedAgreement:
    """An agreement in force: safe, and signed by every party. No other instance can exist.

    Attributes:
        agreement: what was signed.
        signatures: one valid signature per party.
    """

    agreement: Agreement
    signatures: tuple[AgreementSignature, ...]

    def __post_init__(self) -> None:
        """Raises: AgreementError, naming every party whose signature is missing or not valid."""
        _check_all(self.agreement, self.signatures)

    @property
    def digest(self) -> bytes:
        """Digest of the agreement, 32 bytes."""
        return bytes.fromhex(self.signatures[0].agreement)


def bring_into_force(
    agreement: Agreement, signatures: Iterable[AgreementSignature]
) -> SignedAgreement:
    """Check that the agreement is safe and that every party has signed exactly this one.

    Args:
        agreement: what the parties agreed on.
        signatures: one per party, in any order.

    Raises:
        AgreementError: unsafe; or a signature is missing, given twice, of somebody who is no
            party, for another agreement, or not valid. The text names those parties.
    """
    given = tuple(signatures)
    order = {party.name: index for index, party in enumerate(agreement.parties)}
    return SignedAgreement(
        agreement, tuple(sorted(given, key=lambda one: order.get(one.name, len(order))))
    )


def _check_all(agreement: Agreement, signatures: tuple[AgreementSignature, ...]) -> None:
    validate(agreement)
    digest = agreement.digest()
    missing = {party.name: None for party in agreement.parties}
    wrong: dict[str, AgreementError] = {}
    for one in signatures:
        if one.name not in missing:
            problem = "given twice or by somebody who is no party"
            raise AgreementError(
                "signatures", f"{one.name}: {problem}", f"remove that signature of {one.name}"
            )
        del missing[one.name]
        try:
            _check_one(agreement, digest, one)
        except AgreementError as error:
            wrong[one.name] = error
    if not missing and not wrong:
        return
    clauses = [f"missing from {_some(tuple(missing))}"] if missing else []
    clauses += [error.problem for error in wrong.values()][:8]
    waiting = _some((*missing, *wrong))
    raise AgreementError(
        "signatures", "; ".join(clauses), f"not in force until {waiting} signed this agreement"
    )


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _signed(digest: bytes, name: str) -> bytes:
    return digest + name.encode()
