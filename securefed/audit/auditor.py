"""Audit a ledger from Python: offline, trusting nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from parties.auditor.signatures import PooledChecks
from parties.keys import KeyRing
from protocols.agreement import Agreement
from protocols.errors import MisuseError
from protocols.identity import DIGEST_BYTES
from protocols.ledger.audit import audit as audit_leaves
from protocols.ledger.bundle import read_leaves
from protocols.ledger.checkpoint import Note
from protocols.ledger.facts import AuditResult, Verdict
from securefed.audit.canary import Canary, read_canary
from securefed.audit.key_leaf import KeyCheck
from securefed.audit.report import Source, report
from securefed.audit.signing import canonical, sign_report
from securefed.audit.sources import HashedFile, open_bundle, read_head
from securefed.audit.transcript import Anchor
from securefed.deployment import read_agreement
from securefed.signing import write_text

Progress = Callable[[int, int], None]
"""Is told how many bytes of how many were read."""

_STEP: Final = 2**18


@dataclass(frozen=True)
class Audit:
    """What the audit of one bundle came to.

    Attributes:
        result: everything that was found.
        source: what was audited, against what.
        canary: an empirical lower bound that was measured apart.
        anchor: the agreement that was given from outside.
        key: what people compare of the key, where vectors are encrypted and it was found in force.
    """

    result: AuditResult
    source: Source
    canary: Canary | None = None
    anchor: Agreement | None = field(default=None, repr=False)
    key: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def verdict(self) -> Verdict:
        """``"verified"``, ``"incomplete"`` or ``"failed"``."""
        return self.result.verdict

    @property
    def agreement(self) -> Agreement | None:
        """The agreement that was given, else the one in the bundle."""
        signed = self.result.signed
        return self.anchor or (None if signed is None else signed.agreement)

    def to_plain(self) -> dict[str, Any]:
        """Return the whole report as plain dicts, lists, strings and finite numbers."""
        return dict(self._report)

    def to_html(self) -> str:
        """Return the report as one HTML page."""
        from securefed.audit.html import render  # noqa: PLC0415 - templates load slowly

        return render(self._report)

    def to_json(self, keys: KeyRing | None = None) -> bytes:
        """Return the report as canonical JSON, signed if keys are given.

        Raises:
            AgreementError: the keys are those of no auditor or party of the agreement.
            MisuseError: no agreement is known that could name the signer.
        """
        if keys is None:
            return canonical(self._report) + b"\n"
        if self.agreement is None:
            raise MisuseError("the bundle holds no agreement: give one, to sign the report")
        return sign_report(self._report, keys.identity, self.agreement)

    def write_html(self, path: Path) -> None:
        """Write the report as one HTML page.

        Raises:
            KeyFileError: the disk refuses.
        """
        write_text(path, self.to_html())

    def write_json(self, path: Path, keys: KeyRing | None = None) -> None:
        """Write the report as canonical JSON, signed if keys are given.

        Raises:
            KeyFileError: the disk refuses.
            AgreementError: as :meth:`to_json`.
            MisuseError: as :meth:`to_json`.
        """
        write_text(path, self.to_json(keys).decode())

    @cached_property
    def _report(self) -> dict[str, Any]:
        return report(self.result, self.source, self.canary, self.key)


class Auditor:
    """Checks ledgers against one agreement.

    Example: ``Auditor(Path("agreement.toml")).audit(Path("run.ledger")).verdict``.
    """

    def __init__(
        self, agreement: Path | Agreement | None = None, *, agreement_digest: bytes | None = None
    ) -> None:
        """Name the agreement that is meant.

        Args:
            agreement: its TOML file or the agreement itself; without it, and without a digest, all
                public keys come from the bundle, and whoever made that could have made up all.
            agreement_digest: SHA-256 of the agreement instead, 32 bytes.

        Raises:
            AgreementError: malformed or unsafe; names the key and the mend.
            KeyFileError: the file cannot be read.
            MisuseError: both were given and differ, or the digest has another length.
        """
        loaded = read_agreement(agreement) if isinstance(agreement, Path) else agreement
        digest = agreement_digest if loaded is None else loaded.digest()
        if digest is not None and len(digest) != DIGEST_BYTES:
            raise MisuseError("the digest of an agreement has 32 bytes")
        if agreement_digest not in (None, digest):
            raise MisuseError("the agreement has another digest than the one that was given")
        self.agreement, self._digest = loaded, digest

    def audit(
        self,
        bundle: Path,
        heads: Iterable[Path | Note] = (),
        *,
        canary: Path | Canary | None = None,
        processes: int | None = 1,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Audit:
        """Verify a bundle from its first byte to its last.

        Args:
            bundle: file that ``securefed ledger export`` wrote.
            heads: that others kept, notes or files of them; the ledger has to continue each.
            canary: result of :func:`securefed.privacy.audit_canaries`, or a JSON file of it.
            processes: that check signatures; ``None`` for one on every core. With more than one,
                a script needs its ``if __name__ == "__main__":``.
            progress: is told how far the reading is.
            clock: seconds since 1970, for the report.

        Returns:
            The audit; whatever the bundle holds, what is wrong with it is in the verdict.

        Raises:
            InputError: a file cannot be read, or is not what it should be.
            MisuseError: vectors are encrypted, and the extra that checks their key is not
                installed; names it.
        """
        check_key = KeyCheck()
        notes = [read_head(one) if isinstance(one, Path) else one for one in heads]
        measured = read_canary(canary) if isinstance(canary, Path) else canary
        with closing(open_bundle(bundle)) as stream, PooledChecks(processes) as pool:
            file = HashedFile(stream)
            leaves = read_leaves(file.read)
            if progress is not None:
                leaves = _told(leaves, file, bundle.stat().st_size, progress)
            result = audit_leaves(
                leaves,
                agreement_digest=self._digest,
                heads=notes,
                check=pool,
                settle=pool.settle,
                check_key=check_key,
            )
            digest = file.digest()
        source = self._source(bundle, file.bytes, digest, notes, clock)
        return Audit(result, source, measured, self.agreement, check_key.facts)

    def _source(
        self,
        bundle: Path,
        length: int,
        digest: str,
        heads: Sequence[Note],
        clock: Callable[[], float],
    ) -> Source:
        anchor: Anchor = "none"
        if self._digest is not None:
            anchor = "digest" if self.agreement is None else "agreement"
        return Source(
            name=bundle.name,
            bytes=length,
            sha256=digest,
            at=int(clock()),
            anchor=anchor,
            heads=len(heads),
            anchor_digest="" if self._digest is None else self._digest.hex(),
        )


def _told(
    leaves: Iterator[bytes], file: HashedFile, size: int, progress: Progress
) -> Iterator[bytes]:
    """Pass leaves on, and tell of every so many bytes."""
    last = 0
    for leaf in leaves:
        yield leaf
        if file.bytes - last >= _STEP:
            last = file.bytes
            progress(last, size)
    progress(file.bytes, max(size, file.bytes))
