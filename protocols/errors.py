"""Every error that SecureFed raises on purpose, grouped by whose fault it is.

Each says who, at which step, and what to do next. Messages hold names, sizes and digests only:
never a key, a share, a seed, a mask or a value from anyone's data.
"""

from __future__ import annotations


class SecureFedError(Exception):
    """Base of every error this project raises on purpose."""


class MisuseError(SecureFedError):
    """Our own caller broke the rules: a bug on this side, never a peer's doing."""


class OutOfOrderError(MisuseError):
    """A role's method was called in a state where the protocol does not allow it."""


class InputError(SecureFedError):
    """Local data or a local update cannot be used: NaN, Inf, wrong shape or dtype, out of bound.

    Raised before anything leaves the party. The name of the array and the remedy are in the text.
    """


class EncodingOverflowError(InputError):
    """A value lies outside what the agreed ring can hold without wrapping."""


class AgreementError(SecureFedError):
    """The federation agreement is malformed, unsafe, or not in force.

    Attributes:
        key: dotted path of the offending key, such as ``aggregation.threshold``.
        problem: what is wrong, in one clause.
        remedy: what to change.
    """

    def __init__(self, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"{key}: {problem}; {remedy}")
        self.key, self.problem, self.remedy = key, problem, remedy


class KeyFileError(SecureFedError):
    """A key file cannot be read, is not encrypted, or the passphrase is wrong."""


class PeerError(SecureFedError):
    """A peer sent what the protocol forbids. Names the peer and the step.

    Attributes:
        party: name of the peer at fault as far as it can be known, or ``"unknown"``.
        step: protocol step, such as ``"submit"``.
        reason: what was wrong.
    """

    def __init__(self, party: str, step: str, reason: str) -> None:
        super().__init__(f"{party} at {step}: {reason}")
        self.party, self.step, self.reason = party, step, reason


class WireError(PeerError):
    """Bytes that are not one whole, canonical, bounded message of a known version."""


class OversizedError(WireError):
    """A message or frame longer than the agreement allows; refused before it is allocated."""


class SignatureError(PeerError):
    """A signature, a pinned key or a certificate does not match the agreement."""


class AgreementMismatchError(PeerError):
    """The message belongs to another agreement than the one that was signed."""


class ReplayError(PeerError):
    """A message of another round, or one that was already taken."""


class DuplicateError(ReplayError):
    """The same party spoke twice at one step of one round."""


class UnexpectedMessageError(PeerError):
    """A well-formed message that this state does not accept."""


class UnknownPartyError(PeerError):
    """The sender is not in the agreement, or not in this round's roster."""


class RosterError(PeerError):
    """The roster is inconsistent: missing ourselves, duplicate, too small or with a changed key."""


class ShareError(PeerError):
    """A share does not open its dealer's commitment, or is not one that was dealt."""


class ProofError(PeerError):
    """A zero-knowledge proof that does not hold, or one of something else."""


class SubmissionError(PeerError):
    """A masked vector of the wrong length, or one that its signed digest does not match."""


class EquivocationError(PeerError):
    """The coordinator told two parties, or one party twice, different things."""


class ModelMismatchError(EquivocationError):
    """Survivors trained on different global models (Pasquini et al. 2022); nothing is unmasked."""


class SurvivorSetError(PeerError):
    """A survivor set that no honest party may help to unmask."""


class CohortTooSmallError(SurvivorSetError):
    """Fewer survivors than the minimum cohort of the agreement."""


class QuorumError(PeerError):
    """Fewer valid confirmations of one survivor set than the quorum."""


class BelowThresholdError(SecureFedError):
    """Too few parties answered to finish the round; nothing was revealed.

    Attributes:
        step: where the round ended.
        have: parties that answered.
        need: parties needed.
    """

    def __init__(self, step: str, *, have: int, need: int) -> None:
        super().__init__(
            f"{step}: {have} parties answered, {need} needed; the round is aborted and nothing of "
            "it was revealed. Start the missing parties and the next round goes on"
        )
        self.step, self.have, self.need = step, have, need


class PolicyError(SecureFedError):
    """This party's own rules, or the agreement that it signed, forbid what was asked."""


class PrivacyParameterError(MisuseError):
    """A noise, sampling or budget parameter that the proofs and the accountants do not cover.

    Attributes:
        parameter: its name, such as ``noise_multiplier``.
    """

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter


class BudgetExceededError(PolicyError):
    """A release that would take a party past the privacy budget that it signed.

    Nothing was charged, and nothing may be computed for the release.

    Attributes:
        party: whose budget it is.
        epsilon: what would have been spent, at the budget's delta.
        ceiling: the most that may be spent.
    """

    def __init__(self, party: str, *, epsilon: float, ceiling: float, delta: float) -> None:
        super().__init__(
            f"{party}: this release would bring epsilon to {epsilon:.4g} at delta {delta:g}, past "
            f"the ceiling of {ceiling:g}; it is refused and nothing was computed. End the run, or "
            "sign a new agreement with a larger budget or more noise"
        )
        self.party, self.epsilon, self.ceiling = party, epsilon, ceiling


class JournalError(SecureFedError):
    """A promise already on record forbids this one, or the state cannot be written."""


class LedgerError(SecureFedError):
    """A ledger, one of its heads or an exported bundle does not prove what it should.

    Attributes:
        finding: short name of what is wrong, such as ``"commit-missing"``; part of the interface.
        reason: what was found, in one clause.
        leaf: position of the leaf at fault in the log, from 0; ``None`` if no single one is.
        party: whose leaf it is, as far as it can be known; else empty.
        round: round that it belongs to; 0 outside any.
    """

    def __init__(
        self,
        finding: str,
        reason: str,
        *,
        leaf: int | None = None,
        party: str = "",
        round: int = 0,  # noqa: A002 - the papers' noun
    ) -> None:
        place = "" if leaf is None else f" at leaf {leaf}"
        super().__init__(f"{finding}{place}: {reason}")
        self.finding, self.reason, self.leaf = finding, reason, leaf
        self.party, self.round = party, round


class TransportError(SecureFedError):
    """The connection failed for good, or the peer broke the framing rules."""


class NoResultError(SecureFedError):
    """The run ended without a single completed round: no model exists."""
