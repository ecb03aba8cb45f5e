"""Opening a signed envelope: bindings are checked first, the signature next, the text last."""

from __future__ import annotations

from typing import TypeVar

from protocols.errors import (
    AgreementMismatchError,
    ReplayError,
    SignatureError,
    UnexpectedMessageError,
    WireError,
)
from protocols.identity import Envelope, VerifyKey
from protocols.version import PROTOCOL_VERSION
from protocols.wire import decode

M = TypeVar("M")


def open_signed(
    envelope: Envelope,
    kind: type[M],
    *,
    step: str,
    signer: VerifyKey,
    agreement: bytes,
    round_: int,
    max_bytes: int,
) -> M:
    """Check that ``signer`` said ``envelope`` at this step of this round, and parse it.

    Args:
        envelope: from the wire, hostile.
        kind: type of message that the step carries.
        step: name of the step.
        signer: whose signature is wanted.
        agreement: digest of the agreement in force, 32 bytes.
        round_: number of the round.
        max_bytes: longest payload that is read.

    Raises:
        WireError: another protocol version, or a payload that is not a ``kind``.
        AgreementMismatchError: another agreement.
        ReplayError: another round.
        UnexpectedMessageError: another step.
        SignatureError: not signed by ``signer``.
    """
    name = signer.name
    if envelope.sender != name:
        # Before anything else, so that no error names whom the envelope merely claims to be of.
        raise SignatureError(name, step, f"signed as {envelope.sender!r}")
    if envelope.version != PROTOCOL_VERSION:
        raise WireError(name, step, f"protocol version {envelope.version}, not {PROTOCOL_VERSION}")
    if envelope.agreement != agreement:
        raise AgreementMismatchError(name, step, "the message belongs to another agreement")
    if envelope.round != round_:
        raise ReplayError(name, step, f"belongs to round {envelope.round}, not {round_}")
    if envelope.step != step:
        raise UnexpectedMessageError(name, step, f"sent a {envelope.step!r} message instead")
    signer.verify(envelope)
    return decode(kind, envelope.payload, party=name, step=step, max_bytes=max_bytes)
