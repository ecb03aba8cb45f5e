"""The demonstration audits itself as an outsider would: from one file and the agreement."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from parties.ledger_store import read_ledger
from protocols.errors import NoResultError
from protocols.ledger.checkpoint import parse_note
from securefed.audit.auditor import Audit, Auditor
from securefed.audit.sources import last_head, write_bundle
from securefed.demo.workspace import COORDINATOR, Workspace

BUNDLE: Final = "bundle"
REPORT: Final = "report.html"
SIGNED_REPORT: Final = "report.json"
KEPT: Final = (BUNDLE, REPORT, SIGNED_REPORT, "agreement.toml")
"""What an auditor is given, and what comes of it."""


@dataclass(frozen=True, slots=True)
class StageAudit:
    """The audit of one federation.

    Attributes:
        audit: what was found.
        home: directory of the files in :data:`KEPT`.
    """

    audit: Audit = field(repr=False)
    home: Path

    def keep(self, directory: Path) -> Path:
        """Copy the files to a directory; return where the report lies then."""
        for name in KEPT:
            shutil.copyfile(self.home / name, directory / name)
        return directory / REPORT


def audit_stage(workspace: Workspace, survivors: Iterable[str]) -> StageAudit:
    """Export the coordinator's ledger and audit it against the heads that the parties kept.

    Raises:
        NoResultError: it is not flawless and closed.
        SecureFedError: a file cannot be read or written.
    """
    bundle = workspace.home / BUNDLE
    write_bundle(bundle, read_ledger(workspace.state(COORDINATOR)))
    heads = [
        parse_note(last_head(read_ledger(workspace.state(name))), party=name) for name in survivors
    ]
    found = Auditor(workspace.agreement_file).audit(bundle, heads)
    found.write_html(workspace.home / REPORT)
    found.write_json(workspace.home / SIGNED_REPORT, workspace.auditor)
    if found.verdict != "verified":
        failure = found.result.failure
        reason = "it is not closed" if failure is None else f"{failure.name}: {failure.reason}"
        raise NoResultError(f"the ledger does not pass its own audit: {reason}")
    return StageAudit(found, workspace.home)
