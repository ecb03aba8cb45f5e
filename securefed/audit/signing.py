"""A report that an auditor puts its name to.

The file is ``{"report":R,"signature":S}`` and a line end, where R and S are canonical JSON: sorted
keys, no spaces, ASCII. The signature is Ed25519 over ``securefed audit report v1``, a zero byte and
the very bytes of R, which are those between the first ``:`` and the last ``,"signature":`` of the
file. A file that is written in any other way is refused, so that there is one file for one report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

import msgspec

from protocols.agreement import Agreement
from protocols.agreement.members import Member
from protocols.errors import AgreementError, LedgerError, SignatureError
from protocols.identity import Identity, Name
from protocols.ledger.facts import Verdict
from securefed.audit.report import FORMAT, VERSION

DOMAIN: Final = b"securefed audit report v1"
MAX_REPORT_BYTES: Final = 2**28
_HEAD: Final = b'{"report":'
_BEFORE_SIGNATURE: Final = b',"signature":'


_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ReportSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signed a report.

    Attributes:
        domain: what the signature is for; always that of this module.
        name: of the signer in the agreement.
        public_key: of the signer, 64 hexadecimal digits.
        value: Ed25519, 128 hexadecimal digits.
    """

    domain: str
    name: Name
    public_key: _Digest
    value: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]


class _Verdict(msgspec.Struct, frozen=True):
    verdict: Verdict
    anchored: bool


class _Bundle(msgspec.Struct, frozen=True):
    sha256: _Digest


class _Ledger(msgspec.Struct, frozen=True):
    root: _Digest
    leaves: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Essence(msgspec.Struct, frozen=True):
    """What a report is about and what it says of that, whatever else its signer put into it.

    Attributes:
        verdict: and whether the agreement was given from outside.
        bundle: SHA-256 of the file that was audited.
        ledger: root and size of what was in it.
    """

    verdict: _Verdict
    bundle: _Bundle
    ledger: _Ledger


@dataclass(frozen=True, slots=True)
class SignedReport:
    """A report whose signature holds.

    Attributes:
        name: who signed it.
        role: ``"auditor"`` or ``"party"``.
        essence: what it says, in known form.
        report: all of it, as its signer wrote it: its texts are the signer's.
    """

    name: str
    role: str
    essence: Essence
    report: dict[str, Any]


def canonical(value: object) -> bytes:
    """Return the one JSON text of plain data: sorted keys, no spaces, ASCII, finite numbers."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode()


def sign_report(report: dict[str, Any], identity: Identity, agreement: Agreement) -> bytes:
    """Return the file of a report signed by an auditor or a party.

    Raises:
        AgreementError: the agreement names no auditor or party so, or with another key.
    """
    member, _ = _signer(agreement, identity.name)
    if member.public_key != identity.public.raw.hex():
        raise AgreementError(
            "auditors",
            f"the key of {identity.name} is not the one that the agreement names",
            "sign with the key that is named there",
        )
    said = canonical(report)
    value = identity.sign_bytes(DOMAIN, said).hex()
    signature = ReportSignature(DOMAIN.decode(), identity.name, member.public_key, value)
    return _file(said, signature)


def check_report(data: bytes, agreement: Agreement) -> SignedReport:
    """Check who signed a report, whoever hands it over.

    Args:
        data: the whole file.
        agreement: of the federation, from a source of its own.

    Raises:
        LedgerError: ``report-unreadable``: it is no such file, or not in its one form;
            ``report-elsewhere``: it is about another agreement; ``report-unsigned``: the signature
            is not by an auditor or party of this agreement.
    """
    said, signature = _split(data)
    report = _parse(said)
    if canonical(report) != said or _file(said, signature) != data:
        raise _unreadable("it is not written in its one form")
    if (report.get("format"), report.get("version")) != (FORMAT, VERSION):
        raise _unreadable("it is no audit report of this version")
    _check_agreement(report, agreement.digest().hex())
    try:
        member, role = _signer(agreement, signature.name)
        key = member.verify_key()
        key.verify_bytes(DOMAIN, said, bytes.fromhex(signature.value))
    except (AgreementError, SignatureError) as error:
        raise LedgerError("report-unsigned", str(error), party=signature.name) from error
    if (signature.domain, signature.public_key) != (DOMAIN.decode(), member.public_key):
        raise LedgerError(
            "report-unsigned", "it names another key or purpose", party=signature.name
        )
    return SignedReport(signature.name, role, _essence(report), report)


def _signer(agreement: Agreement, name: str) -> tuple[Member, str]:
    for role, members in (("auditor", agreement.auditors), ("party", agreement.parties)):
        for member in members:
            if member.name == name:
                return member, role
    raise AgreementError(
        "auditors", f"no auditor or party is called {name!r}", "sign as one that it names"
    )


def _file(said: bytes, signature: ReportSignature) -> bytes:
    return _HEAD + said + _BEFORE_SIGNATURE + canonical(msgspec.structs.asdict(signature)) + b"}\n"


def _split(data: bytes) -> tuple[bytes, ReportSignature]:
    if len(data) > MAX_REPORT_BYTES:
        raise _unreadable(f"it has {len(data)} bytes, at most {MAX_REPORT_BYTES}")
    # The signature's own text holds no such mark: the last one is the border.
    said, mark, rest = data.removeprefix(_HEAD).rpartition(_BEFORE_SIGNATURE)
    if not data.startswith(_HEAD) or not mark:
        raise _unreadable("it is no signed report")
    try:
        return said, msgspec.json.decode(rest.removesuffix(b"}\n"), type=ReportSignature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable("its signature cannot be read") from error


def _parse(said: bytes) -> dict[str, Any]:
    try:
        report = json.loads(said, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _unreadable("it is nested too deeply") from error
    except ValueError as error:
        raise _unreadable("its report is not JSON") from error
    if not isinstance(report, dict):
        raise _unreadable("its report is no object")
    return report


def _essence(report: dict[str, Any]) -> Essence:
    try:
        return msgspec.convert(report, Essence)
    except msgspec.ValidationError as error:
        raise _unreadable("it says of no bundle what became of it") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _check_agreement(report: dict[str, Any], digest: str) -> None:
    parts = (report.get("agreement"), report.get("verdict"))
    about, verdict = (part if isinstance(part, dict) else {} for part in parts)
    named = about.get("digest", verdict.get("anchor_digest"))
    if named != digest:
        raise LedgerError("report-elsewhere", "it is about another agreement than this one")


def _unreadable(reason: str) -> LedgerError:
    return LedgerError("report-unreadable", reason)
