"""Leaves of a ledger as plain facts, for people and for programs; nothing is verified here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from protocols.agreement import Agreement, SignedAgreement
from protocols.errors import LedgerError, MisuseError, SecureFedError, WireError
from protocols.identity import Envelope
from protocols.intent import Commit, read_statement
from protocols.ledger.checkpoint import (
    WITNESS_PREFIX,
    coordinator_check,
    cosignature_checks,
    parse_note,
)
from protocols.ledger.proofs import leaf_hash
from protocols.ledger.records import (
    MAX_LEAF_BYTES,
    AgreementLeaf,
    CheckpointLeaf,
    KeyLeaf,
    MessageLeaf,
    decode_leaf,
    read_agreement_leaf,
)
from protocols.masking.messages import Confirmation, Submission
from protocols.rounds import RoundAborted, RoundOpen, RoundResult, RunEnded
from protocols.wire import decode
from securefed.audit.key_leaf import key_facts
from securefed.audit.secrecy import secrecy, whose_key
from securefed.audit.words import clean, ranges

_CONTENTS: Final[dict[str, type[msgspec.Struct]]] = {
    "open": RoundOpen,
    "submit": Submission,
    "confirm": Confirmation,
    "result": RoundResult,
    "abort": RoundAborted,
    "end": RunEnded,
}


@dataclass(frozen=True, slots=True)
class LeafFacts:
    """One leaf, as it says itself.

    Attributes:
        position: in the log, from 0.
        kind: ``agreement``, ``key``, ``message``, ``checkpoint`` or ``unreadable``.
        step: of a message; else empty.
        round: of a message; else 0.
        signers: names of who signed it, as it claims.
        text: what it says, in one line.
        content: the same in full, as plain data.
        hash: of the leaf in the tree, 64 hexadecimal digits.
        notes: sentences on what it means for who could read one company's part.
    """

    position: int
    kind: str
    step: str
    round: int
    signers: tuple[str, ...]
    text: str
    content: dict[str, Any]
    hash: str
    notes: tuple[str, ...] = ()


def describe(data: bytes, position: int, agreement: Agreement | None = None) -> LeafFacts:
    """Return what a leaf says; for hostile bytes, that they cannot be read.

    Args:
        data: the leaf.
        position: in the log.
        agreement: that of leaf 0, under which a key in its place is checked.
    """
    hashed = leaf_hash(data).hex()
    try:
        leaf = decode_leaf(data, position)
        if isinstance(leaf, MessageLeaf):
            return _message(leaf.envelope, position, hashed)
        if isinstance(leaf, CheckpointLeaf):
            return _checkpoint(leaf.note, position, hashed)
        if isinstance(leaf, KeyLeaf):
            return _key(leaf.record, agreement, position, hashed)
        return _agreement(leaf, position, hashed)
    except SecureFedError as error:
        reason = error.reason if isinstance(error, LedgerError) else str(error)
        return LeafFacts(position, "unreadable", "", 0, (), clean(reason), {}, hashed)


def agreement_of(data: bytes) -> SignedAgreement:
    """Return the agreement of leaf 0, with all its signatures checked.

    Raises:
        LedgerError: ``agreement-missing`` or ``agreement-invalid``.
    """
    leaf = decode_leaf(data, 0)
    if not isinstance(leaf, AgreementLeaf):
        raise LedgerError("agreement-missing", "leaf 0 is no agreement", leaf=0)
    return read_agreement_leaf(leaf)


def readable_agreement(data: bytes) -> Agreement | None:
    """Return the agreement of leaf 0 with its signatures checked; ``None`` if it cannot be read.

    Without it there are no keys, so that no signature can be said to hold.
    """
    try:
        return agreement_of(data).agreement
    except LedgerError:
        return None


def signed_by(data: bytes, position: int, agreement: Agreement) -> tuple[str, ...]:
    """Return the names of those whose signature on a leaf holds; nobody's is taken on trust.

    Raises:
        MisuseError: it is a key, and the extra that checks keys is not installed; names it.
    """
    try:
        leaf = decode_leaf(data, position)
        if isinstance(leaf, MessageLeaf):
            agreement.verify_key(leaf.envelope.sender).verify(leaf.envelope)
            return (leaf.envelope.sender,)
        if isinstance(leaf, CheckpointLeaf):
            return signed_head(leaf.note, agreement)
        if isinstance(leaf, KeyLeaf):
            return _key_signers(key_facts(agreement, agreement.digest(), leaf.record))
        return tuple(one.name for one in read_agreement_leaf(leaf).signatures)
    except MisuseError:
        raise
    except SecureFedError:
        # Hostile bytes that nobody answers for: that is the answer.
        return ()


def signed_head(note: bytes, agreement: Agreement) -> tuple[str, ...]:
    """Return the names of those whose signature on a head holds, the coordinator first.

    Raises:
        LedgerError: the note cannot be read, or bears a signature of somebody unknown.
    """
    parsed = parse_note(note, party="")
    hub = agreement.verify_key(agreement.coordinator.name)
    keys = {party.name: party.verify_key() for party in agreement.parties}
    first = (hub.name,) if coordinator_check(parsed, hub).holds() else ()
    return (*first, *(o.party for o in cosignature_checks(parsed, keys) if o.check.holds()))


def _agreement(leaf: AgreementLeaf, position: int, hashed: str) -> LeafFacts:
    signed = read_agreement_leaf(leaf)
    names = tuple(one.name for one in signed.signatures)
    agreement = signed.agreement
    text = f"the agreement of {agreement.federation}, signed by {len(names)} parties"
    hidden = secrecy(agreement)
    content = {
        "digest": signed.digest.hex(),
        "agreement": agreement.to_plain(),
        "secrecy": hidden,
    }
    notes = tuple(hidden["sentences"])
    return LeafFacts(position, "agreement", "", 0, names, text, content, hashed, notes)


def _key(record: bytes, agreement: Agreement | None, position: int, hashed: str) -> LeafFacts:
    digest = hashlib.sha256(record).hexdigest()
    content: dict[str, Any] = {"record": digest, "holds": None}
    signers: tuple[str, ...] = ()
    text = f"the record of a key, SHA-256 {digest[:16]}…"
    if position == 1 and agreement is not None and agreement.trustees:
        try:
            facts = key_facts(agreement, agreement.digest(), record)
        except LedgerError as error:
            content["holds"] = False
            text = f"{text}; {error.reason}"
        except MisuseError as error:
            text = f"{text}; not checked here: {error}"
        else:
            content, signers = {**facts, "holds": True}, _key_signers(facts)
            text = f"{whose_key(agreement)}; the record of its ceremony holds"
    return LeafFacts(position, "key", "", 0, signers, clean(text), content, hashed)


def _key_signers(facts: dict[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((facts["dealer"], *facts["trustees"])))


def _checkpoint(note: bytes, position: int, hashed: str) -> LeafFacts:
    parsed = parse_note(note, party="")
    names = tuple(one.name.removeprefix(WITNESS_PREFIX) for one in parsed.signatures[1:])
    head = parsed.checkpoint
    content = {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "note": note.decode(),
    }
    text = f"{head.size} leaves, root {head.root.hex()[:16]}…, {len(names)} witnesses"
    return LeafFacts(position, "checkpoint", "", 0, names, text, content, hashed)


def _message(envelope: Envelope, position: int, hashed: str) -> LeafFacts:
    kind = _CONTENTS[envelope.step]
    said = decode(
        kind,
        envelope.payload,
        party=envelope.sender,
        step=envelope.step,
        max_bytes=MAX_LEAF_BYTES,
    )
    content = _plain(msgspec.structs.asdict(said))
    commit = _commit(said)
    if commit is not None:
        content["statement"] = _plain(msgspec.structs.asdict(commit))
    return LeafFacts(
        position,
        "message",
        envelope.step,
        envelope.round,
        (envelope.sender,),
        clean(_TEXTS[kind](said)),
        content,
        hashed,
    )


def _commit(said: object) -> Commit | None:
    if not isinstance(said, Submission) or not said.statement:
        return None
    try:
        return read_statement(said.statement, party="")
    except WireError:
        # Shown as the bytes that it is.
        return None


def _open(said: Any) -> str:
    spent = "" if said.epsilon_after is None else f", epsilon {said.epsilon_after:.4g} with it"
    place = f"{said.task}, round {said.round_in_task} of the task"
    return f"{place}; {len(said.invited)} invited{spent}"


def _result(said: Any) -> str:
    lost = f" without {ranges(said.dropouts)}" if said.dropouts else ""
    meter = "" if said.noise_meter is None else f", noise meter {said.noise_meter:.4g}"
    last = "; the task is over" if said.done else ""
    return f"sum of {len(said.survivors)}{lost}{meter}; model {said.model.hex()[:16]}…{last}"


_TEXTS: Final[dict[type[msgspec.Struct], Callable[[Any], str]]] = {
    RoundOpen: _open,
    Submission: lambda said: f"commits to {said.count} values, vector {said.vector.hex()[:16]}…",
    Confirmation: lambda said: f"confirms the survivors {said.survivors.hex()[:16]}…",
    RoundResult: _result,
    RoundAborted: lambda said: f"at {said.step}: {said.reason}",
    RunEnded: lambda said: f"{said.outcome} {said.reason}".rstrip(),
}


def _plain(value: Any) -> Any:
    """Return plain data for JSON: bytes as hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.asdict(value))
    return clean(value) if isinstance(value, str) else value
