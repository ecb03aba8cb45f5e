"""The key of an agreement as every node holds it: a session and the transcript of its ceremony.

A record names its key by proof: whoever has the agreement checks all of it, and needs no other
file. A key holder's record is that of a ceremony in which it dealt to itself alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from protocols.agreement.model import Agreement
from protocols.errors import AgreementError, DuplicateError, MisuseError, QuorumError
from protocols.identity import Digest, Envelope, Identity
from protocols.paillier.dealing import CeremonyDealer, MakePrimes
from protocols.paillier.dealing_checks import check_countersignature, check_transcript
from protocols.paillier.dealing_context import SESSION_BYTES, CeremonyContext
from protocols.paillier.dealing_messages import CeremonyTranscript, Dealing
from protocols.paillier.dealing_primes import safe_primes
from protocols.paillier.dealing_trustee import CeremonyTrustee
from protocols.paillier.threshold_key import KeyShare, ThresholdKey
from protocols.prg import RandomBytes
from protocols.wire import decode, encode

MAX_RECORD_BYTES: Final = 2**18
"""Longest encoding of a :class:`KeyRecord`; 4096 bits among a hundred trustees take 190 kB."""

_STEP: Final = "deal"


class KeyRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One ceremony, whole. Without countersignatures it is what trustees are asked to confirm.

    Attributes:
        session: 32 bytes that no other ceremony of the agreement has had.
        transcript: what was dealt, and who has countersigned it.
    """

    session: Digest
    transcript: CeremonyTranscript

    def to_bytes(self) -> bytes:
        """Return the one canonical encoding."""
        return encode(self)

    @classmethod
    def from_bytes(cls, data: bytes, *, party: str) -> KeyRecord:
        """Parse a record; nothing of it is checked.

        Raises:
            WireError: too long or not canonical; names ``party``.
        """
        return decode(cls, data, party=party, step=_STEP, max_bytes=MAX_RECORD_BYTES)

    def dealing(self) -> Dealing:
        """Return what was dealt, unchecked.

        Raises:
            WireError: the dealer's message is no dealing; names its sender.
        """
        envelope = self.transcript.dealing
        return decode(
            Dealing,
            envelope.payload,
            party=envelope.sender,
            step=_STEP,
            max_bytes=MAX_RECORD_BYTES,
        )

    def dealing_digest(self) -> bytes:
        """Return SHA-256 over what the dealer signed, 32 bytes.

        It tells this dealing from every other, of any agreement and session, and stays the same as
        countersignatures come in.
        """
        return hashlib.sha256(self.transcript.dealing.payload).digest()


def ceremony_context(agreement: Agreement, digest: bytes, session: bytes) -> CeremonyContext:
    """Return what the agreement says of its ceremony.

    Args:
        agreement: a validated one.
        digest: its digest, 32 bytes.
        session: 32 bytes that no other ceremony of it has had.

    Raises:
        AgreementError: nothing is encrypted under it.
        MisuseError: a digest or session of another length.
    """
    rules = agreement.paillier
    dealer = None if rules is None else rules.dealer or rules.key_holder
    if rules is None or dealer is None:
        mode = agreement.aggregation.mode
        raise AgreementError(
            "paillier", f'names nobody who makes a key, with mode = "{mode}"', "no key is needed"
        )
    return CeremonyContext(
        digest,
        session,
        dealer.verify_key(),
        tuple(trustee.verify_key() for trustee in agreement.trustees),
        agreement.quorum if rules.key_holder is None else 1,
        rules.key_bits,
    )


def read_key_record(
    data: bytes, agreement: Agreement, digest: bytes, *, party: str
) -> ThresholdKey:
    """Check a record against the agreement alone, as every node and auditor does.

    Args:
        data: hostile.
        agreement: a validated one.
        digest: its digest, 32 bytes.
        party: who handed the record over; named when the bytes are no record.

    Returns:
        The key, which every trustee has countersigned.

    Raises:
        QuorumError: a trustee has not countersigned this dealing.
        PeerError: any other refusal; names the dealer, unless a trustee is at fault for certain.
        AgreementError: nothing is encrypted under this agreement.
    """
    record = KeyRecord.from_bytes(data, party=party)
    context = ceremony_context(agreement, digest, record.session)
    return check_transcript(context, record.transcript)


def complete_record(
    context: CeremonyContext, dealing: Envelope, countersigned: Iterable[Envelope]
) -> KeyRecord:
    """Put the trustees' countersignatures, given in any order, beside their dealing.

    The dealing itself is not checked here: :func:`read_key_record` does, for the whole record.

    Raises:
        QuorumError: a trustee's is missing, or is of another dealing; the first such is named.
        DuplicateError: two of one trustee.
        PeerError: one that is no countersignature of a trustee.
    """
    digest = context.dealing_digest(dealing)
    found: dict[int, Envelope] = {}
    for envelope in countersigned:
        index = check_countersignature(context, envelope, digest)
        if index in found:
            raise DuplicateError(envelope.sender, "deal-confirm", "is given twice; remove one")
        found[index] = envelope
    for index, trustee in enumerate(context.trustees, start=1):
        if index not in found:
            reason = f"has not countersigned; {len(found)} of {len(context.trustees)} trustees have"
            raise QuorumError(trustee.name, "deal-confirm", reason)
    ordered = tuple(found[index] for index in sorted(found))
    return KeyRecord(context.session, CeremonyTranscript(dealing, ordered))


def deal_in_memory(
    agreement: Agreement,
    digest: bytes,
    identities: Mapping[str, Identity],
    random: RandomBytes,
    *,
    make_primes: MakePrimes = safe_primes,
) -> tuple[bytes, dict[str, KeyShare]]:
    """Run a whole ceremony in this process, by the same roles and with the same checks.

    This is how a key holder makes its key. With several trustees the process sees all their shares,
    which is for simulations and demonstrations alone.

    Args:
        agreement: a validated one.
        digest: its digest, 32 bytes.
        identities: of the dealer and every trustee, by name; others are ignored.
        random: source of secret random bytes.
        make_primes: finds the safe primes.

    Returns:
        Bytes of the :class:`KeyRecord`, and each trustee's share by name.

    Raises:
        AgreementError: nothing is encrypted under this agreement.
        MisuseError: an identity is missing, or not the one that the agreement names.
    """
    context = ceremony_context(agreement, digest, random(SESSION_BYTES))
    names = [one.name for one in context.trustees]
    if not {context.dealer.name, *names} <= set(identities):
        raise MisuseError("a ceremony in memory takes the identities of dealer and trustees")
    dealer = CeremonyDealer(
        context, identities[context.dealer.name], random, make_primes=make_primes
    )
    trustees = [CeremonyTrustee(context, identities[name], random) for name in names]
    for trustee in trustees:
        dealer.receive_key(trustee.announce())
    dealing, sealed = dealer.deal()
    for trustee in trustees:
        dealer.receive_countersignature(trustee.receive_dealing(dealing, sealed[trustee.index]))
    transcript = dealer.finish()
    shares = {
        name: trustee.receive_transcript(transcript)[1]
        for name, trustee in zip(names, trustees, strict=True)
    }
    return KeyRecord(context.session, transcript).to_bytes(), shares
