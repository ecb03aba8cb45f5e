"""What anybody can check of a dealing, and when a transcript is in force. No state, no secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from protocols.errors import InputError, PeerError, QuorumError, RosterError, ShareError
from protocols.identity import Envelope
from protocols.masking.ephemeral import is_sound
from protocols.paillier.dealing_context import CeremonyContext
from protocols.paillier.dealing_key_proof import check_dealt_key
from protocols.paillier.dealing_messages import (
    CeremonyKey,
    CeremonyTranscript,
    Countersignature,
    Dealing,
)
from protocols.paillier.dealing_shares import check_verification_keys
from protocols.paillier.keys import PublicKey
from protocols.paillier.threshold_key import ThresholdKey

CheckKey: TypeAlias = Callable[[PublicKey, bytes, bytes, str], None]
"""Checks proofs that a modulus is well formed: key, proofs, digest that they bind, who made them.

Raises a PeerError that names them."""


def check_ceremony_key(message: CeremonyKey, name: str, step: str = "deal-key") -> None:
    """Refuse an X25519 key that yields the same secret with everybody.

    Raises:
        RosterError: names the trustee.
    """
    if not is_sound(message.key):
        raise RosterError(name, step, "its X25519 key is unsound")


def check_dealing(
    context: CeremonyContext, envelope: Envelope, check_key: CheckKey
) -> tuple[Dealing, ThresholdKey, tuple[bytes, ...]]:
    """Check everything public of a dealer's message.

    Returns:
        The message, the key in it, and the trustees' X25519 keys in order.

    Raises:
        SignatureError: not signed by the dealer, or a trustee's key not by that trustee. The
            dealer is named for both, as for whatever else it passes on.
        RosterError: not every trustee's key once and in order, or an unsound one.
        ShareError: another key than agreed, or verification keys that share none.
        PeerError: the modulus is not proved well formed; or any other refusal.
    """
    name = context.dealer.name
    message = context.open(envelope, Dealing, context.dealer)
    count = len(context.trustees)
    if len(message.keys) != count or len(message.sealed) != count:
        raise RosterError(name, "deal", f"there are {count} trustees, each with a key and a share")
    keys = []
    for trustee, signed in zip(context.trustees, message.keys, strict=True):
        try:
            opened = context.open(signed, CeremonyKey, trustee)
            check_ceremony_key(opened, trustee.name)
        except PeerError as error:
            # An honest dealer has refused it; anybody can put a name on what it did not sign.
            reason = f"passed on as a key of {error.party}: {error.reason}"
            raise type(error)(name, "deal", reason) from error
        keys.append(opened.key)
    if len({*keys, message.dealer_key}) <= count or not is_sound(message.dealer_key):
        raise RosterError(name, "deal", "the X25519 keys are unsound, or two are the same")
    key = ThresholdKey.from_bytes(message.threshold_key, party=name)
    facts = (key.public.bits, key.degree, key.threshold, key.trustees)
    if facts != (context.bits, context.degree, context.threshold, count) or key.generated:
        raise ShareError(name, "deal", "the key is not of the agreed size, degree or threshold")
    check_key(key.public, message.key_proofs, context.digest(), name)
    try:
        check_verification_keys(key)
    except InputError as error:
        raise ShareError(name, "deal", str(error)) from error
    return message, key, tuple(keys)


def check_countersignature(
    context: CeremonyContext, envelope: Envelope, digest: bytes, *, step: str = "deal-confirm"
) -> int:
    """Check that a trustee countersigned the dealing with this digest; return its index.

    Raises:
        QuorumError: it countersigned another dealing; it is named.
        PeerError: any other refusal.
    """
    index, message = context.open_from_trustee(envelope, Countersignature)
    if message.dealing != digest:
        raise QuorumError(envelope.sender, step, "countersigned another dealing")
    return index


def check_transcript(
    context: CeremonyContext,
    transcript: CeremonyTranscript,
    check_key: CheckKey = check_dealt_key,
) -> ThresholdKey:
    """Check a whole ceremony from its transcript alone, as an auditor does; return the key.

    Raises:
        QuorumError: not every trustee countersigned this dealing, once and in order.
        PeerError: any refusal of :func:`check_dealing`.
    """
    _, key, _ = check_dealing(context, transcript.dealing, check_key)
    check_all_signed(context, transcript)
    return key


def check_all_signed(context: CeremonyContext, transcript: CeremonyTranscript) -> None:
    """Check that every trustee countersigned the transcript's dealing, once and in order.

    Raises:
        QuorumError: they did not: the key is not in force.
        PeerError: a countersignature is not one; names the dealer, who passed it on.
    """
    digest = context.dealing_digest(transcript.dealing)
    try:
        signed = [
            check_countersignature(context, one, digest) for one in transcript.countersignatures
        ]
    except QuorumError:
        raise
    except PeerError as error:
        reason = f"passed on as a countersignature of {error.party}: {error.reason}"
        raise type(error)(context.dealer.name, "deal-confirm", reason) from error
    if signed != list(range(1, len(context.trustees) + 1)):
        reason = f"{len(set(signed))} of {len(context.trustees)} trustees countersigned"
        raise QuorumError(context.dealer.name, "deal-confirm", f"{reason}, in order; all must")
