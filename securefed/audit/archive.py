"""An archive of one ledger: only what was verified gets in, and it can only grow."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

from parties.store import Journal
from protocols.errors import LedgerError
from protocols.ledger.merkle import Frontier, leaf_hash
from securefed.audit.auditor import Audit
from securefed.audit.sources import leaves_of

_OWNER: Final = b"ledger archive "
_BATCH: Final = 512


def import_bundle(bundle: Path, state: Path, found: Audit) -> int:
    """Add a verified bundle to an archive, and return how many leaves are new.

    The archive is a state directory, but no node can be run from it: it holds no promises.

    Args:
        bundle: the file.
        state: directory of the archive, made if it does not exist.
        found: the audit of this very file.

    Raises:
        LedgerError: the audit failed; the file is another one by now; or the archive holds another
            ledger (``split-view``) or more of this one (``rolled-back``): keep both.
        JournalError: the directory is in use, is that of a node, or cannot be written.
    """
    failure, signed = found.result.failure, found.result.signed
    if failure is not None or signed is None:
        raise LedgerError(
            "agreement-missing" if failure is None else failure.name,
            "the bundle fails its audit; nothing was imported",
            leaf=None if failure is None else failure.leaf,
        )
    with Journal(state, owner=_OWNER + signed.digest) as journal, journal.transaction():
        before = journal.ledger.size
        if before > found.result.leaves:
            raise LedgerError(
                "rolled-back",
                f"the archive in {state} holds {before} leaves, this bundle {found.result.leaves}",
            )
        tree, leaves = Frontier(), leaves_of(bundle)
        for position, (ours, theirs) in enumerate(
            zip(journal.ledger.leaves(), islice(leaves, before), strict=True)
        ):
            if ours != theirs:
                raise LedgerError(
                    "split-view",
                    f"the archive in {state} holds another leaf there; securefed ledger compare "
                    "shows both",
                    leaf=position,
                )
            tree.append(leaf_hash(theirs))
        while batch := list(islice(leaves, _BATCH)):
            tree.extend(leaf_hash(leaf) for leaf in batch)
            journal.ledger.append(batch)
        if tree.root() != found.result.root:
            raise LedgerError("footer-mismatch", "the file was changed since its audit")
        return journal.ledger.size - before
