"""Exit codes of every command. They are part of the public interface."""

from __future__ import annotations

from enum import IntEnum

from protocols.errors import (
    AgreementError,
    BelowThresholdError,
    InputError,
    JournalError,
    KeyFileError,
    LedgerError,
    MisuseError,
    NoResultError,
    PeerError,
    PolicyError,
    SecureFedError,
    TransportError,
)


class ExitCode(IntEnum):
    """What a command's exit code says."""

    OK = 0
    """It did what it was asked."""
    FAILED = 1
    """Something failed that has no code of its own."""
    USAGE = 2
    """The command line is wrong."""
    AGREEMENT = 3
    """The agreement is malformed, unsafe or not signed by everybody."""
    KEYS = 4
    """A key file is missing, damaged, unprotected, or the passphrase is wrong."""
    INPUT = 5
    """The data cannot be used."""
    PEER = 6
    """A peer broke the protocol."""
    POLICY = 7
    """The agreement or this node's own rules forbid it."""
    TRANSPORT = 8
    """No connection, or it failed for good."""
    NO_RESULT = 9
    """The run ended without a result: too few parties, or no round completed."""
    STATE = 10
    """The state directory cannot be used."""
    LEDGER = 11
    """A ledger, head, proof or report does not prove what it should; an audit failed."""
    INCOMPLETE = 12
    """All is well with a ledger so far, but the run was not closed: rounds may be missing."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM."""


_CODES: tuple[tuple[type[SecureFedError], ExitCode], ...] = (
    (AgreementError, ExitCode.AGREEMENT),
    (KeyFileError, ExitCode.KEYS),
    (InputError, ExitCode.INPUT),
    (PeerError, ExitCode.PEER),
    (PolicyError, ExitCode.POLICY),
    (TransportError, ExitCode.TRANSPORT),
    (BelowThresholdError, ExitCode.NO_RESULT),
    (NoResultError, ExitCode.NO_RESULT),
    (JournalError, ExitCode.STATE),
    (LedgerError, ExitCode.LEDGER),
    (MisuseError, ExitCode.USAGE),
)


def exit_code(error: SecureFedError) -> ExitCode:
    """Return the exit code that belongs to an error."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILED
