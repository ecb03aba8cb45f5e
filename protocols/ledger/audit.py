"""The audit of one ledger: everything verified, everything counted, in one pass."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence

from protocols.agreement import SignedAgreement
from protocols.errors import LedgerError, MisuseError
from protocols.ledger.checkpoint import Note, SignatureCheck, coordinator_check, origin_of
from protocols.ledger.facts import AuditResult, CheckpointFacts, Finding, RoundFacts
from protocols.ledger.key_place import CheckKey
from protocols.ledger.observations import alarms, observations
from protocols.ledger.records import AgreementLeaf, decode_leaf
from protocols.ledger.spending import Spending, account, over_budget
from protocols.ledger.verify import CheckSignature, LedgerVerifier, check_now


def nothing_put_off() -> None:
    """Settle signatures that were checked at once."""


def no_key(_signed: SignedAgreement, _record: bytes) -> None:
    """Refuse to judge the key of a ledger whose auditor brought nothing to check it with."""
    raise MisuseError("vectors are encrypted in this ledger: give its audit a check of the key")


def audit(
    leaves: Iterable[bytes],
    *,
    agreement_digest: bytes | None = None,
    heads: Sequence[Note] = (),
    check: CheckSignature = check_now,
    settle: Callable[[], None] = nothing_put_off,
    check_key: CheckKey = no_key,
) -> AuditResult:
    """Verify a ledger, account for its rounds, and say what an auditor has to look at.

    Never fails for what the ledger holds: the first thing that is wrong, in the order of the
    leaves, becomes the result's failure, and only what a checkpoint before it covers is reported.

    Args:
        leaves: in order; may raise LedgerError as well, such as those of a damaged file.
        agreement_digest: of the agreement that was meant, 32 bytes, from a source of its own.
        heads: that the coordinator signed earlier, such as the last one that a party kept.
        check: is told every signature, to check it now or later.
        settle: returns when all signatures that ``check`` was told are checked; raises what the
            first wrong one of them said to raise.
        check_key: is told the record of the key, where vectors are encrypted, to check all of it.

    Raises:
        MisuseError: the ledger holds a key, and nothing was given to check it with.
    """
    counted = _Counted(check)
    verifier = LedgerVerifier(check=counted, check_key=check_key)
    roots: dict[int, bytes] = {}
    failure = _read(
        leaves, verifier, agreement_digest, {one.checkpoint.size for one in heads}, roots
    )
    try:
        settle()
    except LedgerError as earlier:
        failure = earlier
    if failure is None and verifier.signed is None:
        failure = LedgerError("agreement-missing", "the ledger is empty")
    checked = 0
    if failure is None:
        checked, failure = _check_heads(heads, verifier, roots)
    return _result(verifier, failure, agreement_digest is not None, checked, counted.count)


class _Counted:
    """Counts signatures on their way."""

    def __init__(self, check: CheckSignature) -> None:
        self.count = 0
        self._check = check

    def __call__(self, check: SignatureCheck, refusal: Callable[[], LedgerError]) -> None:
        self.count += 1
        self._check(check, refusal)


def _read(
    leaves: Iterable[bytes],
    verifier: LedgerVerifier,
    agreement_digest: bytes | None,
    sizes: set[int],
    roots: dict[int, bytes],
) -> LedgerError | None:
    """Take all leaves; keep the roots at the given sizes; return what is wrong."""
    roots[0] = verifier.root()
    try:
        for leaf in leaves:
            if agreement_digest is not None and not verifier.size:
                _require_agreement(leaf, agreement_digest)
            verifier.take(leaf)
            if verifier.size in sizes:
                roots[verifier.size] = verifier.root()
    except LedgerError as error:
        return error
    return None


def _require_agreement(leaf: bytes, digest: bytes) -> None:
    # Before it is validated, which takes long for one that nobody agreed on.
    first = decode_leaf(leaf, 0)
    if isinstance(first, AgreementLeaf):
        found = hashlib.sha256(first.canonical).digest()
        if not hmac.compare_digest(found, digest):
            raise LedgerError(
                "another-agreement",
                f"the ledger is of the agreement {found.hex()[:16]}…, not {digest.hex()[:16]}…",
                leaf=0,
            )


def _check_heads(
    heads: Sequence[Note], verifier: LedgerVerifier, roots: dict[int, bytes]
) -> tuple[int, LedgerError | None]:
    """Return how many heads the log is consistent with, and what is wrong with the next one."""
    for checked, head in enumerate(heads):
        try:
            _check_head(head, verifier, roots)
        except LedgerError as error:
            return checked, error
    return len(heads), None


def _check_head(head: Note, verifier: LedgerVerifier, roots: dict[int, bytes]) -> None:
    checkpoint, signed = head.checkpoint, verifier.signed
    if signed is None:
        raise LedgerError("agreement-missing", "the ledger is empty")
    agreement = signed.agreement
    coordinator = agreement.verify_key(agreement.coordinator.name)
    try:
        ours = checkpoint.origin == origin_of(agreement.federation, signed.digest)
        ours = ours and coordinator_check(head, coordinator).holds()
    except LedgerError as error:
        raise LedgerError("head-invalid", error.reason) from error
    if not ours:
        raise LedgerError(
            "head-invalid",
            f"the head of {checkpoint.size} leaves is not one that {coordinator.name} signed",
        )
    if checkpoint.size > verifier.size:
        raise LedgerError(
            "rolled-back",
            f"{coordinator.name} signed a head of {checkpoint.size} leaves, and {verifier.size} "
            "are here",
            party=coordinator.name,
        )
    if not hmac.compare_digest(checkpoint.root, roots[checkpoint.size]):
        raise LedgerError(
            "split-view",
            f"{coordinator.name} signed another ledger of {checkpoint.size} leaves",
            party=coordinator.name,
        )


def _result(
    verifier: LedgerVerifier,
    error: LedgerError | None,
    anchored: bool,
    heads_checked: int,
    signatures: int,
) -> AuditResult:
    signed = verifier.signed
    failure = None if error is None else _finding(error)
    rounds, checkpoints = _covered(verifier, failure)
    spending = Spending((), None, None)
    raised: tuple[int, ...] = ()
    warnings: list[Finding] = []
    if not anchored:
        warnings.append(Finding("not-anchored", "no agreement was given to compare it with"))
    if signed is not None and failure is None:
        spending = account(verifier, signed.agreement)
        failure = over_budget(spending, signed.agreement)
        warnings += observations(verifier, signed.agreement)
        raised = alarms(verifier)
    closed = verifier.closed and error is None
    complete = closed and verifier.at_checkpoint
    return AuditResult(
        verdict="failed" if failure else "verified" if complete else "incomplete",
        failure=failure,
        warnings=tuple(warnings),
        signed=signed,
        anchored=anchored,
        heads_checked=heads_checked,
        leaves=verifier.size,
        root=verifier.root(),
        rounds=tuple(rounds),
        checkpoints=tuple(checkpoints),
        spending=spending.parties,
        total=spending.total,
        worst_case=spending.worst_case,
        alarms=raised,
        signatures=signatures + (len(signed.signatures) if signed else 0),
        closed=closed,
    )


def _finding(error: LedgerError) -> Finding:
    return Finding(error.finding, error.reason, error.leaf, error.round, error.party)


def _covered(
    verifier: LedgerVerifier, failure: Finding | None
) -> tuple[Iterator[RoundFacts] | Sequence[RoundFacts], Sequence[CheckpointFacts]]:
    """Return what was verified before a failure: signatures may be settled long after a leaf."""
    if failure is None or failure.leaf is None:
        return verifier.rounds, verifier.checkpoints
    place = failure.leaf
    sound = [one for one in verifier.checkpoints if one.leaf < place]
    last = sound[-1].leaf if sound else 0
    return (one for one in verifier.rounds if one.leaf < last), sound
